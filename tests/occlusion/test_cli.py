import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmhybrid.occlusion.cli import main

from .synthetic import dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gt, dt = dataset(2, masks=True)
    Path('gt.json').write_text(json.dumps(gt))
    Path('model.bbox.json').write_text(json.dumps(dt))
    return ['--ann', 'gt.json', '--results', 'model.bbox.json']


def refused(capsys, arguments):
    """The one line of stderr of a refused run."""
    assert main(arguments) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: ')
    return error


def test_tool_end_to_end(files):
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'ascii'}
    command = [sys.executable, ROOT / 'tools' / 'eval_occlusion.py', *files, '--iou-type', 'bbox', 'segm']
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = Path('work_dirs/occlusion/model.bbox')
    assert sorted(path.name for path in folder.iterdir()) == ['occlusion.json', 'occlusion.png']
    document = json.loads((folder / 'occlusion.json').read_text())
    assert [result['iou_type'] for result in document['results']] == ['bbox', 'segm']
    assert document['results'][0]['name'] == 'model.bbox'
    assert done.stdout.splitlines()[-1] == f'wrote {folder / "occlusion.json"} and {folder / "occlusion.png"}'
    assert 'r >= 0.8' in done.stdout and 'matching segm' in done.stderr


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as caught:
        main(['--help'])
    assert caught.value.code == 0
    assert 'python tools/eval_occlusion.py --ann' in capsys.readouterr().out


def test_rerun_replaces_its_own_files(files):
    assert main([*files, '--out-dir', 'out', '--name', 'first']) == 0
    assert main([*files, '--out-dir', 'out', '--name', 'second']) == 0
    assert json.loads(Path('out/occlusion.json').read_text())['results'][0]['name'] == 'second'
    assert len(list(Path('out').iterdir())) == 2


@pytest.mark.parametrize('name', ['occlusion.json', 'occlusion.png'])
@pytest.mark.parametrize('content', [b'{"schema_version": 1}', b'not ours', b''])
def test_a_users_file_is_not_overwritten(files, capsys, name, content):
    target = Path('out', name)
    target.parent.mkdir()
    target.write_bytes(content)
    arguments = [*files, '--out-dir', 'out']
    assert 'was not written by this command' in refused(capsys, arguments)
    assert target.read_bytes() == content and len(list(target.parent.iterdir())) == 1
    assert main([*arguments, '--force']) == 0
    assert target.read_bytes() != content


def test_an_input_is_never_overwritten(files, capsys):
    before = Path('model.bbox.json').read_bytes()
    Path('model.bbox.json').rename('occlusion.json')
    arguments = ['--ann', 'gt.json', '--results', 'occlusion.json', '--out-dir', '.', '--force']
    assert 'is an input of this run' in refused(capsys, arguments)
    assert Path('occlusion.json').read_bytes() == before


def test_missing_file(files, capsys):
    assert 'nowhere.json: no such file' in refused(capsys, [*files[:3], 'nowhere.json'])
    assert not Path('work_dirs').exists()


def test_folder_that_is_a_file(files, capsys):
    assert 'is no folder to write in' in refused(capsys, [*files, '--out-dir', 'gt.json/out'])


def test_missing_argument():
    with pytest.raises(SystemExit) as caught:
        main(['--ann', 'gt.json'])
    assert caught.value.code == 2
