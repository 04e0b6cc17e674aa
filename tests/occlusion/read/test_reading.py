"""A streamed results file gives what the same file read at once gives, wherever its blocks end."""

import gc
import gzip
import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read import reading
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..synthetic import dataset

GT, DT = dataset(0, num_images=5, masks=True, many=False)
CHECKED = load_ground_truth(GT, ('segm',))
LAYOUTS = {
    'usual': lambda rows: json.dumps(rows),
    'compact': lambda rows: json.dumps(rows, separators=(',', ':')),
    'indented': lambda rows: json.dumps(rows, indent=2),
    'a record a line': lambda rows: '[\n' + ',\n'.join(map(json.dumps, rows)) + '\n]\n',
    'comma first': lambda rows: ' [' + '\n, '.join(map(json.dumps, rows)) + '\t]\r\n',
}


def loaded(path, block_size):
    return load_detections(path, CHECKED, ('bbox', 'segm'), block_size=block_size)


def assert_equal(one, other):
    for name in ('image_ids', 'category_ids', 'scores', 'boxes'):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert one.to_coco('bbox') == other.to_coco('bbox')
    assert one.to_coco('segm') == other.to_coco('segm')


@pytest.mark.parametrize('layout', LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize('block_size', [1, 64, 300, 1000, reading.BLOCK])
def test_blocks_of_any_size_give_the_same_columns(tmp_path, layout, block_size):
    path = tmp_path / 'dt.json'
    path.write_text(layout(DT))
    whole = load_detections(json.loads(path.read_text()), CHECKED, ('bbox', 'segm'))
    assert len(whole) == len(DT)
    assert_equal(loaded(path, block_size), whole)
    zipped = tmp_path / 'dt.json.gz'
    zipped.write_bytes(gzip.compress(path.read_bytes()[:500]) + gzip.compress(path.read_bytes()[500:]))
    assert_equal(loaded(zipped, block_size), whole)


def test_the_rows_are_those_of_the_file():
    dt = load_detections(DT, CHECKED, ('bbox', 'segm'))
    for start, stop in ((0, len(DT)), (3, 7), (2, 2)):
        expected = [{key: row[key] for key in ('image_id', 'category_id', 'score', 'bbox')} for row in DT[start:stop]]
        assert dt.rows('bbox', start, stop) == expected
        for row, given_row in zip(dt.rows('segm', start, stop), DT[start:stop], strict=True):
            assert 'bbox' not in row
            rle = given_row['segmentation']
            assert row['segmentation'] == {'size': rle['size'], 'counts': rle['counts'].encode()}
            assert (row['image_id'], row['score']) == (given_row['image_id'], given_row['score'])
    dt.rows('bbox', 0, 1)[0]['bbox'][0] = 1e6  # a fresh copy each time
    assert dt.boxes.max() < 1e6


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32-be'])
@pytest.mark.parametrize('block_size', [1, 7, 1000])
def test_other_encodings_and_characters_across_blocks(tmp_path, encoding, block_size):
    rows = [{**row, 'name': 'Hündchen \U0001f415 }, {'} for row in DT]
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding=encoding)
    assert_equal(loaded(path, block_size), load_detections(DT, CHECKED, ('bbox', 'segm')))


def test_errors_name_the_record_of_the_whole_file(tmp_path):
    rows = [dict(row) for row in DT]
    rows[-2]['score'] = float('nan')
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(rows))
    for block_size in (64, reading.BLOCK):
        with pytest.raises(InputError, match=rf"dt\.json: results\[{len(DT) - 2}\]: field 'score' is nan"):
            loaded(path, block_size)


def test_a_long_list_is_checked_in_slices(monkeypatch):
    at_once = load_detections(DT, CHECKED, ('bbox', 'segm'))
    monkeypatch.setattr('mmhybrid.occlusion.read.detections.SLICE', 7)
    assert_equal(load_detections(DT, CHECKED, ('bbox', 'segm')), at_once)
    with pytest.raises(InputError, match=rf'results\[{len(DT)}\]: None is not an object'):
        load_detections([*DT, None], CHECKED)


FAULTS = {
    # What is put in place of which occurrence of what.
    'lost quote': (b'"score"', 3, b'"score'),
    'lost colon': (b'"score":', 4, b'"score"'),
    'lost comma': (b'}, {', 2, b'} {'),
    'trailing comma': (b'}]', -1, b'},]'),
    'trailing comma and space': (b'}]', -1, b'},  \n ]'),
    'early end': (b'}, {', 2, b'}], {'),
    'garbage after': (b'}]', -1, b'}] x'),
    'second list': (b'}]', -1, b'}][]'),
    'truncated': (b'}]', -1, b'}'),
    'truncated in a record': (b'}]', -1, b'}, {"score": 0.5, "bbox'),
    'no number': (b'"score": ', 4, b'"score": +'),
    'control character': (b'"score": ', 4, b'"sco\nre": '),
    'bad escape': (b'"score": ', 4, b'"sco\\xre": '),
    'brackets': (b'}]', -1, b'}' + b'[' * 200_000),
    'digits': (b'"score": ', 2, b'"n": ' + b'9' * 5000 + b', "score": '),
    'wrong encoding': (b'"score": ', 4, b'"sc\xe4re": '),
}


@pytest.mark.parametrize('old, which, new', FAULTS.values(), ids=FAULTS)
def test_faults_are_found_where_the_whole_file_has_them(tmp_path, old, which, new):
    parts = json.dumps(DT[:6]).encode().split(old)
    content = old.join(parts[:which]) + new + old.join(parts[which:])
    path = tmp_path / 'dt.json'
    path.write_bytes(content)
    with pytest.raises((ValueError, RecursionError)) as expected:
        json.loads(content)
    for block_size in (1, 64, 200, reading.BLOCK):
        with pytest.raises(InputError, match=r'dt\.json: not valid JSON \(') as caught:
            loaded(path, block_size)
        assert '\n' not in str(caught.value)
        if isinstance(expected.value, json.JSONDecodeError):
            assert str(expected.value) in str(caught.value)


PIECES = [b'', *(bytes([code]) for code in b'[]{},:" \n\\1e-\xc3')]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just('}, {')),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(['a', '},{', '\\"']), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=8,
    ),
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(PIECES)), max_size=2),
    st.sampled_from([1, 5, 16, 64, reading.BLOCK]),
    st.sampled_from([None, 1]),
    st.booleans(),
)  # fmt: skip
def test_any_text_as_the_whole_parser(tmp_path, rows, changes, block_size, indent, ascii_only):
    content = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode('utf-8', 'surrogatepass')
    for at, piece in changes:
        at %= len(content) + 1
        content = content[:at] + piece + content[at + (piece != b'[') :]
    path = tmp_path / 'any.json'
    path.write_bytes(content)
    try:
        expected, problem = json.loads(content), None
    except ValueError as error:
        expected, problem = None, error
    try:
        found = [row for part in reading.stream_list(path, 'results', block_size) for row in part]
    except InputError as error:
        if problem is None:
            assert not isinstance(expected, list)
            assert 'must be a JSON list' in str(error)
        else:
            assert 'not valid JSON' in str(error)
            if isinstance(problem, json.JSONDecodeError) and 'BOM' not in str(error):
                assert str(problem) in str(error)
    else:
        assert problem is None
        assert repr(found) == repr(expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(max_size=3), st.booleans(), st.sampled_from([50, reading.BLOCK]))
def test_damaged_gzip_is_one_sentence_or_unharmed(tmp_path, at, piece, cut, block_size):
    whole = gzip.compress(json.dumps(DT).encode(), mtime=0)
    at %= len(whole)
    path = tmp_path / 'dt.json.gz'
    path.write_bytes(whole[:at] + piece + (b'' if cut else whole[at + len(piece) :]))
    try:
        found = loaded(path, block_size)
    except InputError as error:
        assert '\n' not in str(error)
    else:  # the change hit the header, or nothing
        assert_equal(found, load_detections(DT, CHECKED, ('bbox', 'segm')))


def test_a_record_larger_than_many_blocks(tmp_path):
    rows = [*DT, {**DT[0], 'note': ['}, {'] * 2000}, DT[1]]
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(rows))
    assert len(loaded(path, 64)) == len(rows)


def test_a_list_of_numbers_is_streamed_too(tmp_path):
    path = tmp_path / 'numbers.json'
    path.write_text(json.dumps([1, 23, -4.5e-3, True, None, [], {}, 'x', float('-inf')] * 50))
    parts = list(reading.stream_list(path, 'results', 16))
    assert len(parts) > 10 and all(parts)
    assert [value for part in parts for value in part] == json.loads(path.read_text())


@pytest.mark.parametrize('text', ['[]', ' [ \n] ', '{}', '"[]"', '3', ' ', '[1]'])
@pytest.mark.parametrize('block_size', [1, 1000])
def test_files_without_detections(tmp_path, text, block_size):
    path = tmp_path / 'dt.json'
    path.write_text(text)
    with pytest.raises(InputError, match=r'empty list|must be a JSON list|not valid JSON|not an object'):
        loaded(path, block_size)


def test_memory_follows_the_block_not_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr('mmhybrid.occlusion.read.typed.find_spec', lambda name: None)
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(DT * 40))
    sizes = []
    loads = json.loads
    monkeypatch.setattr(json, 'loads', lambda text: sizes.append(len(text)) or loads(text))
    assert len(loaded(path, 2000)) == 40 * len(DT)
    assert len(sizes) > 20
    assert max(sizes) < 5000


@pytest.mark.parametrize('enabled', [True, False])
def test_the_garbage_collector_is_left_as_it_was(tmp_path, enabled):
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps([*DT, 3]))
    was_enabled = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        load_detections(DT, CHECKED)
        assert gc.isenabled() == enabled
        with pytest.raises(InputError):
            loaded(path, 100)
        assert gc.isenabled() == enabled
    finally:
        gc.enable() if was_enabled else gc.disable()


@pytest.mark.skipif(sys.platform == 'win32', reason='needs /dev/fd')
@pytest.mark.parametrize('zipped', [True, False])
def test_a_pipe(zipped):
    content = json.dumps(DT).encode()
    content = gzip.compress(content) if zipped else content
    with subprocess.Popen(
        [sys.executable, '-c', f'import sys; sys.stdout.buffer.write({content!r})'], stdout=subprocess.PIPE
    ) as process:
        found = loaded(f'/dev/fd/{process.stdout.fileno()}', 500)
    assert_equal(found, load_detections(DT, CHECKED, ('bbox', 'segm')))


def test_uncompressed_counts_become_compressed(tmp_path):
    rle = DT[0]['segmentation']
    height, width = rle['size']
    rows = [dict(DT[0]), {**DT[0], 'segmentation': {'size': (height, width), 'counts': [10, 20, height * width - 30]}}]
    masks = load_detections(rows, CHECKED, ('segm',)).masks.rles(0, 2)
    from pycocotools import mask

    assert mask.area(masks).tolist() == [mask.area(rle), 20]
    flat = mask.decode(masks[1]).ravel(order='F')
    assert flat[10:30].all() and flat.sum() == 20


def test_undecodable_bytes_are_placed_in_the_file(tmp_path):
    content = json.dumps([{**row, 'name': 'ü'} for row in DT], ensure_ascii=False).encode()
    at = content.rindex('ü'.encode()) + 1
    path = tmp_path / 'dt.json'
    path.write_bytes(content[:at] + content[at + 1 :])
    with pytest.raises(UnicodeDecodeError) as expected:
        io.TextIOWrapper(io.BytesIO(path.read_bytes()), encoding='utf-8').read()
    assert expected.value.start == at - 1
    for block_size in (4, 64, reading.BLOCK):
        with pytest.raises(InputError, match=re.escape(f'not valid JSON (byte {at - 1} is not utf-8: invalid cont')):
            loaded(path, block_size)
