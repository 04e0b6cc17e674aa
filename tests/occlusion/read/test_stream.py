"""A streamed results file gives what the same file read at once gives, wherever its blocks end."""

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
from mmhybrid.occlusion.read import records, stream
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
@pytest.mark.parametrize('block_size', [1, 64, 300, 1000, stream.BLOCK])
def test_blocks_of_any_size_give_the_same_columns(tmp_path, layout, block_size):
    path = tmp_path / 'dt.json'
    path.write_text(layout(DT))
    whole = load_detections(json.loads(path.read_text()), CHECKED, ('bbox', 'segm'))
    assert len(whole) == len(DT)
    assert_equal(loaded(path, block_size), whole)
    zipped = tmp_path / 'dt.json.gz'
    zipped.write_bytes(gzip.compress(path.read_bytes()[:500]) + gzip.compress(path.read_bytes()[500:]))
    assert_equal(loaded(zipped, block_size), whole)


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
    for block_size in (64, stream.BLOCK):
        with pytest.raises(InputError, match=rf"dt\.json: results\[{len(DT) - 2}\]: field 'score' is nan"):
            loaded(path, block_size)


def test_a_long_list_is_checked_in_slices(monkeypatch):
    at_once = load_detections(DT, CHECKED, ('bbox', 'segm'))
    monkeypatch.setattr('mmhybrid.occlusion.read.wrappers.SLICE', 7)
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
    'brackets': (b'}]', -1, b'}' + b'[' * 20_000),
    'digits': (b'"score": ', 2, b'"score": ' + b'9' * 5000 + b', "x": '),
    'wrong encoding': (b'"score": ', 4, b'"category_id": "\xe4", "score": '),
}


@pytest.mark.parametrize('old, which, new', FAULTS.values(), ids=FAULTS)
def test_faults_are_found_where_the_whole_file_has_them(tmp_path, old, which, new):
    parts = json.dumps(DT[:6]).encode().split(old)
    content = old.join(parts[:which]) + new + old.join(parts[which:])
    path = tmp_path / 'dt.json'
    path.write_bytes(content)
    with pytest.raises((ValueError, RecursionError)) as expected:
        json.loads(content)
    for block_size in (1, 64, 200, stream.BLOCK):
        with pytest.raises(InputError, match=r'dt\.json: not valid JSON \(') as caught:
            loaded(path, block_size)
        assert '\n' not in str(caught.value)
        if isinstance(expected.value, json.JSONDecodeError):
            assert expected.value.msg in str(caught.value)
            place = str(expected.value) if block_size == stream.BLOCK else f'byte {expected.value.pos}'
            assert place in str(caught.value)


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
    st.sampled_from([1, 5, 16, 64, stream.BLOCK]),
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
    if not content.lstrip(b' \t\n\r').startswith(b'[') or content.startswith((b'\xff\xfe', b'\xfe\xff')):
        return  # no list
    parts = []
    try:
        with path.open('rb') as file:
            stream.of_list(stream.utf8(file, block_size), lambda text, more: parts.append(json.loads(text)))
    except ValueError as error:
        assert problem is not None
        if isinstance(problem, json.JSONDecodeError) and 'BOM' not in str(error):
            assert problem.msg in str(error)
            assert f'byte {len(problem.doc[: problem.pos].encode("utf-8", "surrogatepass"))}' in str(error) or (
                str(problem) in str(error)
            )
    else:
        assert problem is None
        assert repr([row for part in parts for row in part]) == repr(expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(max_size=3), st.booleans(), st.sampled_from([50, stream.BLOCK]))
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


@pytest.mark.parametrize('text', ['"[]"', '3', ' ', '[1]'])
@pytest.mark.parametrize('block_size', [1, 1000])
def test_files_without_detections(tmp_path, text, block_size):
    path = tmp_path / 'dt.json'
    path.write_text(text)
    with pytest.raises(InputError, match=r'it is empty|must be a JSON list|not an object'):
        loaded(path, block_size)


@pytest.mark.parametrize('text', ['[]', ' [ \n] ', '{"predictions": []}'])
@pytest.mark.parametrize('block_size', [1, 1000])
def test_no_detection_is_a_result(tmp_path, text, block_size):
    path = tmp_path / 'dt.json'
    path.write_text(text)
    for dt in (loaded(path, block_size), load_detections(json.loads(text), CHECKED, ('bbox', 'segm'))):
        assert len(dt) == len(dt.masks) == 0
        some = load_detections(DT, CHECKED, ('bbox', 'segm'))
        for name in ('image_ids', 'category_ids', 'scores', 'boxes'):
            one, other = getattr(dt, name), getattr(some, name)
            assert (one.dtype, one.shape[1:]) == (other.dtype, other.shape[1:])
        assert dt.to_coco('segm') == dt.to_coco('bbox') == dt.masks.take() == []


def test_memory_follows_the_block_not_the_file(tmp_path, monkeypatch):
    path = tmp_path / 'dt.json'
    path.write_text(json.dumps(DT * 40))
    sizes = []
    take = records.Results.take_typed
    monkeypatch.setattr(records.Results, 'take_typed', lambda self, text: sizes.append(len(text)) or take(self, text))
    assert len(loaded(path, 2000)) == 40 * len(DT)
    assert len(sizes) > 20
    assert max(sizes) < 5000


LINES = {
    'usual': '\n'.join,
    'ends': lambda lines: '\n'.join(lines) + '\n',
    'of Windows': lambda lines: '\r\n'.join(lines) + '\r\n',
    'blank ones': lambda lines: '\n \n' + '\n\n'.join(lines) + '\n\t\n',
}


@pytest.mark.parametrize('form', LINES.values(), ids=LINES)
@pytest.mark.parametrize('block_size', [1, 64, 1000, stream.BLOCK])
def test_json_lines(tmp_path, form, block_size):
    path = tmp_path / 'dt.jsonl'
    path.write_bytes(form([json.dumps(row) for row in DT]).encode())
    assert_equal(loaded(path, block_size), load_detections(DT, CHECKED, ('bbox', 'segm')))
    path.write_text(form([json.dumps(DT[0])]))
    assert loaded(path, block_size).to_coco('bbox') == load_detections(DT[:1], CHECKED).to_coco('bbox')


@pytest.mark.parametrize('block_size', [1, 1000, stream.BLOCK])
@pytest.mark.parametrize(
    'line, sentence',
    [
        ('{"image_id": 1, "sc', 'line 5: Unterminated string'),
        ('{"image_id": 1} x', 'line 5: Extra data'),
        ('[', 'line 5: Expect'),
    ],
)
def test_a_broken_line_is_named(tmp_path, block_size, line, sentence):
    path = tmp_path / 'dt.jsonl'
    lines = [json.dumps(row) for row in DT[:9]]
    path.write_text('\n'.join(['', *lines[:3], line, *lines[3:]]))
    with pytest.raises(InputError, match=re.escape(f'not valid JSON ({sentence}')):
        loaded(path, block_size)


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


def test_undecodable_bytes_are_placed_in_the_file(tmp_path):
    content = json.dumps([{**row, 'file_name': 'ü'} for row in DT], ensure_ascii=False).encode()
    at = content.rindex('ü'.encode()) + 1
    path = tmp_path / 'dt.json'
    path.write_bytes(content[:at] + content[at + 1 :])
    with pytest.raises(UnicodeDecodeError) as expected:
        io.TextIOWrapper(io.BytesIO(path.read_bytes()), encoding='utf-8').read()
    assert expected.value.start == at - 1
    for block_size in (4, 64, stream.BLOCK):
        with pytest.raises(InputError, match=re.escape(f'not valid JSON (byte {at - 1} is not utf-8: invalid cont')):
            loaded(path, block_size)
