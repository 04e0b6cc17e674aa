"""Log-average miss rate against its definition, written down once more as loops over single detections."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.analysis.miss_rate import FPPI, READINGS, log_average, mean_curve, miss_rates, read_curve
from mmhybrid.occlusion.matching import Index, Settings, match
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from tests.occlusion.synthetic import dataset


def _matches(seed, **options):
    content, results = dataset(seed, **options)
    gt = load_ground_truth(content)
    dt = load_detections(results, gt)
    index = Index.of(gt, dt, Settings(iou_thrs=(0.5,), max_dets=1000))
    return match(gt, dt, 'bbox', index, 'pycocotools').matches()


def _by_definition(matches, copies, reading):
    """MR^-2 where image i is ``copies[i]`` times in the set: detection by detection, category by category."""
    rates = []
    for k in range(len(matches.category_ids)):
        total = sum(copies[i] for i, c, counts in _instances(matches) if c == k and counts)
        if not total:
            continue
        curve, true, false = [], 0, 0
        for i, c, right, skipped in _detections(matches):
            if c == k and not skipped and copies[i]:
                true, false = true + right * copies[i], false + (not right) * copies[i]
                curve.append((false / sum(copies), 1 - true / total))
        rates.append(math.exp(sum(_log(_read(curve, fppi, reading)) for fppi in FPPI) / len(FPPI)))
    return sum(rates) / len(rates) if rates else math.nan


def _instances(matches):
    return zip(matches.gt_image, matches.gt_category, matches.gt_counted, strict=True)


def _detections(matches):
    flags = matches.is_true_positive[0].tolist(), matches.dt_ignored[0].tolist()
    return zip(matches.dt_image.tolist(), matches.dt_category.tolist(), *flags, strict=True)


def _log(value):
    return math.log(value) if value else -math.inf


def _read(curve, fppi, reading):
    if not curve:
        return 1.0
    if reading == 'crowdhuman':
        return next((miss for at, miss in curve if at >= fppi), curve[-1][1])
    before = [miss for at, miss in curve if at <= fppi]
    return before[-1] if before else curve[-1][1] if reading == 'script' else 1.0


@pytest.mark.parametrize('reading', READINGS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 30), draw=st.integers(0, 10**6))
def test_equals_its_definition_on_resamples_and_strata(reading, seed, draw):
    matches = _matches(seed)
    size = len(matches.image_ids)
    rng = np.random.default_rng(draw)
    weights = np.stack(
        [np.ones(size, int), *(np.bincount(rng.integers(size, size=size), minlength=size) for _ in '12')]
    )
    members = [np.arange(size), np.flatnonzero(rng.random(size) < 0.6), np.arange(0)]
    found = miss_rates(matches, members, weights, reading)
    assert found.shape == (3, 3)
    for r, row in enumerate(weights):
        for s, positions in enumerate(members):
            copies = np.where(np.isin(np.arange(size), positions), row, 0).tolist()
            expected = _by_definition(matches, copies, reading)
            np.testing.assert_allclose(found[r, s], expected, rtol=1e-12, equal_nan=True)


def test_readings_differ_where_a_curve_begins_late():
    """One image, two instances: the best detection is false, so that 1 image has FPPI 1 before anything is found."""
    boxes = [[0, 0, 10, 10], [50, 50, 10, 10]]
    content = {
        'images': [{'id': 1}],
        'categories': [{'id': 1, 'name': 'person'}],
        'annotations': [{'id': i, 'image_id': 1, 'category_id': 1, 'bbox': box} for i, box in enumerate(boxes, 1)],
    }
    rows = [([100, 100, 5, 5], 0.9), (boxes[0], 0.8)]
    results = [{'image_id': 1, 'category_id': 1, 'bbox': box, 'score': score} for box, score in rows]
    gt = load_ground_truth(content)
    matches = match(gt, load_detections(results, gt), engine='pycocotools').matches()
    everything = [np.arange(1)]
    # Read at nine FPPI, only the last of which is reached: there half of the instances is missed.
    assert miss_rates(matches, everything)[0, 0] == pytest.approx(0.5 ** (1 / 9))
    assert miss_rates(matches, everything, reading='script')[0, 0] == pytest.approx(0.5)
    # The first detection up to which there is 1 false positive an image is the first of all.
    assert miss_rates(matches, everything, reading='crowdhuman')[0, 0] == pytest.approx(1.0)


def test_nothing_detected_and_all_found():
    content, _ = dataset(3)
    gt = load_ground_truth(content)
    everything = [np.arange(len(gt.image_ids))]
    for results, expected in (([], 1.0), (_perfect(content), 0.0)):
        matches = match(gt, load_detections(results, gt), engine='pycocotools').matches()
        for reading in READINGS:
            assert miss_rates(matches, everything, reading=reading).tolist() == [[expected]]


def _perfect(content):
    keys = 'image_id', 'category_id', 'bbox'
    return [{key: each[key] for key in keys} | {'score': 1} for each in content['annotations']]


def test_curve_falls_and_is_read_at_the_nine():
    matches = _matches(5)
    everything = np.arange(len(matches.image_ids))
    fine = mean_curve(matches, everything, np.geomspace(1e-3, 10, 50))
    assert (np.diff(fine) <= 1e-15).all()
    nine = read_curve(matches, everything)
    assert nine.shape == (len(matches.category_ids), 1, 9)
    np.testing.assert_array_equal(np.nanmean(nine, axis=0)[0], mean_curve(matches, everything, FPPI))
    np.testing.assert_array_equal(log_average(nine), miss_rates(matches, [everything])[0])


@pytest.mark.parametrize('images', [1, 3, 7, 40, 177, 500, 2252])
def test_how_many_false_positives_are_allowed_is_decided_by_the_quotient(images):
    """3 of 30 images make 0.1, though 0.1 x 30 rounds to more than 3; so the scripts divide."""
    from mmhybrid.occlusion.analysis.miss_rate import _counts

    counts = np.arange(images + 2)
    fppi = np.append(FPPI, counts[1:8] / images)
    fppi.sort()
    most = [counts[counts / images <= each].max() for each in fppi]
    least = [counts[counts / images >= each].min() for each in fppi]
    assert _counts(np.array([images]), fppi, at_least=False)[0].tolist() == most
    assert _counts(np.array([images]), fppi, at_least=True)[0].tolist() == least


@pytest.mark.parametrize(('parts', 'block'), [(0, 2**21), (37, 2**21), (4000, 2**21), (10**6, 20)])
def test_curves_in_parts_and_blocks_give_the_same(monkeypatch, parts, block):
    matches, rng = _matches(1), np.random.default_rng(0)
    size = len(matches.image_ids)
    weights = rng.integers(0, 300, (7, size)) * (rng.random((7, size)) < 0.7)
    members = [np.arange(size), np.flatnonzero(rng.random(size) < 0.5)]
    for reading in READINGS:
        expected = miss_rates(matches, members, weights, reading)
        with monkeypatch.context() as patch:
            for name, value in (('PARTS', parts), ('FEWEST', 2), ('BLOCK', block)):
                patch.setattr(f'mmhybrid.occlusion.analysis.miss_rate.{name}', value)
            np.testing.assert_array_equal(miss_rates(matches, members, weights, reading), expected)
        for r, row in enumerate(weights):
            for s, positions in enumerate(members):
                copies = np.where(np.isin(np.arange(size), positions), row, 0).tolist()
                np.testing.assert_allclose(expected[r, s], _by_definition(matches, copies, reading), rtol=1e-12)
