"""Does tying filters help under occlusion, and more the more there is? Train, keep, compare.

    python benchmarks/occlusion_study.py left
    python benchmarks/occlusion_study.py run --jobs 2
    python benchmarks/occlusion_study.py run --size gpu --minutes 8
    python benchmarks/occlusion_study.py analyse
    python benchmarks/occlusion_study.py coverage

`left` prints which runs are done. `run` does the others, each in two commands of this project (tools/train.py,
tools/test.py); it can be stopped at any time and goes on where it was. `analyse` evaluates the finished runs of a size
and writes benchmarks/results/study/SIZE.json, docs/study.md and its figure. `coverage` measures by simulation how often
its intervals hold the truth.
"""

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

from study import analysis, coverage, pages, plan, runs

from mmhybrid import _stack
from mmhybrid.errors import InputError

KEPT = plan.REPO / 'benchmarks' / 'results' / 'study'
DOCS = plan.REPO / 'docs'
COVERAGE = 'coverage.json'


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument('--size', choices=plan.SIZES, default='cpu', help='how large the runs are (cpu)')
    common.add_argument('--models', nargs='+', choices=plan.MODELS, default=list(plan.MODELS), metavar='NAME')
    common.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2, 3], metavar='N')
    common.add_argument('--kept', type=Path, default=KEPT, help='where finished runs are kept')
    commands.add_parser('left', parents=[common], help='which runs are done')
    run = commands.add_parser('run', parents=[common], help='do the runs that are left')
    run.add_argument('--jobs', type=int, default=1, help='runs at the same time (1)')
    run.add_argument('--threads', type=int, default=1, help='threads of each (1)')
    run.add_argument('--minutes', type=float, help='begin no run after so many minutes')
    work_dir = dict(type=Path, default=Path('work_dirs/study'), help='data sets, logs and checkpoints')
    run.add_argument('--work-dir', **work_dir)
    run.add_argument('--keep-checkpoints', action='store_true', help='leave the last one of each run in the work dir')
    analyse = commands.add_parser('analyse', help='what follows from the finished runs of a size')
    analyse.add_argument('--size', choices=plan.SIZES, default='cpu', help='(cpu)')
    analyse.add_argument('--kept', type=Path, default=KEPT, help='where finished runs and SIZE.json are kept')
    analyse.add_argument('--docs', type=Path, default=DOCS, help='where study.md and images/ are written')
    analyse.add_argument('--work-dir', **work_dir)
    simulate = commands.add_parser('coverage', help='how often the intervals hold the truth, by simulation')
    simulate.add_argument('--seeds', nargs='+', type=int, default=[4], metavar='N', help='seeds a model (4)')
    simulate.add_argument('--trials', type=int, default=300, help='of made-up detectors, seconds each (300)')
    simulate.add_argument('--out', type=Path, default=KEPT / COVERAGE, metavar='FILE')
    return parser


def table(root: Path, size: str, models: list[str], seeds: list[int]) -> str:
    """AP of each run that is done, a dot for each that is left."""
    width = max(map(len, models))
    lines = [' ' * width + ''.join(f'{f"seed {seed}":>9}' for seed in seeds)]
    todo = 0
    for model in models:
        cells = []
        for seed in seeds:
            made = runs.record(root, runs.Run(size, model, seed))
            todo += made is None
            cells.append('.' if made is None else f'{100 * made["overall"]["coco/bbox_mAP"]:.1f}')
        lines.append(f'{model:<{width}}' + ''.join(f'{cell:>9}' for cell in cells))
    return '\n'.join([*lines, f'{todo} of {len(models) * len(seeds)} runs are left (box AP in %, . = left)'])


def do_runs(args: argparse.Namespace) -> int:
    _stack.require_or_exit()
    planned = runs.planned(args.size, args.models, args.seeds)
    limits = args.jobs, args.threads, args.minutes
    failed = runs.do(args.kept, args.work_dir, planned, *limits, say, args.keep_checkpoints)
    print(table(args.kept, args.size, args.models, args.seeds))
    return 1 if failed else 0


def analyse(args: argparse.Namespace) -> None:
    content = json.loads(runs.validation(args.work_dir, args.size).read_text())
    found = analysis.analyse(args.kept, args.size, content, say)
    command = shlex.join(['python', 'benchmarks/occlusion_study.py', 'analyse', '--size', args.size])
    write_json(args.kept / f'{args.size}.json', dict(command=command, **found))
    pages.write(args.kept, args.docs)
    say(f'wrote {args.kept / args.size}.json and {args.docs / pages.PAGE}')


def simulate(args: argparse.Namespace) -> None:
    start = time.monotonic()
    found = coverage.measure(args.seeds, args.trials, say)
    command = shlex.join(['python', 'benchmarks/occlusion_study.py', *sys.argv[1:]])
    write_json(args.out, dict(command=command, seconds=round(time.monotonic() - start), **found))
    say(f'wrote {args.out}')


def write_json(path: Path, document: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + '\n')


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    args = make_parser().parse_args()
    if args.command == 'left':
        say(table(args.kept, args.size, args.models, args.seeds))
    elif args.command == 'analyse':
        analyse(args)
    elif args.command == 'coverage':
        simulate(args)
    else:
        return do_runs(args)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f'error: {error}')
