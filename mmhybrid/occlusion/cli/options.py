"""What the commands can be told, and what it means."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmhybrid.errors import InputError

from .. import matching as engines
from .. import ratios
from .. import selection as stratify
from ..analysis.study import Details
from ..api import default_name
from ..read.detections import IOU_TYPES
from ..results import MIN_IMAGES
from ..selection import Selection

if TYPE_CHECKING:
    from mmhybrid.arguments import Parser

FULL_RESAMPLES = 200
FORMATS = ('html', 'json', 'csv', 'md', 'png', 'svg')


def describe(parser: Parser, text: str, example: str) -> None:
    """Set a command's description, and its example after the options."""
    parser.description = text
    parser.epilog = f'example:\n  {parser.prog} {example}'


def add_inputs(parser: Parser) -> None:
    """Ground truth, results and how they are matched."""
    parser.add_argument('--ann', required=True, metavar='GT', help='COCO ground truth')
    parser.add_argument('--results', required=True, nargs='+', metavar='[NAME=]DT', help='results, one file a model')
    parser.add_argument('--iou-type', nargs='+', choices=IOU_TYPES, default=['bbox'], help='default: bbox')
    parser.add_argument(
        '--engine', choices=engines.ENGINES, help='what matches (default: hotcoco if installed; the numbers are equal)'
    )
    parser.add_argument('--name', help="what to call the model (one results file; default: the file's name)")


def add_selection(parser: Parser) -> None:
    """What puts images into strata."""
    group = parser.add_argument_group('strata')
    group.add_argument(
        '--preset', choices=stratify.PRESETS, help='tbc (as by default), or coco-occ: a pair of boxes with IoU >= 0.2'
    )
    group.add_argument('--ratio', choices=ratios.DEFINITIONS, help='definition of r (default: covered)')
    group.add_argument(
        '--geometry', choices=ratios.GEOMETRIES, help='what r is measured on (default: bbox; amodal for invisible)'
    )
    group.add_argument(
        '--values', metavar='FILE', help='JSON or CSV of your own number or label of each image, instead of r'
    )
    group.add_argument('--column', metavar='NAME', help='of the CSV file; what to call the property')
    group.add_argument('--edges', nargs='+', type=_number, metavar='E', help='of the bins (default: 0 0.1 ... 1)')
    group.add_argument(
        '--thresholds', nargs='*', type=_number, metavar='T', help='of the strata r >= T (default: 0 0.1 ... 0.8)'
    )


def add_details(parser: Parser, resamples: int, full: bool = False) -> None:
    """What to work out beyond AP; ``full``: all of it by default."""
    group = parser.add_argument_group('details')
    group.add_argument(
        '--bootstrap', type=natural, metavar='N',
        help=f'resamples of the images for 95%% intervals (default: {resamples})',
    )  # fmt: skip
    group.add_argument('--seed', type=natural, default=0, help='of the bootstrap (default: 0)')
    if not full:
        group.add_argument('--per-category', action='store_true', help='metrics per category, and over common ones')
        group.add_argument('--instances', action='store_true', help="recall by the instances' own covered fraction")
        group.add_argument('--errors', action='store_true', help='duplicates, confusions, partial boxes, background')
        group.add_argument(
            '--full', action='store_true', help=f'all three, with {FULL_RESAMPLES} resamples if not said otherwise'
        )
    group.add_argument(
        '--min-score', type=float, default=Details.min_score, metavar='S',
        help='detections below it are no part of the errors (default: %(default)s)',
    )  # fmt: skip
    group.add_argument(
        '--error-iou',
        type=float,
        default=Details.iou_thr,
        metavar='IOU',
        help='IoU threshold of the errors (default: %(default)s)',
    )
    parser.set_defaults(all_details=full, resamples=resamples)


def add_outputs(parser: Parser, formats: Sequence[str]) -> None:
    """Where and what to write."""
    parser.set_defaults(title=None)
    group = parser.add_argument_group('output')
    group.add_argument('--out-dir', metavar='DIR', help='default: work_dirs/occlusion/<names of the results>')
    group.add_argument(
        '--format', nargs='+', choices=FORMATS, default=list(formats), help=f'default: {" ".join(formats)}'
    )
    group.add_argument(
        '--min-images', type=natural, default=MIN_IMAGES, metavar='N',
        help='mark strata with fewer images (default: %(default)s)',
    )  # fmt: skip
    group.add_argument('--force', action='store_true', help='overwrite files that this command did not write')


def selection(args: argparse.Namespace) -> Selection:
    """What :func:`add_selection` was told.

    Raises:
        InputError: Options that exclude each other, or a file that is not there.
    """
    try:
        return Selection(
            preset=args.preset,
            definition=args.ratio,
            geometry=args.geometry,
            values=args.values,
            column=args.column,
            edges=args.edges,
            thresholds=args.thresholds,
        )
    except InputError as error:
        raise InputError(str(error).replace('definition', 'ratio')) from None


def details(args: argparse.Namespace) -> Details:
    """What :func:`add_details` was told."""
    full = args.all_details or args.full
    resamples = args.bootstrap
    if resamples is None:
        resamples = max(args.resamples, FULL_RESAMPLES) if full else args.resamples
    return Details(
        categories=full or args.per_category,
        instances=full or args.instances,
        errors=full or args.errors,
        resamples=resamples,
        seed=args.seed,
        iou_thr=args.error_iou,
        min_score=args.min_score,
        min_images=args.min_images,
    )


def models(args: argparse.Namespace, least: int = 1) -> dict[str, str]:
    """Name -> results file, in the order given.

    Raises:
        InputError: Fewer files than ``least``, or two of one name.
    """
    if len(args.results) < least:
        raise InputError(f'--results names {len(args.results)} file, but {least} are compared; give [NAME=]DT twice.')
    if args.name is not None and len(args.results) > 1:
        raise InputError('--name names one results file, but several are given; write NAME=FILE for each.')
    pairs = [_named(given) for given in args.results]
    if args.name is not None:
        pairs = [(args.name, pairs[0][1])]
    names = _apart(pairs)
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f'--results: two files are called {repeated!r}; write NAME=FILE to tell them apart.')
    return dict(zip(names, (path for _, path in pairs), strict=True))


def natural(text: str) -> int:
    """A whole number from 0."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number from 0')
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f'{text!r} is no number')
    return value


def _named(given: str) -> tuple[str | None, str]:
    name, equals, path = given.partition('=')
    # A file whose own name holds an equals sign is taken as it is.
    return (name, path) if equals and name and not os.path.exists(given) else (None, given)  # noqa: PTH110 never raises


def _apart(pairs: Iterable[tuple[str | None, str]]) -> list[str]:
    """Names as given, else file names, with their folders where two would be the same."""
    names = [default_name(path) if name is None else name for name, path in pairs]
    return [
        f'{Path(path).absolute().parent.name}/{name}' if given is None and names.count(name) > 1 else name
        for name, (given, path) in zip(names, pairs, strict=True)
    ]
