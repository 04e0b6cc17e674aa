import copy
import math

import numpy as np
import pytest

from mmhybrid.occlusion import evaluate, image_ratios, tbc
from mmhybrid.occlusion.engine import evaluate as match
from mmhybrid.occlusion.io import load_detections, load_ground_truth

from .synthetic import CATEGORIES, dataset, reference

RUNS = [('bbox', seed) for seed in range(5)] + [('segm', seed) for seed in range(5, 7)]


@pytest.mark.parametrize('iou_type, seed', RUNS)
def test_every_stratum_equals_a_fresh_run_on_its_images(iou_type, seed):
    gt, dt = dataset(seed, masks=iou_type == 'segm')
    result = evaluate(gt, dt, iou_type)[iou_type]
    ratios = image_ratios(gt)
    assert [row.stratum for row in result.strata] == list(tbc())
    for row in result.strata:
        image_ids = row.stratum.members(ratios)
        got = [row.ap, row.ap50, row.ap75, row.ar]
        np.testing.assert_array_equal(got, reference(gt, dt, image_ids, iou_type), err_msg=row.stratum.name)


@pytest.mark.parametrize('iou_type, seed', [('bbox', 11), ('segm', 12)])
def test_all_equals_plain_pycocotools(iou_type, seed):
    gt, dt = dataset(seed, masks=iou_type == 'segm')
    row = evaluate(gt, dt, iou_type)[iou_type].all
    assert [row.ap, row.ap50, row.ap75, row.ar] == reference(gt, dt, [i['id'] for i in gt['images']], iou_type)
    assert 0 < row.ap < 1


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
    result = evaluate(gt, dt)['bbox']
    no_images = next(row for row in result.bins if row.num_images == 0)
    assert math.isnan(no_images.ap) and math.isnan(no_images.ar) and math.isnan(no_images.instances_per_image)
    no_instances = result.bins[0]
    assert no_instances.num_images == len(gt['images']) - 1 and no_instances.num_categories == 0
    assert math.isnan(no_instances.ap) and no_instances.instances_per_image == 0


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_the_callers_objects_stay_as_they_are(iou_type, capsys):
    gt, dt = dataset(5, masks=True)
    before = copy.deepcopy((gt, dt))
    evaluate(gt, dt, iou_type)
    assert (gt, dt) == before
    assert capsys.readouterr().out == ''


def test_image_order_does_not_matter_and_repeats_count():
    gt, dt = dataset(6)
    checked = load_ground_truth(gt)
    matched = match(checked, load_detections(dt, checked), 'bbox')
    ids = checked.image_ids.tolist()[:6]
    assert matched.accumulate(ids) == matched.accumulate(ids[::-1])
    assert matched.accumulate(ids) != matched.accumulate([*ids, ids[1]])
    with pytest.raises(KeyError):
        matched.accumulate([-5])


def test_a_record_without_iscrowd_counts_as_an_instance():
    gt, dt = dataset(7)
    plain = copy.deepcopy(gt)
    for row in plain['annotations']:
        if not row['iscrowd']:
            del row['iscrowd']
    expected, got = evaluate(gt, dt)['bbox'], evaluate(plain, dt)['bbox']
    assert got.to_dict() == expected.to_dict()
