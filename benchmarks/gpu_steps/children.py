"""Commands as children: several at a time, each with a log, all ended as groups when their time is over."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .kept import REPO, without_paths

TAIL_LINES = 40
# After an interrupt a child may save what it has; then it is killed.
GRACE = 10.0


class ChildFailed(Exception):
    """Children that ended with an error or ran out of time; the message has their last lines.

    Args:
        wrong: What is told of those that ended with an error.
        late: What is told of those that ran out of time.
    """

    def __init__(self, wrong: Sequence[str], late: Sequence[str] = ()):
        super().__init__('\n'.join([*wrong, *late]))
        self.wrong = list(wrong)


@dataclass
class Child:
    """A command of this Python, run in the repository's root.

    Attributes:
        name: Of the log.
        words: Script or ``-m``, module, and arguments.
        env: Variables to add.
    """

    name: str
    words: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)


_running: list[subprocess.Popen] = []


def run(children: Sequence[Child], logs: Path, seconds: float, jobs: int = 1) -> None:
    """Run some children, ``jobs`` at the same time.

    Args:
        children: In order.
        logs: Folder of ``NAME.log``.
        seconds: What they all have together; then they are interrupted, and killed ``GRACE`` seconds later.
        jobs: How many run at once.

    Raises:
        ChildFailed: When all have ended, if some of them failed.
    """
    end = time.monotonic() + seconds
    waiting, live, wrong, late = list(children), [], [], []
    try:
        while waiting or live:
            while waiting and len(live) < jobs:
                child = waiting.pop(0)
                live.append((child, _start(child, logs)))
            for child, process in list(live):
                if process.poll() is not None:
                    _end(process)  # what it left running
                    live.remove((child, process))
                    if process.returncode:
                        wrong.append(_told(child, logs, f'ended with {process.returncode}'))
            if live and time.monotonic() > end:
                stop_all()
                late += [_told(child, logs, f'took longer than {seconds:.0f} s') for child, _ in live]
                late += [f'{child.name} was not begun' for child in waiting]
                break
            time.sleep(0.05)
    finally:
        stop_all()
    if wrong or late:
        raise ChildFailed(wrong, late)


def _start(child: Child, logs: Path) -> subprocess.Popen:
    logs.mkdir(parents=True, exist_ok=True)
    path = [str(REPO), str(REPO / 'benchmarks'), os.environ.get('PYTHONPATH', '')]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, path)), **child.env}
    with (logs / f'{child.name}.log').open('w') as log:
        process = subprocess.Popen(
            [sys.executable, *map(str, child.words)],
            cwd=REPO,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # a group of its own, with all that it starts
        )
    _running.append(process)
    return process


def stop_all() -> None:
    """Interrupt what runs, give it a while to save, and kill it with all that it started."""
    live = [process for process in _running if process.poll() is None]
    family = descendants([process.pid for process in live])  # torchrun gives its processes groups of their own
    for process in live:
        _signal(process, signal.SIGINT)
    end = time.monotonic() + GRACE
    while any(process.poll() is None for process in live) and time.monotonic() < end:
        time.sleep(0.05)
    for process in list(_running):
        _end(process)
    for pid in family & descendants([*family]):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def descendants(roots: Sequence[int]) -> set[int]:
    """Processes and all that they started, as far as Linux tells and they are still there."""
    parents = {}
    for path in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(')')[2].split()[1])
    found = set(roots) & set(parents)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _end(process: subprocess.Popen) -> None:
    _signal(process, signal.SIGKILL)
    process.wait()
    if process in _running:
        _running.remove(process)


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the whole group has ended
        os.killpg(process.pid, number)


def _told(child: Child, logs: Path, what: str) -> str:
    return f'{child.name} {what}:\n{tail(logs / f"{child.name}.log")}'


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, without paths of this machine."""
    text = path.read_text(errors='replace') if path.exists() else ''
    return without_paths('\n'.join(line[:300] for line in text.splitlines()[-lines:]))
