"""Inputs that would hang a reader or fill its memory."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import evaluate, image_ratios
from mmhybrid.occlusion.read import files
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.properties import read_property

from ..synthetic import dataset

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='pipes and devices of POSIX')

GT, DT = dataset(4)


@pytest.fixture
def small_bounds(monkeypatch):
    monkeypatch.setattr(files, 'FREE', 2**16)


@pytest.fixture
def gt_file(tmp_path):
    path = tmp_path / 'gt.json'
    path.write_text(json.dumps(GT))
    return path


def strata(gt, dt):
    return evaluate(gt, dt)['bbox'].to_dict()['strata']


def bomb(path, lead=b'[', repeated=b' ', size=2**23):
    path.write_bytes(gzip.compress(lead + repeated * (size // len(repeated))))
    return path


DETECTION = json.dumps(DT[0]).encode() + b', '


@pytest.mark.parametrize(
    ('lead', 'repeated'), [(b'', b' '), (b'[', b' '), (b'["', b'a'), (b'[', DETECTION), (b'', b'[')]
)
def test_results_that_unpack_without_end(tmp_path, gt_file, small_bounds, lead, repeated):
    path = bomb(tmp_path / 'dt.json.gz', lead, repeated)
    with pytest.raises(
        InputError, match=r'dt\.json\.gz: unpacks to more than 0 MiB and 100 times .* with gunzip or the like and give'
    ):
        evaluate(gt_file, path)


def test_ground_truth_that_unpacks_without_end(tmp_path, small_bounds):
    path = bomb(tmp_path / 'gt.json.gz', b'{"images": [')
    with pytest.raises(InputError, match='unpacks to more than'):
        image_ratios(path)


def test_no_more_is_unpacked_than_the_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'FREE', 2**21)
    with bomb(tmp_path / 'x.gz').open('rb') as file:
        content = files.unpacked(file, 'x.gz')
        with pytest.raises(InputError):
            content.read()
        assert content.raw._count <= files.FREE + 2**21 < 2**23


def test_what_is_small_or_packs_like_annotations_is_read(tmp_path, gt_file, small_bounds):
    path = tmp_path / 'dt.json.gz'
    path.write_bytes(gzip.compress(json.dumps(DT * 20).encode()))
    assert len(json.dumps(DT * 20)) > 2 * files.FREE
    assert strata(gt_file, path) == strata(GT, DT * 20)


@pytest.mark.parametrize('opening', ['[', '{"a":'])
@pytest.mark.parametrize('name', ['dt.json', 'gt.json'])
def test_nested_without_end(tmp_path, gt_file, opening, name):
    path = tmp_path / 'deep' / name
    path.parent.mkdir()
    path.write_text(opening * 100_000)
    with pytest.raises(InputError, match='not valid JSON') as caught:
        evaluate(path, DT) if name == 'gt.json' else evaluate(gt_file, path)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('device', ['/dev/zero', '/dev/null', '/dev/urandom'])
def test_devices_are_refused(gt_file, device):
    with pytest.raises(InputError, match=f'{device}: is a device, not a file; give the path of a file'):
        evaluate(gt_file, device)
    with pytest.raises(InputError, match='is a device'):
        evaluate(device, DT)


def test_a_pipe_into_which_nothing_is_written(tmp_path, gt_file, monkeypatch):
    monkeypatch.setattr(files, 'WAIT', 0.1)
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=r'pipe: nothing came through this named pipe for 0\.1 seconds'):
        evaluate(gt_file, pipe)
    os.mkfifo(tmp_path / 'pipe.pkl')
    with pytest.raises(InputError, match='nothing came through'):
        evaluate(gt_file, tmp_path / 'pipe.pkl')


def test_a_named_pipe_is_read(tmp_path, gt_file):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(json.dumps(DT).encode()),), daemon=True)
    writer.start()
    assert strata(gt_file, pipe) == strata(GT, DT)
    writer.join()


@pytest.mark.parametrize('delay', [0, 0.3])
def test_a_slow_process_substitution_has_all_time(gt_file, monkeypatch, delay):
    monkeypatch.setattr(files, 'WAIT', 0.05)
    program = f'import sys, time; time.sleep({delay}); sys.stdout.write(sys.argv[1])'
    with subprocess.Popen([sys.executable, '-c', program, json.dumps(GT)], stdout=subprocess.PIPE) as process:
        assert image_ratios(f'/dev/fd/{process.stdout.fileno()}') == image_ratios(gt_file)


def test_a_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r'cannot be read \(it is a folder\); give the path of the ground truth'):
        files.read_json(tmp_path, 'ground truth')


def test_a_name_that_no_file_has(gt_file):
    for read in (load_ground_truth, lambda path: evaluate(gt_file, path), lambda path: read_property(None, path)):
        with pytest.raises(InputError, match=r'^a\?b\.json: has a NUL character'):
            read('a\0b.json')


def test_no_descriptor_is_left_open(tmp_path, gt_file):
    before = len(list(Path('/dev/fd').iterdir()))
    for path in (tmp_path, '/dev/null', tmp_path / 'gone'):
        with pytest.raises(InputError):
            evaluate(gt_file, path)
    assert len(list(Path('/dev/fd').iterdir())) == before


def archive(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as packed:
        for name, content in members:
            packed.writestr(name, content)
    return file.getvalue()


def encrypted(*members):
    raw = bytearray(archive(*members))
    raw[6] |= 1
    raw[raw.index(b'PK\x01\x02') + 8] |= 1
    return bytes(raw)


RAW = json.dumps(DT).encode()
PACKED = {
    'gz': gzip.compress(RAW),
    'two gz': gzip.compress(RAW[:99]) + gzip.compress(RAW[99:]),
    'bz2': bz2.compress(RAW),
    'two bz2': bz2.compress(RAW[:99]) + bz2.compress(RAW[99:]),
    'xz': lzma.compress(RAW),
    'lzma': lzma.compress(RAW, lzma.FORMAT_ALONE),
    'zip': archive(('a/', ''), ('__MACOSX/a/._dt.json', 'x'), ('a/.DS_Store', 'x'), ('a/dt.json', RAW), ('a.txt', 'x')),
}


@pytest.mark.parametrize('kind', PACKED)
def test_packed_files(tmp_path, kind):
    """Whatever they are called, as ground truth too, and through a pipe."""
    gt = load_ground_truth(GT)
    path = tmp_path / 'dt.json'
    path.write_bytes(PACKED[kind])
    assert files.read_json(path, 'results') == DT
    assert load_detections(path, gt).to_coco('bbox') == load_detections(DT, gt).to_coco('bbox')
    if len(PACKED[kind]) < 2**16:
        with subprocess.Popen(['cat', path], stdout=subprocess.PIPE) as process:
            piped = load_detections(f'/dev/fd/{process.stdout.fileno()}', gt)
        assert piped.to_coco('bbox') == load_detections(DT, gt).to_coco('bbox')


@pytest.mark.parametrize('kind', PACKED)
def test_packed_files_cut_short(tmp_path, kind):
    path = tmp_path / 'dt'
    for share in (0.1, 0.5, 0.9):
        path.write_bytes(PACKED[kind][: int(share * len(PACKED[kind]))])
        with pytest.raises(InputError, match=r'dt: cannot be read .*make or fetch it|dt: not valid JSON') as caught:
            load_detections(path, load_ground_truth(GT))
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize('pack', [bz2.compress, lzma.compress, lambda raw: archive(('x.json', raw))])
def test_all_that_unpacks_without_end(tmp_path, gt_file, small_bounds, pack):
    path = tmp_path / 'dt.x'
    path.write_bytes(pack(b'[' + b' ' * 2**24))
    with pytest.raises(InputError, match='unpacks to more than'):
        evaluate(gt_file, path)
    with pytest.raises(InputError, match='unpacks to more than'):
        files.read_json(path, 'ground truth')


def test_a_zip_file_may_not_say_how_much_it_holds(tmp_path, gt_file, small_bounds):
    raw = bytearray(archive(('x.json', b'[' + b' ' * 2**23)))
    at = raw.index(b'PK\x01\x02') + 20  # where the directory at the end has the packed size
    raw[at : at + 4] = (2**31).to_bytes(4, 'little')
    (tmp_path / 'x.zip').write_bytes(raw)
    with pytest.raises(InputError, match='unpacks to more than'):
        evaluate(gt_file, tmp_path / 'x.zip')


def test_zstd(tmp_path, monkeypatch):
    path = tmp_path / 'dt.json.zst'
    gt = load_ground_truth(GT)
    path.write_bytes(b'(\xb5/\xfd' + bytes(40))
    with monkeypatch.context() as patch:
        patch.setattr(files, 'find_spec', lambda name: None)
        with pytest.raises(InputError, match='is packed by zstd; unpack it with `zstd -d`, or pip install zstandard'):
            load_detections(path, gt)
    zstandard = pytest.importorskip('zstandard')
    whole = zstandard.compress('\n'.join(map(json.dumps, DT)).encode())
    for broken in (whole[:-20], whole + whole[:20], whole[:9] + b'\xff' * 9 + whole[18:]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r'cannot be read .* make or fetch it again'):
            load_detections(path, gt)
    path.write_bytes(zstandard.compress(RAW[:99]) + zstandard.compress(RAW[99:]))
    assert load_detections(path, gt).to_coco('bbox') == load_detections(DT, gt).to_coco('bbox')
    monkeypatch.setattr(files, 'FREE', 2**16)
    path.write_bytes(zstandard.compress(b'[' + b' ' * 2**24))
    with pytest.raises(InputError, match='unpacks to more than'):
        load_detections(path, gt)


NAMED = {
    'pointer': (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n',
        'a pointer of Git LFS, .*git lfs pull',
    ),
    'page': (b'\xef\xbb\xbf\n <!DOCTYPE HTML><html></html>', 'an HTML page or XML; a failed download'),
    'xml': (b'<?xml version="1.0"?><Error/>', 'an HTML page or XML; a failed download'),
    'parquet': (b'PAR1' + bytes(300), 'a Parquet table'),
    'array': (b'\x93NUMPY\x01\x00', 'a NumPy array'),
    'database': (b'SQLite format 3\0' + bytes(300), 'an SQLite database'),
    'tar': (bytes(257) + b'ustar\0' + bytes(300), 'a tar archive'),
    'two layers': (gzip.compress(gzip.compress(RAW)), 'is packed twice; unpack it once'),
    'tar.gz': (gzip.compress(b'a' * 257 + b'ustar\0' + bytes(300)), 'a tar archive'),
    'arrays': (archive(('boxes.npy', b'x')), r'a zip file with 0 JSON files \(boxes\.npy\)'),
    'empty zip': (archive(), r'with 0 JSON files \(nothing\)'),
    'two': (archive(('a.json', RAW), ('b.json', RAW)), r'a zip file with 2 JSON files \(a\.json, b\.json\)'),
    'gz in zip': (archive(('a.json', gzip.compress(RAW))), 'is packed twice; unpack it once'),
    'encrypted': (encrypted(('a.json', RAW)), 'cannot be read as a zip file, .* is encrypted'),
    'broken zip': (b'PK\x03\x04' + bytes(50), 'cannot be read as a zip file, which PyTorch writes too'),
    'nothing': (b'', r'not valid JSON \(it is empty\)'),
    'blank': (b' \n' * 9000, 'it is empty'),
}


@pytest.mark.parametrize('content, sentence', NAMED.values(), ids=NAMED)
def test_what_is_no_json_is_named(tmp_path, content, sentence):
    path = tmp_path / 'x.json'
    path.write_bytes(content)
    for load in (lambda: load_detections(path, load_ground_truth(GT)), lambda: load_ground_truth(path)):
        with pytest.raises(InputError, match=sentence) as caught:
            load()
        assert str(caught.value).startswith(f'{path}: ') and '\n' not in str(caught.value)


def test_ground_truth_of_other_forms_is_named(tmp_path):
    path = tmp_path / 'gt.json'
    path.write_text('\n'.join(json.dumps({'id': i}) for i in range(3)))
    assert files.read_json(path, 'ground truth') == [{'id': i} for i in range(3)]
    with pytest.raises(InputError, match='ground truth must be a JSON object'):
        load_ground_truth(path)
    path.write_text(json.dumps(GT)[:-1] + ', "annotations": []}')
    with pytest.raises(InputError, match=r"gt\.json: has 'annotations' 2 times; give one list of them"):
        load_ground_truth(path)
    path.write_text(json.dumps({'info': {'images': 1, 'annotations': [{'images': 2}]}} | GT))
    assert load_ground_truth(path).notes == ()
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match='is a Python pickle'):
        load_ground_truth(path)
