"""Run jobs over processes, in order, with progress and a clean end whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Job = TypeVar('Job')
Result = TypeVar('Result')


def map_in_order(work: Callable[[Job], Result], jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    """Yield ``work(job)`` of each job in order.

    One worker runs in this process. More are fresh processes ("spawn"): a fork of a process that runs threads, as
    any program with torch loaded does, can hang. When the caller stops early, by an error or by Ctrl-C, the jobs not
    yet begun are cancelled and the processes end before the exception goes on.
    """
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(work, jobs)
        return
    context = multiprocessing.get_context('spawn')
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        # Ctrl-C reaches the whole process group, but only the parent shall act on it: workers inherit the blocked
        # signal from their very start. The pool has already started the resource tracker, whose start would unblock it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = [pool.submit(work, job) for job in jobs]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for future in futures:
            yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """End this worker when its parent is gone: one that was killed cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def progress_reporter(total: int, label: str, enabled: bool) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many more items are done.

    Draws a bar on standard error when that is a terminal, otherwise prints about ten lines; nothing if not ``enabled``.
    """
    console = Console(stderr=True)
    if not enabled:
        yield lambda count: None
    elif console.is_terminal:
        columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _line_printer(total, label)


def _line_printer(total: int, label: str) -> Callable[[int], None]:
    done = 0

    def report(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if done * 10 // total > before * 10 // total:
            print(f'{label}: {done} of {total}', file=sys.stderr, flush=True)

    return report
