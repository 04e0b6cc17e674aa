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
        setup_env.install_mmcv(env, True, 'onedl-mmcv==2.3.6')


def test_pins_are_those_of_the_constraints_file(setup_env, monkeypatch, tmp_path):
    calls = []
    env = setup_env.Environment(tmp_path, None)
    monkeypatch.setattr(env, 'runs', lambda code, **_: None)
    monkeypatch.setattr(env, 'pip', lambda *args: calls.append(args) or False)
    with pytest.raises(setup_env.SetupError, match='pip could not install torch'):
        env.last = subprocess.CompletedProcess([], 1, 'no such version')
        setup_env.install_stack(env, cuda=False)
    assert calls == [('install', 'torch==2.13.0+cpu'), ('install', 'torch==2.13.0')]  # CPU build first


@pytest.mark.parametrize(
    ('line', 'libraries'),
    [
        ('onedl', ['onedl-mmengine==0.10.12', 'onedl-mmdetection==3.5.1', 'onedl-mmcv==2.3.6']),
        ('stock', ['mmengine==0.10.7', 'mmdet==3.3.0', 'mmcv==2.1.0']),
    ],
)
def test_each_line_installs_its_own_libraries(setup_env, monkeypatch, tmp_path, line, libraries):
    calls = []
    env = setup_env.Environment(tmp_path, None)
    monkeypatch.setattr(env, 'runs', lambda code, **_: None)
    monkeypatch.setattr(env, 'pip', lambda *args: calls.append(args) or True)
    monkeypatch.setattr(setup_env, 'install_mmcv', lambda env, cuda, requirement: calls.append((requirement,)))
    setup_env.install_stack(env, False, setup_env.LINES[line])
    mmlab = [
        word for call in calls for word in call if word.partition('==')[0] in {x.split('==')[0] for x in libraries}
    ]
    assert mmlab == libraries
    assert ('setuptools>=77,<81' in calls[1]) == (line == 'stock')  # for pkg_resources


def test_an_environment_of_the_other_line_is_not_taken_for_the_stock_line(setup_env, monkeypatch, tmp_path):
    env = setup_env.Environment(tmp_path, None)
    monkeypatch.setattr(env, 'runs', lambda code, **_: None if 'metadata' in code else '')
    with pytest.raises(
        setup_env.SetupError, match=r'has the OneDL line of OpenMMLab: name another one for the stock line'
    ):
        setup_env.install_stack(env, False, setup_env.LINES['stock'])


def test_wheels_of_the_stock_line_may_lie_apart(setup_env, monkeypatch, tmp_path):
    (tmp_path / 'stock').mkdir()
    monkeypatch.setattr(setup_env, 'BUILT_WHEELS', tmp_path / 'none')
    assert setup_env.Environment(tmp_path / 'venv', tmp_path).links == [str(tmp_path), str(tmp_path / 'stock')]
    assert setup_env.Environment(tmp_path / 'venv', None).links == []


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
