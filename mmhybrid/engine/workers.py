"""Processes that load data: they end with their parent, and leave to it the signals that are meant for the job."""

import ctypes
import multiprocessing
import os
import signal
import threading
from typing import Any

from torch.utils.data import DataLoader

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl


def tend_workers(loader: DataLoader) -> None:
    """Let a loader's workers, which are not started yet, end with their parent and leave the job's signals to it."""
    if not isinstance(loader.worker_init_fn, _StartWorker):
        loader.worker_init_fn = _StartWorker(loader.worker_init_fn)


class _StartWorker:
    """Begins a worker."""

    def __init__(self, theirs: Any):
        self._theirs = theirs
        # Linux tells of the end of the thread that forked, which another one than the main one may reach early.
        self._from_main = threading.current_thread() is threading.main_thread()

    def __call__(self, worker_id: int) -> None:
        if self._theirs is not None:
            self._theirs(worker_id)
        # Ctrl-C in a terminal and a scheduler's SIGTERM reach the workers, too, who are needed to the iteration's end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        parent = multiprocessing.parent_process()
        if parent is None:
            return
        if parent.pid != os.getppid() or not self._from_main:  # a server forked it, or a thread
            threading.Thread(target=_end_after, args=(parent,), daemon=True).start()
            return
        if hasattr(signal, 'sigwaitinfo'):  # not on macOS
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            threading.Thread(target=_end_when_asked_by, args=(parent.pid,), daemon=True).start()
        end_with_parent()


def _end_after(parent: Any) -> None:
    parent.join()
    os._exit(1)


def _end_when_asked_by(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)  # as PyTorch's own handler does, which a loader takes for an orderly end


def end_with_parent(signum: int = signal.SIGKILL) -> None:
    """Let Linux send this process a signal when its parent ends, however that ends; elsewhere do nothing."""
    parent = os.getppid()
    try:
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, int(signum), 0, 0, 0)
    except (AttributeError, OSError, TypeError):
        return
    if os.getppid() != parent:  # it ended a moment ago
        os.kill(os.getpid(), signum)
