"""An environment that ``setup_env.py`` makes or mends, and pip or uv, which tell every 20 seconds what they do."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BUILT_WHEELS = REPO / 'build' / 'wheels'  # a compiled mmcv outlives its environment
TELL_EVERY = 20.0  # seconds
# Settings of pip as options of uv, which does not read them. The others tell nothing of what is to be installed from
# where; with any further one pip itself does the work.
UV_OPTIONS = ('index-url', 'extra-index-url', 'find-links', 'constraint', 'trusted-host', 'no-index')
QUIET = {'PIP_PROGRESS_BAR': 'off', 'PIP_DISABLE_PIP_VERSION_CHECK': '1', 'PYTHONUNBUFFERED': '1'}
UV_NEEDS_NOT = (
    *('cache-dir', 'default-timeout', 'disable-pip-version-check', 'no-cache-dir', 'no-color', 'no-input'),
    *('progress-bar', 'quiet', 'require-virtualenv', 'retries', 'root-user-action', 'timeout', 'verbose'),
)


class SetupError(Exception):
    """One sentence that says what is missing and how to get it."""


def say(text: str) -> None:
    """Print a step, at once even into a pipe."""
    print(f'==> {text}', flush=True)


def watch(title: str, command: list, log: Path, progress: Callable[[str], str], **variables: str) -> int:
    """Run a command, its output in ``log``, and tell every 20 seconds how far it is.

    Args:
        title: What it does, for the line.
        command: With its arguments.
        log: File for all that it prints.
        progress: How far it is, from what it printed so far.
        variables: Of its environment, beside those of this process.

    Returns:
        Its exit status.
    """
    start = time.monotonic()
    with (
        log.open('w') as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **variables}) as process,
    ):
        while True:
            try:
                return process.wait(TELL_EVERY)
            except subprocess.TimeoutExpired:
                minutes = (time.monotonic() - start) / 60
                say(f'  {title}: {progress(log.read_text(errors="replace"))}, {minutes:.1f} min')


def uv_options(settings: str) -> tuple[list[str], dict[str, str]] | None:
    """Return pip's settings as options of uv, and as variables of its environment.

    Args:
        settings: What ``pip config list`` prints.

    Returns:
        None if there is a setting that uv has nothing for.
    """
    found: dict[str, str] = {}
    for level in ('global', 'install', ':env:'):  # the later one counts
        for line in settings.splitlines():
            name, _, value = line.partition('=')
            if name.startswith(f'{level}.'):
                found[name.removeprefix(f'{level}.').lstrip('.')] = ast.literal_eval(value)
    # pip takes the best version of all indexes, uv would take that of the first that has any.
    options, variables = ['--index-strategy', 'unsafe-best-match'], {}
    for name, value in found.items():
        if name == 'cert':
            variables['SSL_CERT_FILE'] = value
        elif name == 'no-index':
            options += ['--no-index'] if value.lower() in ('1', 'true', 'yes', 'on') else []
        elif name in UV_OPTIONS:
            options += [word for one in value.split() for word in (f'--{name}', one)]
        elif name not in UV_NEEDS_NOT:
            return None
    return options, variables


def last_line(output: str) -> str:
    """Return what pip is at: how much it installs, which it tells once, or its last line, shortened."""
    if found := re.findall(r'^Installing collected packages: (.*)', output, re.MULTILINE):
        count = found[-1].count(',') + 1
        return f'installing {count} packages' if count > 1 else f'installing {found[-1]}'
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith('WARNING')]
    if not lines:
        return 'no output yet'
    return lines[-1] if len(lines[-1]) <= 90 else f'{lines[-1][:89]}…'


def compile_progress(output: str) -> str:
    """Return how many files are compiled, from ninja's lines."""
    steps = re.findall(r'^ *\[(\d+)/(\d+)\]', output, re.MULTILINE)
    return f'{steps[-1][0]} of {steps[-1][1]} files' if steps else 'preparing'


class Environment:
    """A virtual environment and what is installed in it."""

    def __init__(self, folder: Path, wheels: Path | None):
        self.folder = folder
        self.python = folder / 'bin' / 'python'
        # WHEELS may keep the wheels of the stock line apart.
        folders = (wheels, wheels and wheels / 'stock', BUILT_WHEELS)
        self.links = [str(d) for d in folders if d is not None and d.is_dir()]
        self.output = ''  # of pip's last run

    def create(self) -> None:
        """Make the environment if there is none, and pip in one that has none."""
        if self.python.exists():
            if self.runs('import pip') is None and self.runs('import ensurepip; ensurepip.bootstrap()') is None:
                raise SetupError(f'{self.python} has no pip and cannot make one: install pip there.')
            return
        say(f'Making the environment {self.folder}')
        new = not self.folder.exists()
        if self._watch('python -m venv', [sys.executable, '-m', 'venv', self.folder]):
            if new:
                shutil.rmtree(self.folder, ignore_errors=True)
            version = f'{sys.version_info.major}.{sys.version_info.minor}'
            raise SetupError(
                f'{sys.executable} cannot make virtual environments: install python{version}-venv '
                f'({self.output.strip().splitlines()[-1]}).'
            )

    def runs(self, code: str, **env: str) -> str | None:
        """The output of some Python code in the environment, or None if it fails."""
        done = subprocess.run(
            [self.python, '-c', code], capture_output=True, text=True, cwd=self.folder, env={**os.environ, **env}
        )
        return done.stdout.strip() if done.returncode == 0 else None

    def check(self, requirements: tuple[str, ...]) -> dict:
        """What is lacking now for some requirements (``setup_check.py`` says what each entry means)."""
        done = subprocess.run(
            [self.python, REPO / 'tools' / 'setup_check.py', *requirements],
            capture_output=True,
            text=True,
            cwd=self.folder,
        )
        if done.returncode:
            raise SetupError(f'What is installed in {self.folder} cannot be read:\n{done.stderr[-3000:]}')
        return json.loads(done.stdout)

    @cached_property
    def uv(self) -> tuple[list[str], dict[str, str]] | None:
        """The command of uv that installs as pip would, and variables for it; None without uv, or if it cannot."""
        uv = shutil.which('uv')
        if uv is None:
            return None
        listed = subprocess.run([self.python, '-m', 'pip', 'config', 'list'], capture_output=True, text=True)
        options = uv_options(listed.stdout) if listed.returncode == 0 else None
        return options and ([uv, 'pip', 'install', '--python', str(self.python), *options[0]], options[1])

    def pip(self, command: str, *args: str) -> bool:
        """Run pip, or uv in its place, its output kept for when it fails for good (see ``install``)."""
        links = [] if command == 'uninstall' else [f'--find-links={link}' for link in self.links]
        if command == 'install' and self.uv is not None:
            if self._watch('uv', [*self.uv[0], *args, *links], **self.uv[1]) == 0:
                return True
            say('  uv could not do that: pip tries')
        # What is imported gets compiled then: compiling all of torch and numba takes most of pip's time.
        options = ['--no-compile'] if command == 'install' else []
        return self._watch('pip', [self.python, '-m', 'pip', command, *options, *args, *links], **QUIET) == 0

    def _watch(self, title: str, command: list, **variables: str) -> int:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, 'log')
            status = watch(title, command, log, last_line, **variables)
            self.output = log.read_text(errors='replace')
        return status

    def install(self, *args: str) -> None:
        """Install, or stop with what pip said."""
        if not self.pip('install', *args):
            raise SetupError(f'pip could not install {" ".join(args)}:\n{self.output[-3000:]}')
