"""All that only a GPU can tell, in order of worth, in the minutes there are; a later call goes on.

    python benchmarks/gpu.py --minutes 8 --data-root .gpu/coco_tiny
    python benchmarks/gpu.py --minutes 8 --steps study
    python benchmarks/gpu.py --small --data-root .gpu/coco_tiny     # a rehearsal, on a CPU

Each step keeps its result at once, in OUT/gpu/STEP.json; the speed harness keeps OUT/speed_gpu.json, the study
OUT/study/gpu/. A step that is done is skipped; one that failed is recorded with its last lines, the next ones go on,
and a later call tries it again. A step is not begun with less time than it takes (measured on an H200, but for the
estimates that gpu_steps/steps.py names), and ended when it takes far longer. After each step all of this is packed into
one file, OUT/gpu/all.tar.gz or --archive (and -2, -3, ... beyond 14 MiB each), to be unpacked at home:

    tar xzf all.tar.gz -C benchmarks/results

Logs, checkpoints and data sets are in WORK. DATA_ROOT has COCO's layout: annotations/instances_train2017.json,
instances_val2017.json, train2017/, val2017/; some 80 images of each are enough. PICTURES has CIFAR-10 as pictures,
train/CLASS/*.jpg and test/CLASS/*.jpg, to pre-train on.
"""

import argparse
import signal
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
if str(REPO) not in sys.path:  # where the package cannot be installed
    sys.path.insert(1, str(REPO))

from gpu_steps import children, kept, loan, steps  # noqa: E402

from mmhybrid import _stack  # noqa: E402
from mmhybrid.errors import InputError  # noqa: E402


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ', '.join(f'{step.name} ({step.seconds:.0f} s)' for step in steps.steps())
    parser.add_argument('--minutes', type=float, help='what there is (needed, but for --small: 30)')
    parser.add_argument('--data-root', type=Path, help="images in COCO's layout; without, steps that need them wait")
    parser.add_argument('--pictures', type=Path, help='CIFAR-10 as pictures; without, steps that need them wait')
    parser.add_argument('--out', type=Path, help='folder of results (benchmarks/results; WORK/results with --small)')
    parser.add_argument('--archive', type=Path, metavar='FILE.tar.gz', help='packed results (OUT/gpu/all.tar.gz)')
    parser.add_argument('--work', type=Path, default=Path('work_dirs/gpu'), help='scratch folder (%(default)s)')
    parser.add_argument('--steps', nargs='+', metavar='NAME', help=f'only these, of {names}')
    parser.add_argument('--small', action='store_true', help='rehearse every step in a few minutes, also on a CPU')
    return parser


def main() -> int:
    args = make_parser().parse_args()
    _stack.require_or_exit()
    chosen = choose(args.steps)
    if args.minutes is None and not args.small:
        raise InputError('--minutes N says how long the machine is there.')
    if args.data_root and not (args.data_root / 'annotations' / 'instances_train2017.json').exists():
        raise InputError(f'{args.data_root} has no annotations/instances_train2017.json.')
    if args.pictures and not (args.pictures / 'train').is_dir():
        raise InputError(f'{args.pictures} has no folder train of folders of classes.')
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if device == 'cpu' and not args.small:
        raise InputError('no GPU was found; --small rehearses without one.')
    work = (args.work / 'small' if args.small else args.work).resolve()
    results = (args.out or (work / 'results' if args.small else REPO / 'benchmarks' / 'results')).resolve()
    context = loan.Context(
        results=results,
        work=work,
        data_root=args.data_root and args.data_root.resolve(),
        pictures=args.pictures and args.pictures.resolve(),
        device=device,
        small=args.small,
        seconds=60 * (30 if args.minutes is None else args.minutes),
    )
    from gpu_steps import machine

    archive = args.archive or results / kept.STEPS / 'all.tar.gz'
    running = loan.Loan(context, machine.facts(sys.argv[1:]), archive.resolve(), say)
    # Also where a shell started this in the background and left interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        failed = running.do(chosen)
    except KeyboardInterrupt:
        children.stop_all()
        running.pack()
        say('interrupted; what was done is kept')
        return 130
    return 1 if failed else 0


def choose(names: list[str] | None) -> list[loan.Step]:
    """The steps of some names, in order of worth.

    Raises:
        InputError: If there is no such step.
    """
    known = {step.name: step for step in steps.steps()}
    if wrong := set(names or ()) - set(known):
        raise InputError(f'There is no step {min(wrong)!r}; there are: {", ".join(known)}.')
    return [step for name, step in known.items() if names is None or name in names]


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f'error: {error}')
