"""SIGTERM and Ctrl-C, to a process and to all of its group, in training and in validation, once and twice."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from .kills import last_line
from .processes import REPO, WAIT, descendants, is_alive, members, read_lines
from .runs import Case, Trial, discard
from .watching import LOG

SENTENCE = 'and --resume goes on there.'


def one_signal(
    folder: Path, shared: Path, case: Case, whole: Any, signum: int, group: bool, in_val: bool, seed: int
) -> dict[str, Any]:
    """Stop a run by a signal at a random moment of an iteration, or within a validation, and resume it."""
    signum = signal.Signals(signum)
    trial = Trial(folder, case, shared)
    run = trial.start()
    # In epochs, within the second one.
    target = case.interval + 1
    line = run.until(lambda one: one.get('val') == 2 if in_val else one.get('iter') == target)
    time.sleep(random.Random(seed).random() * (0.05 if in_val else 0.3))
    sent = time.monotonic()
    run.kill(signum, group)
    status = run.wait()
    took = time.monotonic() - sent
    faults = ended(run.output(), status, signum)
    if run.alone_after(1.0) is None:
        faults.append('worker processes stayed')
        run.end()
    kept = stopped_at(trial)
    where = f'the {"group" if group else "process"}, in {"validation" if in_val else "training"}'
    row = {'trial': f'{signum.name} to {where}', **case.words(), 'status': status, 'seconds': round(took, 3), **kept}
    if in_val and not kept.get('val_is_due') and line is not None:
        row['trial'] += ' (which ended before)'
    row['faults'] = faults + resumed(trial, whole)
    if not row['faults']:
        discard(folder)
    return row


def ended(output: str, status: int | None, signum: int) -> list[str]:
    """Faults of a stopped run's last words and exit status."""
    faults = [] if status == 128 + signum else [f'exit {status}: {last_line(output)}']
    if output.count(SENTENCE) != 1:
        faults.append(f'said {output.count(SENTENCE)} times that it stopped')
    if 'Traceback' in output:
        faults.append('a traceback')
    return faults


def stopped_at(trial: Trial) -> dict[str, Any]:
    """What ``last_checkpoint`` names, and how far that is."""
    name = trial.pointer()
    if not name or not (trial.work_dir / name).exists():
        return {'checkpoint': None}
    checkpoint = torch.load(trial.work_dir / name, map_location='cpu', weights_only=True)
    due = checkpoint.get('resume', {}).get('val_is_due')
    return {'checkpoint': Path(name).name, 'iteration': checkpoint['meta']['iter'], 'val_is_due': due}


def resumed(trial: Trial, whole: Any, twice: bool = False) -> list[str]:
    """Faults of the run that goes on; no iteration may be run twice, unless it was ended at once."""
    run = trial.start(resume=True)
    status = run.wait()
    faults = [] if status == 0 else [f'resumed, exit {status}: {last_line(run.output())}']
    faults += trial.differences(whole)
    losses = trial.losses()
    again = sorted(iteration for iteration, each in losses.items() if len(each) > 1)
    if again and not twice:
        faults.append(f'iterations {again} again')
    if sorted(losses) != list(range(1, trial.case.iterations + 1)):
        faults.append(f'iterations {sorted(losses)}')
    if trial.case.val:
        measured = {
            line['measured']: line['metrics'] for one in trial.runs for line in one.lines() if 'measured' in line
        }
        expected = {line['measured']: line['metrics'] for line in whole['metrics']}
        faults += [f'metrics of iteration {i}' for i in expected if measured.get(i) != expected[i]]
    if 'interrupted.pth' in trial.names():
        faults.append('interrupted.pth stayed')
    return faults


def two_signals(folder: Path, shared: Path, case: Case, whole: Any, signum: int, gap: float) -> dict[str, Any]:
    """A second signal after ``gap`` seconds ends the run at once."""
    signum = signal.Signals(signum)
    trial = Trial(folder, case, shared)
    run = trial.start()
    run.until(lambda one: one.get('iter') == case.interval + 1)
    run.kill(signum)
    time.sleep(gap)
    sent = time.monotonic()
    alive = run.poll() is None
    if alive:
        run.kill(signum)
    status = run.wait()
    took = time.monotonic() - sent
    alone = run.alone_after()
    run.end()
    faults = [] if status == 128 + signum else [f'exit {status}']
    if alone is None:
        faults.append('worker processes stayed')
    faults += resumed(trial, whole, twice=True)
    if not faults:
        discard(folder)
    name = f'{signum.name} twice, {gap:g} s apart' + ('' if alive else ' (it had stopped)')
    return {'trial': name, **case.words(), 'status': status, 'seconds': round(took, 3), 'faults': faults}


def parent_killed(folder: Path, shared: Path, case: Case, delay: float) -> dict[str, Any]:
    """SIGKILL to the parent, at any moment of an iteration: how long its workers live."""
    trial = Trial(folder, case, shared)
    run = trial.start()
    run.until(lambda one: one.get('iter') == 1)
    time.sleep(delay)
    workers = len(members(run.pid)) - 1
    run.kill(signal.SIGKILL)
    alone = run.alone_after()
    run.end()
    faults = [] if alone is not None and alone < 1 else [f'workers lived for {alone or "more than 6"} s']
    discard(folder)
    return {
        'trial': 'SIGKILL to the parent',
        **case.words(),
        'live_workers': workers,
        'seconds': alone,
        'faults': faults,
    }


def by_torchrun(folder: Path, shared: Path, case: Case, whole: Any, signum: int, group: bool) -> dict[str, Any]:
    """Two processes by torchrun, stopped by a signal to torchrun alone or to all, and resumed."""
    signum = signal.Signals(signum)
    trial = Trial(folder, case, shared)
    first = Launched(trial, 0)
    target = case.interval + 1
    status, seconds = first.stop(target, signum, group)
    output = first.output()
    faults = []
    if output.count(SENTENCE) != 1:
        faults.append(f'said {output.count(SENTENCE)} times that it stopped: {output[-600:]}')
    kept = stopped_at(trial)
    second = Launched(trial, 1)
    again = second.process.wait(WAIT)
    if again != 0:
        faults.append(f'resumed, exit {again}: {last_line(second.output())}')
    for rank, expected in enumerate(whole['losses']):
        lines = [line for one in (first, second) for line in one.lines(rank) if 'losses' in line]
        if sorted(line['iter'] for line in lines) != list(range(1, case.iterations + 1)):
            faults.append(f'iterations {[line["iter"] for line in lines]} in process {rank}')
        faults += [f'losses of iteration {one["iter"]}' for one in lines if one['losses'] != expected[one['iter']]]
    faults += trial.differences(whole)
    if not faults:
        discard(folder)
    name = f'torchrun: {signum.name} to {"the group" if group else "torchrun alone"}'
    return {'trial': name, **case.words(), 'status': status, 'seconds': round(seconds, 3), **kept, 'faults': faults}


class Launched:
    """Two training processes of torchrun."""

    def __init__(self, trial: Trial, number: int):
        trial.folder.mkdir(parents=True, exist_ok=True)
        self._log, self._output = trial.folder / f'torchrun{number}', trial.folder / f'torchrun{number}.output'
        launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
        options = ['--launcher', 'pytorch', *(['--resume'] if number else [])]
        words = [sys.executable, *launcher, REPO / 'tools' / 'train.py', *trial.argv(*options)]
        env = os.environ | {LOG: str(self._log), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(REPO / 'benchmarks')}
        with self._output.open('wb') as file:
            self.process = subprocess.Popen(
                [str(word) for word in words], env=env, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def lines(self, rank: int) -> list[dict[str, Any]]:
        """What a process told."""
        return read_lines(Path(f'{self._log}.{rank}'))

    def output(self) -> str:
        """What all of them printed."""
        return self._output.read_text(errors='replace')

    def stop(self, target: int, signum: int, group: bool) -> tuple[int, float]:
        """Send a signal after an iteration; the exit status and how long it took until none was alive."""
        while not any(line.get('iter') == target for line in self.lines(0)):
            if self.process.poll() is not None:
                raise RuntimeError(self.output()[-3000:])
            time.sleep(0.005)
        all_of_them = descendants(self.process.pid)
        sent = time.monotonic()
        (os.killpg if group else os.kill)(self.process.pid, signum)
        status = self.process.wait(WAIT)
        while any(is_alive(pid) for pid in all_of_them) and time.monotonic() < sent + WAIT:
            time.sleep(0.01)
        return status, time.monotonic() - sent
