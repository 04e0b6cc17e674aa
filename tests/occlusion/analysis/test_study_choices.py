"""A study of nothing, and at other settings than COCO's."""

import math
from importlib.util import find_spec

import pytest

from mmhybrid.occlusion import Details, Settings, compare, evaluate

from ..synthetic import CATEGORIES, dataset

HOTCOCO = pytest.mark.skipif(find_spec('hotcoco') is None, reason='hotcoco is not installed')
ENGINES = ['pycocotools', pytest.param('hotcoco', marks=HOTCOCO)]
FULL = Details.full(resamples=20, min_score=0.2)


@pytest.mark.parametrize('engine', ENGINES)
@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_empty_is_a_result(iou_type, engine):
    gt, dt = dataset(2, masks=True)
    nothing = evaluate(gt, [], iou_type, details=FULL, engine=engine)[iou_type]
    assert (nothing.all.ap, nothing.all.ap50, nothing.all.ar) == (0, 0, 0)
    assert nothing.all.errors.missed == nothing.all.num_instances > 0 == nothing.all.errors.false_positives
    assert [row.recall for row in nothing.instances if row.num_instances] == [0] * 6
    assert nothing.all.intervals['ap'].high == 0 == sum(row.ap for row in nothing.all.categories)
    crowds = [row | {'iscrowd': 1} for row in gt['annotations']]
    for annotations in ([], crowds):
        for results in ([], dt):
            blank = evaluate(gt | {'annotations': annotations}, results, iou_type, details=FULL, engine=engine)[
                iou_type
            ]
            assert math.isnan(blank.all.ap) and math.isnan(blank.all.ar) and math.isnan(blank.instances[0].recall)
            assert blank.all.num_instances == blank.num_common_categories == 0 == len(blank.all.categories)


def test_a_comparison_goes_on_without_detections():
    gt, dt = dataset(2)
    compared = compare(gt, {'a': dt, 'nothing': []}, details=Details.full(resamples=20))
    (made,) = compared.comparisons
    assert made.differences[0].difference == -compared.results[0].all.ap and made.differences[0].interval.high < 0
    blank = compare(gt | {'annotations': []}, {'a': dt, 'nothing': []}, details=Details(resamples=20))
    assert math.isnan(blank.comparisons[0].differences[0].p_value)


def test_where_class_makes_no_difference_there_are_no_categories():
    gt, dt = dataset(2)
    dt += [row | {'category_id': CATEGORIES[-1], 'score': 0.9} for row in dt[:80]]
    result = evaluate(gt, dt, details=FULL, settings=Settings(class_agnostic=True))['bbox']
    assert result.all.num_categories == 1 and result.all.categories == () and result.num_common_categories is None
    assert result.all.errors.confusion == 0 < evaluate(gt, dt, details=FULL)['bbox'].all.errors.confusion
    assert result.all.num_instances == evaluate(gt, dt)['bbox'].all.num_instances


def test_chosen_categories_leave_the_strata_as_they_are():
    gt, dt = dataset(2)
    chosen = evaluate(gt, dt, details=FULL, settings=Settings(categories=CATEGORIES[:1]))['bbox']
    whole = evaluate(gt, dt, details=FULL)['bbox']
    assert [row.num_images for row in chosen.strata] == [row.num_images for row in whole.strata]
    for row, of_all in zip(chosen.strata, whole.strata, strict=True):
        one = [each for each in of_all.categories if each.id == CATEGORIES[0]]
        assert row.categories == tuple(one) and row.num_instances == sum(each.num_instances for each in one)
        assert row.errors.true_positive + row.errors.missed == row.num_instances
    assert sum(row.num_instances for row in chosen.instances) == chosen.all.num_instances > 0


def test_at_other_thresholds():
    gt, dt = dataset(2)
    settings = Settings(iou_thrs=[0.6, 0.75])
    result = evaluate(gt, dt, details=Details.full(resamples=10, iou_thr=0.75), settings=settings)['bbox']
    assert math.isnan(result.all.ap50) and math.isnan(result.all.intervals['ap50'].low)
    whole = evaluate(gt, dt, details=Details.full(resamples=10, iou_thr=0.75))['bbox']
    assert result.all.ap75 == whole.all.ap75 and result.all.errors == whole.all.errors
    assert result.all.intervals['ap75'] == whole.all.intervals['ap75'] != result.all.intervals['ap']
    for row, other in zip(result.instances, whole.instances, strict=True):
        assert math.isnan(row.recall50) and (row.recall75 == other.recall75 or not row.num_instances)
    assert [each.ap75 for each in result.all.categories] == [each.ap75 for each in whole.all.categories]
