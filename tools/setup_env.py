"""Make an environment with PyTorch, a line of OpenMMLab with compiled operators, and this package, or mend one.

Needs nothing but Python: ``make demo`` and ``make test`` run it with the system's interpreter. It looks at what is
installed now: where nothing is lacking, it returns at once, and else it installs only that. An environment that already
has a working MMDetection, stock or OneDL, keeps it; one that has torch keeps that. ``--line stock``, which ``make
test-stock`` uses, is for the stock line only.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple

from setup_pip import BUILT_WHEELS, REPO, Environment, SetupError, compile_progress, say, watch

# Shared libraries that opencv loads, and what brings them.
GRAPHICS = {'libGL.so.1': 'libgl1', 'libgthread-2.0.so.0': 'libglib2.0-0'}


class Line(NamedTuple):
    """One of the two lines of OpenMMLab, which install the same modules.

    Attributes:
        title: What messages call it.
        mmengine, mmcv, mmdet: Names of its distributions.
        constraints: File with the versions that are installed, of torch too.
        run, dev: Requirements beside the stack, to run and to develop; the first is this package.
        setuptools: What it and this package build with.
    """

    title: str
    mmengine: str
    mmcv: str
    mmdet: str
    constraints: str
    run: tuple[str, ...]
    dev: tuple[str, ...]
    setuptools: str = 'setuptools>=77'

    def pins(self) -> dict[str, str]:
        """Versions by name."""
        return dict(re.findall(r'^([\w-]+)==([\w.]+)$', (REPO / self.constraints).read_text(), re.MULTILINE))


LINES = {
    'onedl': Line(
        'the OneDL line',
        'onedl-mmengine',
        'onedl-mmcv',
        'onedl-mmdetection',
        'constraints.txt',
        run=('mmhybrid[fast]',),
        dev=('mmhybrid[dev,fast]',),
    ),
    'stock': Line(
        'the stock line',
        'mmengine',
        'mmcv',
        'mmdet',
        'constraints-stock.txt',
        run=('mmhybrid[fast]',),
        dev=('mmhybrid[fast]', 'pytest>=8'),
        # Stock mmengine, and the set-up of mmcv, import pkg_resources, which setuptools 81 no longer has.
        setuptools='setuptools>=77,<81',
    ),
}
REASONS = ('operators', 'package', 'problem')  # entries of what ``setup_check.py`` tells that are sentences
# mmcv's own dependencies, since it is installed without any: pip must not replace the torch it is compiled for.
MMCV_NEEDS = ('addict', 'numpy', 'opencv-python', 'packaging', 'pillow', 'pyyaml', 'yapf')


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


def wants_cuda(device: str) -> bool:
    """Whether to build for CUDA: what was asked for, or whether an NVIDIA GPU answers."""
    if device != 'auto':
        return device == 'cuda'
    return (
        bool(shutil.which('nvidia-smi')) and subprocess.run(['nvidia-smi', '-L'], capture_output=True).returncode == 0
    )


def install_torch(env: Environment, cuda: bool, version: str) -> None:
    """Install the pinned torch."""
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
        raise SetupError(f'pip could not install the compiled mmcv:\n{env.output[-3000:]}')
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
    variables = {'MMCV_WITH_OPS': '1', 'FORCE_CUDA': str(int(cuda)), 'CFLAGS': flags, 'CXXFLAGS': flags}
    variables['PATH'] = f'{env.python.parent}{os.pathsep}{os.environ["PATH"]}'  # where ninja is
    variables['MAX_JOBS'] = os.environ.get('MAX_JOBS', str(os.cpu_count()))
    command = [env.python, '-m', 'pip', 'wheel', '-v', '--no-deps', '--no-build-isolation', '--no-cache-dir']
    command += ['--no-binary', requirement.partition('==')[0], '-w', BUILT_WHEELS, requirement]
    if status := watch('compiling mmcv', command, log, compile_progress, **variables):
        # Then the log says nothing of why.
        killed = f' (killed by signal {-status}; where memory is short, set MAX_JOBS=1)' if status < 0 else ''
        raise SetupError(f'mmcv did not compile{killed}; the end of {log}:\n{log.read_text(errors="replace")[-3000:]}')


def install_stack(env: Environment, cuda: bool, line: Line, state: dict) -> None:
    """Install what an environment lacks of torch and of a line of OpenMMLab; what is there stays.

    Args:
        env: The environment.
        cuda: Whether to build for CUDA.
        line: The one that is there, or that was asked for.
        state: What the environment lacks.
    """
    lacking, pins = state['lacking'], line.pins()
    if not lacking and (not state['operators'] or _operators_load(env, False)):
        return
    if 'torch' in lacking:
        install_torch(env, cuda, pins['torch'])
    say(f'Installing {line.title} of OpenMMLab')
    env.install(line.setuptools, 'wheel', 'ninja', 'packaging')
    names = {'mmengine': line.mmengine, 'mmdet': line.mmdet}
    libraries = [f'{name}=={pins[name]}' for module, name in names.items() if module in lacking]
    needs = [*libraries, *(MMCV_NEEDS if 'mmcv' in lacking else ()), *state['missing']]
    if needs:
        env.install(*needs)
    if 'mmcv' in lacking or not _operators_load(env, False):
        install_mmcv(env, cuda, f'{line.mmcv}=={pins[line.mmcv]}')


def faults(state: dict, name: str) -> list[str]:
    """Return what is wrong with an environment, as words, if it is for the line of that name."""
    if name == 'stock' and state['line'] == 'onedl':
        return ['the stock line']
    return [*state['hollow'], *state['lacking'], *state['missing'], *filter(None, map(state.get, REASONS))]


def mend(env: Environment, name: str, requirements: tuple[str, ...], cuda: bool, stack_only: bool) -> None:
    """Install all that an environment lacks for a line of OpenMMLab and this package.

    Args:
        env: The environment.
        name: Of the line that was asked for.
        requirements: Beside the line: this package, then others.
        cuda: Whether to build for CUDA.
        stack_only: Whether to stop before this package.
    """
    state = env.check(requirements)
    if name == 'stock' and state['line'] == 'onedl':
        raise SetupError(f'{env.folder} has the OneDL line of OpenMMLab: name another one for the stock line.')
    if state['hollow']:
        say(f'Removing what is left of {", ".join(state["hollow"])}, whose files are gone')
        env.pip('uninstall', '--yes', *state['hollow'])
        state = env.check(requirements)
    install_stack(env, cuda, LINES[state['line'] or name], state)
    if stack_only:
        return
    state = env.check(requirements)
    if state['package']:
        say(f'Installing this package ({state["package"]})')
        mmhybrid, *others = requirements
        env.install('-e', mmhybrid.replace('mmhybrid', str(REPO)), *others)
    elif state['missing']:
        say(f'Installing what is missing: {", ".join(state["missing"])}')
        env.install(*state['missing'])
    state = env.check(requirements)
    if state['problem']:
        raise SetupError(state['problem'])
    if left := [fault for fault in faults(state, name) if fault != state['operators']]:  # importing them is the test
        raise SetupError(f'pip succeeded, but {env.folder} still lacks: {", ".join(left)}.')


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
    parser.add_argument('--dev', action='store_true', help='also what tests and style checks need')
    parser.add_argument('--stack-only', action='store_true', help='all but this package, e.g. to compile mmcv once')
    args = parser.parse_args()
    wheels = Path(args.wheels).resolve() if args.wheels else None
    if wheels is not None and not wheels.is_dir():
        raise SetupError(f'There is no folder of wheels {wheels}.')
    check_machine()
    env = Environment(args.venv.absolute(), wheels)
    requirements = LINES[args.line].dev if args.dev else LINES[args.line].run
    start = time.monotonic()
    env.create()
    if not args.stack_only and not faults(env.check(requirements), args.line):
        return
    mend(env, args.line, requirements, wants_cuda(args.device), args.stack_only)
    say('Importing what is installed')
    versions = env.runs(
        f'import mmcv._ext, {"mmdet" if args.stack_only else "mmhybrid.registry"}, torch, mmcv, mmdet, mmengine as e;'
        "print(f'torch {torch.__version__}, mmengine {e.__version__}, mmdet {mmdet.__version__}, '"
        "f'mmcv {mmcv.__version__} with compiled operators')"
    )
    if versions is None:
        raise SetupError(
            f'Everything is installed, but {env.python} -c "import mmhybrid.registry" fails; run it to see.'
        )
    say(f'Ready in {time.monotonic() - start:.0f} s: {versions.splitlines()[-1]}')  # mmdet prints before it


if __name__ == '__main__':
    try:
        main()
    except SetupError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print('\nerror: Interrupted; run it again, and it installs what is still lacking.', file=sys.stderr)
        sys.exit(130)
