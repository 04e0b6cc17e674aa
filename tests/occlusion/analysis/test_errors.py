import copy
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.occlusion.analysis.errors import KINDS, NOT_COUNTED, classify, count
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.results import Errors

from ..matching.pycoco_matches import pycoco_matches
from ..synthetic import CATEGORIES, SIZE, dataset, hard_dataset, rectangle


def load(gt, dt, iou_type='bbox'):
    checked = load_ground_truth(gt, ('bbox', 'segm')) if iou_type == 'segm' else load_ground_truth(gt)
    return checked, load_detections(dt, checked, (iou_type,))


def labels(gt, dt, iou_type='bbox', **arguments):
    """Detection's place in ``dt`` -> kind or None, of the detections that were matched."""
    matches = pycoco_matches(gt, dt, iou_type)
    kinds = classify(matches, *load(gt, dt, iou_type), **arguments)
    names = [None if kind == NOT_COUNTED else KINDS[kind] for kind in kinds]
    return dict(zip(matches.dt_index.tolist(), names, strict=True))


def mixed(seed, masks=False):
    """``dataset`` with more detections close to instances, of which three in ten have another class."""
    gt, dt = dataset(seed, masks=masks)
    rng = np.random.default_rng(seed)
    for row in [*gt['annotations'], *gt['annotations']]:
        box = (np.array(row['bbox']) + rng.normal(0, 0.15, 4)).tolist()
        shape = {'bbox': box, 'segmentation': rectangle(box)} if masks else {'bbox': box}
        place = {'image_id': row['image_id'], 'category_id': row['category_id']}
        dt.append(place | shape | {'score': round(float(rng.random()), 1)})
    for row in dt:
        if rng.random() < 0.3:
            row['category_id'] = int(rng.choice(CATEGORIES))
    rng.shuffle(dt)
    return gt, dt


def tied(seed, masks=False):
    """``hard_dataset``, whose IoUs equal each other and thresholds, with all sizes and ids in pycocotools' range."""
    gt, dt = hard_dataset(seed, masks=masks)
    for position, row in enumerate(gt['annotations']):
        row |= {'id': position + 1, 'area': min(row['area'], 1e9)}
    for row in dt:
        row['bbox'] = np.minimum(row['bbox'], 1e4).tolist()
    return gt, dt


def box_iou(a, b, crowd=False):
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0
    shared = width * height
    return shared / (a[2] * a[3] if crowd else a[2] * a[3] + b[2] * b[3] - shared)


def pixels(row):
    shape = row['segmentation']
    if not isinstance(shape, dict):
        shape = mask.merge(mask.frPyObjects(shape, SIZE, SIZE))
    return mask.decode(shape).astype(bool)


def mask_iou(a, b, crowd=False):
    shared, union = int((a & b).sum()), int(a.sum() if crowd else (a | b).sum())
    return shared / union if union else 0


def slow(gt, dt, iou_type, iou_thr, min_score):
    """The definitions read aloud: greedy matching, then each kind in turn, in plain loops without pycocotools."""
    overlap = box_iou if iou_type == 'bbox' else mask_iou
    shape = (lambda row: row['bbox']) if iou_type == 'bbox' else pixels
    gt_shapes, dt_shapes = [shape(row) for row in gt['annotations']], [shape(row) for row in dt]
    result, missed = {}, 0
    for image in gt['images']:
        instances = [i for i, row in enumerate(gt['annotations']) if row['image_id'] == image['id']]
        real = [i for i in instances if not gt['annotations'][i]['iscrowd']]
        taken = set()
        for category in gt['categories']:
            of_class = [i for i in instances if gt['annotations'][i]['category_id'] == category['id']]
            found = [i for i, d in enumerate(dt) if (d['image_id'], d['category_id']) == (image['id'], category['id'])]
            for d in sorted(found, key=lambda i: -dt[i]['score'])[:100]:
                best, won = iou_thr, None
                for g in of_class:
                    if g in real and g not in taken and overlap(dt_shapes[d], gt_shapes[g]) >= best:
                        best, won = overlap(dt_shapes[d], gt_shapes[g]), g
                low = dt[d]['score'] < min_score
                if won is not None:
                    result[d] = None if low else 'true_positive'
                    taken |= {won} if not low else set()
                    continue
                crowds = [g for g in of_class if g not in real]
                if low or any(overlap(dt_shapes[d], gt_shapes[g], True) >= iou_thr for g in crowds):
                    result[d] = None
                    continue
                same = [overlap(dt_shapes[d], gt_shapes[g]) for g in real if g in of_class]
                other = [overlap(dt_shapes[d], gt_shapes[g]) for g in real if g not in of_class]
                if any(iou >= iou_thr for iou in same):
                    result[d] = 'duplicate'
                elif any(iou >= iou_thr for iou in other):
                    result[d] = 'confusion'
                elif any(iou >= 0.1 for iou in same + other):
                    result[d] = 'partial'
                else:
                    result[d] = 'background'
        missed += len(set(real) - taken)
    return result, missed


RUNS = [('bbox', 0, 0.5, 0.3), ('bbox', 1, 0.75, 0.3), ('bbox', 2, 0.5, 0), ('bbox', 3, 0.9, 0.7)]
RUNS += [('segm', 4, 0.5, 0.3), ('segm', 5, 0.75, 0)]


@pytest.mark.parametrize('iou_type, seed, iou_thr, min_score', RUNS)
def test_equals_plain_loops(iou_type, seed, iou_thr, min_score):
    gt, dt = mixed(seed, masks=iou_type == 'segm')
    expected, missed = slow(gt, dt, iou_type, iou_thr, min_score)
    assert labels(gt, dt, iou_type, iou_thr=iou_thr, min_score=min_score) == expected
    assert set(expected.values()) == {None, *KINDS}, 'the data should hold every kind'
    matches = pycoco_matches(gt, dt, iou_type)
    kinds = classify(matches, *load(gt, dt, iou_type), iou_thr, min_score)
    every = count(kinds, matches, np.arange(len(gt['images'])), iou_thr, min_score)
    numbers = Counter(expected.values())
    assert every == Errors(iou_thr, min_score, *(numbers[kind] for kind in KINDS), missed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from([0.5, 0.75]), st.sampled_from([-2, 0, 0.25, 0.6]))
def test_equals_plain_loops_where_numbers_tie(seed, masks, iou_thr, min_score):
    gt, dt = tied(seed, masks)
    if gt['annotations']:
        iou_type = 'segm' if masks else 'bbox'
        expected, _ = slow(gt, dt, iou_type, iou_thr, min_score)
        assert labels(gt, dt, iou_type, iou_thr=iou_thr, min_score=min_score) == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0.5, 0.75, 0.95]), st.sampled_from([0, 0.3, 0.55, 2]))
def test_sums(seed, iou_thr, min_score):
    gt, dt = mixed(seed)
    matches = pycoco_matches(gt, dt)
    kinds = classify(matches, *load(gt, dt), iou_thr, min_score)
    at = np.flatnonzero(np.isclose(matches.iou_thrs, iou_thr))[0]
    # Matching left no instance free that an unmatched detection of its class could take, so `same` is `duplicate`.
    parts = np.array_split(np.random.default_rng(seed).permutation(len(matches.image_ids)), 3)
    each = [count(kinds, matches, part, iou_thr, min_score) for part in parts]
    for part, errors in zip(parts, each, strict=True):
        here = np.isin(matches.dt_image, part) & (matches.dt_score >= min_score) & ~matches.dt_ignored[at]
        assert errors.true_positive == (here & (matches.dt_gt[at] >= 0)).sum()
        assert errors.true_positive + errors.false_positives == here.sum()
        instances = [row for row in gt['annotations'] if not row['iscrowd']]
        ids = matches.image_ids[part]
        assert errors.true_positive + errors.missed == sum(row['image_id'] in ids for row in instances)
    every = count(kinds, matches, np.arange(len(matches.image_ids)), iou_thr, min_score)
    for kind in (*KINDS, 'missed'):
        assert getattr(every, kind) == sum(getattr(errors, kind) for errors in each)


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('min_score', [0.1, 0.3, 0.6])
def test_leaving_out_low_scores_changes_no_other_match(seed, min_score):
    gt, dt = mixed(seed)
    kept = [i for i, row in enumerate(dt) if row['score'] >= min_score]
    fresh, whole = pycoco_matches(gt, [dt[i] for i in kept]), pycoco_matches(gt, dt)
    head = whole.dt_score >= min_score
    assert np.array(kept)[fresh.dt_index].tolist() == whole.dt_index[head].tolist()
    np.testing.assert_array_equal(fresh.dt_gt, whole.dt_gt[:, head])
    np.testing.assert_array_equal(fresh.dt_ignored, whole.dt_ignored[:, head])
    alone = labels(gt, [dt[i] for i in kept], min_score=0)
    beside = labels(gt, dt, min_score=min_score)
    assert {kept[i]: kind for i, kind in alone.items()} == {i: beside[i] for i in beside if dt[i]['score'] >= min_score}


BOX = [10, 10, 20, 20]
# From the left edge of BOX: IoU with it is exactly width / 20.
SCENES = {
    'taken': ([(3, BOX, 0.9)], ['true_positive']),
    'taken at the threshold': ([(3, [10, 10, 10, 20], 0.9)], ['true_positive']),
    'taken twice': ([(3, BOX, 0.9), (3, [10, 10, 19, 20], 0.8)], ['true_positive', 'duplicate']),
    'the lower score is the duplicate': ([(3, BOX, 0.5), (3, [10, 10, 12, 20], 0.8)], ['duplicate', 'true_positive']),
    'wrong class': ([(7, BOX, 0.9)], ['confusion']),
    'wrong class at the threshold': ([(7, [10, 10, 10, 20], 0.9)], ['confusion']),
    'wrong class and poor': ([(7, [10, 10, 9, 20], 0.9)], ['partial']),
    'poor': ([(3, [10, 10, 9, 20], 0.9)], ['partial']),
    'barely': ([(3, [10, 10, 2, 20], 0.9)], ['partial']),
    'too poor': ([(3, [10, 10, 1.9, 20], 0.9)], ['background']),
    'elsewhere': ([(3, [40, 40, 9, 9], 0.9)], ['background']),
    'low score': ([(3, BOX, 0.29), (7, BOX, 0.3)], [None, 'confusion']),
    'low score after a duplicate': (
        [(3, BOX, 0.2), (3, BOX, 0.9), (3, BOX, 0.4)],
        [None, 'true_positive', 'duplicate'],
    ),
}


def scene(detections, instances, masks=False):
    gt = {
        'images': [{'id': i, 'height': SIZE, 'width': SIZE} for i in (5, 2)],
        'categories': [{'id': i, 'name': str(i)} for i in CATEGORIES],
        'annotations': [
            {
                'id': 1 + i, 'image_id': image, 'category_id': category, 'bbox': box, 'area': 100, 'iscrowd': crowd,
                **({'segmentation': rectangle(box)} if masks else {}),
            }
            for i, (image, category, box, crowd) in enumerate(instances)
        ],
    }  # fmt: skip
    dt = [
        {'image_id': 5, 'category_id': category, 'bbox': box, 'score': score}
        | ({'segmentation': rectangle(box)} if masks else {})
        for category, box, score in detections
    ]
    return gt, dt


@pytest.mark.parametrize('detections, expected', SCENES.values(), ids=SCENES.keys())
def test_one_instance(detections, expected):
    gt, dt = scene(detections, [(5, 3, BOX, 0), (2, 3, [40, 40, 9, 9], 0)])
    assert list(dict(sorted(labels(gt, dt).items())).values()) == expected


MORE = {
    'duplicate before confusion': ([(5, 3, BOX, 0), (5, 7, BOX, 0)], [(3, BOX, 0.9), (3, BOX, 0.8)], 'duplicate'),
    'confusion before partial': ([(5, 3, [10, 10, 5, 20], 0), (5, 7, BOX, 0)], [(3, BOX, 0.9)], 'confusion'),
    'crowd takes it': ([(5, 3, [0, 0, 60, 60], 1)], [(3, BOX, 0.9)], None),
    'crowd of another class is nothing': ([(5, 7, BOX, 1)], [(3, BOX, 0.9)], 'background'),
    'crowd after its instance': ([(5, 3, BOX, 0), (5, 3, BOX, 1)], [(3, BOX, 0.9), (3, BOX, 0.8)], None),
    'a class without instances': ([(5, 3, BOX, 0)], [(21, BOX, 0.9)], 'confusion'),
    'instances on other images only': ([(2, 3, BOX, 0)], [(3, BOX, 0.9)], 'background'),
}


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('instances, detections, expected', MORE.values(), ids=MORE.keys())
def test_several_instances(instances, detections, expected, iou_type):
    gt, dt = scene(detections, instances, masks=True)
    assert labels(gt, dt, iou_type)[len(dt) - 1] == expected


def test_masks_are_judged_by_masks():
    gt, dt = scene([(3, BOX, 0.9)], [(5, 3, BOX, 0)], masks=True)
    gt['annotations'][0]['segmentation'] = [[10, 10, 30, 10, 10, 30]]  # half the box
    dt[0]['segmentation'] = rectangle([20, 20, 10, 10])  # nearly all in the other half
    assert labels(gt, dt, 'bbox') == {0: 'true_positive'} and labels(gt, dt, 'segm') == {0: 'background'}


def test_polygons_are_rasterised_in_their_own_image():
    gt, dt = scene([(7, BOX, 0.9)], [(5, 3, BOX, 0)], masks=True)
    gt['annotations'][0]['segmentation'] = [[10, 10, 30, 10, 30, 30, 10, 30]]
    gt['images'][1] |= {'height': 20, 'width': 90}
    assert labels(gt, dt, 'segm') == {0: 'confusion'}


def test_nothing_is_changed_and_the_order_of_images_does_not_matter():
    gt, dt = mixed(6)
    before = copy.deepcopy((gt, dt))
    first = labels(gt, dt)
    assert (gt, dt) == before
    assert labels(gt | {'images': gt['images'][::-1]}, dt) == first


def test_a_stratum_without_images():
    gt, dt = mixed(7)
    matches = pycoco_matches(gt, dt)
    kinds = classify(matches, *load(gt, dt))
    assert count(kinds, matches, np.array([], dtype=int)) == Errors(0.5, 0.3, 0, 0, 0, 0, 0, 0)
