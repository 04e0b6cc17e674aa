"""Archives, texts and what is no JSON at all: read, or named for what it is."""

import gzip
import io
import json
import os
import pickle
import tarfile

import numpy as np
import pytest

from . import forms
from .base import Files, data
from .outcomes import assert_named, assert_same


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def results(files, name, content):
    files.write(name, content)
    files.results = (name,)
    return files.run('eval')


def ground_truth(files, name, content):
    files.write(name, content)
    files.ann = name
    return files.run('eval')


DT = json.dumps(data()[1]).encode()
GT = json.dumps(data()[0]).encode()
PACK = {name.strip('.'): pack for name, pack in forms.CONTAINERS.items() if name}


@pytest.mark.parametrize('kind', PACK)
@pytest.mark.parametrize('name', ['x.json.gz', 'x'])
def test_the_content_decides(files, kind, name):
    assert_same(results(files, name, PACK[kind](DT)))


def test_a_name_of_an_archive_with_plain_content(files):
    assert_same(results(files, 'x.json.bz2', DT))


@pytest.mark.parametrize('kind', PACK)
def test_ground_truth_too(files, kind):
    assert_same(ground_truth(files, f'instances.json.{kind}', PACK[kind](GT)))


@pytest.mark.parametrize('kind', PACK)
def test_half_an_archive(files, kind):
    content = PACK[kind](DT)
    assert_named(results(files, f'x.json.{kind}', content[: len(content) // 2]), '^error: FILE')


def test_zip_as_a_server_takes_it(files):
    """With the folder that a file manager adds."""
    junk = {'__MACOSX/sub/._detections.json': b'\0\5\26\7'}
    content = forms.zipped(**{'sub/detections_val2017_x_results.json': DT}, **junk)
    assert_same(results(files, 'x.zip', content))


def test_zip_with_two_results(files):
    content = forms.zipped(**{'a.json': DT, 'b.json': DT})
    assert_named(results(files, 'x.zip', content), 'zip', '2|two|a.json')


def test_zip_with_none(files):
    assert_named(results(files, 'x.zip', forms.zipped()), 'zip|empty')
    assert_named(results(files, 'y.zip', forms.zipped(**{'readme.md': b'see there'})), 'readme.md|JSON')


@pytest.mark.slow
def test_zip_that_unpacks_to_far_more(files):
    content = forms.zipped(**{'a.json': b'[' + b' ' * (300 << 20) + DT[1:]})
    assert_named(results(files, 'x.zip', content), 'unpack')


def test_tar(files):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode='w:gz') as file:
        member = tarfile.TarInfo('results.json')
        member.size = len(DT)
        file.addfile(member, io.BytesIO(DT))
    outcome = results(files, 'x.tar.gz', archive.getvalue())
    if outcome.code == 2:
        assert_named(outcome, 'tar')
    else:
        assert_same(outcome)


def test_packed_twice(files):
    outcome = results(files, 'x.json.gz', gzip.compress(gzip.compress(DT)))
    if outcome.code == 2:
        assert_named(outcome, 'gz|compress|pack')
    else:
        assert_same(outcome)


@pytest.mark.parametrize('encoding', ['utf-16', 'utf-16-le', 'utf-32'])
def test_what_a_shell_of_windows_writes(files, encoding):
    outcome = results(files, 'x.json', DT.decode().encode(encoding))
    if outcome.code == 2:
        assert_named(outcome, 'utf')
    else:
        assert_same(outcome)


LINES = {
    'as they are': lambda lines: '\n'.join(lines),
    'with a last one': lambda lines: '\n'.join(lines) + '\n',
    'of Windows': lambda lines: '\r\n'.join(lines) + '\r\n',
    'with blank ones': lambda lines: '\n' + '\n\n'.join(lines) + '\n  \n',
    'one': lambda lines: lines[0],
}


@pytest.mark.parametrize('name', ['x.jsonl', 'x.json', 'x.ndjson', 'x.jsonl.gz'])
@pytest.mark.parametrize('kind', LINES)
def test_json_lines(files, kind, name):
    if kind == 'one':
        files.dt = files.dt[:1]
    text = LINES[kind](list(map(json.dumps, files.dt))).encode()
    outcome = results(files, name, gzip.compress(text) if name.endswith('gz') else text)
    if kind == 'one':
        assert outcome.results[0]['strata'][0]['num_images'] == 12
    else:
        assert_same(outcome)


def test_a_line_that_is_no_json(files):
    lines = list(map(json.dumps, files.dt))
    lines[3] = lines[3][:20]
    assert_named(results(files, 'x.jsonl', '\n'.join(lines)), r'line 4|results\[3\]')


def test_lists_one_after_the_other(files):
    """What `cat` makes of the results of several processes."""
    content = f'{json.dumps(files.dt[:20])}\n{json.dumps(files.dt[20:])}\n'
    outcome = results(files, 'x.json', content)
    if outcome.code == 2:
        assert_named(outcome, 'JSON')
    else:
        assert_same(outcome)


POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n'
PAGES = {
    'HTML': (b'<html>\n<head><title>Sign in</title></head></html>', 'HTML'),
    'HTML after blanks': (b'\xef\xbb\xbf\r\n\r\n  <!doctype HTML PUBLIC "">\n<body>', 'HTML'),
    'XML of a store': (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>', 'XML|HTML'),
    'pointer of Git LFS': (POINTER.encode(), 'LFS'),
    'nothing': (b'', 'empty'),
    'blanks': (b' \n\n', 'empty'),
}


@pytest.mark.parametrize('side', [results, ground_truth])
@pytest.mark.parametrize('kind', PAGES)
def test_what_was_downloaded_by_mistake(files, kind, side):
    content, word = PAGES[kind]
    assert_named(side(files, 'x.json', content), '^error: FILE', word)


ARRAY = io.BytesIO()
np.save(ARRAY, np.zeros((3, 5)))
OTHERS = {
    'x.csv': b'image_id,category_id,score\n1,1,0.5\n',
    'x.txt': b'0 0.5 0.5 0.1 0.2 0.9\n',
    'x.npy': ARRAY.getvalue(),
    'x.yaml': b'image_id: 1\nscore: 0.5\n',
    'x.7z': b"7z\xbc\xaf'\x1c\0\4" + bytes(40),
    'x.rar': b'Rar!\x1a\x07\x01\0' + bytes(40),
    'x.png': b'\x89PNG\r\n\x1a\n' + bytes(40),
    'x.pdf': b'%PDF-1.5\n',
    'x.parquet': b'PAR1' + bytes(40) + b'PAR1',
    'x.pkl': b'\x80\x04 no',
    'x.pickle': pickle.dumps({'a': 1}),
    'x.json': b'"a string"',
    'y.json': b'12',
    'z.json': b'null',
    'w.json': b'[1, 2]',
    'u.json': b'[[]]',
    't.json': b'[' * 100_000,
    's.json': DT[: len(DT) // 2],
    'r.json': b'[{"image_id": NaN}]',
    'q.json': DT + b'garbage',
}


@pytest.mark.parametrize('name', OTHERS)
def test_what_is_no_file_of_results(files, name):
    assert_named(results(files, name, OTHERS[name]), '^error: FILE')


@pytest.mark.parametrize('name', OTHERS)
def test_what_is_no_ground_truth(files, name):
    assert_named(ground_truth(files, name, OTHERS[name]), '^error: FILE')


def test_results_for_ground_truth_and_the_reverse(files):
    assert_named(ground_truth(files, 'x.json', DT), 'results')
    other = Files(files.folder / 'other')
    assert_named(results(other, 'x.json', GT), 'score|ground truth|annotation')


class _Run:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize('name', ['x.pkl', 'x.pth', 'x.json'])
def test_nothing_is_run(files, name):
    trap = files.folder / 'trap'
    assert_named(results(files, name, pickle.dumps([_Run(str(trap))])), '^error: FILE')
    assert not trap.exists()


def test_pickled_results_with_bytes_for_counts(files):
    for record in files.dt:
        record['segmentation']['counts'] = record['segmentation']['counts'].encode()
    files.write('x.pkl', pickle.dumps(files.dt))
    files.dt, files.results = [], ('x.pkl',)
    assert_same(files.run('eval', '--iou-type', 'segm'), '--iou-type', 'segm')


def test_a_folder_and_no_file(files):
    (files.folder / 'labels').mkdir()
    files.results = ('labels',)
    assert_named(files.run('eval'), 'folder')
    files.results = ('nowhere.json',)
    assert_named(files.run('eval'), 'no such file|not there|does not exist|no file')
