"""The benchmarks' protocols as data: bounds, margins, where curves are read."""

import math

import numpy as np
import pytest

from mmhybrid.occlusion.protocols import CALTECH, CITYPERSONS, FPPI, KAIST, PROTOCOLS, ROUNDED
from tests.occlusion.pedestrians import RULES, STRATA

HEIGHTS = [1, 19.9, 20, 30, 44.9, 45, 49.9, 50, 54.9, 55, 75, 75.1, 80, 114.9, 115, 115.1, 1000]
SHARES = [0, 0.19, 0.2, 0.64, 0.65, 0.66, 0.89, 0.9, 0.99, 1, math.nan]
LEVELS = [0, 1, 2, 3, math.nan]


@pytest.mark.parametrize('name', STRATA)
def test_every_stratum_holds_what_the_script_says_at_and_around_its_bounds(name):
    protocol = PROTOCOLS[name]
    assert [stratum.name for stratum in protocol.strata] == list(STRATA[name])
    others = LEVELS if name == 'kaist' else SHARES
    height, other = (each.ravel() for each in np.meshgrid(HEIGHTS, others))
    for stratum in protocol.strata:
        rules = STRATA[name][stratum.name]
        low, high = rules['h']
        inside = (height >= low) & (height <= high)
        if name == 'kaist':
            inside &= np.isin(other, rules['levels'])
        else:
            inside &= (other >= rules['v'][0]) & (other <= rules['v'][1])
        found = stratum.holds({'height': height, 'visibility': other, 'level': other})
        np.testing.assert_array_equal(found, inside, err_msg=stratum.name)
        assert stratum.prefixes == rules.get('names', ())


@pytest.mark.parametrize('name', STRATA)
def test_the_rules_beside_the_strata(name):
    protocol, rules = PROTOCOLS[name], RULES[name]
    assert protocol.height_margin == rules.get('margin')
    assert protocol.border == rules.get('border')
    assert protocol.aspect_ratio == rules.get('aspect')
    assert protocol.counts_empty_images == ('skips_empty' not in rules)
    assert protocol.reading == ('script' if rules.get('end') else 'caltech')
    assert protocol.max_dets >= 10**6 if 'limit' not in rules else protocol.max_dets == rules['limit']
    assert protocol.category == 1


def test_fppi_of_caltech_are_not_rounded():
    assert CALTECH.fppi == FPPI and CITYPERSONS.fppi == KAIST.fppi == ROUNDED
    np.testing.assert_allclose(FPPI, np.logspace(-2, 0, 9), rtol=1e-15)
    assert ROUNDED == (0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0)


def test_what_the_strata_need_of_the_annotations():
    assert set(CITYPERSONS.needs) == set(CALTECH.needs) == {'height', 'visibility'}
    assert set(KAIST.needs) == {'height', 'level'}
