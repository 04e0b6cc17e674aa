"""What the set-up says when the machine lacks something."""

import importlib.util
import subprocess
import sys

import pytest

from .conftest import REPO

SCRIPT = REPO / 'tools' / 'setup_env.py'


@pytest.fixture
def setup_env():
    spec = importlib.util.spec_from_file_location('setup_env', SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_missing_graphics_libraries_are_named(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env, '_loads', lambda library: library != 'libGL.so.1')
    with pytest.raises(setup_env.SetupError, match=r'libGL\.so\.1: install libgl1 '):
        setup_env.check_machine()


def test_missing_compiler_is_named(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env.shutil, 'which', lambda name: None)
    with pytest.raises(setup_env.SetupError, match=r'install g\+\+'):
        setup_env.check_compiler()


def test_missing_headers_are_named(setup_env, monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env.sysconfig, 'get_paths', lambda: {'include': str(tmp_path)})
    with pytest.raises(setup_env.SetupError, match=r'headers of Python 3\.\d+: install python3\.\d+-dev'):
        setup_env.check_compiler()


def test_old_python_is_refused(setup_env, monkeypatch):
    monkeypatch.setattr(setup_env.sys, 'version_info', (3, 9, 0))
    with pytest.raises(setup_env.SetupError, match=r'install 3\.10 or newer'):
        setup_env.check_machine()


def test_a_gpu_without_nvcc_is_told_the_toolkit(setup_env, monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env.shutil, 'which', lambda name: None if name == 'nvcc' else f'/usr/bin/{name}')
    monkeypatch.delenv('CUDA_HOME', raising=False)
    env = setup_env.Environment(tmp_path, None)
    env.links = []
    monkeypatch.setattr(env, 'runs', lambda code, **_: '13.0')
    with pytest.raises(setup_env.SetupError, match=r'no nvcc: install the CUDA 13\.0 toolkit'):
        setup_env.install_mmcv(env, True, '2.3.6')


def test_pins_are_those_of_the_constraints_file(setup_env, monkeypatch, tmp_path):
    calls = []
    env = setup_env.Environment(tmp_path, None)
    monkeypatch.setattr(env, 'runs', lambda code, **_: None)
    monkeypatch.setattr(env, 'pip', lambda *args: calls.append(args) or False)
    with pytest.raises(setup_env.SetupError, match='pip could not install torch'):
        env.last = subprocess.CompletedProcess([], 1, 'no such version')
        setup_env.install_stack(env, cuda=False)
    assert calls == [('install', 'torch==2.13.0+cpu'), ('install', 'torch==2.13.0')]  # CPU build first


def test_a_working_mmdetection_is_kept(setup_env, monkeypatch, tmp_path):
    env = setup_env.Environment(tmp_path, None)
    monkeypatch.setattr(env, 'runs', lambda code, **_: '')
    monkeypatch.setattr(env, 'pip', lambda *args: pytest.fail('nothing is to be installed'))
    setup_env.install_stack(env, cuda=False)


def test_a_missing_wheel_folder_is_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, '--venv', tmp_path / 'venv', '--wheels', tmp_path / 'nowhere'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == f'error: There is no folder of wheels {tmp_path / "nowhere"}.\n'
    assert not (tmp_path / 'venv').exists()
