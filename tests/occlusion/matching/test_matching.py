import copy
import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion import matching
from mmhybrid.occlusion.matching import Index, Metrics
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import dataset, hard_dataset, reference_metrics
from .pycoco_matches import pycoco_matches

IOU_TYPES = ['bbox', 'segm']


@pytest.fixture(params=matching.ENGINES)
def engine(request):
    if request.param == 'hotcoco':
        pytest.importorskip('hotcoco')
    return request.param


def load(gt, dt, iou_type):
    checked = load_ground_truth(gt, (iou_type,))
    return checked, load_detections(dt, checked, (iou_type,))


def match(engine, gt, dt, iou_type, settings=None):
    checked, found = load(gt, dt, iou_type)
    return matching.match(checked, found, iou_type, Index.of(checked, found, settings), engine)


def all_ids(gt):
    return [image['id'] for image in gt['images']]


def metrics_of(matched, gt, strata):
    """Name -> metrics, given name -> image ids."""
    at = {image_id: i for i, image_id in enumerate(sorted(all_ids(gt)))}
    members = [np.array([at[image_id] for image_id in ids], dtype=int) for ids in strata.values()]
    return dict(zip(strata, matched.metrics(members), strict=True))


def random_strata(gt, seed):
    rng = np.random.default_rng(seed)
    ids = all_ids(gt)
    sizes = {f'{k} images': rng.choice(ids, k, replace=False).tolist() for k in range(1, len(ids), 2)}
    return {'all': ids, 'none': [], 'even': ids[::2], 'odd': ids[1::2]} | sizes


def assert_same_matches(got, expected):
    for field in dataclasses.fields(expected):
        ours, theirs = getattr(got, field.name), getattr(expected, field.name)
        if isinstance(theirs, np.ndarray):
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
            assert ours.dtype == theirs.dtype, field.name
        else:
            assert ours == theirs, field.name


@pytest.mark.parametrize('iou_type', IOU_TYPES)
@pytest.mark.parametrize('make', [dataset, hard_dataset])
def test_reference_equals_fresh_pycocotools_on_every_stratum_bit_for_bit(make, iou_type):
    for seed in range(4):
        gt, dt = make(seed, masks=iou_type == 'segm')
        strata = random_strata(gt, seed)
        metrics = metrics_of(match('pycocotools', gt, dt, iou_type), gt, strata)
        for name, ids in strata.items():
            np.testing.assert_array_equal(
                dataclasses.astuple(metrics[name]), reference_metrics(gt, dt, ids, iou_type), err_msg=f'{seed} {name}'
            )
        assert make is hard_dataset or 0 < metrics['all'].ap < metrics['all'].ap50 < 1


@pytest.mark.parametrize('iou_type', IOU_TYPES)
def test_reference_matches_are_those_of_a_plain_run(iou_type):
    ignored = 0
    for seed in range(4):
        gt, dt = dataset(seed, masks=iou_type == 'segm')
        expected = pycoco_matches(gt, dt, iou_type)
        assert (expected.dt_gt >= 0).any()
        assert len(expected.dt_index) < len(dt)  # some image has more than 100 of a class
        ignored += expected.dt_ignored.sum()
        assert_same_matches(match('pycocotools', gt, dt, iou_type).matches(), expected)
    assert ignored


@pytest.mark.parametrize('iou_type', IOU_TYPES)
def test_engines_agree(iou_type, monkeypatch):
    fast_engine = pytest.importorskip('mmhybrid.occlusion.matching.hot')

    @settings(max_examples=40, deadline=None)
    @given(st.integers(0, 2**32), st.booleans(), st.integers(1, 12), st.sampled_from([1, 2, 500]))
    def check(seed, hard, num_images, batch):
        monkeypatch.setattr(fast_engine, 'BATCH', batch)
        gt, dt = (hard_dataset if hard else dataset)(seed, masks=iou_type == 'segm', num_images=num_images)
        if not gt['annotations'] or not dt:
            return
        reference, fast = (match(engine, gt, dt, iou_type) for engine in matching.ENGINES)
        strata = random_strata(gt, seed)
        expected, got = (metrics_of(each, gt, strata) for each in (reference, fast))
        for name in strata:
            pair = dataclasses.astuple(got[name]), dataclasses.astuple(expected[name])
            np.testing.assert_allclose(*pair, rtol=0, atol=1e-12, err_msg=name)
        assert_same_matches(fast.matches(), reference.matches())

    check()


@pytest.mark.parametrize('iou_type', IOU_TYPES)
def test_engines_agree_over_many_batches(iou_type, monkeypatch):
    fast = pytest.importorskip('mmhybrid.occlusion.matching.hot')
    gt, dt = dataset(21, num_images=23, masks=iou_type == 'segm')
    expected = match('pycocotools', gt, dt, iou_type)
    for batch in (1, 5, 22, 23):
        monkeypatch.setattr(fast, 'BATCH', batch)
        got = match('hotcoco', gt, dt, iou_type)
        assert_same_matches(got.matches(), expected.matches())
        pair = (dataclasses.astuple(metrics_of(each, gt, {'x': all_ids(gt)})['x']) for each in (got, expected))
        np.testing.assert_allclose(*pair, rtol=0, atol=1e-12)


def test_area_limits_count_on_both_sides(engine):
    areas = [1024.0, 9216.0, 1e10, 2e10]
    images = [{'id': i} for i in range(4)]
    gt = {'images': images, 'categories': [{'id': 1, 'name': 'a'}], 'annotations': []}
    dt = []
    for i, area in enumerate(areas):
        side = math.sqrt(area)
        row = {'image_id': i, 'category_id': 1, 'bbox': [0, 0, side, side]}
        gt['annotations'].append(row | {'id': i + 1, 'area': area, 'iscrowd': 0})
        dt.append(row | {'score': 1})
    matched = match(engine, gt, dt, 'bbox')
    metrics = metrics_of(matched, gt, {str(i): [i] for i in range(4)})
    one = pytest.approx(1, abs=1e-9)
    sizes = [(m.ap, m.aps, m.apm, m.apl) for m in metrics.values()]
    nan = pytest.approx(math.nan, nan_ok=True)
    assert sizes == [(one, one, one, nan), (one, nan, one, one), (one, nan, nan, one), (nan, nan, nan, nan)]
    matches = matched.matches()
    assert matches.gt_counted.tolist() == [True, True, True, False]
    # What is larger than COCO's largest area is neither right nor wrong, as if in a crowd region.
    assert (matches.dt_ignored == [False, False, False, True]).all()


def test_the_order_of_images_does_not_matter(engine):
    gt, dt = dataset(6)
    matched = match(engine, gt, dt, 'bbox')
    ids = all_ids(gt)[:7]
    metrics = metrics_of(matched, gt, {'a': ids, 'b': ids[::-1], 'c': ids[:3]})
    assert metrics['a'] == metrics['b'] != metrics['c']
    assert metrics_of(matched, gt, {'a': ids}) == {'a': metrics['a']}
    assert matched.metrics([]) == []


def test_nothing_is_nan(engine):
    gt, dt = dataset(4)
    gt['annotations'] = [row for row in gt['annotations'] if row['image_id'] == gt['images'][1]['id']]
    strata = {'no images': [], 'no instances': [gt['images'][2]['id']]}
    metrics = metrics_of(match(engine, gt, dt, 'bbox'), gt, strata)
    for each in metrics.values():
        assert all(map(math.isnan, dataclasses.astuple(each)))


def test_no_detections_is_zero(engine):
    gt, dt = dataset(4)
    checked, detections = load(gt, dt, 'bbox')
    columns = ('image_ids', 'category_ids', 'scores', 'boxes')
    empty = dataclasses.replace(detections, **{name: getattr(detections, name)[:0] for name in columns})
    matched = matching.match(checked, empty, 'bbox', engine=engine)
    found = metrics_of(matched, gt, {'all': all_ids(gt)})['all']
    assert (found.ap, found.ap50, found.ap75, found.ar) == (0, 0, 0, 0)
    matches = matched.matches()
    assert matches.dt_gt.shape == matches.dt_ignored.shape == (10, 0)
    assert matches.gt_counted.sum() == sum(not row['iscrowd'] for row in gt['annotations'])


@pytest.mark.parametrize('iou_type', IOU_TYPES)
def test_the_callers_objects_and_the_terminal_stay_as_they_are(engine, iou_type, capfd):
    gt, dt = dataset(5, masks=True)
    before = copy.deepcopy((gt, dt))
    matched = match(engine, gt, dt, iou_type)
    first = metrics_of(matched, gt, {'all': all_ids(gt)}), matched.matches()
    second = metrics_of(matched, gt, {'all': all_ids(gt)}), matched.matches()
    assert first[0] == second[0] and first[0]['all'] != Metrics()
    assert_same_matches(*(each[1] for each in (first, second)))
    assert (gt, dt) == before
    assert capfd.readouterr() == ('', '')


def test_a_record_without_iscrowd_counts_as_an_instance(engine):
    gt, dt = dataset(7)
    plain = copy.deepcopy(gt)
    for row in plain['annotations']:
        if not row['iscrowd']:
            del row['iscrowd']
    expected, got = (match(engine, each, dt, 'bbox') for each in (gt, plain))
    assert metrics_of(got, gt, {'all': all_ids(gt)}) == metrics_of(expected, gt, {'all': all_ids(gt)})
    assert_same_matches(got.matches(), expected.matches())


def test_engines_by_name():
    assert matching.engine_name('pycocotools') == 'pycocotools'
    assert matching.engine_name(None) == matching.default_engine() in matching.ENGINES
    for name in ('coco', 5):
        with pytest.raises(InputError, match=f'unknown engine {name!r}; choose from pycocotools, hotcoco'):
            matching.engine_name(name)


def test_without_hotcoco(monkeypatch):
    monkeypatch.setattr(matching, 'find_spec', lambda name: None)
    assert matching.default_engine() == 'pycocotools'
    with pytest.raises(InputError, match='pip install hotcoco'):
        matching.engine_name('hotcoco')
