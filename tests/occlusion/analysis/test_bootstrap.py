import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.analysis import accumulate, bootstrap

from ..matching.pycoco_matches import pycoco_matches
from ..synthetic import dataset

Z95 = 1.959964  # of the normal distribution


def test_draw():
    weights = bootstrap.draw(50, 400, seed=3)
    assert weights.shape == (400, 50) and weights.dtype == np.int32
    assert (weights.sum(axis=1) == 50).all() and weights.min() == 0
    # Multinomial: mean 1, variance 1 - 1/I, and 1/e of the images left out.
    np.testing.assert_allclose(weights.mean(), 1)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.25)
    np.testing.assert_allclose(weights.var(axis=0).mean(), 1 - 1 / 50, rtol=0.05)
    np.testing.assert_allclose((weights == 0).mean(), (1 - 1 / 50) ** 50, atol=0.02)


def test_draw_is_seeded_and_more_go_on_from_fewer():
    weights = bootstrap.draw(20, 8, seed=1)
    np.testing.assert_array_equal(weights, bootstrap.draw(20, 8, seed=1))
    np.testing.assert_array_equal(weights[:5], bootstrap.draw(20, 5, seed=1))
    assert (weights != bootstrap.draw(20, 8, seed=2)).any()
    assert len(np.unique(weights, axis=0)) == 8


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), confidence=st.floats(0.01, 0.99))
def test_intervals_are_the_quantiles_of_what_is_defined_around_the_estimate(seed, confidence):
    rng = np.random.default_rng(seed)
    samples = rng.normal(size=(30, 4))
    samples[rng.random(samples.shape) < 0.3] = np.nan
    samples[:, 2] = np.nan
    samples[:, 3] = np.nan
    samples[7, 3] = 1.0
    estimate = rng.normal(size=4)
    bounds = bootstrap.intervals(samples, estimate, confidence)
    assert bounds.shape == (2, 4) and np.isnan(bounds[:, 2:]).all()
    for i in range(2):
        kept = samples[~np.isnan(samples[:, i]), i]
        if len(kept) < 15:  # less than half
            assert np.isnan(bounds[:, i]).all()
            continue
        expected = np.quantile(kept, [(1 - confidence) / 2, (1 + confidence) / 2])
        np.testing.assert_allclose(bounds[:, i], expected - np.median(kept) + estimate[i], atol=1e-12)
        assert bounds[0, i] <= estimate[i] <= bounds[1, i]
    np.testing.assert_array_equal(bootstrap.intervals(samples[:, 0], estimate[0], confidence), bounds[:, 0])


@pytest.mark.filterwarnings('error')
def test_intervals_at_the_border():
    np.testing.assert_array_equal(bootstrap.intervals(np.array([[np.nan, 1.0], [2.0, 3.0]]), [2.0, 2.0])[0, 0], np.nan)
    assert np.isnan(bootstrap.intervals(np.full((5, 2), np.nan), [0.1, np.nan])).all()
    np.testing.assert_array_equal(bootstrap.intervals(np.full((5, 2), 0.3), [0.3, 0.2]), [[0.3, 0.2]] * 2)


def instances_one_an_image(found):
    """Matches of a category with one instance an image, of which ``found`` ``(I,)`` bool are detected."""
    images = [{'id': i + 1} for i in range(len(found))]
    box = {'bbox': [0, 0, 10, 10], 'category_id': 1}
    annotations = [box | {'id': i, 'image_id': i, 'area': 100, 'iscrowd': 0} for i in range(1, len(found) + 1)]
    results = [box | {'image_id': i + 1, 'score': 1 - i / len(found)} for i in np.flatnonzero(found).tolist()]
    return pycoco_matches(
        {'images': images, 'annotations': annotations, 'categories': [{'id': 1, 'name': 'a'}]}, results
    )


def test_recall_interval_is_the_binomial_one():
    size, hits = 400, 280
    found = np.random.default_rng(0).permutation(np.arange(size) < hits)
    matches = instances_one_an_image(found)
    samples = accumulate.metrics(matches, [np.arange(size)], bootstrap.draw(size, 1000, seed=0))
    share = hits / size
    low, high = bootstrap.intervals(samples['ar'], [share])[:, 0]
    reach = Z95 * (share * (1 - share) / size) ** 0.5
    np.testing.assert_allclose([low, high], [share - reach, share + reach], atol=0.008)
    narrow = bootstrap.intervals(samples['ar'], [share], 0.5)[:, 0]
    np.testing.assert_allclose(narrow[1] - narrow[0], 2 * reach * 0.67449 / Z95, rtol=0.12)


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(1)
    size, share, runs = 120, 0.6, 150
    covered = 0
    for run in range(runs):
        hits = rng.random(size) < share
        samples = bootstrap.shares(
            hits, np.zeros(size, dtype=int), 1, np.arange(size), bootstrap.draw(size, 200, seed=run)
        )
        low, high = bootstrap.intervals(samples, [hits.mean()])[:, 0]
        covered += low <= share <= high
    # 95% nominal, some of it lost to 200 resamples; four standard errors of the binomial count either way.
    assert 0.93 - 4 * (0.93 * 0.07 / runs) ** 0.5 < covered / runs <= 1


def test_a_model_against_itself_differs_by_nothing():
    values = np.random.default_rng(0).random(200)
    assert bootstrap.paired(values, values, 0.0) == (0, 0, 1)


def test_paired_detects_a_clear_difference_either_way():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 1, 199)  # what the draw of images does to both
    baseline, model = 0.4 + 0.1 * hard, 0.42 + 0.1 * hard + 0.002 * rng.normal(size=199)
    low, high, p_value = bootstrap.paired(baseline, model, 0.02)
    assert 0.01 < low < 0.02 < high < 0.03 and p_value == 2 / 200
    assert bootstrap.paired(model, baseline, -0.02) == (pytest.approx(-high), pytest.approx(-low), p_value)
    # Unpaired, the spread between draws would hide it.
    assert bootstrap.paired(baseline, rng.permutation(model), 0.02)[2] > 0.5


def test_paired_p_value_counts():
    zeros = np.zeros(9)
    assert bootstrap.paired(zeros, np.array([1, 1, 1, 1, 1, 1, 1, -1, 0.0]), 1.0)[2] == 2 * (1 + 2) / 10
    assert bootstrap.paired(zeros, np.array([1, 1, 1, 1, 1, -1, -1, -1, -1.0]), 1.0)[2] == 1
    with_nan = np.array([np.nan, np.nan, 1, 1, 1, 1, 1, 1, 1.0])
    assert bootstrap.paired(zeros, with_nan, 1.0)[2] == 2 / 8
    # Shifted: around an estimate of 0.1, four of nine lie below 0.
    assert bootstrap.paired(zeros, np.arange(9.0), 0.1)[2] == 2 * (1 + 4) / 10
    assert np.isnan(bootstrap.paired(zeros, np.where(np.arange(9) == 3, 1.0, np.nan), 1.0)).all()


def test_p_values_are_uniform_without_a_difference():
    rng = np.random.default_rng(2)
    p_values = []
    for run in range(200):
        a, b = rng.random((2, 100)) < 0.5
        weights = bootstrap.draw(100, 99, seed=run)
        p_values.append(bootstrap.paired(weights @ a / 100, weights @ b / 100, b.mean() - a.mean())[2])
    p_values = np.array(p_values)
    for level in (0.1, 0.3, 0.5):  # four standard errors, and the step of 2 / 100
        assert abs((p_values <= level).mean() - level) < 4 * (level * (1 - level) / 200) ** 0.5 + 0.02


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_shares_are_means_over_repeated_instances(seed):
    rng = np.random.default_rng(seed)
    hits, groups, images = rng.random(40), rng.integers(-1, 4, 40), rng.integers(0, 6, 40)
    weights = bootstrap.draw(6, 5, seed=seed)
    found = bootstrap.shares(hits, groups, 4, images, weights)
    for row, weight in enumerate(weights):
        copies = np.repeat(np.arange(40), weight[images])
        for group in range(4):
            chosen = hits[copies[groups[copies] == group]]
            np.testing.assert_allclose(found[row, group], chosen.mean() if len(chosen) else np.nan, atol=1e-12)
    np.testing.assert_allclose(
        bootstrap.shares(hits, groups, 4, images), bootstrap.shares(hits, groups, 4, images, np.ones((1, 6), int))
    )


def test_a_whole_comparison():
    gt, dt = dataset(9, num_images=40)
    worse = copy.deepcopy(dt)
    for row in worse[::2]:
        row['bbox'][0] += 9.0
    size = len(gt['images'])
    weights, members = bootstrap.draw(size, 200, seed=0), [np.arange(size), np.array([], dtype=int)]
    a, b = (accumulate.metrics(pycoco_matches(gt, each), members, weights) for each in (dt, worse))
    ap, worse_ap = (accumulate.metrics(pycoco_matches(gt, each), members)['ap'][0, 0] for each in (dt, worse))
    low, high, p_value = bootstrap.paired(a['ap'][:, 0], b['ap'][:, 0], worse_ap - ap)
    assert low < high < 0 and p_value == pytest.approx(2 / 201)
    assert np.isnan(bootstrap.paired(a['ap'][:, 1], b['ap'][:, 1], np.nan)).all()
    inside = bootstrap.intervals(a['ap'], [ap, np.nan])[:, 0]
    assert inside[0] < ap < inside[1]
