"""Quality of strata against its definitions, written down once more as loops over single detections."""

import contextlib
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocotools import mask
from pycocotools.cocoeval import COCOeval

from mmhybrid.errors import InputError
from mmhybrid.occlusion.analysis import accumulate
from mmhybrid.occlusion.analysis.bootstrap import draw, intervals
from mmhybrid.occlusion.analysis.quality import quality as qualities
from mmhybrid.occlusion.matching import Index, Settings, match
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.results import Quality, plain

from ..synthetic import dataset, hard_dataset
from .test_errors import box_iou, mask_iou, mixed, pixels

SAMPLED = Quality.SAMPLED
SCALARS = 'f1', 'f1_score', 'f1_precision', 'f1_recall', 'ece', 'olrp', 'olrp_loc', 'olrp_fp', 'olrp_fn'


def quality(*arguments, **options):
    return qualities(*arguments, **options)[0]


def evaluated(content, results, iou_type='bbox', **options):
    gt = load_ground_truth(content, (iou_type,), (iou_type,))
    dt = load_detections(results, gt, (iou_type,))
    index = Index.of(gt, dt, Settings(**options))
    return match(gt, dt, iou_type, index, 'pycocotools').matches(), gt, dt


def overlap(content, results, iou_type, row, detection):
    pair = results[detection], content['annotations'][row]
    return box_iou(*(each['bbox'] for each in pair)) if iou_type == 'bbox' else mask_iou(*map(pixels, pair))


def slow(matches, content, results, copies, iou_thr, num_bins=20):
    """The scalars where image i is ``copies[i]`` times in the set, detection by detection, threshold by threshold."""
    at = matches.settings.at(iou_thr)
    rows = []  # (category, score, times, right, 1 - IoU)
    for j, image in enumerate(matches.dt_image.tolist()):
        taken = int(matches.dt_gt[at, j])
        if copies[image] and not matches.dt_ignored[at, j]:
            own = overlap(content, results, matches.iou_type, taken, matches.dt_index[j]) if taken >= 0 else 1
            rows.append((int(matches.dt_category[j]), float(matches.dt_score[j]), copies[image], taken >= 0, 1 - own))
    numbers = [0] * len(matches.category_ids)
    for image, k, counts in zip(matches.gt_image, matches.gt_category, matches.gt_counted, strict=True):
        numbers[k] += copies[image] * bool(counts)

    def above(score, category=None):
        kept = [row for row in rows if row[1] >= score and category in (None, row[0])]
        tp = sum(times for *_, times, right, _ in kept if right)
        return tp, sum(row[2] for row in kept) - tp, sum(times * lost for *_, times, right, lost in kept if right)

    f1 = [math.nan] * 4 if not sum(numbers) else [0.0, math.nan, math.nan, 0.0]
    for score in sorted({row[1] for row in rows}, reverse=True):
        tp, fp, _ = above(score)
        if sum(numbers) and tp and 2 * tp / (tp + fp + sum(numbers)) > f1[0]:
            f1 = [2 * tp / (tp + fp + sum(numbers)), score, tp / (tp + fp), tp / sum(numbers)]

    ece, count = 0.0, sum(row[2] for row in rows)
    for b in range(num_bins):
        low, high = b / num_bins, (b + 1) / num_bins
        inside = [row for row in rows if low < row[1] <= high or (row[1] == 0 and b == 0)]
        size = sum(row[2] for row in inside)
        if size:
            mean_score = sum(score * times for _, score, times, *_ in inside) / size
            ece += size / count * abs(sum(times for *_, times, right, _ in inside if right) / size - mean_score)

    per_category, scores = [], {}
    for k, total in enumerate(numbers):
        best = (1.0, math.nan, math.nan, 1.0)
        for score in sorted({row[1] for row in rows}, reverse=True) if total else ():
            tp, fp, lost = above(score, k)
            error = (lost / (1 - iou_thr) + fp + total - tp) / (fp + total)
            if tp and (error < best[0] or k not in scores):
                best = error, lost / tp, fp / (tp + fp), 1 - tp / total
                scores[k] = score
        per_category += [best] if total else []
    columns = [[value for value in column if not math.isnan(value)] for column in zip(*per_category, strict=True)]
    olrp = [sum(column) / len(column) if column else math.nan for column in columns] or [math.nan] * 4
    return [*f1, ece if count else math.nan, *olrp], scores


def strata_of(matches, seed):
    rng, size = np.random.default_rng(seed), len(matches.image_ids)
    return [np.arange(size), np.flatnonzero(rng.random(size) < 0.5), rng.permutation(size)[:1], np.arange(0)]


@pytest.mark.parametrize('iou_type, iou_thr', [('bbox', 0.5), ('bbox', 0.75), ('segm', 0.5)])
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_scalars_equal_their_definitions_on_strata_and_resamples(iou_type, iou_thr, seed):
    content, results = mixed(seed % 1000, masks=iou_type == 'segm')
    matches, gt, dt = evaluated(content, results, iou_type)
    members, weights = strata_of(matches, seed), draw(len(matches.image_ids), 2, seed)
    found, none = qualities(matches, gt, dt, members, iou_thr=iou_thr)
    _, resampled = qualities(matches, gt, dt, members, weights, iou_thr)
    assert none == {}
    for s, positions in enumerate(members):
        inside = np.isin(np.arange(len(matches.image_ids)), positions).astype(int)
        expected, scores = slow(matches, content, results, inside.tolist(), iou_thr)
        np.testing.assert_allclose([getattr(found[s], name) for name in SCALARS], expected, rtol=1e-9, atol=1e-12)
        assert dict(found[s].olrp_scores) == {int(matches.category_ids[k]): score for k, score in scores.items()}
        for r, row in enumerate(weights):
            expected, _ = slow(matches, content, results, (inside * row).tolist(), iou_thr)
            values = [resampled[name][r, s] for name in SAMPLED]
            wanted = [expected[SCALARS.index(name)] for name in SAMPLED]
            np.testing.assert_allclose(values, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), t=st.integers(0, 9))
def test_curve_is_pycocotools(iou_type, seed, t):
    content, results = hard_dataset(seed, masks=iou_type == 'segm')
    assume(content['annotations'])
    matches, gt, dt = evaluated(content, results, iou_type)
    members = strata_of(matches, seed)
    found = quality(matches, gt, dt, members, iou_thr=matches.settings.iou_thrs[t])
    for each, positions in zip(found, members, strict=True):
        with contextlib.redirect_stdout(io.StringIO()):
            sides = []
            for side in gt.to_coco(iou_type)['annotations'], dt.to_coco(iou_type):
                kept = np.isin([row['image_id'] for row in side], matches.image_ids[positions])
                sides.append([row for row, keep in zip(side, kept, strict=True) if keep])
            expected = _pycocotools_precision(gt.to_coco(iou_type) | {'annotations': sides[0]}, sides[1], iou_type, t)
        np.testing.assert_allclose(each.precision, expected, rtol=1e-12)
    if t == 0:
        ap50 = accumulate.metrics(matches, members)['ap50'][0]
        np.testing.assert_allclose([np.mean(each.precision) for each in found], ap50, rtol=1e-12)


def _pycocotools_precision(content, results, iou_type, t):
    from pycocotools.coco import COCO

    gt, dt = COCO(), COCO()
    gt.dataset = content
    gt.createIndex()
    if results:
        dt = gt.loadRes(results)
    else:
        dt.dataset = content | {'annotations': []}
        dt.createIndex()
    evaluator = COCOeval(gt, dt, iou_type)
    evaluator.evaluate()
    evaluator.accumulate()
    precision = evaluator.eval['precision'][t, :, :, 0, -1]
    known = precision[:, (precision > -1).all(axis=0)]
    return known.mean(axis=1) if known.size else np.full(101, np.nan)


BOX = [10, 10, 20, 20]  # a detection [10, 10, w, 20] has IoU w / 20 with it


def scene(instances, detections):
    content = {
        'images': [{'id': 1, 'height': 100, 'width': 100}],
        'categories': [{'id': k, 'name': str(k)} for k in (3, 7)],
        'annotations': [
            {'id': i, 'image_id': 1, 'category_id': k, 'bbox': box, 'area': 400, 'iscrowd': crowd}
            for i, (k, box, crowd) in enumerate(instances, 1)
        ],
    }
    return content, [{'image_id': 1, 'category_id': k, 'bbox': box, 'score': s} for k, box, s in detections]


def single(instances, detections, **options):
    matches, gt, dt = evaluated(*scene(instances, detections))
    return quality(matches, gt, dt, [np.arange(1)], **options)[0]


FAR, ELSEWHERE = [60, 60, 20, 20], [80, 0, 10, 10]


def test_olrp_by_hand():
    # Cut at 0.9: one of two found with IoU 0.8, so (0.2 / 0.5 + 0 + 1) / 2 = 0.7; at 0.5 both, the second with IoU 1,
    # and a false positive: (0.4 + 1 + 0) / 3.
    found = single(
        [(3, BOX, 0), (3, FAR, 0)], [(3, [10, 10, 16, 20], 0.9), (3, ELSEWHERE, 0.7), (3, FAR, 0.5), (7, BOX, 0.95)]
    )
    assert (found.olrp, found.olrp_loc) == pytest.approx((1.4 / 3, 0.1))
    assert (found.olrp_fp, found.olrp_fn) == pytest.approx((1 / 3, 0))
    assert found.olrp_scores == ((3, 0.5),)
    # Beyond what is found, a class of which nothing is has error and FN of 1, and no say in the other two.
    found = single([(3, BOX, 0), (7, FAR, 0)], [(3, [10, 10, 16, 20], 0.9), (7, ELSEWHERE, 0.9)])
    assert (found.olrp, found.olrp_fn) == pytest.approx(((0.4 + 1) / 2, 0.5))
    assert (found.olrp_loc, found.olrp_fp, found.olrp_scores) == (pytest.approx(0.2), 0, ((3, 0.9),))


def test_best_f1_keeps_equal_scores_together():
    # At 0.5 comes one right with three wrong: F1 is 4 / (5 + 2); at 0.9 it is 2 / (1 + 2).
    detections = [(3, BOX, 0.9), (3, FAR, 0.5), *[(7, ELSEWHERE, 0.5)] * 3]
    found = single([(3, BOX, 0), (3, FAR, 0)], detections)
    assert (found.f1, found.f1_score) == (pytest.approx(2 / 3), 0.9)
    assert (found.f1_precision, found.f1_recall) == (1, 0.5)


def test_calibration_by_hand():
    detections = [(3, BOX, 0.3), (3, FAR, 0.28), (3, ELSEWHERE, 0.30001), (3, ELSEWHERE, 0.0)]
    found = single([(3, BOX, 0), (3, [60, 60, 20, 19], 0)], detections)
    bins = {i: each for i, each in enumerate(found.reliability) if each[2]}
    # 0.3 is the upper edge of the sixth bin.
    assert bins == {0: (0, 0, 1), 5: (pytest.approx(0.29), 1, 2), 6: (pytest.approx(0.30001), 0, 1)}
    assert found.ece == pytest.approx((2 * 0.71 + 0.30001) / 4) and len(found.reliability) == 20
    assert len(single([(3, BOX, 0)], detections, num_bins=1).reliability) == 1


def test_scores_that_are_no_probabilities_have_no_calibration():
    found = single([(3, BOX, 0)], [(3, BOX, 5.0), (3, FAR, -3.0)])
    assert math.isnan(found.ece) and found.reliability == () and found.f1 == 1 and found.f1_score == 5
    rounded = single([(3, BOX, 0)], [(3, BOX, 1 + 1e-7)])
    assert rounded.ece == pytest.approx(0, abs=1e-6)


def test_nothing_found_and_nothing_there():
    nothing = single([(3, BOX, 0)], [])
    assert (nothing.f1, nothing.f1_recall, nothing.olrp, nothing.olrp_fn) == (0, 0, 1, 1)
    assert all(map(math.isnan, (nothing.f1_score, nothing.f1_precision, nothing.ece, nothing.olrp_loc)))
    assert nothing.precision == (0,) * 101 and nothing.reliability[0][2] == 0
    empty = single([(3, BOX, 1)], [(3, ELSEWHERE, 0.5)])
    assert all(math.isnan(getattr(empty, name)) for name in SCALARS if name != 'ece')
    assert empty.confusion == ((None, 3, 1),) == single([], [(3, ELSEWHERE, 0.5)]).confusion
    assert empty.ece == 0.5 and np.isnan(empty.precision).all() and empty.olrp_scores == ()


def test_intervals_are_those_of_the_resamples_and_all_goes_into_json():
    matches, gt, dt = evaluated(*dataset(5))
    members, weights = strata_of(matches, 5), draw(len(matches.image_ids), 40, 0)
    found, samples = qualities(matches, gt, dt, members, weights)
    for s, each in enumerate(found):
        for name in SAMPLED:
            bounds = np.clip(intervals(samples[name][:, s], getattr(each, name)), 0, 1)
            np.testing.assert_array_equal([each.intervals[name].low, each.intervals[name].high], bounds)
    low, high = np.array(found[0].precision_interval)
    assert (low <= found[0].precision).all() and (found[0].precision <= high).all() and (low < high).any()
    alone = replace(found[0], intervals={}, precision_interval=())
    assert repr(alone) == repr(quality(matches, gt, dt, members)[0])  # by text, since NaN does not equal itself
    assert json.loads(json.dumps(plain(found), allow_nan=False))[0]['f1'] == found[0].f1


def test_resampled_curve_is_the_mean_over_categories_of_what_was_drawn():
    """A weight of 1 or 0 an image is the stratum of those images."""
    matches, gt, dt = evaluated(*dataset(6))
    drawn = np.arange(len(matches.image_ids)) % 3 == 0
    kept = quality(matches, gt, dt, [np.flatnonzero(drawn)])[0]
    twice = quality(matches, gt, dt, [np.arange(len(drawn))], np.stack([drawn.astype(np.int32)] * 2), confidence=0.5)[0]
    whole = quality(matches, gt, dt, [np.arange(len(drawn))])[0]
    # Both resamples are the same, so that the shifted interval has no width.
    np.testing.assert_allclose(twice.precision_interval, [whole.precision] * 2, rtol=1e-9)
    _, values = qualities(matches, gt, dt, [np.arange(len(drawn))], drawn[None].astype(np.int32))
    assert [float(values[name][0, 0]) for name in SAMPLED] == pytest.approx([getattr(kept, name) for name in SAMPLED])


def test_classes_may_make_no_difference():
    matches, gt, dt = evaluated(*scene([(3, BOX, 0)], [(7, BOX, 0.9), (7, FAR, 0.8)]), class_agnostic=True)
    found = quality(matches, gt, dt, [np.arange(1)])[0]
    assert found.confusion == ((-1, -1, 1), (None, -1, 1)) and found.olrp == 0 and found.f1 == 1


def test_an_iou_of_1_loses_nothing():
    box = [0.6, 10, 0.7, 20]  # its IoU with itself is rounded to less than 1
    assert mask.iou(np.array([box]), np.array([box]), [0])[0, 0] < 1
    matches, gt, dt = evaluated(*scene([(3, box, 0)], [(3, box, 0.9), (3, FAR, 0.8)]), iou_thrs=(1.0,))
    found = quality(matches, gt, dt, [np.arange(1)], iou_thr=1.0)[0]
    assert found.olrp == pytest.approx(0, abs=1e-9) and found.confusion == ((3, 3, 1), (None, 3, 1))


def test_an_iou_that_was_not_matched_at():
    matches, gt, dt = evaluated(*scene([(3, BOX, 0)], []), iou_thrs=(0.5, 0.75))
    with pytest.raises(InputError, match=r'IoU 0\.6 is none of the thresholds 0\.5, 0\.75'):
        quality(matches, gt, dt, [np.arange(1)], iou_thr=0.6)
