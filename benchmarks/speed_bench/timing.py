"""Measuring what calls take: a clock for each kind of device, and rounds in which all contestants take turns.

In every round each contestant is measured once, in an order drawn anew, so that whatever drifts (clock rates, other
work on the machine) hits all alike; ratios are taken within a round.
"""

import gc
import math
import random
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch

Call = Callable[[], object]


class Sample(NamedTuple):
    """Seconds of one call, as the device counts them and as the clock on the wall does."""

    seconds: float
    wall: float


class CpuClock:
    """Of one thread, processor seconds of this process, which other processes do not add to.

    Several threads spend processor seconds on waiting for one another, so the clock on the wall counts there; it is
    right on a machine that does nothing else.
    """

    def __init__(self):
        self.by_the_wall = torch.get_num_threads() > 1
        self.counts = 'seconds' if self.by_the_wall else 'processor seconds'

    def measure(self, call: Call, repeats: int) -> Sample:
        """Seconds of one call, the mean of some."""
        with _no_garbage_collection():
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                call()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return Sample((wall if self.by_the_wall else cpu) / repeats, wall / repeats)

    def synchronise(self) -> None:
        """Wait until the device is done: nothing to wait for."""


class CudaClock:
    """Seconds between events around a call on the device's stream.

    Before each call a buffer larger than any L2 cache is overwritten, outside the events: a call finds its inputs in
    device memory, as it does inside a network, and the device is busy while the host enqueues the call, so that
    short calls are not measured by how fast Python is. What a network leaves idle between its kernels does count.
    """

    counts = 'seconds between CUDA events'
    cache_bytes = 256 * 2**20

    def __init__(self):
        self._buffer = torch.empty(self.cache_bytes, dtype=torch.int8, device='cuda')

    def measure(self, call: Call, repeats: int) -> Sample:
        """Seconds of one call, the mean of some; the wall's include overwriting the buffer."""
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repeats)]
        with _no_garbage_collection():
            torch.cuda.synchronize()
            wall = time.perf_counter()
            for start, end in events:
                self._buffer.zero_()
                start.record()
                call()
                end.record()
            torch.cuda.synchronize()
            wall = time.perf_counter() - wall
        milliseconds = sum(start.elapsed_time(end) for start, end in events)
        return Sample(milliseconds / 1e3 / repeats, wall / repeats)

    def synchronise(self) -> None:
        """Wait until the device is done."""
        torch.cuda.synchronize()


Clock = CpuClock | CudaClock


def clock_of(device: torch.device) -> Clock:
    """The clock of a device."""
    return CudaClock() if device.type == 'cuda' else CpuClock()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    # What was due meanwhile is collected right afterwards, outside of a sample.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def warm_up(clock: Clock, call: Call, min_seconds: float, calls: int = 1) -> int:
    """Call a few times, and return how many calls make a sample of at least ``min_seconds``."""
    for _ in range(calls):
        call()
    once = max(clock.measure(call, 1).wall, 1e-6)
    return min(max(math.ceil(min_seconds / once), 1), 10_000)


class Deadline:
    """A budget of minutes, or None for no limit."""

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._start = clock()
        self._seconds = math.inf if minutes is None else 60 * minutes

    def used(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def allows(self, seconds: float = 0, share: float = 1) -> bool:
        """Whether so many seconds more fit into a share of the budget."""
        return self.used() + seconds <= share * self._seconds


def rounds(
    groups: Mapping[Hashable, Mapping[Hashable, tuple[Call, int]]],
    clock: Clock,
    number: int,
    deadline: Deadline,
    seed: int = 0,
) -> Iterator[dict[Hashable, Sample]]:
    """Measure every contestant once a round.

    Args:
        groups: Contestants that are compared with one another, by key: their call and its repeats in a sample. They
            are measured one directly after the other, since drift is least between neighbours.
        clock: Clock of the device.
        number: Number of rounds.
        deadline: No round begins that would probably end after it; the first one always does.
        seed: Of the order.

    Yields:
        For each round the samples by key.
    """
    rng = random.Random(seed)
    longest = 0.0
    for i in range(number):
        if i > 0 and not deadline.allows(longest):
            return
        before = deadline.used()
        samples = {}
        for group in rng.sample(list(groups), len(groups)):
            for key in rng.sample(list(groups[group]), len(groups[group])):
                call, repeats = groups[group][key]
                samples[key] = clock.measure(call, repeats)
        longest = max(longest, deadline.used() - before)
        yield samples
