import math
import pickle

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.instance_strata import SYMBOLS, InstanceStratum, Range, instance_bins
from mmhybrid.occlusion.protocols import PROTOCOLS
from mmhybrid.occlusion.strata import all_images, groups


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


HEIGHT = Range('height', 3)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: instance_bins('width', [0, 1]), "unknown attribute 'width'; choose from visibility, level, height"),
        (lambda: instance_bins('height', [1]), r"edges of 'height' \[1.0\] do not increase; give at least two"),
        (lambda: instance_bins('height', [3, 3]), r'edges of .* do not increase'),
        (lambda: instance_bins('area', []), r'edges of .* do not increase'),
        (lambda: instance_bins('height', 5), 'edges are 5; give a list of numbers'),
        (lambda: Range('foo', 0, 1), "unknown attribute 'foo'; choose from"),
        (lambda: Range([], 0, 1), r'unknown attribute \[\]; choose from'),
        (lambda: Range('height', '3'), r"bounds of height are \('3', inf\); give two numbers"),
        (lambda: Range('height', math.nan), r'bounds of height are \(nan, inf\)'),
        (lambda: Range('height', 4, 3), r'no height is in the range \(4, 3\); give a lower bound below'),
        (lambda: Range('height', 4, 4, (True, False)), 'no height is in the range'),
        (lambda: Range('height', 3, 4, True), "'includes' of height is True; give two booleans"),
        (lambda: InstanceStratum('x', ranges=HEIGHT), "stratum 'x': ranges are Range.*; give a list of Range"),
        (lambda: InstanceStratum('x', ranges=['h > 3']), "stratum 'x': ranges are .*; give a list of Range"),
        (lambda: InstanceStratum('x', prefixes=7), "stratum 'x': prefixes are 7; give a list of str"),
        (lambda: InstanceStratum('x', prefixes='set06'), "stratum 'x': prefixes are 'set06'; give a list of str"),
        (lambda: InstanceStratum(''), "a stratum is named ''; give it a name"),
        (lambda: InstanceStratum.parse(3), 'a stratum is 3; write e.g.'),
    ],
)
def test_what_cannot_be_made_is_one_sentence(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_lists_become_tuples():
    made = InstanceStratum('x', ranges=[Range('height', 3, 4, [True, False])], prefixes=['a'])
    assert made == InstanceStratum('x', ranges=(Range('height', 3, 4, (True, False)),), prefixes=('a',))
    assert len({made}) == 1


def test_copies_from_another_process_are_equal():
    for stratum in (InstanceStratum.parse('heavy: v <= 0.65'), groups(['day'])[0], all_images()):
        copy = pickle.loads(pickle.dumps(stratum))
        assert copy == stratum and {stratum: 1}[copy] == 1
    others = [*groups(['x', 'y']), *map(InstanceStratum.parse, ('x: v > 0.5', 'x: v > 0.6', 'y: v > 0.5'))]
    assert len(set(others)) == 5 and others[0] != 'x'


def test_a_stratum_may_be_on_some_images_only():
    stratum = InstanceStratum('day', prefixes=('set06', 'set07'))
    names = ('set06/a', 'set09/a', 'images/set06/V000/a', r'images\set07\a', 'set09/xset06', None)
    assert [stratum.is_on(name) for name in names] == [True, False, True, True, False, False]
    assert InstanceStratum('all').is_on(None)


def test_protocols_name_strata_that_can_be_made():
    for protocol in PROTOCOLS.values():
        names = [stratum.name for stratum in protocol.strata]
        assert len(set(names)) == len(names)
        assert set(protocol.needs) <= set(SYMBOLS)
        for stratum in protocol.strata:
            assert InstanceStratum.parse(', '.join(map(str, stratum.ranges))).ranges == stratum.ranges
