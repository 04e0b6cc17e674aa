"""Which trials there are."""

import argparse
import dataclasses
import itertools
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

from gpu_steps import kept

from . import damaged, kills, signals
from .runs import Case, whole_run

SECTIONS = ('kills', 'control', 'processes', 'files', 'disk', 'signals', 'torchrun')
KEEPS = (1, 3)


@dataclasses.dataclass(frozen=True)
class Job:
    """A trial to make: ``function(folder, shared, *args, **options)``; ``key`` tells which row of its section it is."""

    section: str
    key: Any
    function: Callable
    args: tuple = ()
    options: dict = dataclasses.field(default_factory=dict)


def attempt(job: Job, folder: Path, shared: Path) -> Any:
    """Make a trial; what it raises is a fault."""
    try:
        return job.function(folder, shared, *job.args, **job.options)
    except Exception:
        fault = kept.without_paths(traceback.format_exc())
        return dict(rows=[], trial=f'{job.section}, {job.key}', faults=[fault])


def whole(folder: Path, shared: Path, case: Case) -> dict[str, Any]:
    """An unbroken run."""
    return whole_run(folder, case, shared)


def three(folder: Path, shared: Path) -> dict[str, Any]:
    """A work dir with three checkpoints."""
    return {'source': damaged.three_checkpoints(folder, shared)}


def unbroken(args: argparse.Namespace) -> list[Job]:
    """The runs with which others are compared."""
    length = min(kills.CHAIN, args.kills)
    cases = {}
    for by_epoch in (True, False):
        if 'kills' in args.only:
            cases['chain', by_epoch, 1] = kills.longest(KEEPS, by_epoch, length)
        if 'processes' in args.only:
            cases['chain', by_epoch, 2] = kills.longest(KEEPS, by_epoch, length, ranks=2)
        if {'files', 'disk', 'signals'} & set(args.only):
            cases['short', by_epoch, 1] = Case(by_epoch=by_epoch, val=True)
        if 'torchrun' in args.only:
            cases['short', by_epoch, 2] = Case(by_epoch=by_epoch, ranks=2)
    return [Job('whole', key, whole, (case,)) for key, case in cases.items()]


def trials(args: argparse.Namespace, whole_of: dict[Any, Any], source: Path | None) -> Iterator[Job]:
    """All trials."""
    makers = {
        'kills': lambda: plan_kills(args, whole_of, 1),
        'processes': lambda: plan_kills(args, whole_of, 2),
        'control': lambda: plan_control(args),
        'files': lambda: plan_files(args, whole_of, source),
        'disk': lambda: plan_disk(args, whole_of, source),
        'signals': lambda: plan_signals(args, whole_of),
        'torchrun': lambda: plan_torchrun(args, whole_of),
    }
    for section, make in makers.items():
        if section in args.only:
            yield from make()


def plan_kills(args: argparse.Namespace, whole_of: dict[Any, Any], ranks: int) -> Iterator[Job]:
    """Chains of kills, epochs and iterations in turn."""
    total = args.kills if ranks == 1 else min(args.kills, 2 * kills.CHAIN)
    length = min(kills.CHAIN, total)
    settings = [(1, 2)] if args.small else list(itertools.product(KEEPS, (0, 2)))
    # All settings in turn, so that an early end leaves some of each.
    for (number, first), (keep, workers) in itertools.product(enumerate(range(0, total, length)), settings):
        by_epoch = number % 2 == 0
        case = kills.longest(KEEPS, by_epoch, min(kills.CHAIN, args.kills), ranks)
        case = dataclasses.replace(case, keep=keep, workers=workers)
        seed = hash((args.seed, keep, workers, number, ranks))
        options = dict(case=case, kills=min(length, total - first), whole=whole_of['chain', by_epoch, ranks], seed=seed)
        yield Job('kills' if ranks == 1 else 'processes', (keep, workers), kills.chain, (), options)


def plan_control(args: argparse.Namespace) -> Iterator[Job]:
    """MMEngine's own hook."""
    for seed in range(2 if args.small else 20):
        yield Job('control', seed, kills.control, (seed,))


def plan_files(args: argparse.Namespace, whole_of: dict[Any, Any], source: Path) -> Iterator[Job]:
    """Checkpoints and pointers that are damaged."""
    reference = whole_of['short', False, 1]
    for kind in list(damaged.FILES)[: 2 if args.small else None]:
        counts = (1, 2, 3) if kind in ('empty', 'cut in the middle', 'a bit turned in the middle', 'text') else (1,)
        for count in counts:
            yield Job('files', (kind, count), damaged.damaged_file, (source, kind, count, reference))
    for kind in [*damaged.POINTERS, 'moved'][: 2 if args.small else None]:
        yield Job('files', kind, damaged.pointer, (source, kind, reference))


def plan_disk(args: argparse.Namespace, whole_of: dict[Any, Any], source: Path) -> Iterator[Job]:
    """No room for a checkpoint."""
    reference = whole_of['short', False, 1]
    for share in (0.5,) if args.small else (0.1, 0.5, 0.99):
        yield Job('disk', ('limit', share), damaged.limited, (source, share, reference))
    for share in (0.5,) if args.small else (0.0, 0.1, 0.5, 0.99):
        yield Job('disk', ('full', share), damaged.full, (source, share, reference))


def plan_signals(args: argparse.Namespace, whole_of: dict[Any, Any]) -> Iterator[Job]:
    """Signals once and twice."""
    kinds = itertools.product((SIGTERM, SIGINT), (False, True), (False, True), (True, False), (0, 2))
    for number, (signum, group, in_val, by_epoch, workers) in enumerate(kinds):
        if args.small and number % 11:
            continue
        case = Case(by_epoch=by_epoch, workers=workers, val=in_val)
        words = (case, whole_of['short', by_epoch, 1], int(signum), group, in_val, args.seed + number)
        yield Job('signals', number, signals.one_signal, words)
    for signum, workers, gap in itertools.product((SIGTERM, SIGINT), (0, 2), (0.02, 0.1, 0.3)):
        if not args.small or (workers and gap == 0.02):
            case = Case(workers=workers)
            yield Job('signals', gap, signals.two_signals, (case, whole_of['short', True, 1], int(signum), gap))
    for delay in (0.0, 0.05, 0.1, 0.2, 0.4) if not args.small else (0.1,):
        yield Job('signals', delay, signals.parent_killed, (Case(workers=2), delay))


def plan_torchrun(args: argparse.Namespace, whole_of: dict[Any, Any]) -> Iterator[Job]:
    """Signals to two processes of torchrun."""
    kinds = [(SIGTERM, False, True), (SIGINT, True, True), (SIGTERM, True, False), (SIGINT, False, False)]
    for signum, group, by_epoch in kinds[: 1 if args.small else None]:
        case = Case(by_epoch=by_epoch, ranks=2, workers=0 if group else 2)
        words = (case, whole_of['short', by_epoch, 2], int(signum), group)
        yield Job('torchrun', (signum, group), signals.by_torchrun, words)
