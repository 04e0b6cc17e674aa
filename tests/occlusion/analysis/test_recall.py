import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.analysis.recall import recall_by_fraction
from mmhybrid.occlusion.matching import Settings
from mmhybrid.occlusion.matching.index import Matches
from mmhybrid.occlusion.results import Interval
from mmhybrid.occlusion.strata import bins

from ..matching.pycoco_matches import pycoco_matches
from ..synthetic import dataset

FIELDS = ('recall50', 'recall75', 'recall')


def by_hand(found, image, counted=None, num_images=None):
    """Matches in which instance i of one category is found at the thresholds ``found[:, i]``."""
    found = np.array(found, dtype=bool)
    image = np.array(image, dtype=int)
    size = len(image)
    return Matches(
        settings=Settings(),
        iou_type='bbox',
        image_ids=np.arange(image.max(initial=0) + 1 if num_images is None else num_images),
        category_ids=np.array([1]),
        dt_index=np.arange(size),
        dt_image=image,
        dt_category=np.zeros(size, dtype=int),
        dt_score=np.ones(size),
        dt_gt=np.where(found, np.arange(size), -1),
        dt_ignored=np.zeros_like(found),
        gt_image=image,
        gt_category=np.zeros(size, dtype=int),
        gt_counted=np.ones(size, dtype=bool) if counted is None else np.array(counted),
    )


def slow(matches, fractions, edges, weights=None):
    """``(bins, 3)`` recalls in plain loops; an image's instances count as often as ``weights`` says."""
    rows = []
    for part in bins(edges):
        total, sums = 0, [0, 0, 0]
        for i, fraction in enumerate(fractions):
            if not matches.gt_counted[i] or not part.contains(fraction):
                continue
            times = 1 if weights is None else weights[matches.gt_image[i]]
            hits = [i in taken.tolist() for taken in matches.dt_gt]
            total += times
            for k, value in enumerate((hits[0], hits[5], sum(hits) / len(hits))):
                sums[k] += times * value
        rows.append([value / total if total else math.nan for value in sums])
    return rows


def fields(results):
    return [[getattr(row, name) for name in FIELDS] for row in results]


@pytest.mark.parametrize('seed', range(3))
def test_equals_plain_loops(seed):
    gt, dt = dataset(seed)
    matches = pycoco_matches(gt, dt)
    rng = np.random.default_rng(seed)
    fractions = rng.choice([0, 0.2, 0.1 + 0.2, 0.5, 0.9, 1, math.nan], len(gt['annotations']))
    edges = (0, 0.3, 0.6, 1)
    weights = rng.multinomial(14, np.full(14, 1 / 14), size=40)
    results = recall_by_fraction(matches, fractions, edges, weights=weights, confidence=0.8)
    np.testing.assert_allclose(fields(results), slow(matches, fractions, edges), rtol=1e-12)
    assert not all(row.recall50 in (0, 1) for row in results)
    samples = np.array([slow(matches, fractions, edges, each) for each in weights])
    low, median, high = np.nanquantile(samples, [0.1, 0.5, 0.9], axis=0)
    shift = fields(results) - median
    got = [[(row.intervals[name].low, row.intervals[name].high) for name in FIELDS] for row in results]
    np.testing.assert_allclose(got, np.clip(np.stack([low + shift, high + shift], axis=2), 0, 1), atol=1e-12)


def test_bins_together_are_all_instances_that_count():
    gt, dt = dataset(4)
    matches = pycoco_matches(gt, dt)
    fractions = np.random.default_rng(4).random(len(gt['annotations']))
    results = recall_by_fraction(matches, fractions)
    assert [row.name for row in results][:3] == ['f = 0', '0 < f <= 0.2', '0.2 < f <= 0.4']
    assert [(row.lower, row.upper) for row in results][:2] == [(0, 0), (0, 0.2)]
    assert sum(row.num_instances for row in results) == matches.gt_counted.sum() < len(fractions)
    hits = sum(row.recall50 * row.num_instances for row in results if row.num_instances)
    assert hits == pytest.approx(matches.is_true_positive[0].sum())
    assert all(row.intervals == {} for row in results)


def test_recall_by_hand():
    found = np.zeros((10, 4), dtype=bool)
    found[:, 0] = True
    found[:6, 1] = True  # IoU between 0.75 and 0.80
    found[:1, 2] = True
    results = recall_by_fraction(by_hand(found, [0, 0, 1, 1]), np.array([0, 0, 0, 0.7]), (0, 0.5, 1))
    assert [row.name for row in results] == ['f = 0', '0 < f <= 0.5', '0.5 < f <= 1']
    assert fields(results)[0] == pytest.approx([1, 2 / 3, 1.7 / 3])
    assert fields(results)[2] == [0, 0, 0] and results[2].num_instances == 1
    assert results[1].num_instances == 0 and all(map(math.isnan, fields(results)[1]))


def test_nan_crowd_and_values_outside_the_edges_are_left_out():
    matches = by_hand(np.ones((10, 5)), [0] * 5, counted=[True, True, False, True, True])
    results = recall_by_fraction(matches, np.array([0.3, math.nan, 0.3, 0.6, 0.1]), (0.2, 0.5))
    assert [row.num_instances for row in results] == [1]


def test_an_images_instances_are_drawn_together():
    """Ten images of ten instances, all or none found: intervals as wide as ten draws make them, not a hundred."""
    image = np.repeat(np.arange(10), 10)
    matches = by_hand(np.broadcast_to(image % 2 == 0, (10, 100)), image)
    weights = np.random.default_rng(0).multinomial(10, np.full(10, 0.1), size=4000)
    (row,) = recall_by_fraction(matches, np.full(100, 0.5), (0.2, 1), weights=weights)
    assert row.recall50 == 0.5
    # Binomial(10, 1/2) / 10: its 2.5% and 97.5% quantiles.
    assert (row.intervals['recall50'].low, row.intervals['recall50'].high) == (0.2, 0.8)


def test_resamples_without_an_instance_of_the_bin_are_left_out():
    matches = by_hand(np.ones((10, 2)), [0, 1], num_images=3)
    fractions = np.array([0, 0.9])
    rows = recall_by_fraction(matches, fractions, (0, 0.5, 1), weights=np.array([[2, 0, 0], [1, 1, 1], [2, 0, 1]]))
    assert [(row.num_instances, row.recall) for row in (rows[0], rows[2])] == [(1, 1), (1, 1)]
    assert rows[0].intervals['recall'] == Interval(1, 1)
    for row in rows[1:]:  # empty, and drawn once only
        assert math.isnan(row.intervals['recall'].low) and math.isnan(row.intervals['recall'].high)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0, 1e-16, 1e-6, 0.1, 0.2, 0.1 + 0.2, math.nextafter(0.4, 1), 1, 1 + 1e-12]), max_size=30),
    st.sampled_from([(0, 0.2, 0.4, 1), (0.1, 0.3), (0, math.inf)]),
)
def test_an_instance_is_where_its_stratum_is(fractions, edges):
    matches = by_hand(np.ones((10, len(fractions))), [0] * len(fractions), num_images=1)
    rows = recall_by_fraction(matches, np.array(fractions, dtype=float), edges)
    expected = [sum(part.contains(value) for value in fractions) for part in bins(edges)]
    assert [row.num_instances for row in rows] == expected
