"""Does a crash lose anything? Runs of the demo in small that are killed, stopped, damaged and resumed.

Hundreds of processes run tools/train.py, forked from one that has imported everything. After each crash the run is
resumed, and its losses, weights and optimizer are compared with those of a run that nothing has stopped, to the bit.

Ctrl-C ends the trials and records those that are done.

Example:
    python benchmarks/crash_trials.py --kills 100 --jobs 2
    python benchmarks/crash_trials.py --only signals --small
"""

import argparse
import itertools
import logging
import multiprocessing
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from crash_steps import kills, plan
from crash_steps.plan import SECTIONS, Job, attempt
from crash_steps.processes import begin_lane, import_everything
from crash_steps.runs import prepare
from gpu_steps import kept
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from speed_bench import record

OUT = Path(__file__).parent / 'results' / 'crash_trials.json'


def main() -> None:
    """Run the trials, print a table and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=100, help='for each setting (default: 100)')
    parser.add_argument('--jobs', type=int, default=2, help='trials at a time (default: 2)')
    parser.add_argument('--only', nargs='+', choices=SECTIONS, default=SECTIONS, metavar='NAME', help=str(SECTIONS))
    parser.add_argument('--small', action='store_true', help='a rehearsal: one trial of each kind')
    parser.add_argument('--seed', type=int, default=0, help='of the moments (default: 0)')
    parser.add_argument('--out', type=Path, help=f'record to write (default: {kept.shown(OUT)}, none with --small)')
    args = parser.parse_args()
    begun = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix='crash_trials_'))
    warnings.simplefilter('ignore')
    logging.disable(logging.INFO)
    import_everything()
    logging.disable(logging.NOTSET)
    shared = place / 'shared'
    shared.mkdir()
    prepare(shared)
    outcomes = run_all(args, place, shared)
    sections = {name: rows for name in SECTIONS if (rows := rows_of(name, outcomes, args))}
    show(sections)
    print(f'{time.monotonic() - begun:.0f} s')
    if out := args.out or (None if args.small else OUT):
        write(out, sections, round(time.monotonic() - begun))
    if any(row['faults'] for rows in sections.values() for row in rows):
        sys.exit(f'Faults; what these trials left is in {place}')
    shutil.rmtree(place)


def run_all(args: argparse.Namespace, place: Path, shared: Path) -> list[tuple[Job, Any]]:
    """All jobs and their outcomes."""
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    fork = multiprocessing.get_context('fork')
    with ProcessPoolExecutor(args.jobs, mp_context=fork, initializer=begin_lane) as pool:
        pool.submit(os.getpid).result()  # forks the processes, before the display starts a thread
        with Progress(*columns, console=Console(stderr=True)) as progress:
            collect = Collector(pool, progress, place, shared)
            whole_of = {job.key: made for job, made in collect(plan.unbroken(args), 'unbroken runs')}
            if broken := [made['faults'] for made in whole_of.values() if 'losses' not in made]:
                sys.exit(f'An unbroken run failed: {broken}')
            source = None
            if {'files', 'disk'} & set(args.only):
                source = collect([Job('whole', 'source', plan.three)], 'a run with checkpoints')[0][1]['source']
            return collect(list(plan.trials(args, whole_of, source)), 'trials')


class Collector:
    """Has trials made, and shows how far that is."""

    def __init__(self, pool: ProcessPoolExecutor, progress: Progress, place: Path, shared: Path):
        self._pool, self._progress, self._place, self._shared = pool, progress, place, shared
        self._numbers = itertools.count()

    def __call__(self, jobs: Sequence[Job], title: str) -> list[tuple[Job, Any]]:
        """All jobs with their outcomes, in the order in which they ended."""
        task = self._progress.add_task(title, total=len(jobs))
        futures = {self._pool.submit(attempt, job, self._folder(), self._shared): job for job in jobs}
        done = []
        try:
            for future in as_completed(futures):
                job, outcome = futures[future], future.result()
                done.append((job, outcome))
                self._progress.advance(task)
                for fault in outcome.get('faults', []):
                    self._progress.console.print(f'{job.section}, {job.key}: {fault}', markup=False)
        except KeyboardInterrupt:
            self._progress.console.print('Stopped: what is done is recorded.')
            self._pool.shutdown(cancel_futures=True)
        return done

    def _folder(self) -> Path:
        return self._place / f'{next(self._numbers):04d}'


def rows_of(section: str, outcomes: Sequence[tuple[Job, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """A section's rows."""
    mine = [(job, outcome) for job, outcome in outcomes if job.section == section]
    if section in ('kills', 'processes'):
        keys = sorted({job.key for job, _ in mine})
        groups = [[(job, outcome) for job, outcome in mine if job.key == key] for key in keys]
        return [kills.summary(group[0][0].options['case'], [outcome for _, outcome in group]) for group in groups]
    if section == 'control' and mine:
        rows = [outcome for _, outcome in mine if 'intact' in outcome]
        lost = sum(not row['intact'] for row in rows)
        row = {'hook': "MMEngine's CheckpointHook", 'keep': 1, 'kills': len(rows), 'nothing_left': lost}
        return [row | {'faults': [] if len(rows) == len(mine) else ['failed']}]
    return [outcome for _, outcome in sorted(mine, key=lambda one: str(one[1]['trial']))]


def show(sections: dict[str, list[dict[str, Any]]]) -> None:
    """Print a table of all sections."""
    table = Table('trials', 'number', 'without fault', 'notes')
    for name, rows in sections.items():
        if name in ('kills', 'processes'):
            for row in rows:
                notes = f'{row["resumed"]} resumed; iterations run again: {row["iterations_again"]}'
                title = f'{name}: keep {row["keep"]}, {row["workers"]} workers'
                table.add_row(title, str(row['kills']), str(not row['faults']), notes)
        elif name == 'control':
            table.add_row(rows[0]['hook'], str(rows[0]['kills']), '', f'nothing left {rows[0]["nothing_left"]} times')
        else:
            slow = max((row['seconds'] or 0 for row in rows if 'seconds' in row), default=None)
            notes = '' if slow is None else f'{slow:.2f} s at most'
            table.add_row(name, str(len(rows)), str(sum(not row['faults'] for row in rows)), notes)
    console = Console()
    console.print(table)
    for name, rows in sections.items():
        for row in rows:
            for fault in row['faults']:
                console.print(f'{name}: {row.get("trial", "")}: {fault}', markup=False)


def write(path: Path, sections: dict[str, Any], seconds: int) -> None:
    """Write the record; sections that were not run stay as they were."""
    before = (kept.read_json(path) or {}).get('sections', {})
    this = {
        'command': f'python benchmarks/crash_trials.py {shlex.join(sys.argv[1:])}'.strip(),
        'date': datetime.now(timezone.utc).date().isoformat(),
        'hardware': record.hardware(record.torch.device('cpu')),
        'versions': {'python': platform.python_version()} | {name: record.version_of(name) for name in record.PACKAGES},
        'seconds': seconds,
    }
    made = {name: {**this, 'rows': [told(row) for row in rows]} for name, rows in sections.items()}
    document = {'sections': {name: (before | made)[name] for name in SECTIONS if name in before | made}}
    kept.write_json(path, document)


def told(row: dict[str, Any]) -> dict[str, Any]:
    """A row without the paths of this machine."""
    return row | {'faults': [kept.without_paths(fault) for fault in row['faults']]}


if __name__ == '__main__':
    main()
