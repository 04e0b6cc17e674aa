"""Does it help to pre-train the demo's backbone, and on what? Pre-train, train, compare.

    python benchmarks/pretraining.py run --cifar10 data/cifar10 --jobs 2
    python benchmarks/pretraining.py left
    python benchmarks/pretraining.py analyse
    python benchmarks/pretraining.py trials --cifar10 data/cifar10

`run` pre-trains the backbone on CIFAR-10 and on crops of the detector's own training images, the same number of steps,
and trains the detector from each and from random values, with the same iterations and seeds; it can be stopped at any
time and goes on where it was. `left` prints which runs are done. `analyse` evaluates the finished ones by occlusion and
writes benchmarks/results/pretraining/SIZE.json and the end of docs/weights.md. `trials` pre-trains three backbones on
CIFAR-10 for a few epochs, keeps their curves and writes the end of the page, too.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from occlusion_study import table, write_json
from pretraining_steps import arms, page, trials
from study import analysis, plan, runs

from mmhybrid import _stack
from mmhybrid.errors import InputError

KEPT = plan.REPO / 'benchmarks' / 'results' / 'pretraining'
PAGE = plan.REPO / 'docs' / 'weights.md'
SIZES = tuple(arms.PRETRAININGS)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--size', choices=SIZES, default='cpu', help='how large the runs are (cpu)')
    common.add_argument('--kept', type=Path, default=KEPT, help='where finished runs are kept')
    common.add_argument('--work-dir', type=Path, default=Path('work_dirs/pretraining'), help='data, logs and weights')
    some = argparse.ArgumentParser(add_help=False)
    some.add_argument('--arms', nargs='+', choices=arms.ARMS, default=list(arms.ARMS), metavar='NAME')
    some.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2], metavar='N')
    commands.add_parser('left', parents=[common, some], help='which runs are done')
    run = commands.add_parser('run', parents=[common, some], help='do the runs that are left')
    run.add_argument('--cifar10', type=Path, metavar='DIR', help='CIFAR-10 as pictures: train/CLASS/*.jpg, test/')
    run.add_argument('--jobs', type=int, default=1, help='runs at the same time (1)')
    run.add_argument('--threads', type=int, default=1, help='threads of each (1)')
    run.add_argument('--minutes', type=float, help='begin no run after so many minutes')
    some_trials = commands.add_parser('trials', parents=[common], help='pre-train three backbones for a few epochs')
    some_trials.add_argument('--cifar10', type=Path, metavar='DIR', required=True, help='as of run')
    some_trials.add_argument('--names', nargs='+', choices=trials.TRIALS, default=list(trials.TRIALS), metavar='NAME')
    analyse = commands.add_parser('analyse', parents=[common], help='what follows from the finished runs')
    for command in (analyse, some_trials):
        command.add_argument('--page', type=Path, default=PAGE, help='whose end is written')
    return parser


def do_runs(args: argparse.Namespace) -> int:
    """Pre-train, then train; returns the exit status."""
    _stack.require_or_exit()
    start = time.monotonic()
    runs.validation(args.work_dir, args.size)

    def pretrained(arm: str) -> Path | None:
        if args.minutes is not None and time.monotonic() - start > 60 * args.minutes:
            return None
        try:
            return arms.pretrain(args.kept, args.work_dir, args.size, arm, args.cifar10, args.threads, say)
        except subprocess.CalledProcessError as error:
            say(f'{args.size} {arm}: pre-training failed; see {error.output}')
            return None

    todo = [arm for arm in args.arms if arm != arms.NOTHING]
    with ThreadPoolExecutor(args.jobs) as pool:
        weights = {arm: file for arm, file in zip(todo, pool.map(pretrained, todo), strict=True) if file}
    begun = [arm for arm in args.arms if arm == arms.NOTHING or arm in weights]
    planned = runs.planned(args.size, begun, args.seeds, arms.compared(weights))
    minutes = None if args.minutes is None else args.minutes - (time.monotonic() - start) / 60
    failed = runs.do(args.kept, args.work_dir, planned, args.jobs, args.threads, minutes, say)
    print(table(args.kept, args.size, args.arms, args.seeds))
    return 1 if failed or (args.minutes is None and len(weights) < len(todo)) else 0


def analyse(args: argparse.Namespace) -> None:
    """Evaluate the finished runs, and write what follows."""
    content = json.loads(runs.validation(args.work_dir, args.size).read_text())
    found = analysis.analyse(args.kept, args.size, content, say, arms.compared())
    command = shlex.join(['python', 'benchmarks/pretraining.py', 'analyse', '--size', args.size])
    pretrained = {arm: made for arm in arms.PRETRAINED if (made := arms.record(args.kept, args.size, arm))}
    document = dict(command=command, pretraining=pretrained, **found)
    write_json(args.kept / f'{args.size}.json', document)
    page.write(document, trials.recorded(args.kept), args.page)
    say(f'wrote {args.kept / args.size}.json and the end of {args.page}')


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    args = make_parser().parse_args()
    if args.command == 'left':
        say(table(args.kept, args.size, args.arms, args.seeds))
    elif args.command == 'analyse':
        analyse(args)
    elif args.command == 'trials':
        _stack.require_or_exit()
        for name in args.names:
            trials.do(name, args.kept, args.work_dir, args.cifar10, say=say)
        recorded = args.kept / f'{args.size}.json'
        document = json.loads(recorded.read_text()) if recorded.exists() else None
        page.write(document, trials.recorded(args.kept), args.page)
    else:
        return do_runs(args)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f'error: {error}')
