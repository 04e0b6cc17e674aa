"""CKA against Song's formula written out, its invariances, and its value where it is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.inspecting.analyses.cka import cka, gram, jackknife, u_centred

SEEDS = st.integers(0, 2**32 - 1)


def song(k, m):
    """Song et al. (2012), equation 5, with its sums as loops over pairs, of kernel matrices (n, n)."""
    n = len(k)
    k, m = k.copy(), m.copy()
    np.fill_diagonal(k, 0)
    np.fill_diagonal(m, 0)
    trace = sum(k[i, j] * m[j, i] for i in range(n) for j in range(n))
    sums = k.sum() * m.sum() / ((n - 1) * (n - 2))
    chain = sum(k[i, j] * m[j, each] for i in range(n) for j in range(n) for each in range(n))
    return (trace + sums - 2 / (n - 2) * chain) / (n * (n - 3))


def one(x, y, unbiased=True):
    return cka([gram(x)], [gram(y)], unbiased)[0, 0]


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@given(SEEDS, st.integers(4, 12), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_it_is_songs_estimator_of_uncentred_kernels(seed, n, p, q):
    x, y = normal(seed, n, p) + 3, normal(seed + 1, n, q)
    k, m = x @ x.T, y @ y.T
    assert (u_centred(k) * u_centred(m)).sum() / (n * (n - 3)) == pytest.approx(song(k, m), rel=1e-7, abs=1e-7)
    expected = song(k, m) / math.sqrt(song(k, k) * song(m, m))
    assert one(x, y) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@given(SEEDS, st.integers(4, 12))
@settings(max_examples=20, deadline=None)
def test_the_biased_one_is_kornbliths(seed, n):
    x, y = normal(seed, n, 3), normal(seed + 1, n, 5)
    h = np.eye(n) - 1 / n
    k, m = x @ x.T, y @ y.T

    def hsic(a, b):
        return np.trace(a @ h @ b @ h) / (n - 1) ** 2

    assert one(x, y, False) == pytest.approx(hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m)), rel=1e-9)


@given(SEEDS, st.floats(1e-3, 1e3), st.floats(-100, 100), st.booleans())
@settings(max_examples=30, deadline=None)
def test_rotation_scale_and_shift_change_nothing(seed, scale, shift, unbiased):
    x, y = normal(seed, 20, 6), normal(seed + 1, 20, 4)
    rotation, _ = np.linalg.qr(normal(seed + 2, 6, 6))
    moved = scale * (x @ rotation) + shift
    assert one(x, x, unbiased) == pytest.approx(1, abs=1e-12)
    assert one(x, moved, unbiased) == pytest.approx(1, abs=1e-9)
    assert one(moved, y, unbiased) == pytest.approx(one(x, y, unbiased), abs=1e-8)
    assert one(y, x, unbiased) == pytest.approx(one(x, y, unbiased), abs=1e-12)


def test_a_scale_of_single_features_changes_it():
    x = normal(0, 40, 4)
    assert one(x, x * [1, 1, 1, 20]) < 0.8


@given(SEEDS, st.integers(4, 9))
@settings(max_examples=30, deadline=None)
def test_it_never_leaves_its_range(seed, n):
    assert -1 <= one(normal(seed, n, 30), normal(seed + 1, n, 2)) <= 1


def test_of_unrelated_features_the_unbiased_one_is_near_0_and_the_biased_one_is_not():
    values = [[one(normal(2 * i, 30, 500), normal(2 * i + 1, 30, 800), b) for b in (True, False)] for i in range(40)]
    unbiased, biased = np.mean(values, axis=0)
    assert abs(unbiased) < 3 * np.std(values, axis=0)[0] / math.sqrt(40) < 0.03
    assert biased > 0.9


def test_a_large_shift_costs_no_digits():
    x, y = normal(0, 16, 5), normal(1, 16, 5)
    assert one(x + 1e5, y) == pytest.approx(one(x, y), abs=1e-8)


@pytest.mark.parametrize(
    'features',
    [
        np.full((8, 3), 0.1, np.float32),
        np.zeros((8, 3)),
        np.full((8, 3), 1000.0) + 1e-6 * normal(0, 8, 3),
        np.where(np.eye(8, 3), np.nan, 1.0),
        np.where(np.eye(8, 3), np.inf, 1.0),
    ],
    ids=['constant', 'zero', 'rounding', 'nan', 'infinity'],
)
def test_features_without_variance_have_no_kernel_and_no_cka(features):
    assert gram(features) is None
    found = cka([gram(features), gram(normal(0, 8, 3))], [gram(normal(1, 8, 2))])
    assert np.isnan(found[0, 0])
    assert np.isfinite(found[1, 0])


def test_images_that_are_all_as_far_apart_have_no_unbiased_cka():
    assert np.isnan(one(np.eye(8), normal(0, 8, 3)))


@pytest.mark.parametrize('n', [1, 2, 3])
def test_three_examples_are_too_few(n):
    with pytest.raises(ValueError, match='needs 4'):
        u_centred(np.eye(n))


def test_the_interval_is_the_textbooks_jackknife():
    x, y = normal(0, 12, 3), normal(1, 12, 3)
    y += x
    z = [math.atanh(one(np.delete(x, i, 0), np.delete(y, i, 0))) for i in range(12)]
    error = math.sqrt(11 / 12 * sum((each - sum(z) / 12) ** 2 for each in z))
    at = math.atanh(one(x, y))
    expected = math.tanh(at - 2.20099 * error), math.tanh(at + 2.20099 * error)  # Student's t of 11 degrees
    assert jackknife([gram(x)], [gram(y)])[0, 0] == pytest.approx(expected, abs=1e-3)


def test_of_a_level_with_itself_the_interval_is_a_point():
    assert jackknife([gram(normal(0, 12, 3))], [gram(normal(0, 12, 3))])[0, 0] == pytest.approx([1, 1], abs=1e-6)


def test_intervals_hold_the_value_of_many_images():
    # Two views of one signal with noise of their own; a bootstrap over images holds it in three cases of four.
    def draw_both(n, seed):
        rng = np.random.default_rng(seed)
        signal, mix = rng.standard_normal((n, 8)), np.random.default_rng(1).standard_normal((3, 8, 60))
        noise = rng.standard_normal((n, 8))
        return [gram(signal @ mix[0])], [gram(0.4 * signal @ mix[1] + 0.6 * noise @ mix[2])]

    truth = cka(*draw_both(1500, 0))[0, 0]
    assert 0.1 < truth < 0.5
    held = [low <= truth <= high for low, high in (jackknife(*draw_both(24, i))[0, 0] for i in range(1, 101))]
    assert 88 <= sum(held) <= 100  # of 100; 95 expected


def test_many_images_are_left_out_in_parts():
    x, y = normal(0, 60, 3), normal(0, 60, 3) + normal(1, 60, 3)
    each, parts = (jackknife([gram(x)], [gram(y)], parts=n)[0, 0] for n in (60, 20))
    assert parts == pytest.approx(each, abs=0.12)
    assert (parts != each).all()
    assert np.isnan(jackknife([gram(x[:9])], [gram(y[:9])])).all()
