"""Does tying filters help under occlusion, and more the more there is? Train, keep, compare.

    python benchmarks/occlusion_study.py left
    python benchmarks/occlusion_study.py run --jobs 2
    python benchmarks/occlusion_study.py run --size gpu --minutes 8

`left` prints which runs are done. `run` does the others, each in two commands of this project (tools/train.py,
tools/test.py); it can be stopped at any time and goes on where it was.
"""

import argparse
import sys
from pathlib import Path

from study import plan, runs

from mmhybrid import _stack
from mmhybrid.errors import InputError

KEPT = plan.REPO / 'benchmarks' / 'results' / 'study'


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
    run.add_argument('--work-dir', type=Path, default=Path('work_dirs/study'), help='data sets, logs and checkpoints')
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


def main() -> int:
    args = make_parser().parse_args()
    if args.command == 'left':
        print(table(args.kept, args.size, args.models, args.seeds))
        return 0
    _stack.require_or_exit()
    planned = runs.planned(args.size, args.models, args.seeds)

    def say(text: str) -> None:
        print(text, flush=True)

    failed = runs.do(args.kept, args.work_dir, planned, args.jobs, args.threads, args.minutes, say)
    print(table(args.kept, args.size, args.models, args.seeds))
    return 1 if failed else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f'error: {error}')
