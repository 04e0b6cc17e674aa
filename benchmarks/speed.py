"""How fast layers, backbones and detectors are, each against a baseline measured in the same rounds.

    python benchmarks/speed.py backbones --names resnet50 tiedresnet50 --modes eager channels_last --rounds 3
    python benchmarks/speed.py latency --threads 2
    python benchmarks/speed.py detectors --names tiedresnet50 --data-root /data/coco --amp
    python benchmarks/speed.py render

A section goes to benchmarks/results/speed_cpu.json, speed_cpu_threads.json (--threads above 1) or speed_gpu.json and
replaces that section only; `render` makes docs/speed.md from these files and the steps of benchmarks/gpu.py; the page
says how to read the numbers.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from speed_bench import contestants, loan_page, modes, pages, record, sections, timing

from mmhybrid.errors import InputError

DOCS = record.REPO / 'docs'


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='section', required=True)
    for section in ('layers', 'backbones'):
        command = commands.add_parser(section, help=f'forward pass and training step of {section}')
        _add_common(command, modes.MODULE_PARTS, modes.DEFAULTS)
        command.add_argument('--min-seconds', type=float, default=0.1, help='shortest sample (%(default)s)')
    command = commands.add_parser('latency', help='forward pass of backbones for one image')
    _add_common(command, modes.MODULE_PARTS, modes.LATENCY_DEFAULTS)
    command.add_argument('--min-seconds', type=float, default=0.3, help='shortest sample (%(default)s)')
    command = commands.add_parser('detectors', help="Mask R-CNN's training step by backbone")
    _add_common(command, modes.DETECTOR_PARTS, modes.DETECTOR_DEFAULTS)
    command.add_argument('--amp', action='store_true', help='short for --modes amp (GPU)')
    command.add_argument('--data-root', help='folder with annotations/ and train2017/ (default: synthetic images)')
    command.add_argument('--batch-size', type=int, help='instead of the N of --shape')
    command.add_argument('--iterations', type=int, help='training steps of a turn (1 on a CPU, 10 on a GPU)')
    command.add_argument('--work-dir', type=Path, default=Path('work_dirs/speed'))
    command.add_argument('--cfg-options', nargs='+', action=_Options, default={}, metavar='KEY=VALUE')
    command = commands.add_parser('render', help='make docs/speed.md')
    command.add_argument('--records', nargs='+', type=Path, metavar='FILE', help='instead of those on record')
    command.add_argument('--out', type=Path, default=DOCS / 'speed.md', metavar='FILE')
    return parser


def _add_common(parser: argparse.ArgumentParser, parts: tuple[str, ...], defaults: dict[str, tuple[str, ...]]) -> None:
    meanings = '; '.join(f'{name}: {modes.PARTS[name]}' for name in parts)
    usual = '; '.join(f'{device}: {" ".join(names)}' for device, names in defaults.items())
    parser.add_argument('--names', nargs='+', metavar='NAME', help='contestants (names, or for layers parts of names)')
    parser.add_argument(
        '--modes',
        nargs='+',
        type=_mode(parts),
        metavar='MODE',
        help=f'any of these, or some joined by + ({meanings}). Default on {usual}',
    )
    parser.add_argument('--shape', nargs=4, type=int, metavar=('N', 'C', 'H', 'W'), help='images (by device)')
    parser.add_argument('--rounds', type=int, default=9, help='turns that each contestant takes (%(default)s)')
    parser.add_argument('--minutes', type=float, help='begin no round that would end later')
    parser.add_argument('--device', choices=['auto', 'cpu', 'cuda'], default='auto')
    parser.add_argument('--threads', type=int, default=1, help='of a CPU (%(default)s)')
    parser.add_argument(
        '--out', type=Path, help='record (default: speed_{cpu,cpu_threads,gpu}.json in benchmarks/results)'
    )


class _Options(argparse.Action):
    """MMEngine's ``DictAction``, imported when it is used: layers are measured without MMEngine too."""

    def __call__(self, *args):
        from mmengine.config import DictAction

        DictAction(self.option_strings, self.dest, nargs='+')(*args)


def _mode(parts: tuple[str, ...]) -> Callable[[str], modes.Mode]:
    def parse(name: str) -> modes.Mode:
        if wrong := set(name.split('+')) - set(parts):
            raise argparse.ArgumentTypeError(f'{min(wrong)!r} is not one of {", ".join(parts)}')
        return modes.Mode(name)

    return parse


def measure(args: argparse.Namespace) -> None:
    """Measure a section and put it on record."""
    device = _device(args)
    if args.rounds < 1 or args.threads < 1 or (args.shape and min(args.shape) < 1):
        raise InputError('--rounds, --threads and --shape are at least 1.')
    part = _detectors if args.section == 'detectors' else _modules
    settings, content = part(args, device, timing.Deadline(args.minutes))
    settings |= dict(threads=torch.get_num_threads(), cudnn_benchmark=torch.backends.cudnn.benchmark)
    content = record.header(device, sys.argv[1:], settings) | content
    path = args.out or record.path_of(device)
    record.write_section(path, device, args.section, content)
    say(f'\n{pages.content_text(content, args.section)}\n\nwrote {path}')


def _device(args: argparse.Namespace) -> torch.device:
    if args.device == 'cuda' and not torch.cuda.is_available():
        raise InputError('--device cuda: no GPU was found.')
    if args.device != 'cpu' and torch.cuda.is_available():
        return torch.device('cuda')
    torch.set_num_threads(args.threads)
    return torch.device('cpu')


def _modules(args: argparse.Namespace, device: torch.device, deadline: timing.Deadline) -> tuple[dict, dict]:
    latency = args.section == 'latency'
    usual = (modes.LATENCY_DEFAULTS if latency else modes.DEFAULTS)[device.type]
    plan = sections.Plan(
        modes=args.modes or [modes.Mode(name) for name in usual],
        images=tuple(args.shape or (contestants.ONE_IMAGE if latency else contestants.SHAPES[device.type])),
        device=device,
        rounds=args.rounds,
        deadline=deadline,
        min_seconds=args.min_seconds,
        passes=('forward',) if latency else modes.PASSES,
    )
    if latency:
        chosen = contestants.choose('backbones', args.names or contestants.LATENCY)
    else:
        chosen = contestants.choose(args.section, args.names)
    return dict(images=list(plan.images)), sections.measure(chosen, plan, say)


def _detectors(args: argparse.Namespace, device: torch.device, deadline: timing.Deadline) -> tuple[dict, dict]:
    from speed_bench import detectors

    n, *image = args.shape or detectors.SHAPES[device.type]
    default = ('amp',) if args.amp else modes.DETECTOR_DEFAULTS[device.type]
    plan = detectors.Plan(
        modes=args.modes or [modes.Mode(name) for name in default],
        shape=(args.batch_size or n, *image),
        device=device,
        rounds=args.rounds,
        iterations=args.iterations or detectors.ITERATIONS[device.type],
        deadline=deadline,
        work_dir=args.work_dir,
        data_root=args.data_root,
        cfg_options=dict(args.cfg_options),
    )
    settings = dict(iterations=plan.iterations)
    settings |= dict(data=f'of a data set, {plan.shape[0]} a step') if args.data_root else dict(images=list(plan.shape))
    return settings, detectors.measure(args.names or detectors.NAMES, plan, say)


def render(args: argparse.Namespace) -> None:
    """Make the page."""
    paths = args.records or [record.RESULTS / f'speed_{kind}.json' for kind in pages.DEVICES]
    records = {found['device']: found for path in paths if (found := record.read(path))}
    template = (DOCS / 'speed.template.md').read_text(encoding='utf-8')
    page = pages.render(template, records, loan_page.read(record.RESULTS / 'gpu'))
    args.out.write_text(page, encoding='utf-8')
    say(f'wrote {args.out}')


def say(text: str) -> None:
    print(text, flush=True)


def main() -> None:
    args = make_parser().parse_args()
    if args.section == 'detectors':
        from mmhybrid import launch

        launch.run(lambda: measure(args))
    else:
        (render if args.section == 'render' else measure)(args)


if __name__ == '__main__':
    try:
        main()
    except InputError as error:
        sys.exit(f'error: {error}')
