"""Training processes that are forked from one that has imported everything, which saves seconds for each of them."""

import atexit
import contextlib
import ctypes
import functools
import io
import json
import multiprocessing.process
import os
import resource
import runpy
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from .watching import LOG

REPO = Path(__file__).resolve().parents[2]
WAIT = 120.0
_POLL = 0.002
_PARENT_DEATH_SIGNAL = 1


def import_everything() -> None:
    """Import what a training process imports, start nothing, and leave out what only makes logs pretty."""
    import mmdet.apis  # noqa: F401
    import mmengine.config.utils
    import torch._dynamo  # noqa: F401
    import yapf.yapflib.yapf_api

    import mmhybrid.registry  # noqa: F401

    yapf.yapflib.yapf_api.FormatCode = lambda text, **options: (text, True)
    mmengine.config.utils._get_cfg_metainfo = functools.cache(mmengine.config.utils._get_cfg_metainfo)


def end_with_parent() -> None:
    """Let Linux end this process with the one that forked it."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)


def begin_lane() -> None:
    """Begin a process that makes trials: Ctrl-C is left to the one that has started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


class Running:
    """``tools/train.py`` in processes of their own, one a rank, in a process group of their own."""

    def __init__(self, argv: Sequence[Any], folder: Path, ranks: int = 1, file_bytes: int | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob('log*.0')))
        self._log, self._output = folder / f'log{number}', folder / f'output{number}'
        words = [str(word) for word in argv] + (['--launcher', 'pytorch'] if ranks > 1 else [])
        port = _free_port()
        self.status: int | None = None
        self.pids: list[int] = []
        self._statuses: dict[int, int] = {}
        self.begun = time.monotonic()
        Path(f'{self._log}.0').touch()
        for rank in range(ranks):
            env = {LOG: str(self._log)}
            if ranks > 1:
                env |= dict(RANK=rank, WORLD_SIZE=ranks, LOCAL_RANK=rank, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
            group = self.pids[0] if self.pids else 0
            pid = os.fork()
            if not pid:
                _become(words, env, Path(f'{self._output}.{rank}'), group, file_bytes)
            self.pids.append(pid)

    @property
    def pid(self) -> int:
        """Of the first process, which is the group's, too."""
        return self.pids[0]

    def lines(self, rank: int = 0) -> list[dict[str, Any]]:
        """What the process has told so far."""
        return read_lines(Path(f'{self._log}.{rank}'))

    def output(self, rank: int = 0) -> str:
        """What it printed."""
        return Path(f'{self._output}.{rank}').read_text(errors='replace')

    def until(self, true: Callable[[dict[str, Any]], bool], seconds: float = WAIT) -> dict[str, Any] | None:
        """Wait for a line; None if the process ended before."""
        path, seen = Path(f'{self._log}.0'), 0
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            if path.stat().st_size > seen:
                lines = self.lines()
                seen = path.stat().st_size
                if found := next((line for line in lines if true(line)), None):
                    return found
            if self.poll() is not None:
                return next((line for line in self.lines() if true(line)), None)
            time.sleep(_POLL)
        raise TimeoutError(f'The training did not get there in {seconds:.0f} s')

    def poll(self) -> int | None:
        """The exit status of the first process, negative after a signal; None while it runs."""
        for pid in self.pids:
            if pid not in self._statuses:
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    self._statuses[pid] = os.waitstatus_to_exitcode(status)
        return self._statuses.get(self.pid)

    def wait(self, seconds: float = WAIT) -> int | None:
        """Wait for all of the processes; those that take longer are killed, and the answer is None."""
        limit = time.monotonic() + seconds
        while self.poll() is None or len(self._statuses) < len(self.pids):
            if time.monotonic() > limit:
                self.end()
                return None
            time.sleep(_POLL)
        return self.poll()

    @property
    def statuses(self) -> list[int | None]:
        """The exit statuses by rank."""
        self.poll()
        return [self._statuses.get(pid) for pid in self.pids]

    def kill(self, signum: int = signal.SIGKILL, group: bool = False) -> None:
        """Send a signal to the first process alone, or to all of its group."""
        (os.killpg if group else os.kill)(self.pid, signum)

    def end(self) -> None:
        """Kill what is left of the group."""
        for pid in members(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in set(self.pids) - set(self._statuses):
            self._statuses[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def alone_after(self, seconds: float = 6.0) -> float | None:
        """Seconds until no process of the group is alive; None if some are after ``seconds``."""
        begin = time.monotonic()
        while True:
            self.poll()
            left = members(self.pid)
            took = time.monotonic() - begin
            if not left:
                return round(took, 4)
            if took > seconds:
                return None
            time.sleep(_POLL)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of JSON, of which a killed writer may have left the last one unfinished."""
    text = path.read_text() if path.exists() else ''
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith('\n')]


def members(group: int) -> list[int]:
    """Living processes of a process group."""
    return [pid for pid, _, its_group in _living() if its_group == group]


def descendants(pid: int) -> list[int]:
    """Living processes that a process has started, and those that these have."""
    living, found = _living(), [pid]
    for parent in found:
        found += [child for child, its_parent, _ in living if its_parent == parent]
    return found[1:]


def is_alive(pid: int) -> bool:
    """Whether a process is alive."""
    return any(one == pid for one, _, _ in _living())


def _living() -> list[tuple[int, int, int]]:
    """All living processes: their id, their parent's and their group's."""
    found = []
    for path in Path('/proc').glob('[0-9]*/stat'):
        try:
            text = path.read_text()
        except OSError:
            continue  # it has ended meanwhile
        state, parent, group = text.rpartition(')')[2].split()[:3]
        if state not in 'ZX':
            found.append((int(path.parent.name), int(parent), int(group)))
    return found


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def _become(words: list[str], env: dict[str, Any], output: Path, group: int, file_bytes: int | None) -> None:
    """Be a training process from here on, and end as one."""
    status = 1
    try:
        os.setpgid(0, group)
        end_with_parent()
        torch.set_num_threads(1)
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
        multiprocessing.process._current_process._config.pop('daemon', None)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = sys.__stdout__ = io.TextIOWrapper(io.FileIO(1, 'w', closefd=False), write_through=True)
        sys.stderr = sys.__stderr__ = io.TextIOWrapper(io.FileIO(2, 'w', closefd=False), write_through=True)
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, resource.RLIM_INFINITY))
        os.environ.update({key: str(value) for key, value in env.items()})
        sys.argv = [str(REPO / 'tools' / 'train.py'), *words]
        try:
            runpy.run_path(sys.argv[0], run_name='__main__')
            status = 0
        except SystemExit as stopped:
            status = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        atexit._run_exitfuncs()
    finally:
        os._exit(status)
