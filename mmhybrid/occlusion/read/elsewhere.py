"""Calls shared with other Python processes, for work that holds Python's lock.

``multiprocessing`` would either copy this process with all its threads (fork) or run the user's script a second time
(spawn); the functions here need neither.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import import_module
from threading import Thread
from time import monotonic
from typing import Any

MOST = 3  # other processes: with more, this one is busy with what they send
CALLS = 4  # for fewer, another process is not worth its start
PIPE = 2**20  # bytes
# How long to wait for the last calls: as often as the slowest of this process took, since the machine may be busy.
PATIENCE, LEAST_PATIENCE = 10, 10.0  # times, and at least seconds
LOOK = 0.1  # seconds after which to look whether another process was stopped

READY = b'\0ready\n'

# Nothing is imported before the path is this process's: it begins with the current folder, whatever modules lie there.
_CHILD = 'import sys; module, name, *sys.path = sys.argv[1:]; import {module} as m; m.serve(module, name)'


class Calls:
    """Calls of one function, which other processes begin to do at once; to be used as a context.

    There are as many others as there are processors left, and they begin at the end; this process begins at the start,
    when it asks for the results. If no other can be started, or one is killed or stopped or does not answer, this one
    does what is left.

    Args:
        function: A function at the top of a module that can be imported; what it returns is pickled.
        calls: Arguments, which are pickled too.
    """

    def __init__(self, function: Callable[..., Any], calls: Sequence[tuple[Any, ...]]) -> None:
        self._count = len(calls)
        self._work = _Work(function, deque(enumerate(calls)))

    def __enter__(self) -> Calls:
        self._others = []
        with ExitStack() as stack:
            for _ in range(min(MOST, _processors() - 1, self._count // CALLS)):
                with suppress(OSError, RuntimeError):
                    self._others.append(stack.enter_context(_Other(self._work)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._work.given_up = True
        self._stack.close()

    def results(self) -> Iterator[Any] | None:
        """What the function returned, in the order of the calls; None as soon as it returns None on one.

        May be asked for once: what the iterator has given is not kept.
        """
        work = self._work
        work.do(work.function, work.todo.popleft)
        patience = max(PATIENCE * work.slowest, LEAST_PATIENCE)
        for other in [] if work.given_up else self._others:
            other.finish(patience)
        work.do(work.function, work.todo.popleft)
        self._stack.close()
        return None if work.given_up else map(work.done.pop, range(self._count))


@dataclass
class _Work:
    function: Callable[..., Any]
    todo: deque[tuple[int, tuple[Any, ...]]]
    done: dict[int, Any] = field(default_factory=dict)
    given_up: bool = False
    slowest: float = 0.0  # seconds that a call took, here or elsewhere

    def do(self, function: Callable[..., Any], take: Callable[[], tuple[int, tuple[Any, ...]]]) -> None:
        """Take call after call until none is left; one that raises is put back."""
        while self.todo and not self.given_up:
            try:
                index, args = take()
            except IndexError:  # another thread took the last
                return
            begin = monotonic()
            try:
                self.done[index] = function(*args)
            except BaseException:
                self.todo.append((index, args))
                raise
            self.slowest = max(self.slowest, monotonic() - begin)
            if self.done[index] is None:
                self.given_up = True


class _Other(Thread):
    """Has the calls at the end done by another process."""

    def __init__(self, work: _Work) -> None:
        super().__init__(daemon=True)
        if not sys.executable or getattr(sys, 'frozen', False):
            raise OSError('there is no Python interpreter to start')
        self._work, self._ready = work, False
        task = work.function.__module__, work.function.__qualname__, *map(str, sys.path)
        self._process = subprocess.Popen(
            [sys.executable, '-c', _CHILD.format(module=__name__), *task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=PIPE,
        )

    def __enter__(self) -> _Other:
        try:
            self.start()
        except RuntimeError:  # no thread can be started
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self.join()
        self._end()

    def finish(self, patience: float) -> None:
        """Wait until it finds no more calls, but not for what has not begun, was stopped or takes this many seconds."""
        end = monotonic() + patience
        while self.is_alive() and self._ready and not self._was_halted() and monotonic() < end:
            self.join(LOOK)
        if self.is_alive():
            self._process.kill()
        self.join()

    def _was_halted(self) -> bool:
        """By SIGSTOP, a debugger or a terminal. It may go on some time, but this process can do its call by then."""
        if not hasattr(os, 'waitid'):
            return False
        flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT  # only to look: Popen is to learn how it ends
        try:
            return os.waitid(os.P_PID, self._process.pid, flags) is not None
        except ChildProcessError:  # it has ended
            return False

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()

    def run(self) -> None:
        # Whatever goes wrong, in the process or on the way, this process does the call itself and shows what it was.
        with suppress(Exception):
            # What starts may print before it is ready, or be no Python at all.
            while not (line := self._process.stdout.readline()).endswith(READY):
                if not line:
                    return
            self._ready = True
            self._work.do(self._call, self._work.todo.pop)

    def _call(self, *args: Any) -> Any:
        pickle.dump(args, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)


def serve(module: str, name: str) -> None:
    """Do the calls that come by the standard input until it ends; run in the other process."""
    gc.disable()
    # Buffered, however Python was started, hence never cut short; and what the function prints goes elsewhere.
    replies = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)
    function = getattr(import_module(module), name)
    replies.write(READY)
    replies.flush()
    with suppress(EOFError, BrokenPipeError):
        while True:
            pickle.dump(function(*pickle.load(sys.stdin.buffer)), replies, protocol=5)
            replies.flush()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
