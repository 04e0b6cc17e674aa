"""The whole evaluation through its public calls, against pycocotools on the stratum's images alone."""

import contextlib
import copy
import io
import math
from importlib.util import find_spec

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmhybrid.occlusion import Details, Selection, bins, compare, evaluate, image_ratios, tbc
from mmhybrid.occlusion.results import METRICS

from ..synthetic import CATEGORIES, dataset, hard_dataset, reference_metrics

RUNS = [('bbox', seed) for seed in range(4)] + [('segm', seed) for seed in range(5, 7)]
HOTCOCO = pytest.mark.skipif(find_spec('hotcoco') is None, reason='hotcoco is not installed')
ENGINES = ['pycocotools', pytest.param('hotcoco', marks=HOTCOCO)]
FULL = Details.full(resamples=20, min_score=0.2)


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize(('iou_type', 'seed'), RUNS)
def test_every_stratum_equals_a_fresh_run_on_its_images(iou_type, seed, engine):
    gt, dt = dataset(seed, masks=iou_type == 'segm')
    result = evaluate(gt, dt, iou_type, engine=engine)[iou_type]
    ratios = image_ratios(gt)
    assert [row.stratum for row in result.strata] == list(tbc())
    tolerance = 0 if engine == 'pycocotools' else 1e-12
    for row in result.strata:
        got = [getattr(row, key) for key in METRICS]
        expected = reference_metrics(gt, dt, row.stratum.members(ratios), iou_type)
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance, err_msg=row.stratum.name)
    assert 0 < result.all.ap < 1 and result.engine == engine


def test_labels_of_the_users_own_equal_fresh_runs():
    gt, dt = dataset(8)
    ids = [image['id'] for image in gt['images']]
    values = {image_id: ('night', 'day', 'dusk')[i % 3] for i, image_id in enumerate(ids)}
    result = evaluate(gt, dt, by=Selection(values=values), details=FULL)['bbox']
    assert [row.stratum.name for row in result.strata] == ['all', 'day', 'dusk', 'night']
    for row in result.groups:
        members = [image_id for image_id in ids if values[image_id] == row.stratum.name]
        np.testing.assert_allclose(
            [getattr(row, key) for key in METRICS], reference_metrics(gt, dt, members), atol=1e-12
        )
        assert row.num_images == len(members) and set(row.intervals) == {'ap', 'ap50', 'ap75', 'ar'}


def test_counts():
    gt, dt = dataset(3)
    result = evaluate(gt, dt)['bbox']
    instances = [row for row in gt['annotations'] if not row['iscrowd']]
    assert len(instances) < len(gt['annotations'])
    assert result.all.num_images == len(gt['images']) == sum(row.num_images for row in result.bins)
    assert result.all.num_instances == len(instances) == sum(row.num_instances for row in result.bins)
    assert result.all.num_categories == len(CATEGORIES) - 1
    assert result.all.instances_per_image == len(instances) / len(gt['images'])


def test_a_stratum_without_ground_truth_is_nan():
    gt, dt = dataset(4)
    gt['annotations'] = [row for row in gt['annotations'] if row['image_id'] == gt['images'][1]['id']]
    result = evaluate(gt, dt, details=FULL)['bbox']
    no_images = next(row for row in result.bins if row.num_images == 0)
    assert math.isnan(no_images.ap) and math.isnan(no_images.ar) and math.isnan(no_images.instances_per_image)
    assert math.isnan(no_images.intervals['ap'].low) and not no_images.categories and math.isnan(no_images.ap_common)
    no_instances = result.bins[0]
    assert no_instances.num_images == len(gt['images']) - 1 and no_instances.num_categories == 0
    assert math.isnan(no_instances.ap) and no_instances.instances_per_image == 0
    assert no_instances.errors.true_positive == no_instances.errors.missed == 0 < no_instances.errors.background


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_the_callers_objects_stay_as_they_are(iou_type, capsys):
    gt, dt = dataset(5, masks=True)
    before = copy.deepcopy((gt, dt))
    evaluate(gt, dt, iou_type, details=FULL)
    assert (gt, dt) == before
    assert capsys.readouterr().out == ''


def test_a_record_without_iscrowd_counts_as_an_instance():
    gt, dt = dataset(7)
    plain = copy.deepcopy(gt)
    for row in plain['annotations']:
        if not row['iscrowd']:
            del row['iscrowd']
    expected, got = evaluate(gt, dt)['bbox'], evaluate(plain, dt)['bbox']
    assert got.to_dict() == expected.to_dict()


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_categories_equal_plain_pycocotools(iou_type):
    gt, dt = dataset(9, masks=True)
    result = evaluate(gt, dt, iou_type, by=bins((0, 0.3, 1)), details=Details(categories=True, min_images=1))[iou_type]
    ratios = image_ratios(gt)
    for row in result.strata:
        expected = _by_category(gt, dt, row.stratum.members(ratios), iou_type)
        assert {each.id: each.ap for each in row.categories} == expected
        assert sum(each.num_instances for each in row.categories) == row.num_instances
        # AP is the mean over categories; a category is in one IoU-recall grid each, so means of means agree.
        assert np.mean([each.ap for each in row.categories]) == pytest.approx(row.ap, abs=1e-12)
    common = set.intersection(*({each.id for each in row.categories} for row in result.strata))
    assert result.num_common_categories == len(common) > 0
    for row in result.strata:
        assert row.ap_common == pytest.approx(np.mean([each.ap for each in row.categories if each.id in common]))


def _by_category(gt, dt, image_ids, iou_type):
    """Category id -> AP of a plain pycocotools run on these images."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(gt)
        coco.createIndex()
        results = copy.deepcopy(dt)
        if iou_type == 'segm':
            for row in results:
                del row['bbox']
        evaluator = COCOeval(coco, coco.loadRes(results), iou_type)
        evaluator.params.imgIds = sorted(image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
    precision = evaluator.eval['precision'][:, :, :, 0, -1]
    return {
        category: float(precision[:, :, k].mean())
        for k, category in enumerate(evaluator.params.catIds)
        if (precision[:, :, k] > -1).any()
    }


def test_errors_and_recall_add_up():
    gt, dt = dataset(10)
    result = evaluate(gt, dt, details=FULL)['bbox']
    for row in result.strata:
        assert row.errors.true_positive + row.errors.missed == row.num_instances
    for kind in ('true_positive', 'missed', *result.all.errors.KINDS):
        assert sum(getattr(row.errors, kind) for row in result.bins) == getattr(result.all.errors, kind)
    assert sum(row.num_instances for row in result.instances) == result.all.num_instances
    assert result.fraction == 'covered fraction f (bbox)'
    # AR is the mean over categories, recall by instance over instances: with one category they are the same.
    for table in (gt['annotations'], dt):
        for row in table:
            row['category_id'] = CATEGORIES[0]
    one = evaluate(gt, dt, details=FULL)['bbox']
    weights = [row.num_instances for row in one.instances]
    recall = np.average([row.recall for row in one.instances if row.num_instances], weights=[w for w in weights if w])
    assert recall == pytest.approx(one.all.ar, abs=1e-12)


def test_intervals_are_seeded_and_hold_the_estimate():
    gt, dt = dataset(11, num_images=40)
    run = [evaluate(gt, dt, details=Details(resamples=100, seed=seed))['bbox'] for seed in (0, 0, 1)]
    assert run[0].to_json() == run[1].to_json() != run[2].to_json()
    whole = run[0].all
    assert whole.intervals['ap'].low < whole.ap < whole.intervals['ap'].high
    assert run[0].bootstrap.resamples == 100
    wide, narrow = (
        evaluate(gt, dt, details=Details(resamples=100, confidence=c))['bbox'].all.intervals['ap'] for c in (0.95, 0.5)
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_both_engines_give_the_same_details():
    pytest.importorskip('hotcoco')
    gt, dt = hard_dataset(12)
    a, b = (evaluate(gt, dt, details=FULL, engine=engine)['bbox'].to_dict() for engine in ('pycocotools', 'hotcoco'))
    _close(a | {'engine': ''}, b | {'engine': ''})


def _close(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            _close(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            _close(x, y)
    elif isinstance(a, float):
        assert a == pytest.approx(b, abs=1e-12)
    else:
        assert a == b


def test_a_model_against_itself_and_against_a_worse_one():
    gt, dt = dataset(13, num_images=40)
    worse = [row | {'bbox': [row['bbox'][0] + 2, *row['bbox'][1:]]} for row in dt]
    compared = compare(gt, {'a': dt, 'same': copy.deepcopy(dt), 'worse': worse}, details=Details(resamples=60))
    assert [result.name for result in compared.results] == ['a', 'same', 'worse']
    same, shifted = compared.comparisons
    assert (same.baseline, same.model, shifted.model) == ('a', 'same', 'worse')
    for row in same.differences:
        if not math.isnan(row.p_value):
            assert row.difference == 0 and row.interval.low == row.interval.high == 0 and row.p_value == 1
    assert same.differences[0].p_value == 1
    whole = next(row for row in shifted.differences if row.stratum.kind == 'all' and row.metric == 'ap')
    assert whole.difference == compared.results[2].all.ap - compared.results[0].all.ap < 0
    assert whole.interval.high < 0 and whole.p_value < 0.05
