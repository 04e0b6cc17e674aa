"""Cutting a list of objects: pieces that are JSON hold all of its elements in order, however misleading the text is."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.read import shares
from mmhybrid.occlusion.read.shares import Unusual

# Texts that look like a place to cut.
TEMPTING = st.sampled_from(['}, {', '},{', '}\n,\t{"a": 1}', '[{', '}]', '"', '\\', 'é', '', ' , '])
VALUES = st.recursive(
    st.one_of(TEMPTING, st.integers(-9, 9), st.lists(TEMPTING, max_size=4).map(''.join)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEMPTING, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text('ab', max_size=2), VALUES, max_size=3), min_size=1, max_size=12)
SEPARATORS = st.sampled_from([(', ', ': '), (',', ':'), (' ,\n\t', ' : ')])


def read(path, share, size):
    """All elements, or None where it is not cut into JSON lists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, 'SHARE', share)
        try:
            texts = [text for begin, end in shares.divide(path) for text in shares.pieces(path, begin, end, size)]
            parts = [json.loads(text) for text in texts]
        except (Unusual, ValueError):
            return None
    return [row for part in parts for row in part] if all(isinstance(part, list) for part in parts) else None


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return tmp_path_factory.mktemp('shares') / 'list.json'


@settings(max_examples=300, deadline=None)
@given(OBJECTS, SEPARATORS, st.sampled_from(['', ' ', '\n\t']), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_all_elements_or_none(path, rows, separators, space, share, size, packed):
    raw = f'{space}{json.dumps(rows, separators=separators)}{space}'.encode()
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert read(path, share, size) in (rows, None)


@settings(max_examples=300, deadline=None)
@given(OBJECTS, st.data())
def test_of_what_is_no_list_nothing(path, rows, data):
    text = json.dumps(rows)
    at = data.draw(st.integers(0, len(text)))
    new = data.draw(st.sampled_from(['', '{', '}', '[', ']', ',', '"', '}, {', ', ']))
    text = text[:at] + new + text[at + data.draw(st.integers(0, 3)) :]
    path.write_text(text)
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    assert read(path, data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))) in (expected, None)


def test_plain_lists_are_cut_where_asked(path, monkeypatch):
    rows = [{'id': i, 'text': 'x' * (i % 7)} for i in range(3000)]
    path.write_text(json.dumps(rows))
    monkeypatch.setattr(shares, 'SHARE', 10_000)
    found = shares.divide(path)
    assert len(found) == round(path.stat().st_size / 10_000)
    assert all(abs(begin - 10_000 * i) < 100 for i, (begin, _) in enumerate(found))
    pieces = [list(shares.pieces(path, begin, end, 1000)) for begin, end in found]
    assert all(5 <= len(part) <= 17 for part in pieces)
    assert [row for part in pieces for piece in part for row in json.loads(piece)] == rows


def test_an_object_without_end_is_not_looked_for(path, monkeypatch):
    monkeypatch.setattr(shares, 'LARGEST', 500)
    path.write_text(json.dumps([{'a': 1}, {'text': '}' * 5000}, {'b': 2}]))
    with pytest.raises(Unusual):
        list(shares.pieces(path, 0, None, 100))
    monkeypatch.setattr(shares, 'SHARE', 2000)
    assert len(shares.divide(path)) == 1


def test_what_is_no_file(tmp_path):
    for name in ('missing.json', '.'):
        with pytest.raises(Unusual):
            shares.divide(tmp_path / name)
