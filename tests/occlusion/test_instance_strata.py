import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.instance_strata import SYMBOLS, InstanceStratum, Range, instance_bins
from mmhybrid.occlusion.protocols import PROTOCOLS


@pytest.mark.parametrize(
    ('text', 'name', 'condition'),
    [
        ('heavy: h >= 50, v <= 0.65', 'heavy', 'h >= 50, v <= 0.65'),
        ('v>.2,v<0.65', '0.2 < v < 0.65', '0.2 < v < 0.65'),
        ('level==2', 'level = 2', 'level = 2'),
        ('tall: height > 1e2', 'tall', 'h > 100'),
        ('a: b: area <= 1024', 'a: b', 'area <= 1024'),
        ('h >= 10, h > 20, h >= 15', 'h > 20', 'h > 20'),
    ],
)
def test_a_text_is_understood(text, name, condition):
    stratum = InstanceStratum.parse(text)
    assert (stratum.name, stratum.condition, stratum.kind) == (name, condition, 'instances')
    assert InstanceStratum.parse(stratum.condition).ranges == stratum.ranges


@pytest.mark.parametrize(
    ('text', 'word'),
    [
        ('h', "'h' is no condition"),
        ('', "'' is no condition"),
        ('v >= nan', 'is no condition'),
        ('v >< 2', 'is no condition'),
        ('width > 3', 'is no condition'),
        (': v > 0.5', 'nothing before the colon'),
        ('v > 0.5, v < 0.2', 'no visibility is in this range'),
        ('level > 1, level <= 1', 'no level is in this range'),
    ],
)
def test_what_cannot_be_understood_is_one_sentence(text, word):
    with pytest.raises(InputError, match=r'write e\.g\.') as caught:
        InstanceStratum.parse(text)
    assert word in str(caught.value)


def test_ranges_compare_as_they_are_and_hold_nothing_unknown():
    values = np.array([0.2, 0.65, 0.6500000001, np.nan, 1.0])
    assert Range('visibility', 0.2, 0.65).contains(values).tolist() == [True, True, False, False, False]
    assert Range('visibility', 0.2, 0.65, (False, False)).contains(values).tolist() == [False] * 5
    assert Range('visibility').contains(values).tolist() == [True, True, True, False, True]
    stratum = InstanceStratum.parse('v > 0.2, h >= 50')
    heights = np.array([60, 50, 49.9, 80, np.nan])
    assert stratum.holds({'visibility': values, 'height': heights}).tolist() == [False, True, False, False, False]


def test_bins_put_each_known_value_into_one():
    parts = instance_bins('visibility', [0, 0.35, 0.65, 1])
    assert [part.name for part in parts] == ['0 <= v <= 0.35', '0.35 < v <= 0.65', '0.65 < v <= 1']
    values = np.array([0, 0.1, 0.35, 0.36, 0.65, 0.9, 1])
    inside = np.array([part.holds({'visibility': values}) for part in parts])
    assert (inside.sum(axis=0) == 1).all()
    assert inside.argmax(axis=0).tolist() == [0, 0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(('attribute', 'edges'), [('width', [0, 1]), ('height', [1]), ('height', [3, 3]), ('area', [])])
def test_bins_that_are_none(attribute, edges):
    with pytest.raises(InputError):
        instance_bins(attribute, edges)


def test_a_stratum_may_be_on_some_images_only():
    stratum = InstanceStratum('day', prefixes=('set06', 'set07'))
    assert [stratum.is_on(name) for name in ('set06/a', 'set09/a', 'x/set06', None)] == [True, False, False, False]
    assert InstanceStratum('all').is_on(None)


def test_protocols_name_strata_that_can_be_made():
    for protocol in PROTOCOLS.values():
        names = [stratum.name for stratum in protocol.strata]
        assert len(set(names)) == len(names)
        assert set(protocol.needs) <= set(SYMBOLS)
        for stratum in protocol.strata:
            assert InstanceStratum.parse(', '.join(map(str, stratum.ranges))).ranges == stratum.ranges
