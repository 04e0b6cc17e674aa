"""What the commands can be told, and what it means."""

from __future__ import annotations

import argparse
import glob
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmhybrid.errors import InputError

from .. import matching, ratios
from .. import selection as stratify
from ..analysis.details import Details
from ..api import default_name
from ..matching import Settings
from ..read.detections import IOU_TYPES
from ..read.ground_truth import IGNORE
from ..results import MIN_IMAGES
from ..selection import Selection

if TYPE_CHECKING:
    from mmhybrid.arguments import Parser

FULL_RESAMPLES = 200
FORMATS = ('html', 'json', 'csv', 'md', 'png', 'svg')
# Name -> results file, or all those that are parts of one model's results.
Models = dict[str, tuple[str, ...]]
_OR_MERGE = ', or --merge if they are parts of one model.'


def add_ground_truth(parser: Parser) -> None:
    """Ground truth, and how it is read."""
    parser.add_argument('--ann', required=True, metavar='GT', help='COCO ground truth')
    text = "instances with 'ignore' set: regions, as crowds are (default), or as-instances, as in pycocotools"
    parser.add_argument('--ignore', choices=IGNORE, default=IGNORE[0], help=text)


def add_inputs(parser: Parser) -> None:
    """Results, and how they are matched with the ground truth."""
    add_ground_truth(parser)
    text = "results, a file a model; a pattern in quotes stands for all its files, NAME='*.json' for parts of one model"
    parser.add_argument('--results', required=True, nargs='+', metavar='[NAME=]DT', help=text)
    parser.add_argument(
        '--merge', action='store_true', help='files of one name, or without any, are parts of one model'
    )
    parser.add_argument('--name', help="what to call the model, if it is one (default: the file's name)")
    text = 'what matches (default: hotcoco if installed; the numbers are equal)'
    parser.add_argument('--engine', choices=matching.ENGINES, help=text)
    group = parser.add_argument_group('evaluation')
    group.add_argument('--iou-type', nargs='+', choices=IOU_TYPES, default=['bbox'], help='default: bbox')
    text = 'IoU thresholds (default: 0.5 0.55 ... 0.95)'
    group.add_argument('--iou-thrs', nargs='+', type=_number, default=Settings.iou_thrs, metavar='T', help=text)
    text = 'detections of an image and category that count, the best ones (default: %(default)s)'
    group.add_argument('--max-dets', type=natural, default=Settings.max_dets, metavar='N', help=text)
    group.add_argument('--categories', nargs='+', metavar='C', help='names or ids of those to evaluate (default: all)')
    group.add_argument('--class-agnostic', action='store_true', help='take all categories for one')


def add_selection(parser: Parser) -> None:
    """What puts images into strata."""
    group = parser.add_argument_group('strata')
    text = 'tbc (as by default), or coco-occ: a pair of boxes with IoU >= 0.2'
    group.add_argument('--preset', choices=stratify.PRESETS, help=text)
    group.add_argument('--ratio', choices=ratios.DEFINITIONS, help='definition of r (default: covered)')
    text = 'what r is measured on (default: bbox; amodal for invisible)'
    group.add_argument('--geometry', choices=ratios.GEOMETRIES, help=text)
    text = 'JSON or CSV of your own number or label of each image, instead of r'
    group.add_argument('--values', metavar='FILE', help=text)
    group.add_argument('--column', metavar='NAME', help='of the CSV file; what to call the property')
    group.add_argument('--edges', nargs='+', type=_number, metavar='E', help='of the bins (default: 0 0.1 ... 1)')
    text = 'of the strata r >= T (default: 0 0.1 ... 0.8)'
    group.add_argument('--thresholds', nargs='*', type=_number, metavar='T', help=text)


def add_details(parser: Parser, resamples: int, full: bool = False) -> None:
    """What to work out beyond AP; ``full``: all of it by default."""
    group = parser.add_argument_group('details')
    text = f'resamples of the images for 95%% intervals (default: {resamples})'
    group.add_argument('--bootstrap', type=natural, metavar='N', help=text)
    group.add_argument('--seed', type=natural, default=0, help='of the bootstrap (default: 0)')
    parser.set_defaults(per_category=full, instances=full, errors=full, full=full, resamples=resamples)
    if not full:
        group.add_argument('--per-category', action='store_true', help='metrics per category, and over common ones')
        group.add_argument('--instances', action='store_true', help="recall by the instances' own covered fraction")
        group.add_argument('--errors', action='store_true', help='duplicate, confusion, partial, background, missed')
        text = f'all three, with {FULL_RESAMPLES} resamples if not said otherwise'
        group.add_argument('--full', action='store_true', help=text)
    text = 'detections below it are no part of the errors (default: %(default)s)'
    group.add_argument('--min-score', type=float, default=Details.min_score, metavar='S', help=text)
    text = 'IoU threshold of the errors (default: %(default)s)'
    group.add_argument('--error-iou', type=float, default=Details.iou_thr, metavar='IOU', help=text)


def add_outputs(parser: Parser, formats: Sequence[str]) -> None:
    """Where and what to write."""
    group = parser.add_argument_group('output')
    group.add_argument('--out-dir', metavar='DIR', help='default: work_dirs/occlusion/<names of the results>')
    text = f'default: {" ".join(formats)}'
    group.add_argument('--format', nargs='+', choices=FORMATS, default=list(formats), help=text)
    text = 'mark strata with fewer images (default: %(default)s)'
    group.add_argument('--min-images', type=natural, default=MIN_IMAGES, metavar='N', help=text)
    add_force(group)


def add_force(parser: argparse._ActionsContainer) -> None:
    """Whether a user's files may be replaced."""
    parser.add_argument('--force', action='store_true', help='overwrite files that this command did not write')


def selection(args: argparse.Namespace) -> Selection:
    """What :func:`add_selection` was told.

    Raises:
        InputError: Options that exclude each other, or a file that is not there.
    """
    names = ('preset', 'geometry', 'values', 'column', 'edges', 'thresholds')
    try:
        return Selection(definition=args.ratio, **{name: getattr(args, name) for name in names})
    except InputError as error:
        raise InputError(str(error).replace('definition', 'ratio')) from None


def settings(args: argparse.Namespace) -> Settings:
    """What :func:`add_inputs` was told of matching.

    Raises:
        InputError: A value that cannot be used.
    """
    return Settings(args.iou_thrs, args.max_dets, args.class_agnostic, args.categories)


def details(args: argparse.Namespace) -> Details:
    """What :func:`add_details` was told."""
    resamples = args.bootstrap
    if resamples is None:
        resamples = max(args.resamples, FULL_RESAMPLES if args.full else 0)
    return Details(
        categories=args.full or args.per_category,
        instances=args.full or args.instances,
        errors=args.full or args.errors,
        resamples=resamples,
        seed=args.seed,
        iou_thr=args.error_iou,
        min_score=args.min_score,
        min_images=args.min_images,
    )


def models(args: argparse.Namespace, least: int = 1) -> Models:
    """The models in the order given.

    Raises:
        InputError: Fewer models than ``least``, two of one name, a part given twice, or a pattern that no file has.
    """
    named = [model for given in args.results for model in _models(given)]
    if args.merge:
        parts: dict[str | None, tuple[str, ...]] = {}
        for name, paths in named:
            parts[name] = parts.get(name, ()) + paths
        named = list(parts.items())
    if len(named) < least:
        what = 'model' if args.merge else 'file'
        raise InputError(f'--results names {len(named)} {what}, but {least} are compared; give [NAME=]DT twice.')
    names = [_common_name(paths) if name is None else name for name, paths in named]
    if args.name is not None:
        if len(named) > 1:
            raise InputError(
                f'--name names one results file, but several are given; write NAME=FILE for each{_OR_MERGE}'
            )
        names = [args.name]
    models: Models = {}
    for name, (given, paths) in zip(names, named, strict=True):
        if given is None and names.count(name) > 1:
            name = f'{Path(paths[0]).absolute().parent.name}/{name}'
        if name in models:
            raise InputError(f'--results: two files are called {name!r}; write NAME=FILE to tell them apart{_OR_MERGE}')
        if len(set(paths)) < len(paths):
            raise InputError(f'--results: a file is given twice as a part of {name!r}; give each part once.')
        models[name] = paths
    return models


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


def _models(given: str) -> list[tuple[str | None, tuple[str, ...]]]:
    """Names, or None, and files; all files of a pattern that no shell has expanded, as one model if it has a name."""
    name, equals, path = given.partition('=')
    # A file whose own name holds an equals sign, or what looks like a pattern, is taken as it is.
    if not equals or not name or os.path.exists(given):  # noqa: PTH110 never raises
        name, path = None, given
    if os.path.exists(path) or not glob.has_magic(path):  # noqa: PTH110
        return [(name, (path,))]
    paths = tuple(sorted(glob.glob(path, recursive=True)))  # noqa: PTH207 paths as the user wrote them
    if not paths:
        raise InputError(f'--results: there is no file {path}; give a pattern that some files have, or their paths.')
    return [(None, (each,)) for each in paths] if name is None else [(name, paths)]


def _common_name(paths: Sequence[str]) -> str:
    """A file's name; of parts what their names have in common: ``dt_rank0.json``, ``dt_rank1.json`` are ``dt_rank``."""
    names = [default_name(path) for path in paths]
    return os.path.commonprefix(names).rstrip('._- ') or names[0]  # noqa: RUF071 names, not paths
