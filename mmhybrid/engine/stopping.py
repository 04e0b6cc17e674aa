"""SIGTERM and Ctrl-C as a wish to stop at the end of the iteration."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from typing import Any

import torch
import torch.distributed as dist

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# torchrun's agent sends its processes the signal that a terminal or a scheduler has sent them already.
_SAME_SIGNAL_SECONDS = 1.0


class Stopped(SystemExit):
    """A run was asked to stop and has saved what it needs to go on; the exit status is 128 + the signal."""

    def __init__(self, signum: int):
        super().__init__(128 + signum)
        self.signum = signum


class Agreement:
    """What all processes are to do alike, on the CPU; every process has to call each of the methods."""

    def __init__(self):
        self._group: Any = None

    def begin(self) -> None:
        """Meet the other processes, if there are any."""
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            # NCCL would make every iteration wait for the GPU.
            self._group = dist.new_group(backend='gloo')

    def end(self) -> None:
        """Leave them."""
        if self._group is not None:
            dist.destroy_process_group(self._group)
            self._group = None

    def largest(self, number: int) -> int:
        """The largest number of all processes'."""
        if self._group is None:
            return number
        numbers = torch.tensor([number])
        dist.all_reduce(numbers, dist.ReduceOp.MAX, group=self._group)
        return int(numbers)

    def gathered(self, thing: Any) -> list[Any]:
        """What each of the processes has, by rank."""
        if self._group is None:
            return [thing]
        things = [None] * dist.get_world_size()
        dist.all_gather_object(things, thing, group=self._group)
        return things


class StopRequests:
    """Notes the first SIGTERM or SIGINT; a second one ends the process at once.

    In several processes all have to stop after the same iteration: :meth:`agreed` asks the others.
    """

    def __init__(self):
        self.signum: int | None = None
        self._when = 0.0
        self._before: dict[int, Any] = {}
        self._agreement = Agreement()

    def begin(self) -> None:
        """Handle the signals from here on; only a process's main thread can."""
        self.signum = None
        self._agreement.begin()
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._note) for signum in SIGNALS}

    def end(self) -> None:
        """Give the signals back."""
        for signum, handler in self._before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        self._agreement.end()

    def agreed(self) -> int | None:
        """The signal by which any of the processes was asked to stop; every process has to call this."""
        return self._agreement.largest(self.signum or 0) or None

    def gathered(self, thing: Any) -> list[Any]:
        """What each of the processes has, by rank; every process has to call this."""
        return self._agreement.gathered(thing)

    def _note(self, signum: int, frame: Any) -> None:
        now = time.monotonic()
        name = signal.Signals(signum).name
        if self.signum is None:
            self.signum, self._when = signum, now
            _say(f'{name}: the run stops at the end of this iteration, with a checkpoint; a second one ends it at once')
        elif not (_by_torchrun() and now - self._when < _SAME_SIGNAL_SECONDS):
            _say(f'{name} again: ended at once; --resume goes on from the last checkpoint')
            for child in multiprocessing.active_children():
                child.kill()
            os._exit(128 + signum)


def _by_torchrun() -> bool:
    return 'TORCHELASTIC_RUN_ID' in os.environ


def _say(text: str) -> None:
    # Not by print or a logger, which the signal may have interrupted; and at Ctrl-C a reader, as tee, has ended, too.
    with contextlib.suppress(OSError, ValueError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f'\n{text}\n'.encode())
