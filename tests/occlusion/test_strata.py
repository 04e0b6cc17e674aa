import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion import Stratum, all_images, bins, cumulative, tbc


def names(strata, ratio):
    return [stratum.name for stratum in strata if stratum.contains(ratio)]


@pytest.mark.parametrize(
    'ratio, expected',
    [
        (0.0, 'r = 0'),
        (1e-16, 'r = 0'),
        (1e-6, '0 < r <= 0.1'),
        (0.1, '0 < r <= 0.1'),
        (0.3, '0.2 < r <= 0.3'),
        (0.1 + 0.2, '0.2 < r <= 0.3'),
        (1 - 0.7, '0.2 < r <= 0.3'),
        (math.nextafter(0.3, 0), '0.2 < r <= 0.3'),
        (0.300001, '0.3 < r <= 0.4'),
        (1.0, '0.9 < r <= 1'),
    ],
)
def test_bin_of_a_ratio(ratio, expected):
    assert names(bins(), ratio) == [expected]


@given(st.floats(0, 1))
def test_bins_partition_the_ratios(ratio):
    assert len(names(bins(), ratio)) == 1


@pytest.mark.parametrize('ratio', [0.3, 0.1 + 0.2, math.nextafter(0.3, 0), math.nextafter(0.3, 1)])
def test_threshold_is_included(ratio):
    assert names(cumulative(), ratio) == ['r >= 0', 'r >= 0.1', 'r >= 0.2', 'r >= 0.3']


@given(st.floats(0, 1))
def test_cumulative_strata_are_nested(ratio):
    inside = [stratum.contains(ratio) for stratum in cumulative()]
    assert inside == sorted(inside, reverse=True) and inside[0]


def test_preset():
    strata = tbc()
    assert [stratum.kind for stratum in strata] == ['all'] + ['bin'] * 11 + ['cumulative'] * 9
    assert len({stratum.name for stratum in strata}) == 21
    assert all_images().contains(0) and all_images().contains(7.5)


def test_members_keep_the_order():
    assert Stratum('x', 0.5, math.inf, 'cumulative').members({9: 0.6, 1: 0.4, 5: 0.5}) == [9, 5]


def test_edges_without_zero_have_no_bin_of_zero():
    assert [stratum.name for stratum in bins([0.25, 0.5, 1])] == ['0.25 < r <= 0.5', '0.5 < r <= 1']


@pytest.mark.parametrize('edges', [[], [0.5], [0, 0.5, 0.5], [1, 0], [0, math.nan, 1]])
def test_unusable_edges(edges):
    with pytest.raises(InputError):
        bins(edges)


def test_unusable_threshold():
    with pytest.raises(InputError):
        cumulative([0, math.nan])
