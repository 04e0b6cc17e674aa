"""Where the commands print: a pipe that is closed, a disk that is full, an encoding of few characters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .running import ENVIRONMENT, TOOL, document


def test_tool_end_to_end(files):
    command = [sys.executable, TOOL, *files, '--iou-type', 'bbox', 'segm']
    environment = ENVIRONMENT | {'PYTHONIOENCODING': 'ascii', 'LC_ALL': 'C'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = Path('work_dirs/occlusion/model.bbox')
    assert sorted(path.name for path in folder.iterdir()) == ['occlusion.json', 'occlusion.png']
    assert [result['iou_type'] for result in document(folder)['results']] == ['bbox', 'segm']
    assert document(folder)['results'][0]['name'] == 'model.bbox'
    assert done.stdout.splitlines()[-1] == f'wrote {folder / "occlusion.json"} and {folder / "occlusion.png"}'
    assert 'r >= 0.8' in done.stdout and 'matching segm' in done.stderr


def test_files_are_written_though_the_reader_of_the_pipe_is_gone(files):
    command = [sys.executable, TOOL, *files, '--out-dir', 'out']
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        error = process.stderr.read().decode()
    assert process.returncode == 0 and 'Traceback' not in error
    assert document('out')['results']


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device of Linux')  # noqa: PTH110
def test_a_full_disk_is_told_in_one_sentence(files):
    command = [sys.executable, TOOL, *files, '--out-dir', 'out']
    with Path('/dev/full').open('w') as full:
        done = subprocess.run(command, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith('error: No space is left') and 'Exception ignored' not in done.stderr
    assert 'Traceback' not in done.stderr


def test_without_any_stdout(files):
    script = 'exec "$@" >&-'
    command = ['sh', '-c', script, 'sh', sys.executable, TOOL, *files, '--out-dir', 'out']
    done = subprocess.run(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0 and 'Traceback' not in done.stderr
    assert document('out')['results']
