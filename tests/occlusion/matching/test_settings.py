"""Thresholds, limit, categories and ignore regions, of both engines, against fresh runs of pycocotools with these."""

import contextlib
import copy
import dataclasses
import io
import math
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmhybrid.errors import InputError
from mmhybrid.occlusion import Details, Settings, evaluate, matching
from mmhybrid.occlusion.matching import Index
from mmhybrid.occlusion.matching.settings import IOU_THRS
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import CATEGORIES, dataset, hard_dataset
from .test_matching import metrics_of

ENGINES = [name for name in matching.ENGINES if name == 'pycocotools' or find_spec('hotcoco')]
NAMES = ('ap', 'ap50', 'ap75', 'aps', 'apm', 'apl', 'ar')


def fresh(gt, dt, iou_type, image_ids, iou_thrs=None, max_dets=100, class_agnostic=False, categories=None):
    """The seven metrics of a pycocotools run on these images, NaN for none; `ignore` as a user would set `iscrowd`."""
    kept = set(image_ids)
    content = copy.deepcopy(gt) | {'images': [image for image in gt['images'] if image['id'] in kept]}
    content['annotations'] = [row for row in copy.deepcopy(gt['annotations']) if row['image_id'] in kept]
    for row in content['annotations']:
        row['iscrowd'] = int(bool(row['iscrowd'] or row.get('ignore')))
    results = [row for row in copy.deepcopy(dt) if row['image_id'] in kept]
    for row in results:
        if iou_type == 'segm':
            del row['bbox']
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = content
        coco.createIndex()
        if results:
            found = coco.loadRes(results)
        else:
            found = COCO()
            found.dataset = content | {'annotations': []}
            found.createIndex()
        evaluator = COCOeval(coco, found, iou_type)
        params = evaluator.params
        params.maxDets, params.useCats = [max_dets], int(not class_agnostic)
        params.iouThrs = params.iouThrs if iou_thrs is None else np.array(iou_thrs)
        if categories is not None:
            params.catIds = list(categories)
        evaluator.evaluate()
        evaluator.accumulate()
    precision, recall = evaluator.eval['precision'][..., 0], evaluator.eval['recall'][..., 0]
    parts = [precision[..., 0], *(precision[params.iouThrs == t][..., 0] for t in (0.5, 0.75))]
    parts += [precision[..., 1], precision[..., 2], precision[..., 3], recall[..., 0]]
    return [float(part[part > -1].mean()) if (part > -1).any() else math.nan for part in parts]


def marked(gt, seed):
    """A quarter of the instances are to be ignored."""
    rng = np.random.default_rng(seed)
    return gt | {'annotations': [row | {'ignore': int(rng.random() < 0.25)} for row in gt['annotations']]}


choices = st.fixed_dictionaries(
    {},
    optional={
        'iou_thrs': st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.75, 0.9, 1.0]), min_size=1, unique=True).map(sorted),
        'max_dets': st.sampled_from([1, 2, 5, 100, 130]),
        'class_agnostic': st.booleans(),
        'categories': st.lists(st.sampled_from(CATEGORIES), min_size=1, unique=True).map(sorted),
    },
)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('engine', ENGINES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), chosen=choices, hard=st.booleans())
def test_equals_a_fresh_run_with_such_params(engine, iou_type, seed, chosen, hard):
    gt, dt = (hard_dataset if hard else dataset)(seed, masks=iou_type == 'segm', num_images=5)
    if hard:
        chosen.pop('categories', None)
    gt = marked(gt, seed)
    checked = load_ground_truth(gt, (), (iou_type,))
    found = load_detections(dt, checked, (iou_type,))
    matched = matching.match(checked, found, iou_type, Index.of(checked, found, Settings(**chosen)), engine)
    ids = [image['id'] for image in gt['images']]
    strata = {'all': ids, 'some': ids[::2], 'one': ids[1:2]}
    metrics = metrics_of(matched, gt, strata)
    for name, members in strata.items():
        expected = fresh(gt, dt, iou_type, members, **chosen)
        np.testing.assert_allclose(dataclasses.astuple(metrics[name]), expected, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.skipif(len(ENGINES) < 2, reason='hotcoco is not installed')
@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), chosen=choices)
def test_engines_match_alike(iou_type, seed, chosen):
    gt, dt = dataset(seed, masks=iou_type == 'segm', num_images=6)
    checked = load_ground_truth(marked(gt, seed), (), (iou_type,))
    found = load_detections(dt, checked, (iou_type,))
    index = Index.of(checked, found, Settings(**chosen))
    a, b = (matching.match(checked, found, iou_type, index, engine).matches() for engine in ENGINES)
    np.testing.assert_array_equal(a.dt_gt, b.dt_gt)
    np.testing.assert_array_equal(a.dt_ignored, b.dt_ignored)
    assert a.dt_gt.shape == (len(index.iou_thrs), len(index.dt_index))


def test_where_class_makes_no_difference_ties_go_by_category_then_by_the_file():
    box = {'image_id': 1, 'bbox': [0, 0, 10, 10]}
    gt = {
        'images': [{'id': 1}],
        'categories': [{'id': 5, 'name': 'a'}, {'id': 2, 'name': 'b'}],
        'annotations': [box | {'id': 1, 'category_id': 5, 'area': 100}, box | {'id': 2, 'category_id': 2, 'area': 100}],
    }
    dt = [box | {'category_id': category, 'score': 0.5} for category in (5, 2, 5)]
    checked = load_ground_truth(gt)
    found = load_detections(dt, checked)
    index = Index.of(checked, found, Settings(class_agnostic=True, max_dets=2))
    assert index.dt_index.tolist() == [1, 0] and index.category_ids.tolist() == [-1]
    for engine in ENGINES:
        # The later of two equal instances is taken first.
        assert matching.match(checked, found, 'bbox', index, engine).matches().dt_gt[0].tolist() == [0, 1]


@pytest.mark.parametrize('class_agnostic', [False, True])
@pytest.mark.parametrize('size', [3, 300, 70_000])
def test_the_order_of_the_index(size, class_agnostic):
    rng = np.random.default_rng(size)
    ids = rng.permutation(size).tolist()
    gt = {
        'images': [{'id': i} for i in ids], 'categories': [{'id': i, 'name': str(i)} for i in ids], 'annotations': [],
    }  # fmt: skip
    columns = rng.integers(0, size, (2, 2000)).tolist()
    columns = [column[:1000] * 2 for column in columns]
    dt = [
        {'image_id': image, 'category_id': category, 'bbox': [0, 0, 1, 1], 'score': float(rng.integers(4))}
        for image, category in zip(*columns, strict=True)
    ]
    checked = load_ground_truth(gt)
    index = Index.of(checked, load_detections(dt, checked), Settings(max_dets=2000, class_agnostic=class_agnostic))
    expected = sorted(range(2000), key=lambda i: dt[i]['category_id'] if class_agnostic else 0)
    expected.sort(key=lambda i: (-dt[i]['score'], dt[i]['image_id']))
    if not class_agnostic:
        expected.sort(key=lambda i: dt[i]['category_id'])
    assert index.dt_index.tolist() == expected
    limited = Index.of(checked, load_detections(dt, checked), Settings(max_dets=1, class_agnostic=class_agnostic))
    seen, kept = set(), []
    for i in expected:
        cell = dt[i]['image_id'], 0 if class_agnostic else dt[i]['category_id']
        kept += [i] * (cell not in seen)
        seen.add(cell)
    assert limited.dt_index.tolist() == kept and len(kept) < 2000


def test_ignore_is_a_region_or_an_instance():
    gt, dt = dataset(3, many=False)
    perfect = [
        {key: row[key] for key in ('image_id', 'category_id', 'bbox')} | {'score': 0.9}
        for row in gt['annotations']
        if not row['iscrowd']
    ]
    gt = marked(gt, 3)
    ignored = sum(row['ignore'] and not row['iscrowd'] for row in gt['annotations'])
    whole = evaluate(gt, perfect)['bbox'].all
    assert ignored > 5 and whole.ap == pytest.approx(1)
    assert whole.num_instances == len(perfect) - ignored
    plain = evaluate(gt, perfect, ignore='as-instances')['bbox']
    assert plain.all.num_instances == len(perfect) and plain.all.ap == pytest.approx(1) and plain.ignore != 'region'
    unmarked = [row for row, each in zip(perfect, [a for a in gt['annotations'] if not a['iscrowd']], strict=True)
                if not each['ignore']]  # fmt: skip
    assert evaluate(gt, unmarked)['bbox'].all.ar == pytest.approx(1)
    assert evaluate(gt, unmarked, ignore='as-instances')['bbox'].all.ar < 0.95
    np.testing.assert_allclose(
        [getattr(evaluate(gt, dt)['bbox'].all, name) for name in NAMES],
        fresh(gt, dt, 'bbox', [image['id'] for image in gt['images']]),
        atol=1e-12,
    )


@pytest.mark.parametrize(
    ('chosen', 'ids'),
    [
        (None, [2, 5, 9]),
        (['b'], [5]),
        ('b', [5]),
        ([9, 'b', 9], [5, 9]),
        (['9 ', 5.0], [5, 9]),  # text as a command line has it
        (['5'], [2]),  # a name goes first
    ],
)
def test_categories_by_id_and_name(chosen, ids):
    records = [{'id': 9, 'name': 'c'}, {'id': 2, 'name': '5'}, {'id': 5, 'name': 'b'}]
    assert Settings(categories=chosen).chosen(records).tolist() == ids


def test_values_are_put_in_order():
    made = Settings(iou_thrs=[0.8, 0.5, 0.8], categories=[3, 3])
    assert made.iou_thrs == (0.5, 0.8) and made.categories == (3,)
    assert Settings(iou_thrs=0.5).iou_thrs == (0.5,)
    assert Settings().iou_thrs == tuple(COCOeval(iouType='bbox').params.iouThrs.tolist())


@pytest.mark.parametrize(
    'given',
    [
        np.arange(0.5, 1, 0.05),
        np.linspace(0.5, 0.95, 10, dtype=np.float32),
        [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95],
        [each + 1e-10 for each in IOU_THRS] + list(IOU_THRS),
    ],
)
def test_what_rounds_to_thresholds_of_coco_is_these(given):
    assert Settings(iou_thrs=given).iou_thrs == IOU_THRS
    assert [Settings().at(each) for each in given] == [*range(10)] * (len(given) // 10)


@pytest.mark.parametrize('engine', ENGINES)
def test_one_meaning_of_a_threshold_in_all_of_a_result(engine):
    gt, dt = dataset(2)
    details = Details.full(resamples=10, iou_thr=0.75 - 1e-11)
    results = [
        evaluate(gt, dt, engine=engine, details=details, settings=Settings(iou_thrs=thresholds))['bbox']
        for thresholds in ([0.5, 0.75], [0.5 + 1e-10, 0.75 - 1e-10])
    ]
    assert results[0].to_dict() == results[1].to_dict() and results[0].all.errors.iou_thr == 0.75
    other = evaluate(gt, dt, engine=engine, details=Details.full(resamples=10, iou_thr=0.5 + 1e-7),
                     settings=Settings(iou_thrs=[0.5 + 1e-7]))['bbox']  # fmt: skip
    assert math.isnan(other.all.ap50) and math.isnan(other.instances[0].recall50)
    assert math.isnan(other.all.intervals['ap50'].low) and math.isnan(other.all.categories[0].ap50)


@pytest.mark.parametrize(
    ('chosen', 'message'),
    [
        (dict(iou_thrs=()), r'the IoU thresholds are \(\); give numbers above 0 and up to 1'),
        (dict(iou_thrs=[0, 0.5]), 'the IoU thresholds are'),
        (dict(iou_thrs=[50]), 'the IoU thresholds are'),
        (dict(iou_thrs=[math.nan]), 'the IoU thresholds are'),
        (dict(iou_thrs='half'), 'the IoU thresholds are'),
        (dict(iou_thrs=None), 'the IoU thresholds are None'),
        (dict(max_dets=0), 'max_dets is 0; give a positive integer'),
        (dict(max_dets=1.5), 'max_dets is 1.5; give an integer'),
        (dict(class_agnostic='no'), "class_agnostic is 'no'; give True or False"),
        (dict(categories=[]), r'the categories are \[\]; give a list of ids or names'),
        (dict(categories=7), 'the categories are 7'),
        (dict(categories=[[1]]), r'the categories are \[\[1\]\]'),
    ],
)
def test_settings_that_make_no_sense(chosen, message):
    with pytest.raises(InputError, match=message):
        Settings(**chosen)


def test_categories_that_are_not_there():
    gt, dt = dataset(1)
    gt['categories'][1]['name'] = gt['categories'][0]['name'] = 'twin'
    with pytest.raises(InputError, match="no category has the name or id 'dog'; choose from 'twin', '20'"):
        evaluate(gt, dt, settings=Settings(categories=['dog']))
    with pytest.raises(InputError, match='no category has the name or id 4;'):
        evaluate(gt, dt, settings=Settings(categories=[4]))
    with pytest.raises(InputError, match="2 categories are called 'twin'; give their ids"):
        evaluate(gt, dt, settings=Settings(categories=['twin']))
