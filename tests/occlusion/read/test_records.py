"""Reading records typed gives what reading them through ``json.loads`` gives: same columns, same sentence."""

import copy
import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read import files, records, stream
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import SIZE, dataset
from .junk import junk, places
from .test_stream import LAYOUTS, assert_equal

GT, DT = dataset(2, num_images=4, masks=True, many=False)
DT = DT[:9]
CHECKED = load_ground_truth(GT, ('segm',))
KINDS = [('bbox',), ('segm',), ('bbox', 'segm')]
PLACES = list(places(DT))[1:]
BLOCKS = [100, 1000, stream.BLOCK]
FIELDS = ['image_id', 'category_id', 'score', 'bbox', 'segmentation', 'id', 'area', 'iscrowd', 'other', 'size']
# Texts that stand for a value in the file: what JSON forbids, what json.loads accepts beside it, and edges of numbers.
TEXTS = [
    '1.0', '64.0', '3e0', '1E400', '-0', '-0.0', '0.1e-400', '01', '1.', '.5', '+1', '1e', '-', 'NaN', 'Infinity',
    '9' * 25, '9' * 400, '9' * 5000, str(2**63), str(-(2**63) - 1), '9007199254740993', '1.7976931348623159e308',
    'true', 'null', 'tru', '""', '"\\ud800"', '"\\u0050T4"', '"\t"', '"\\x"', '"\x7f"', '"é"', '"1"', '[]', '[1,]',
    '[1, 2, 3, 4]', '[1, 2, 3.5, true]', '[1, 2, 3, 1e10]', '[1, 2, 3, -1]', '[64, 64]', '[64.0, 64]', '{}', '{1: 2}',
    '{"size": [64, 64], "counts": "PT4"}', '{"size": [64, 64], "counts": [4096]}', '{"size": [64, 64], "counts": "o"}',
    '{"size": [64, 64], "counts": "PT4", "x": 1}', '[' * 3000 + ']' * 3000,
]  # fmt: skip


@pytest.fixture(scope='module')
def both(tmp_path_factory):
    """Loads a text whole through ``json.loads`` and as a file; returns the two outcomes, and whether all was typed."""
    path = tmp_path_factory.mktemp('typed') / 'dt.json'

    def load(text, iou_types, block_size=stream.BLOCK):
        path.write_text(text, encoding='utf-8', errors='surrogatepass')
        try:
            plain = load_detections(json.loads(path.read_bytes()), CHECKED, iou_types)
        except InputError as error:
            plain = str(error).removeprefix('results: ')
        except (ValueError, RecursionError) as error:
            plain = error
        typed, take = [], records.Results.take_typed
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(records.Results, 'take_typed', lambda *args: (typed.append(take(*args)), typed[-1])[1])
            try:
                quick = load_detections(path, CHECKED, iou_types, block_size)
            except InputError as error:
                quick = str(error).removeprefix(f'{path}: ')
        return (plain, quick), all(typed)

    return load


def beyond_json(error):
    """Whether ``json`` refuses a text that msgspec skips over where nothing needs it."""
    return isinstance(error, UnicodeDecodeError) or 'integer string' in str(error)


def assert_alike(outcomes, iou_types):
    plain, quick = outcomes
    if isinstance(plain, Exception):
        if not isinstance(quick, str):
            assert beyond_json(plain)
            return
        assert quick.startswith('not valid JSON (')
        assert not isinstance(plain, json.JSONDecodeError) or plain.msg in quick
        return
    if isinstance(plain, str) or isinstance(quick, str):
        assert quick == plain
        return
    for name in ('image_ids', 'category_ids', 'scores', 'boxes'):
        one, other = getattr(quick, name), getattr(plain, name)
        np.testing.assert_array_equal(one, other)
        assert one is None or one.dtype == other.dtype
    assert 'segm' not in iou_types or quick.masks.take() == plain.masks.take()
    for name in ('sizes', 'areas', 'margins') if 'segm' in iou_types else ():
        one, other = getattr(quick.masks, name), getattr(plain.masks, name)
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize('iou_types', KINDS)
@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
def test_usual_files_are_typed(both, layout, iou_types):
    for block_size in (300, 1000, stream.BLOCK):
        outcomes, typed = both(layout(DT * 4), iou_types, block_size)
        assert_alike(outcomes, iou_types)
        assert typed and len(outcomes[1]) == 4 * len(DT)


def test_what_is_not_asked_for_may_be_anything(both):
    other = {'segmentation': [[1, 2, 3, 4, 5, 6]], 'id': 7, 'area': 3.5, 'iscrowd': 0, 'name': {'a': [None]}}
    for iou_types, extra in ((('bbox',), other), (('segm',), {'bbox': None})):
        outcomes, typed = both(json.dumps([{**row, **extra} for row in DT]), iou_types)
        assert_alike(outcomes, iou_types)
        assert typed and len(outcomes[1]) == len(DT)


def test_one_unusual_row_costs_its_block_alone(both):
    rows = [dict(row) for row in DT * 4]
    rows[len(rows) // 2]['note'] = float('nan')
    outcomes, typed = both(json.dumps(rows), ('bbox', 'segm'), 1000)
    assert_alike(outcomes, ('bbox', 'segm'))
    assert len(outcomes[1]) == len(rows) and not typed


REFUSED = {
    'broken image id': ('"image_id": ', r'-?\d+', r'\g<0>.5', 'which is no image'),
    'broken category id': ('"category_id": ', r'\d+', r'\g<0>.5', 'not an integer'),
    'huge image id': ('"image_id": ', r'-?\d+', '9' * 25, 'which is no image'),
    'no such image': ('"image_id": ', r'-?\d+', '123456', 'which is no image'),
    'true for a score': ('"score": ', r'[\d.e-]+', 'true', 'not a finite number'),
    'negative width': ('"bbox": ', r'\[.*?\]', '[1, 2, -3, 4]', 'negative width'),
    'far box': ('"bbox": ', r'\[.*?\]', '[1, 2, 3, 1e10]', 'beyond 1e9'),
    'five numbers': ('"bbox": ', r'\[.*?\]', '[1, 2, 3, 4, 5]', 'not four numbers'),
    'another size': ('"size": ', r'\[.*?\]', f'[{SIZE}, {SIZE + 1}]', 'has the size'),
    'counts beyond ASCII': ('"counts": ', r'".*?"', '"é"', 'has the counts'),
    'no counts': ('"counts": ', r'".*?"', '""', 'has the counts'),
    'short counts': ('"counts": ', r'".*?"', '"1"', 'do not fill'),
    'a number too long': ('"score": ', r'[\d.e-]+', '9' * 5000, 'not valid JSON'),
}


@pytest.mark.parametrize('field, old, new, sentence', REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize('every', [True, False])
def test_what_is_refused(both, field, old, new, sentence, every):
    text, changed = re.subn(f'(?<={field}){old}', new, json.dumps(DT), count=0 if every else 1)
    assert changed == (len(DT) if every else 1)
    outcomes, _ = both(text, ('bbox', 'segm'))
    assert_alike(outcomes, ('bbox', 'segm'))
    assert sentence in outcomes[1]
    if every and 'JSON' not in sentence:
        assert f'{len(DT)} records, the first is results[0]' in outcomes[1]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_one_value_replaced(both, data):
    rows = copy.deepcopy(DT)
    mark = 'replaced here'
    target = rows
    path = data.draw(st.sampled_from(PLACES))
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = mark
    value = data.draw(st.one_of(st.sampled_from(TEXTS), junk.filter(lambda v: not _has_bytes(v)).map(json.dumps)))
    text = json.dumps(rows).replace(f'"{mark}"', value)
    iou_types = data.draw(st.sampled_from(KINDS))
    assert_alike(both(text, iou_types, data.draw(st.sampled_from(BLOCKS)))[0], iou_types)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_field_added_or_removed(both, data):
    rows = copy.deepcopy(DT)
    mark = 'added here'
    target = data.draw(st.sampled_from(rows))
    target = data.draw(st.sampled_from([target, target['segmentation']]))
    name = data.draw(st.sampled_from([*FIELDS, 'counts']))
    if name in target and data.draw(st.booleans()):
        del target[name]
        text = json.dumps(rows)
    else:  # perhaps the second of its name
        target[mark] = 0
        text = json.dumps(rows).replace(f'"{mark}": 0', f'"{name}": {data.draw(st.sampled_from(TEXTS))}')
    iou_types = data.draw(st.sampled_from(KINDS))
    assert_alike(both(text, iou_types, data.draw(st.sampled_from(BLOCKS)))[0], iou_types)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_characters_changed(both, data):
    text = json.dumps(DT)
    changes = data.draw(st.integers(1, 2))
    for _ in range(changes):
        at = data.draw(st.integers(0, len(text) - 1))
        new = data.draw(st.sampled_from([*'{}[],:"\\ \n\t0123456789.eE+-tfnN\x00\x0b\ufeffoP', '', '}, {']))
        text = text[:at] + new + text[at + data.draw(st.integers(0, 2)) :]
    iou_types = data.draw(st.sampled_from(KINDS))
    outcomes, _ = both(text, iou_types, data.draw(st.sampled_from(BLOCKS)))
    if changes == 2 and isinstance(outcomes[0], str | Exception) and isinstance(outcomes[1], str):
        return  # which of two faults is told first depends on the blocks
    assert_alike(outcomes, iou_types)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.lists(st.one_of(st.floats(-(2.0**31), 2.0**31), st.integers(-(2**60), 2**60)), min_size=2, max_size=2),
)
def test_numbers_bit_for_bit(both, scores, corner):
    rows = [{**DT[0], 'score': score, 'bbox': [*corner, score * 10, 3]} for score in scores]
    outcomes, typed = both(json.dumps([*rows, DT[0]]), ('bbox',))
    assert_alike(outcomes, ('bbox',))
    if max(map(abs, corner)) <= 1e9:
        assert typed
        assert [outcomes[1].scores[:-1].tolist(), outcomes[1].boxes[0, :2].tolist()] == [
            scores,
            list(map(float, corner)),
        ]


def outcome(loads, raw):
    try:
        return repr(loads(raw))
    except (ValueError, RecursionError) as error:
        return type(error), str(error)


@settings(max_examples=250, deadline=None)
@given(
    st.recursive(st.sampled_from(TEXTS), lambda inner: st.lists(inner, max_size=3).map(lambda v: f'[{",".join(v)}]'))
)
def test_whole_files_as_json_reads_them(text):
    for encoding in ('utf-8', 'utf-8-sig', 'utf-16'):
        raw = f' {text}\n'.encode(encoding)
        assert outcome(files.loads, raw) == outcome(json.loads, raw)


def _has_bytes(value):
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, bytes) or any(map(_has_bytes, items))


def test_equality_is_not_blind(both):
    changed = copy.deepcopy(DT)
    changed[3]['score'] += 1e-9
    (one, _), (other, _) = both(json.dumps(DT), ('bbox', 'segm'))[0], both(json.dumps(changed), ('bbox', 'segm'))[0]
    with pytest.raises(AssertionError):
        assert_alike([one, other], ('bbox', 'segm'))
    assert_equal(one, load_detections(DT, CHECKED, ('bbox', 'segm')))
