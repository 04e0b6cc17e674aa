"""Inputs that would hang a reader or fill its memory."""

import gzip
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import evaluate, image_ratios
from mmhybrid.occlusion.read import inputs, reading, shares

from ..synthetic import dataset

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='pipes and devices of POSIX')

GT, DT = dataset(4)


@pytest.fixture
def small_bounds(monkeypatch):
    monkeypatch.setattr(inputs, 'FREE', 2**16)


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
        InputError, match=r'dt\.json\.gz: unpacks to more than 0 MiB and 100 times .* with gunzip and give'
    ):
        evaluate(gt_file, path)


def test_ground_truth_that_unpacks_without_end(tmp_path, small_bounds):
    path = bomb(tmp_path / 'gt.json.gz', b'{"images": [')
    with pytest.raises(InputError, match='unpacks to more than'):
        image_ratios(path)


def test_no_more_is_unpacked_than_the_bound(tmp_path, small_bounds):
    with bomb(tmp_path / 'x.gz').open('rb') as file:
        content = inputs.unpacked(file, 'x.gz')
        with pytest.raises(InputError):
            content.read()
        assert content.tell() <= 2**20 + inputs.FREE


def test_what_is_small_or_packs_like_annotations_is_read(tmp_path, gt_file, small_bounds):
    path = tmp_path / 'dt.json.gz'
    path.write_bytes(gzip.compress(json.dumps(DT * 20).encode()))
    assert len(json.dumps(DT * 20)) > 2 * inputs.FREE
    assert len(shares.divide(path)) == 1
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
    monkeypatch.setattr(inputs, 'WAIT', 0.1)
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
    monkeypatch.setattr(inputs, 'WAIT', 0.05)
    program = f'import sys, time; time.sleep({delay}); sys.stdout.write(sys.argv[1])'
    with subprocess.Popen([sys.executable, '-c', program, json.dumps(GT)], stdout=subprocess.PIPE) as process:
        assert image_ratios(f'/dev/fd/{process.stdout.fileno()}') == image_ratios(gt_file)


def test_a_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r'cannot be read .*directory'):
        reading.read_json(tmp_path, 'ground truth')


def test_no_descriptor_is_left_open(tmp_path, gt_file):
    before = len(list(Path('/dev/fd').iterdir()))
    for path in (tmp_path, '/dev/null', tmp_path / 'gone'):
        with pytest.raises(InputError):
            evaluate(gt_file, path)
    assert len(list(Path('/dev/fd').iterdir())) == before
