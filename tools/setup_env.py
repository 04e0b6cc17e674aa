"""Make an environment with PyTorch, a line of OpenMMLab with compiled operators, and this package.

Needs nothing but Python: ``make demo`` and ``make test`` run it with the system's interpreter. A second run finds
everything in place and returns at once. An environment that already has a working MMDetection, stock or OneDL, keeps
it; one that has torch keeps that. ``--line stock``, which ``make test-stock`` uses, is for the stock line only.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple

REPO = Path(__file__).resolve().parent.parent
BUILT_WHEELS = REPO / 'build' / 'wheels'  # a compiled mmcv outlives its environment
STAMP = 'mmhybrid-setup.json'
# Shared libraries that opencv loads, and what brings them.
GRAPHICS = {'libGL.so.1': 'libgl1', 'libgthread-2.0.so.0': 'libglib2.0-0'}


class Line(NamedTuple):
    """One of the two lines of OpenMMLab, which install the same modules.

    Attributes:
        title: What messages call it.
        mmengine, mmcv, mmdet: Names of its distributions.
        constraints: File with the versions that are installed, of torch too.
        extras: Of this package.
        setuptools: What it and this package build with.
    """

    title: str
    mmengine: str
    mmcv: str
    mmdet: str
    constraints: str
    extras: str
    setuptools: str = 'setuptools>=77'

    def pins(self) -> dict[str, str]:
        """Versions by name."""
        return dict(re.findall(r'^([\w-]+)==([\w.]+)$', (REPO / self.constraints).read_text(), re.MULTILINE))


LINES = {
    'onedl': Line('the OneDL line', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'constraints.txt', 'dev,fast'),
    # Stock mmengine, and the set-up of mmcv, import pkg_resources, which setuptools 81 no longer has.
    'stock': Line('the stock line', 'mmengine', 'mmcv', 'mmdet', 'constraints-stock.txt', 'fast', 'setuptools>=77,<81'),
}


class SetupError(Exception):
    """One sentence that says what is missing and how to get it."""


def say(text: str) -> None:
    """Print a step, at once even into a pipe."""
    print(f'==> {text}', flush=True)


def check_machine() -> None:
    """Look for what pip cannot install, before anything slow begins."""
    if sys.version_info < (3, 10):  # noqa: UP036 (that is what it is for)
        raise SetupError(
            f'Python {sys.version.split()[0]} is too old: install 3.10 or newer and name it, '
            'make PYTHON=python3.12 demo.'
        )
    missing = [package for library, package in GRAPHICS.items() if not _loads(library)]
    if missing:
        raise SetupError(
            f'OpenCV needs {" and ".join(lib for lib in GRAPHICS if not _loads(lib))}: install {" ".join(missing)} '
            '(Debian, Ubuntu: apt-get install; elsewhere mesa-libGL and glib2).'
        )


def check_compiler() -> None:
    """Look for what compiling mmcv needs."""
    if not shutil.which(os.environ.get('CXX', 'c++')) and not shutil.which('g++'):
        raise SetupError('Compiling mmcv needs a C++ compiler: install g++ (Debian, Ubuntu: apt-get install g++).')
    if not Path(sysconfig.get_paths()['include'], 'Python.h').exists():
        version = f'{sys.version_info.major}.{sys.version_info.minor}'
        raise SetupError(
            f'Compiling mmcv needs the headers of Python {version}: install python{version}-dev '
            '(Fedora: python3-devel).'
        )


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


class Environment:
    """A virtual environment and what is installed in it."""

    def __init__(self, folder: Path, wheels: Path | None):
        self.folder = folder
        self.python = folder / 'bin' / 'python'
        # WHEELS may keep the wheels of the stock line apart.
        folders = (wheels, wheels and wheels / 'stock', BUILT_WHEELS)
        self.links = [str(d) for d in folders if d is not None and d.is_dir()]

    def create(self) -> None:
        """Make the environment if there is none."""
        if self.python.exists():
            return
        say(f'Making the environment {self.folder}')
        made = subprocess.run([sys.executable, '-m', 'venv', self.folder], capture_output=True, text=True)
        if made.returncode:
            shutil.rmtree(self.folder, ignore_errors=True)
            version = f'{sys.version_info.major}.{sys.version_info.minor}'
            raise SetupError(
                f'{sys.executable} cannot make virtual environments: install python{version}-venv '
                f'({(made.stdout + made.stderr).strip().splitlines()[-1]}).'
            )

    def runs(self, code: str, **env: str) -> str | None:
        """The output of some Python code in the environment, or None if it fails."""
        done = subprocess.run(
            [self.python, '-c', code], capture_output=True, text=True, cwd=self.folder, env={**os.environ, **env}
        )
        return done.stdout.strip() if done.returncode == 0 else None

    def pip(self, *args: str) -> bool:
        """Run pip, its output shown only if it fails for good (see ``install``)."""
        links = [f'--find-links={link}' for link in self.links]
        self.last = subprocess.run(
            [self.python, '-m', 'pip', '--disable-pip-version-check', *args, *links],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self.last.returncode == 0

    def install(self, *args: str) -> None:
        """Install, or stop with what pip said."""
        if not self.pip('install', *args):
            raise SetupError(f'pip could not install {" ".join(args)}:\n{self.last.stdout[-3000:]}')


def wants_cuda(device: str) -> bool:
    """Whether to build for CUDA: what was asked for, or whether an NVIDIA GPU answers."""
    if device != 'auto':
        return device == 'cuda'
    return (
        bool(shutil.which('nvidia-smi')) and subprocess.run(['nvidia-smi', '-L'], capture_output=True).returncode == 0
    )


def install_torch(env: Environment, cuda: bool, version: str) -> None:
    """Install the pinned torch unless the environment has one."""
    if env.runs('import torch') is not None:
        return
    say(f'Installing torch {version} for {"CUDA" if cuda else "the CPU"}')
    # The CPU build is a tenth of the size, but only some indexes have it.
    if cuda or not env.pip('install', f'torch=={version}+cpu'):
        env.install(f'torch=={version}')


def install_mmcv(env: Environment, cuda: bool, requirement: str) -> None:
    """Install mmcv with operators that load with the installed torch: from a wheel if one fits, or else compiled."""
    if env.links and env.pip('install', '--no-deps', '--no-index', '--force-reinstall', requirement):
        if _operators_load(env, cuda):
            say('Installed mmcv from a wheel; its operators load')
            return
        say('The wheel of mmcv does not fit this torch')
    check_compiler()
    if cuda and not (shutil.which('nvcc') or os.environ.get('CUDA_HOME')):
        needed = env.runs('import torch; print(torch.version.cuda)')
        raise SetupError(
            f'There is an NVIDIA GPU but no nvcc: install the CUDA {needed} toolkit, or build for the CPU with '
            'make DEVICE=cpu demo.'
        )
    say(
        'Compiling the operators of mmcv against this torch, without build isolation (an isolated build silently '
        'leaves them out). On two cores this takes 10 to 25 minutes, once.'
    )
    compile_mmcv(env, cuda, requirement)
    if not env.pip(
        'install', '--no-deps', '--no-index', '--force-reinstall', f'--find-links={BUILT_WHEELS}', requirement
    ):
        raise SetupError(f'pip could not install the compiled mmcv:\n{env.last.stdout[-3000:]}')
    if not _operators_load(env, cuda):
        raise SetupError(f'mmcv was compiled, but its operators do not load; see {BUILT_WHEELS / "mmcv.log"}.')


def _operators_load(env: Environment, cuda: bool) -> bool:
    check = 'from mmcv.ops import get_compiling_cuda_version as v; import mmcv._ext; print(v())'
    built_for = env.runs(check)
    return built_for is not None and (not cuda or built_for != 'not available')


def compile_mmcv(env: Environment, cuda: bool, requirement: str) -> None:
    """Build a wheel into ``BUILT_WHEELS``, telling how far it is."""
    BUILT_WHEELS.mkdir(parents=True, exist_ok=True)
    log = BUILT_WHEELS / 'mmcv.log'
    # Debug symbols double the compile time and make the library 40 times as large; torch's headers warn a lot.
    flags = f'{os.environ.get("CFLAGS", "")} -g0 -w'.strip()
    variables = {**os.environ, 'MMCV_WITH_OPS': '1', 'FORCE_CUDA': str(int(cuda)), 'CFLAGS': flags, 'CXXFLAGS': flags}
    variables['PATH'] = f'{env.python.parent}{os.pathsep}{os.environ["PATH"]}'  # where ninja is
    variables.setdefault('MAX_JOBS', str(os.cpu_count()))
    command = [env.python, '-m', 'pip', 'wheel', '-v', '--no-deps', '--no-build-isolation', '--no-cache-dir']
    command += ['--no-binary', requirement.partition('==')[0], '-w', BUILT_WHEELS, requirement]
    start = told = time.monotonic()
    with log.open('w') as out:
        build = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=variables)
        while build.poll() is None:
            time.sleep(1)
            if time.monotonic() - told >= 20:
                told = time.monotonic()
                steps = re.findall(r'^ *\[(\d+)/(\d+)\]', log.read_text(errors='replace'), re.MULTILINE)
                progress = f'{steps[-1][0]} of {steps[-1][1]} files' if steps else 'preparing'
                say(f'  compiling mmcv: {progress}, {(told - start) / 60:.1f} min')
    if build.returncode:
        raise SetupError(f'mmcv did not compile; the end of {log}:\n{log.read_text(errors="replace")[-3000:]}')


def install_stack(env: Environment, cuda: bool, line: Line = LINES['onedl']) -> None:
    """Install torch and a line of OpenMMLab unless a working MMDetection is there."""
    if env.runs('import mmdet, mmcv._ext') is not None:
        if line is LINES['stock'] and env.runs("from importlib.metadata import version; version('mmdet')") is None:
            raise SetupError(f'{env.folder} has the OneDL line of OpenMMLab: name another one for the stock line.')
        say('The environment has a working MMDetection, which stays as it is')
        return
    pins = line.pins()
    install_torch(env, cuda, pins['torch'])
    say(f'Installing {line.title} of OpenMMLab')
    env.install(line.setuptools, 'wheel', 'ninja', 'packaging')
    libraries = [f'{name}=={pins[name]}' for name in (line.mmengine, line.mmdet)]
    # mmcv's own dependencies, since it is installed without any: pip must not replace the torch it is compiled for.
    env.install(*libraries, 'addict', 'numpy', 'opencv-python', 'packaging', 'pillow', 'pyyaml', 'yapf')
    install_mmcv(env, cuda, f'{line.mmcv}=={pins[line.mmcv]}')


def fingerprint(line: Line) -> str:
    """What the environment was made from."""
    sources = [REPO / line.constraints, REPO / 'pyproject.toml', Path(__file__)]
    return hashlib.sha256(b'\0'.join(source.read_bytes() for source in sources) + str(REPO).encode()).hexdigest()


def main() -> None:
    """Set the environment up, or see that it is."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog='example:\n  python3 tools/setup_env.py --venv .venv --wheels ~/wheels',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--venv', type=Path, default=REPO / '.venv', help='environment to make or use (.venv)')
    parser.add_argument('--wheels', default='', help='folder of wheels to use before the index, e.g. a compiled mmcv')
    parser.add_argument('--line', choices=list(LINES), default='onedl', help='of OpenMMLab, if it has none (onedl)')
    parser.add_argument('--device', choices=['auto', 'cpu', 'cuda'], default='auto', help='what to build for (auto)')
    args = parser.parse_args()
    wheels = Path(args.wheels).resolve() if args.wheels else None
    if wheels is not None and not wheels.is_dir():
        raise SetupError(f'There is no folder of wheels {wheels}.')
    line = LINES[args.line]
    env = Environment(args.venv.absolute(), wheels)
    stamp = env.folder / STAMP
    if stamp.is_file() and json.loads(stamp.read_text()) == fingerprint(line) and env.python.exists():
        return
    start = time.monotonic()
    check_machine()
    env.create()
    install_stack(env, wants_cuda(args.device), line)
    say('Installing mmhybrid')
    env.install('-e', f'{REPO}[{line.extras}]', 'pytest>=8')
    versions = env.runs(
        'import mmcv._ext, mmhybrid.registry, torch, mmcv, mmdet, mmengine as e;'
        "print(f'torch {torch.__version__}, mmengine {e.__version__}, mmdet {mmdet.__version__}, '"
        "f'mmcv {mmcv.__version__} with compiled operators')"
    )
    if versions is None:
        raise SetupError(
            f'Everything is installed, but {env.python} -c "import mmhybrid.registry" fails; run it to see.'
        )
    stamp.write_text(json.dumps(fingerprint(line)))
    say(f'Ready in {time.monotonic() - start:.0f} s: {versions.splitlines()[-1]}')  # mmdet prints before it


if __name__ == '__main__':
    try:
        main()
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
