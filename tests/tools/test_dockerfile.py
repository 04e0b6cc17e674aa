"""The Dockerfile names files, stages, options and versions that there are. It is not built here."""

import re
import shlex
import subprocess
import sys

import pytest
import torch
import yaml

from .conftest import REPO

LINES = re.sub(r'\\\n', ' ', (REPO / 'Dockerfile').read_text()).splitlines()
ARGS = dict(re.findall(r'^ARG (\w+)="?([^"\n]*)"?$', '\n'.join(LINES), re.MULTILINE))
PIN = re.search(r'^torch==(\S+)$', (REPO / 'constraints.txt').read_text(), re.MULTILINE)[1]


def instructions(name):
    return [shlex.split(line)[1:] for line in LINES if line.startswith(f'{name} ')]


def test_copied_files_exist_and_are_not_ignored():
    sources = [words[:-1] for words in instructions('COPY') if not words[0].startswith('--from')]
    assert ['.'] in sources
    named = [source for words in sources for source in words if source != '.']
    assert named
    assert [source for source in named if not (REPO / source).is_file()] == []
    ignored = [line for line in (REPO / '.dockerignore').read_text().splitlines() if not line.startswith('#')]
    tracked = subprocess.run(['git', 'ls-files'], capture_output=True, text=True, cwd=REPO)
    tops = {line.partition('/')[0] for line in tracked.stdout.splitlines()}
    assert tops & set(ignored) == set()


def test_the_first_stage_has_all_that_set_up_needs_for_it(tmp_path):
    """So that a changed source file does not compile mmcv again, it has only a few files."""
    [constraints, tools] = [words for words in instructions('COPY') if words[-1] in ('./', 'tools/')]
    for words in (constraints, tools):
        for source in words[:-1]:
            (tmp_path / source).parent.mkdir(exist_ok=True)
            (tmp_path / source).write_bytes((REPO / source).read_bytes())
    done = subprocess.run(
        [sys.executable, '-c', "import setup_env; print(setup_env.LINES['onedl'].pins()['torch'])"],
        capture_output=True,
        text=True,
        cwd=tmp_path / 'tools',
    )
    assert done.stdout.strip() == PIN, done.stderr


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_every_stage_is_there_for_each_device(device):
    stages = [words[words.index('AS') + 1] if 'AS' in words else '' for words in instructions('FROM')]
    for words in instructions('FROM'):
        if '${DEVICE}' in words[0]:
            assert words[0].replace('${DEVICE}', device) in stages
    assert {words[0].partition('=')[2] for words in instructions('COPY') if words[0].startswith('--from')} <= set(
        stages
    )


def test_options_of_set_up_are_those_that_it_has():
    help_ = subprocess.run([sys.executable, REPO / 'tools' / 'setup_env.py', '--help'], capture_output=True, text=True)
    runs = [words for words in instructions('RUN') if 'tools/setup_env.py' in words]
    assert len(runs) == 2
    for words in runs:
        options = [word for word in words[words.index('tools/setup_env.py') :] if word.startswith('--')]
        assert options[:2] == ['--venv', '--device']
        assert [option for option in options if f'{option} ' not in help_.stdout] == []


def test_versions_are_those_of_ci_and_of_torch():
    ci = yaml.safe_load((REPO / '.github' / 'workflows' / 'ci.yml').read_text())
    steps = [step.get('with', {}) for step in ci['jobs']['test']['steps']]
    assert [step['python-version'] for step in steps if 'python-version' in step] == [ARGS['PYTHON']]
    # Whoever takes another torch looks up its CUDA.
    told = re.search(r'wheels of torch (\S+), which require cuda-toolkit (\d+\.\d+)', '\n'.join(LINES))
    assert told[1] == PIN
    assert ARGS['CUDA'].rpartition('.')[0] == told[2]
    if torch.version.cuda and torch.__version__.partition('+')[0] == PIN:
        assert torch.version.cuda == told[2]
