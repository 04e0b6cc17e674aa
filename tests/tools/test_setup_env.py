"""What the set-up says when the machine lacks something."""

import importlib
import subprocess
import sys

import pytest

from .conftest import REPO

SCRIPT = REPO / 'tools' / 'setup_env.py'
NOTHING_LACKS = {
    'line': 'onedl',
    'hollow': [],
    'lacking': [],
    'missing': [],
    'operators': '',
    'package': '',
    'problem': '',
}
EMPTY = {
    **NOTHING_LACKS,
    'line': '',
    'lacking': ['torch', 'mmengine', 'mmcv', 'mmdet'],
    'operators': 'mmcv or torch is not installed',
    'package': 'mmhybrid is not installed',
}


@pytest.fixture
def setup_env(monkeypatch):
    monkeypatch.syspath_prepend(REPO / 'tools')
    return importlib.import_module('setup_env')


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
        setup_env.install_stack(env, False, setup_env.LINES['onedl'], EMPTY)
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
    setup_env.install_stack(env, False, setup_env.LINES[line], EMPTY)
    mmlab = [
        word for call in calls for word in call if word.partition('==')[0] in {x.split('==')[0] for x in libraries}
    ]
    assert mmlab == libraries
    assert ('setuptools>=77,<81' in calls[1]) == (line == 'stock')  # for pkg_resources


def test_an_environment_of_the_other_line_is_not_taken_for_the_stock_line(setup_env, monkeypatch, tmp_path):
    env = setup_env.Environment(tmp_path, None)
    monkeypatch.setattr(env, 'check', lambda requirements: NOTHING_LACKS)
    assert setup_env.faults(NOTHING_LACKS, 'onedl') == []
    assert setup_env.faults(NOTHING_LACKS, 'stock') != []
    with pytest.raises(
        setup_env.SetupError, match=r'has the OneDL line of OpenMMLab: name another one for the stock line'
    ):
        setup_env.mend(env, 'stock', setup_env.LINES['stock'].run, False, False)


def test_wheels_of_the_stock_line_may_lie_apart(setup_env, monkeypatch, tmp_path):
    (tmp_path / 'stock').mkdir()
    monkeypatch.setattr('setup_pip.BUILT_WHEELS', tmp_path / 'none')
    assert setup_env.Environment(tmp_path / 'venv', tmp_path).links == [str(tmp_path), str(tmp_path / 'stock')]
    assert setup_env.Environment(tmp_path / 'venv', None).links == []


def test_a_working_mmdetection_is_kept(setup_env, monkeypatch, tmp_path):
    env = setup_env.Environment(tmp_path, None)
    monkeypatch.setattr(env, 'pip', lambda *args: pytest.fail('nothing is to be installed'))
    setup_env.install_stack(env, False, setup_env.LINES['onedl'], NOTHING_LACKS)
    # The linker's word is not the last one: what imports stays.
    monkeypatch.setattr(env, 'runs', lambda code, **_: 'not available')
    setup_env.install_stack(env, False, setup_env.LINES['onedl'], {**NOTHING_LACKS, 'operators': 'undefined symbol'})


def test_a_missing_wheel_folder_is_one_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, '--venv', tmp_path / 'venv', '--wheels', tmp_path / 'nowhere'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr == f'error: There is no folder of wheels {tmp_path / "nowhere"}.\n'
    assert not (tmp_path / 'venv').exists()


def test_a_long_step_tells_what_it_is_at(setup_env, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr('setup_pip.TELL_EVERY', 0.5)
    env = setup_env.Environment(tmp_path, None)
    env.uv = None
    # In place of the environment's Python: it prints what pip does, then takes its time.
    env.python = tmp_path / 'python'
    env.python.write_text('#!/bin/sh\necho "Collecting"; echo "  Downloading rich.whl (310 kB)"; sleep 1.3; exit 3\n')
    env.python.chmod(0o755)
    with pytest.raises(setup_env.SetupError, match=r'(?s)^pip could not install rich:\nCollecting\n.*310 kB'):
        env.install('rich')
    assert '==>   pip: Downloading rich.whl (310 kB), 0.0 min\n' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('output', 'told'),
    [
        ('', 'no output yet'),
        ('Collecting torch\nWARNING: slow\n', 'Collecting torch'),
        ('Collecting a\nInstalling collected packages: a, b\n  Attempting uninstall: a\n', 'installing 2 packages'),
        ('Installing collected packages: a\n', 'installing a'),
        (f'Collecting {"x" * 200}\n', f'Collecting {"x" * 78}…'),
    ],
)
def test_the_last_line_of_pip_is_told(setup_env, output, told):
    assert importlib.import_module('setup_pip').last_line(output) == told


def test_compiling_tells_its_files(setup_env):
    assert setup_env.compile_progress('running build\n') == 'preparing'
    assert setup_env.compile_progress('[1/40] c++ a\n [2/40] c++ b\nwarning [9/9]\n') == '2 of 40 files'


@pytest.mark.parametrize(
    ('goal', 'developing'),
    [
        *((goal, False) for goal in ('demo', 'bench', 'configs', 'setup')),
        *((goal, True) for goal in ('test', 'test-all', 'lint', 'dev', 'test-stock')),
    ],
)
def test_only_developing_installs_what_developing_needs(goal, developing):
    done = subprocess.run(['make', '--dry-run', goal], capture_output=True, text=True, cwd=REPO, check=True)
    setup = [line for line in done.stdout.splitlines() if 'setup_env.py' in line]
    assert len(setup) == 1
    assert ('--dev' in setup[0].split()) is developing


def test_what_pip_could_not_mend_is_told(setup_env, monkeypatch, tmp_path):
    env = setup_env.Environment(tmp_path, None)
    calls = []
    monkeypatch.setattr(env, 'check', lambda requirements: {**NOTHING_LACKS, 'missing': ['rich>=13']})
    monkeypatch.setattr(env, 'pip', lambda *args: calls.append(args) or True)
    with pytest.raises(setup_env.SetupError, match=r'still lacks: rich>=13\.$'):
        setup_env.mend(env, 'onedl', ('mmhybrid[fast]',), False, False)
    assert calls == [('install', 'rich>=13')]  # and nothing else


def test_uv_gets_the_settings_of_pip(setup_env):
    settings = (
        ":env:.find-links='/wheels'\n"
        "global.cert='/etc/ca.crt'\n"
        "global.extra-index-url='\\nhttps://one.example/simple\\nhttps://two.example/simple'\n"
        "global.find-links='/not these'\n"
        "global.timeout='60'\n"
        "install.constraint='/etc/caps.txt'\n"
    )
    setup_pip = importlib.import_module('setup_pip')
    options, variables = setup_pip.uv_options(settings)
    assert variables == {'SSL_CERT_FILE': '/etc/ca.crt'}
    pairs = list(zip(options[::2], options[1::2], strict=True))
    assert sorted(pairs) == [
        ('--constraint', '/etc/caps.txt'),
        ('--extra-index-url', 'https://one.example/simple'),
        ('--extra-index-url', 'https://two.example/simple'),
        ('--find-links', '/wheels'),  # a variable counts, not the file
        ('--index-strategy', 'unsafe-best-match'),
    ]
    assert setup_pip.uv_options("install.require-hashes='true'\n") is None  # pip does it


@pytest.mark.parametrize('status', [0, 1])
def test_uv_installs_and_pip_does_what_it_cannot(setup_env, monkeypatch, tmp_path, capsys, status):
    env = setup_env.Environment(tmp_path, None)
    for tool, body in (('uv', f'exit {status}'), ('python', '')):
        (tmp_path / tool).write_text(f'#!/bin/sh\necho "{tool} $*" >> {tmp_path}/calls\n{body}\n')
        (tmp_path / tool).chmod(0o755)
    env.python = tmp_path / 'python'
    env.links = ['/built']
    monkeypatch.setenv('PATH', f'{tmp_path}:/bin:/usr/bin')
    env.install('rich>=13')
    uv = f'uv pip install --python {tmp_path}/python --index-strategy unsafe-best-match rich>=13 --find-links=/built'
    pip = 'python -m pip install --no-compile rich>=13 --find-links=/built'
    told = (tmp_path / 'calls').read_text().splitlines()
    assert told == ['python -m pip config list', uv, *([pip] if status else [])]
    assert ('uv could not do that: pip tries' in capsys.readouterr().out) is bool(status)


def test_a_killed_compiler_is_told(setup_env, monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env, 'BUILT_WHEELS', tmp_path / 'wheels')
    env = setup_env.Environment(tmp_path, None)
    env.python = tmp_path / 'python'
    env.python.write_text('#!/bin/sh\necho "[1/78] c++"\nkill -9 $$\n')
    env.python.chmod(0o755)
    with pytest.raises(setup_env.SetupError, match=r'(?s)killed by signal 9; where memory is short.*\[1/78\] c\+\+'):
        setup_env.compile_mmcv(env, False, 'onedl-mmcv==2.3.6')
