"""Results of a GPU loan on disk: whole files, archives that unpack to where they were, and no path of a machine."""

import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from gpu_steps import kept  # noqa: E402


def test_files_are_whole(tmp_path, monkeypatch):
    path = tmp_path / 'deep' / 'a.json'
    kept.write_json(path, {'rows': [{'a': 1}], 'losses': list(range(100))})
    assert json.loads(path.read_text())['losses'][99] == 99
    assert path.read_text().count('\n') == 4, 'numbers share a line'

    def broken(*args):
        raise OSError('disk')

    monkeypatch.setattr(os, 'replace', broken)
    with pytest.raises(OSError, match='disk'):
        kept.write(path, b'half')
    assert kept.read_json(path)['rows'] == [{'a': 1}]
    assert [other.name for other in path.parent.iterdir()] == ['a.json']


def test_archives_unpack_to_where_the_files_were(tmp_path):
    results = tmp_path / 'results'
    files = {
        'gpu/train.json': b'{}',
        'speed_gpu.json': b'{}',
        'study/gpu/resnet50/seed0/run.json': b'{}',
        'study/gpu/resnet50/seed0/detections.bbox.json.gz': os.urandom(3000),
        'study/gpu/tiedresnet50/seed0/detections.bbox.json.gz': os.urandom(9000),
    }
    for name, content in files.items():
        kept.write(results / name, content)
    for other in ('occlusion.json', 'study/cpu/resnet50/seed0/run.json', 'gpu/all.tar.gz'):
        kept.write(results / other, b'not of a loan')
    (whole,) = kept.archive(results, tmp_path / 'all.tar.gz')
    parts = kept.archive(results, tmp_path / 'part.tar.gz', limit=8000)
    assert [path.name for path in parts] == ['part.tar.gz', 'part-2.tar.gz']
    for archives in ([whole], parts):
        home = tmp_path / archives[0].name.split('.')[0]
        for path in archives:
            with tarfile.open(path) as tar:
                tar.extractall(home, filter='data')
        assert {path.relative_to(home).as_posix(): path.read_bytes() for path in home.rglob('*') if path.is_file()} == (
            files
        )


def test_no_path_of_a_machine_is_told():
    python = f'{sys.prefix}/lib/python3.12/site-packages/mmcv/ops/nms.py'
    text = f'File "{ROOT}/tools/train.py"\n{python}: 1/2 it/s, /home/me/data/coco/val2017/a.jpg, https://a.org/b/c'
    told = kept.without_paths(text)
    assert told.splitlines()[0] == 'File "tools/train.py"'
    assert not any(word in told for word in (str(ROOT), sys.prefix, '/home', 'me/'))
    assert 'mmcv/ops/nms.py: 1/2 it/s' in told and 'https://a.org/b/c' in told
    assert kept.shown(ROOT / 'benchmarks' / 'results') == 'benchmarks/results'
    assert (kept.shown('/elsewhere/coco_tiny'), kept.shown('.gpu/coco_tiny')) == ('coco_tiny', '.gpu/coco_tiny')
