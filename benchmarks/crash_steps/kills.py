"""SIGKILL at random moments around a save, in chains: each process resumes where the one before was killed."""

import random
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmhybrid.engine import resuming

from .runs import Case, Trial, checkpoints, discard, temporary

CHAIN = 10
# Of the time from before a save to after it, so that some moments are after it.
WINDOW = 1.25
# Every fourth kill falls into the short time after the new file has its name: pointers and removals.
AIMED, AIMED_SECONDS = 4, 0.03


def chain_case(keep: int, workers: int, by_epoch: bool, kills: int, ranks: int = 1) -> Case:
    """A run that is long enough for a chain."""
    return Case(keep, workers, by_epoch, saves=keep + kills + 3, ranks=ranks)


def longest(keeps: Sequence[int], by_epoch: bool, kills: int = CHAIN, ranks: int = 1) -> Case:
    """The run with which chains are compared; a run's length is part of its schedules."""
    return chain_case(max(keeps), 0, by_epoch, kills, ranks)


def chain(folder: Path, shared: Path, case: Case, kills: int, whole: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Kill a run ``kills`` times around a save, resume it each time, and let it come to its end."""
    draws = random.Random(seed)
    trial = Trial(folder, case, shared)
    rows, faults = [], []
    reached = 0
    for number in range(kills + 1):
        run = trial.start(resume=number > 0)
        if number == kills:
            status = run.wait()
            found = [] if status == 0 else [f'exit {status}: {last_line(run.output())}']
        else:
            # The first one comes to where a save removes a checkpoint.
            target = (reached // case.interval + 1 if number else case.keep + 1) * case.interval
            aimed, share = number % AIMED == AIMED - 1, draws.random()
            delay = share * (AIMED_SECONDS if aimed else WINDOW * whole['save_seconds'])
            row, found = kill_once(trial, run, target, delay, aimed)
            rows.append(row)
        if number:
            found += look_back(trial, run, reached, rows[number - 1])
        faults += [f'kill {number + (number < kills)}: {one}' for one in found]
        saved = resuming.find([trial.work_dir])
        if saved.path is None:
            faults.append(f'kill {number + 1}: nothing to resume from')
            break
        reached = newest_step(trial)
    faults += trial.differences(whole)
    last = checkpoints(trial.names())
    if len(last) != min(case.keep, case.saves) or temporary(trial.names()):
        faults.append(f'left at the end: {trial.names()}')
    if not faults:
        discard(folder)
    return {'rows': rows, 'faults': faults}


def newest_step(trial: Trial) -> int:
    """The iteration from which the next process has to go on: that of the newest checkpoint with its final name."""
    return int(checkpoints(trial.names())[-1].split('_')[1].removesuffix('.pth')) * trial.case.interval


def kill_once(
    trial: Trial, run: Any, target: int, delay: float, aimed: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Kill a process after it has computed iteration ``target``, and say in which phase of the save that was.

    Args:
        trial: Its work dir.
        run: The process.
        target: An iteration after which it saves.
        delay: Seconds from there to the kill.
        aimed: Whether the delay begins when the new checkpoint has its name.
    """
    case, faults = trial.case, []
    line = run.until(lambda one: one.get('iter') == target)
    if line is None:
        status = run.wait()
        return {'phase': 'none'}, [f'exit {status} before iteration {target}: {last_line(run.output())}']
    begin, new = line['time'], trial.work_dir / case.name(target // case.interval)
    while aimed and not new.exists() and run.poll() is None:
        time.sleep(0.0005)
        begin = time.monotonic()
    time.sleep(max(begin + delay - time.monotonic(), 0))
    run.kill(signal.SIGKILL, group=case.ranks > 1)
    alone = run.alone_after()
    if alone is None:
        faults.append('worker processes stayed')
    run.end()
    phase = phase_of(case, new.name, trial.names(), trial.pointer())
    return {'phase': phase, 'delay': round(delay, 4), 'alone_after': alone, 'target': target}, faults


def phase_of(case: Case, new: str, names: Sequence[str], pointer: str | None) -> str:
    """How far a save had come, by the files that it left."""
    if new not in names:
        return 'the new one partly in a temporary file' if temporary(names) else 'no new file yet'
    if pointer is None or Path(pointer).name != new:
        return 'the new one there, the pointer still on the old one'
    if Path(pointer).is_absolute():
        return "the new one there, MMEngine's pointer"
    if len(checkpoints(names)) > case.keep or temporary(names):
        return 'the new one and the pointer there, the old one not yet removed'
    return 'all done'


def look_back(trial: Trial, run: Any, reached: int, row: dict[str, Any]) -> list[str]:
    """What a process that resumed made of what it found."""
    faults = []
    line = next((one for one in run.lines() if 'iter' in one), None)
    if line is None:
        return ['did not go on: ' + last_line(run.output())]
    row['iterations_again'] = again = max(row.get('target', 0) - line['iter'] + 1, 0)
    if line['iter'] != reached + 1:
        faults.append(f'went on with iteration {line["iter"]}, and the newest checkpoint is of {reached}')
    if again > trial.case.interval:
        faults.append(f'lost {again} iterations')
    if temporary(line['files']):
        faults.append(f'temporary files stayed: {temporary(line["files"])}')
    if len(checkpoints(line['files'])) > trial.case.keep:
        faults.append(f'too many checkpoints: {checkpoints(line["files"])}')
    if 'Traceback' in run.output():
        faults.append('a traceback')
    return faults


def last_line(text: str) -> str:
    """The last line that was printed."""
    return (text.strip().splitlines() or [''])[-1]


def control(folder: Path, shared: Path, seed: int) -> dict[str, Any]:
    """The same kill with MMEngine's own hook, which keeps 1: is there anything to resume from?"""
    case = Case(keep=1, saves=4, hook='CheckpointHook')
    trial = Trial(folder, case, shared)
    run = trial.start()
    target = 2 * case.interval
    line = run.until(lambda one: one.get('iter') == target)
    at = {(key, one[key]): one['time'] for one in run.lines() for key in ('iter', 'saved') if key in one}
    seconds = at['saved', case.interval] - at['iter', case.interval]  # of its first save
    delay = random.Random(seed).random() * WINDOW * seconds
    time.sleep(max(line['time'] + delay - time.monotonic(), 0))
    run.kill()
    alone = run.alone_after()
    run.end()
    intact = [path for path in trial.work_dir.glob('*.pth') if loads(path)]
    row = {'intact': bool(intact), 'pointed': (trial.pointer() or '') in map(str, intact), 'alone_after': alone}
    discard(folder)
    return row


def loads(path: Path) -> bool:
    """Whether torch can read a file."""
    import torch

    try:
        torch.load(path, map_location='cpu', weights_only=False)
    except Exception:
        return False
    return True


def summary(case: Case, chains: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row of the record for all chains of one setting."""
    rows = [row for one in chains for row in one['rows']]
    ends = [row['alone_after'] for row in rows if row.get('alone_after') is not None]
    words = case.words()
    words.pop('loop')
    return {
        **words,
        'kills': len(rows),
        'resumed': sum('iterations_again' in row for row in rows),
        'iterations_again': dict(sorted(Counter(str(row.get('iterations_again')) for row in rows).items())),
        'phases': dict(Counter(row['phase'] for row in rows).most_common()),
        'processes_gone_after_s': round(max(ends, default=0), 3),
        'faults': sorted({fault for one in chains for fault in one['faults']}),
    }
