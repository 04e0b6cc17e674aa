"""Does any road to a checkpoint run what the file brings? Each attack on each road, in many fresh processes.

Which of two allowed globals of one name PyTorch takes is decided by the order in a set, that is, by the process; hence
many of them, each with its own hash seed. In each, the same attacks are made on MMEngine's own readers first.

Example:
    python benchmarks/attacks_checkpoints.py --processes 20 --out benchmarks/results/attacks_checkpoints.json
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import logging
import os
import platform
import re
import runpy
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from occlusion import _num_cpus, _processor

REPO = Path(__file__).resolve().parents[1]
PACKAGES = ('torch', 'numpy', 'onedl-mmengine', 'onedl-mmdetection', 'mmengine', 'mmdet', 'mmhybrid')


class ToolError(Exception):
    """With the last line that a tool printed."""


def main() -> None:
    """Start the processes, count, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--processes', type=int, default=20, help='fresh ones (default: 20)')
    parser.add_argument('--out', type=Path, help='JSON to write')
    parser.add_argument('--child', type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        args.child.write_text(json.dumps(attack_everything()))
        return
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [in_a_fresh_process(seed, Path(folder, f'{seed}.json')) for seed in range(args.processes)]
    rows = summary(outcomes)
    for row in rows:
        print(f'{row["reader"]}: {row["road"]}, {row["attack"]}: ran in {row["ran_code"]} of {row["processes"]}')
    if args.out:
        document = {
            'command': f'python benchmarks/attacks_checkpoints.py {shlex.join(sys.argv[1:])}',
            'hardware': f'{_processor()}, {_num_cpus()} CPUs',
            'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            'versions': {'python': platform.python_version()} | dict(installed()),
            'processes': args.processes,
            'rows': rows,
        }
        args.out.write_text(json.dumps(document, indent=1) + '\n')
    if any(row['ran_code'] for row in rows if row['reader'] == 'mmhybrid'):
        sys.exit('a file ran code')


def installed():
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            yield name, version(name)


def in_a_fresh_process(seed: int, out: Path) -> list[dict]:
    env = os.environ | {'PYTHONHASHSEED': str(seed + 1), 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(REPO)}
    subprocess.run([sys.executable, __file__, '--child', str(out)], check=True, env=env, stdout=subprocess.DEVNULL)
    print(f'process {seed + 1} is done', file=sys.stderr, flush=True)
    return json.loads(out.read_text())


def summary(outcomes: list[list[dict]]) -> list[dict]:
    """One row for each reader, road and attack."""
    rows = []
    for trials in zip(*outcomes, strict=True):
        first = {key: trials[0][key] for key in ('reader', 'road', 'attack')}
        said = Counter(trial['outcome'] for trial in trials)
        rows.append(
            first
            | {'processes': len(trials), 'ran_code': sum(trial['ran'] for trial in trials), 'outcomes': sorted(said)}
        )
    return rows


def attack_everything() -> list[dict]:
    """In this process, which is fresh: MMEngine's own readers, then this package's, then its tools."""
    warnings.simplefilter('ignore')
    logging.disable(logging.CRITICAL)
    from mmengine.runner import CheckpointLoader

    theirs = dict(CheckpointLoader._schemes)
    import mmhybrid.registry  # noqa: F401
    from mmhybrid.datasets.occluded_shapes import generate
    from tests.checkpoints.attacks import PICKLES, TEXTS
    from tests.checkpoints.loading import ROADS
    from tests.tools.conftest import DEMO, small

    ours = dict(CheckpointLoader._schemes)
    trials = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        generate(folder / 'data', {'train': 2, 'val': 2}, size=96, progress=False)

        def through(name, *words):
            def road(path, work):
                argv = [path if word is None else word for word in words]
                # One work dir: in one process, MMEngine keeps the first one's log.
                options = ['--work-dir', folder / 'work', *small(folder / 'data', train_cfg__max_epochs=1)]
                run_tool(name, [DEMO, *argv, *options])

            road.__name__ = ' '.join([f'tools/{name}', *filter(None, words)])
            return road

        tools = (through('test.py', None), through('train.py', '--resume', None))
        for reader, table, roads in (('MMEngine', theirs, ROADS), ('mmhybrid', ours, (*ROADS, *tools))):
            CheckpointLoader._schemes = table
            for road in roads:
                for attack in (*PICKLES, *TEXTS):
                    trials.append({'reader': reader, **trial(road, attack, folder)})
    return trials


def run_tool(name: str, words: list) -> None:
    argv, sys.argv = sys.argv, [name, *map(str, words)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            runpy.run_path(str(REPO / 'tools' / name), run_name='__main__')
    except SystemExit as stopped:
        if stopped.code:
            raise ToolError(said.getvalue().strip().splitlines()[-1]) from None
    finally:
        sys.argv = argv


def trial(road, attack: str, folder: Path) -> dict:
    """Make one attack, and say what came of it."""
    from tests.checkpoints.attacks import write
    from tests.checkpoints.loading import state_dict

    with tempfile.TemporaryDirectory(dir=folder) as work:
        work = Path(work)
        path = write(attack, work / 'checkpoint.pth', work / 'marker', state_dict())
        try:
            road(path, work)
            outcome = 'done'
        except Exception as error:
            outcome = f'{type(error).__name__}: {error}'.partition('\n')[0]
        outcome = re.sub(r'http://127\.0\.0\.1:\d+', 'http://127.0.0.1', outcome.replace(str(work), ''))
        return {'road': road.__name__, 'attack': attack, 'ran': (work / 'marker').exists(), 'outcome': outcome}


if __name__ == '__main__':
    main()
