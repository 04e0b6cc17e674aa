"""What importing the package costs and says, with each kind of stack."""

import subprocess
import sys
from pathlib import Path

import pytest

import mmhybrid
from mmhybrid import _stack

REPO = Path(__file__).resolve().parents[1]
ONEDL = {'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6', 'onedl-mmdetection': '3.5.1'}
STOCK = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmdet': '3.3.0'}


def test_importing_the_package_imports_neither_torch_nor_mmdetection():
    heavy = ('torch', 'mmcv', 'mmdet', 'mmengine')
    code = f'import sys, mmhybrid, mmhybrid.occlusion; print([m for m in {heavy} if m in sys.modules])'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
    assert done.stderr == ''


def test_what_is_registered_is_imported_without_a_word():
    words = [sys.executable, '-c', 'import mmhybrid.registry']
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ''


def test_without_any_stack_only_what_needs_it_says_what_to_install():
    # -S: an interpreter without any installed package.
    code = f'import sys; sys.path.insert(0, {str(REPO)!r}); import mmhybrid; print(mmhybrid.__version__)'
    done = subprocess.run([sys.executable, '-S', '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == mmhybrid.__version__
    assert done.stderr == ''  # many have the occlusion evaluation alone, by intention
    backbones = subprocess.run(
        [sys.executable, '-S', '-W', 'ignore', '-c', code.replace('import mmhybrid;', 'import mmhybrid.backbones;')],
        capture_output=True,
        text=True,
    )
    told = backbones.stderr.strip().splitlines()[-1]
    assert told.startswith('ImportError: The backbones of mmhybrid need PyTorch')
    assert "torch is not installed: install the OneDL line with pip install -e '.[onedl]'" in told


@pytest.mark.parametrize('words', [['-m', 'mmhybrid'], ['-m', 'mmhybrid.cli']])
def test_the_command_by_its_module_shows_its_help_without_words(words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=REPO)
    assert done.returncode == 0 and done.stderr == ''
    assert done.stdout.startswith('usage: mmhybrid ') and 'occlusion' in done.stdout


def test_tools_say_it_in_one_line():
    train = REPO / 'tools' / 'train.py'
    code = f'import sys, runpy; sys.path.insert(0, {str(REPO)!r}); runpy.run_path({str(train)!r}, run_name="__main__")'
    done = subprocess.run([sys.executable, '-S', '-W', 'ignore', '-c', code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('error: The backbones of mmhybrid need PyTorch')
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize('installed', [ONEDL, STOCK], ids=['onedl', 'stock'])
def test_either_line_is_fine(monkeypatch, installed):
    fake_installation(monkeypatch, installed)
    assert _stack.problem() is None


@pytest.mark.parametrize(
    ('installed', 'sentence'),
    [
        ({}, 'mmengine is not installed'),
        ({k: v for k, v in STOCK.items() if k != 'mmdet'}, 'mmdet is not installed'),
        (ONEDL | STOCK, 'Both onedl-mmengine and mmengine are installed'),
        (STOCK | {'mmdet': '2.28.2'}, 'needs mmdet >= 3.3.0, and 2.28.2 is installed'),
        (ONEDL | {'onedl-mmcv': '2.3.4'}, 'needs onedl-mmcv >= 2.3.6, and 2.3.4 is installed'),
        ({'onedl-mmengine': '0.10.12', 'mmcv-lite': '2.1.0'}, 'mmcv-lite has no compiled operators'),
    ],
)
def test_a_wrong_stack_gives_one_sentence(monkeypatch, installed, sentence):
    fake_installation(monkeypatch, installed)
    problem = _stack.problem()
    assert sentence in problem
    assert 'pip install' in problem
    assert problem.endswith('.') and '\n' not in problem


def fake_installation(monkeypatch, installed):
    def version(name):
        try:
            return installed[name]
        except KeyError:
            raise _stack.PackageNotFoundError(name) from None

    monkeypatch.setattr(_stack, 'version', version)
    monkeypatch.setattr(_stack, 'find_spec', lambda name: name if name == 'torch' else None)
