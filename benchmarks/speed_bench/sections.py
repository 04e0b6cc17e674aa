"""The layers and the backbones: every contestant in every mode, both passes."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from . import memory, roofline
from .contestants import Contestant, Shape
from .modes import PASSES, Mode, Runner
from .timing import Clock, Deadline, clock_of, rounds, warm_up

Say = Callable[[str], None]
# The share of the budget that may go into preparing contestants; the rest is for measuring them.
PREPARING = 0.5
# So many names are told; of more, how many there are.
FEW = 3


@dataclass(frozen=True)
class Plan:
    """How to measure; ``passes`` of each mode, where it has them."""

    modes: Sequence[Mode]
    images: Shape
    device: torch.device
    rounds: int
    deadline: Deadline
    min_seconds: float
    passes: tuple[str, ...] = PASSES


def measure(contestants: Sequence[Contestant], plan: Plan, say: Say) -> dict[str, Any]:
    """Measure contestants; the content of a section, without its header."""
    say('measuring peak rates')
    precisions = ['float32'] + ['bfloat16'] * any('bf16' in mode.parts for mode in plan.modes)
    clock = clock_of(plan.device)
    peaks = roofline.measure_peaks(plan.device, precisions, clock)
    rows, groups, notes = {}, {}, []
    skipped: dict[str, list[str]] = {}
    for mode in plan.modes:
        for contestant in contestants:
            if not plan.deadline.allows(share=PREPARING) and rows:
                skipped.setdefault(mode.name, []).append(contestant.name)
                continue
            try:
                made = _prepare(contestant, mode, plan, clock, peaks)
            except Exception as error:  # the others are measured all the same
                notes.append(f'{contestant.name}, {mode.name}: failed, {reason(error)}')
                say(notes[-1])
                continue
            for key, (call, row) in made.items():
                rows[key] = row
                # Neighbours in time are those that are compared: one mode, one pass, one baseline.
                groups.setdefault((mode.name, key[2], contestant.baseline), {})[key] = (call, row['repeats'])
        say(f'{mode.name}: ready after {plan.deadline.used():.0f} s')
    return {
        'peaks': peaks.record(),
        'counts': clock.counts,
        'notes': notes + not_measured(skipped, len(contestants)),
        'rows': take_turns(groups, rows, clock, plan.rounds, plan.deadline, say),
    }


def not_measured(skipped: Mapping[str, Sequence[str]], number: int) -> list[str]:
    """A note for each mode that some of ``number`` contestants had no time for, with their names where they are few."""
    notes = []
    for mode, names in skipped.items():
        named = f': {", ".join(names)}' if len(names) <= FEW else ''
        notes.append(f'{mode}: {len(names)} of {number} not measured, no time was left{named}')
    return notes


def take_turns(
    groups: dict, rows: dict[tuple, dict], clock: Clock, number: int, deadline: Deadline, say: Say
) -> list[dict[str, Any]]:
    """The rows with the seconds of each round; an interruption ends the measurement, and keeps what there is."""
    done = 0
    try:
        for samples in rounds(groups, clock, number, deadline):
            done += 1
            for key, sample in samples.items():
                rows[key].setdefault('seconds', []).append(short(sample.seconds))
                rows[key].setdefault('wall', []).append(short(sample.wall))
            say(f'round {done} of {number}, {deadline.used():.0f} s')
    except KeyboardInterrupt:
        if not done:
            raise
        say('interrupted; what was measured is kept')
    return [row for row in rows.values() if row.get('seconds')]


def _prepare(contestant: Contestant, mode: Mode, plan: Plan, clock: Clock, peaks: roofline.Peaks) -> dict[tuple, tuple]:
    """Make a contestant in a mode and warm it up: its calls and rows by (name, mode, pass)."""
    torch.manual_seed(0)
    runner = Runner(mode, contestant.make(), contestant.tensors(plan.images), plan.device)
    made = {}
    passes = [name for name in mode.passes if name in plan.passes]
    for name in reversed(passes):  # training first: it gives the batch norms statistics to evaluate with
        call = runner.call(name)
        row: dict[str, Any] = {'name': contestant.name, 'baseline': contestant.baseline}
        row |= {'mode': mode.name, 'pass': name}
        start = time.perf_counter()
        call()
        clock.synchronise()
        if mode.compiles:
            row['first_call'] = short(time.perf_counter() - start)  # compiling, and one run
        else:
            work = roofline.count(call)
            row |= {'flops': work.flops, 'bytes': work.bytes, 'bound': short(work.seconds(peaks))}
        if name == 'train':
            if not mode.compiles:
                row['kept'] = memory.kept_for_backward(runner.module, runner.train_forward)
            with memory.Peak(plan.device) as peak:
                call()
            row |= peak.found()
        row['repeats'] = warm_up(clock, call, plan.min_seconds)
        made[contestant.name, mode.name, name] = (call, row)
    return made


def reason(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return type(error).__name__ + (f': {lines[0]}' if lines else '')


def short(seconds: float) -> float:
    """Five digits, more than any measurement here is good for."""
    return float(f'{seconds:.5g}')
