"""The command ``mmhybrid data shapes``, which writes the occluded-shapes data set."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mmhybrid.datasets._sheet import contact_sheet
from mmhybrid.datasets._summary import summarise
from mmhybrid.datasets.occluded_shapes import DEFAULT_SPLITS, Generated, generate
from mmhybrid.errors import InputError
from mmhybrid.text import plural

_EXAMPLE = """example:
  {prog} data/occluded_shapes --train 1500 --val 500 --seed 0 --workers 2

The same options give the same bytes. A folder that already holds the data set is reused at once."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:
        # Every wrong input reads the same way: one sentence, without the usage before it.
        self.exit(2, f'error: {message}; --help lists the options.\n')


def build_parser(prog: str = 'mmhybrid data shapes') -> argparse.ArgumentParser:
    """The command's options."""
    parser = _Parser(
        prog=prog,
        description='Generate a COCO-format data set of textured shapes whose occlusion is known exactly.',
        epilog=_EXAMPLE.format(prog=prog),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('out', type=Path, metavar='OUT', help='folder to write: new, empty or made by this command')
    for split, count in DEFAULT_SPLITS.items():
        parser.add_argument(
            f'--{split}', type=int, default=count, metavar='N', help=f'images in {split}, 0 for none ({count})'
        )
    parser.add_argument('--size', type=int, default=256, metavar='PX', help='image side in pixels (256)')
    parser.add_argument('--seed', type=int, default=0, help='seed of every random draw (0)')
    parser.add_argument(
        '--workers', type=int, default=len(os.sched_getaffinity(0)), metavar='N', help='processes (one a core)'
    )
    parser.add_argument(
        '--ratio-range',
        type=float,
        nargs=2,
        default=(0.0, 0.9),
        metavar=('LOW', 'HIGH'),
        help='occlusion ratios to cover evenly (0 0.9); from 0 on, a tenth of the images have exactly 0',
    )
    parser.add_argument(
        '--sheet', type=Path, metavar='FILE', help='also draw images by ratio, with boxes, into a picture'
    )
    parser.add_argument('--force', action='store_true', help='replace a data set made with other options')
    return parser


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid data shapes') -> int:
    """Run the command.

    Returns:
        0 when the data set is there, 2 after one sentence on a wrong input or a failed write, 130 after Ctrl-C.
    """
    args = build_parser(prog).parse_args(argv)
    splits = {split: getattr(args, split) for split in DEFAULT_SPLITS if getattr(args, split) != 0}
    try:
        done = generate(args.out, splits, args.size, args.seed, args.workers, tuple(args.ratio_range), force=args.force)
        _print_summary(done)
        if args.sheet is not None:
            _write_sheet(done.root, args.sheet)
    except (InputError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted; the same command starts over.', file=sys.stderr)
        return 130
    return 0


def _write_sheet(root: Path, path: Path) -> None:
    if path.suffix.lower() not in ('.jpg', '.jpeg', '.png'):
        raise InputError(f'--sheet {path}: name a .jpg or .png file.')
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(root).save(path)
    print(f'wrote {path}')


def _print_summary(done: Generated) -> None:
    summaries = summarise(done.root)
    table = Table(title='Images by occlusion ratio')
    splits = list(summaries[0].images)
    table.add_column('ratio', justify='right', no_wrap=True)
    for heading in (*splits, 'objects', 'side', 'visible', 'mean err', 'max err'):
        table.add_column(heading, justify='right')
    for summary in summaries:
        if summary is summaries[-1]:
            table.add_section()
        table.add_row(
            summary.name,
            *(str(summary.images[split]) for split in splits),
            f'{summary.objects:.2f}',
            f'{summary.extent:.1f}',
            f'{summary.visible_fraction:.3f}',
            f'{summary.mean_error:.4f}',
            f'{summary.max_error:.4f}',
        )
    Console().print(table)
    if done.reused:
        print(f'{done.root} already holds this data set; nothing was drawn.')
    else:
        rate = done.images / done.seconds
        print(f'{plural(done.images, "image")} in {done.seconds:.1f} s, {rate:.0f} images/s, in {done.root}')
