"""What the commands can be told, and what it means."""

from __future__ import annotations

import argparse
import contextlib
import glob
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhybrid.errors import InputError

from .. import ratios
from ..analysis.details import Details
from ..api import default_name
from ..instance_strata import InstanceStratum
from ..matching import ENGINES, Settings
from ..read.amodal import MASKS
from ..read.detections import IOU_TYPES
from ..read.ground_truth import IGNORE
from ..results import ERROR_IOU, MIN_IMAGES
from ..selection import HIDDEN, PRESETS, Selection
from ..strata import bins, cumulative

if TYPE_CHECKING:
    from mmhybrid.arguments import Parser

FULL_RESAMPLES = 200
FORMATS = ('html', 'json', 'csv', 'md', 'png', 'svg')
FORCE = 'overwrite files that this command did not write'
# Name -> results file, or all those that are parts of one model's results.
Models = dict[str, tuple[str, ...]]


def add_ratio(parser: Parser) -> None:
    """Options of ``ratio``."""
    _add_ground_truth(parser)
    _add_strata(parser)
    add = adder(parser)
    add('--out', "each image's value: .csv or .json", metavar='FILE')
    add('--instances', "each instance's covered or invisible fraction: .csv or .json", metavar='FILE')
    add('--force', FORCE, action='store_true')


def add_evaluation(parser: Parser, resamples: int, formats: Sequence[str], full: bool = False) -> None:
    """Options of ``eval`` and ``compare``, and of ``report``, which works out everything (``full``)."""
    parser.set_defaults(title=None, images=None, gallery=0)
    _add_ground_truth(parser)
    add = adder(parser)
    text = "results, a file a model; a pattern in quotes stands for all its files, NAME='*.json' for parts of one model"
    add('--results', text, required=True, nargs='+', metavar='[NAME=]DT')
    add('--merge', 'files of one name, or without any, are parts of one model', action='store_true')
    add('--name', "what to call the model, if it is one (default: the file's name)")
    add('--engine', 'what matches (default: hotcoco if installed; the numbers are equal)', choices=ENGINES)

    add = adder(parser, 'evaluation')
    add('--iou-type', 'default: bbox', nargs='+', choices=IOU_TYPES, default=['bbox'])
    add('--iou-thrs', 'IoU thresholds (default: 0.5 0.55 ... 0.95)', **_NUMBERS, default=Settings.iou_thrs, metavar='T')
    text = "detections of an image and category that count, the best (default: 100, or as a benchmark's preset has it)"
    add('--max-dets', text, **COUNT)
    add('--categories', 'names or ids of those to evaluate (default: all)', nargs='+', metavar='C')
    add('--class-agnostic', 'take all categories for one', action='store_true')
    add('--masks', 'which to match, with their boxes, where there are both (KINS, COCOA, D2SA, ...)', choices=MASKS)

    _add_strata(parser)

    add = adder(parser, 'details')
    add('--bootstrap', f'resamples of the images for 95%% intervals (default: {resamples})', **COUNT)
    add('--seed', 'of the bootstrap', **COUNT, default=0)
    parser.set_defaults(
        per_category=False, instances=False, errors=False, quality=False, full=full, resamples=resamples
    )
    if not full:
        add('--per-category', 'metrics per category, and over common ones', action='store_true')
        add('--instances', "recall by the instances' own covered, or annotated hidden, fraction", action='store_true')
        add('--errors', 'duplicate, confusion, partial, background, missed', action='store_true')
        add('--quality', 'precision-recall curves, best F1, calibration, oLRP, confusions', action='store_true')
        add('--full', f'all four, with {FULL_RESAMPLES} resamples if not said otherwise', action='store_true')
    add('--miss-rate', 'log-average miss rate MR^-2 (presets of benchmarks: in any case)', action='store_true')
    text = 'least score of detections in errors and confusions'
    add('--min-score', text, type=number, default=Details.min_score, metavar='S')
    at = f'IoU threshold of errors and quality (default: {ERROR_IOU}, or the nearest of --iou-thrs)'
    add('--error-iou', at, type=number, metavar='IOU')

    add = adder(parser, 'output')
    add('--out-dir', 'default: work_dirs/occlusion/<names of the results>', metavar='DIR')
    add('--format', f'default: {" ".join(formats)}', nargs='+', choices=FORMATS, default=list(formats))
    add('--min-images', 'mark strata with fewer images', **COUNT, default=MIN_IMAGES)
    add('--force', FORCE, action='store_true')


def add_report(parser: Parser) -> None:
    """Options of ``report``."""
    add_evaluation(parser, FULL_RESAMPLES, FORMATS, full=True)
    add = adder(parser)
    add('--images', 'folder of the images, for the gallery of the costliest ones', metavar='DIR')
    add('--title', 'of the report')
    add('--gallery', 'images a stratum in it', **COUNT, default=4)


def selection(args: argparse.Namespace) -> Selection:
    """What puts images into strata.

    Raises:
        InputError: Options that exclude each other, or edges or thresholds that are none.
    """
    names = ('preset', 'geometry', 'values', 'column', 'edges', 'thresholds', 'visibility', 'level')
    parts = None if args.strata is None else [InstanceStratum.parse(text) for text in args.strata]
    try:
        chosen = Selection(definition=args.ratio, parts=parts, **{name: getattr(args, name) for name in names})
    except InputError as error:
        raise InputError(str(error).replace('definition', 'ratio').replace('parts', 'strata')) from None
    # Before anything is read.
    if args.edges is not None:
        bins(args.edges)
    cumulative(args.thresholds or ())
    return chosen


def settings(args: argparse.Namespace) -> Settings:
    """How detections are matched."""
    return Settings(args.iou_thrs, args.max_dets, args.class_agnostic, args.categories)


def details(args: argparse.Namespace) -> Details:
    """What to work out beyond AP.

    Raises:
        InputError: Options that exclude each other, or a value that cannot be used.
    """
    if args.per_category and args.class_agnostic:
        raise InputError('--per-category and --class-agnostic exclude each other; give one of them.')
    resamples = max(args.resamples, FULL_RESAMPLES if args.full else 0)
    return Details(
        categories=args.full or args.per_category,
        instances=args.full or args.instances,
        errors=args.full or args.errors,
        quality=args.full or args.quality,
        miss_rate=args.miss_rate,
        resamples=resamples if args.bootstrap is None else args.bootstrap,
        seed=args.seed,
        iou_thr=args.error_iou,
        min_score=args.min_score,
        min_images=args.min_images,
    )


def models(args: argparse.Namespace) -> Models:
    """The models in the order given.

    Raises:
        InputError: Two of one name, a part given twice, or a pattern that no file has.
    """
    named = [model for given in args.results for model in _models(given)]
    if args.merge:
        parts: dict[str | None, tuple[str, ...]] = {}
        for name, paths in named:
            parts[name] = parts.get(name, ()) + paths
        named = list(parts.items())
    names = [args.name or name or default_name(paths) for name, paths in named]
    models: Models = {}
    for name, (given, paths) in zip(names, named, strict=True):
        if given is None and args.name is None and names.count(name) > 1:
            name = f'{Path(paths[0]).absolute().parent.name}/{name}'
        if name in models:
            raise InputError(
                f'--results: two models are called {name!r}; write NAME=FILE to tell them apart, or --merge if they '
                'are parts of one.'
            )
        if len(set(map(os.path.realpath, paths))) < len(paths):
            raise InputError(f'--results: a file is given twice as a part of {name!r}; give each part once.')
        models[name] = paths
    return models


def _add_ground_truth(parser: Parser) -> None:
    add = adder(parser)
    add('--ann', 'COCO ground truth', required=True, metavar='GT')
    text = "instances with 'ignore' or 'difficult' set: regions, as crowds are, or as-instances, as in pycocotools"
    add('--ignore', text, choices=IGNORE, default=IGNORE[0])


def _add_strata(parser: Parser) -> None:
    add = adder(parser, 'strata')
    text = (
        'tbc (as by default); coco-occ: a pair of boxes with IoU >= 0.2; coco-olac: --values are low, mid or high; '
        "amodal: instances by their masks' hidden share; "
    )
    add('--preset', text + "or a benchmark's protocol, of instances and miss rate", choices=PRESETS)
    text = 'definition of r (default: covered); mean-hidden, max-hidden: annotated hidden shares of the instances'
    add('--ratio', text, choices=(*ratios.DEFINITIONS, *HIDDEN))
    add('--geometry', 'what r is measured on (default: bbox; amodal for invisible)', choices=ratios.GEOMETRIES)
    add('--values', 'JSON or CSV of your own number or label of each image, instead of r', metavar='FILE')
    add('--column', 'of the CSV file; what to call the property', metavar='NAME')
    add('--edges', 'of the bins (default: 0 0.1 ... 1)', **_NUMBERS, metavar='E')
    add('--thresholds', 'of the strata r >= T (default: 0 0.1 ... 0.8)', type=number, nargs='*', metavar='T')
    text = "strata of instances, e.g. 'heavy: h >= 50, v <= 0.65', by v (visible share), level, h (height), area"
    add('--strata', text, nargs='+', metavar='S')
    text = 'field of the visible share, or of the visible box (default: the known ones, or masks)'
    add('--visibility', text, metavar='FIELD')
    add('--level', 'field of the level of occlusion (default: occlusion, occluded or occlusion_level)', metavar='FIELD')


def adder(parser: Parser, title: str | None = None) -> Callable[..., None]:
    """What adds an option with its help, which ends with the default, to the parser or to a new group of it."""
    group = parser if title is None else parser.add_argument_group(title)

    def add(flag: str, text: str, **how: Any) -> None:
        told = ' (default: %(default)s)' if isinstance(how.get('default'), int | float | str) else ''
        if not how.keys() & {'type', 'action', 'choices'}:
            how['type'] = _text
        group.add_argument(flag, help=text + told, **how)

    return add


def _text(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError(f'{text!r} is empty')
    return text


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number from 0')
    return int(text)


def number(text: str) -> float:
    """An option's value that is a number, if only an infinite one."""
    with contextlib.suppress(ValueError):
        if not math.isnan(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f'{text!r} is no number')


COUNT = {'type': _natural, 'metavar': 'N'}
_NUMBERS = {'type': number, 'nargs': '+'}


def _models(given: str) -> list[tuple[str | None, tuple[str, ...]]]:
    """Names, or None, and files; all files of a pattern that no shell has expanded, as one model if it has a name."""
    name, equals, path = given.partition('=')
    # A file whose own name holds an equals sign, or what looks like a pattern, is taken as it is.
    if not equals or not name or os.path.exists(given):  # noqa: PTH110 never raises
        name, path = None, given
    if not path:
        raise InputError(f'--results: {given!r} names no file; give NAME=FILE.')
    if os.path.exists(path) or not glob.has_magic(path):  # noqa: PTH110
        return [(name, (path,))]
    paths = tuple(sorted(glob.glob(path, recursive=True)))  # noqa: PTH207 paths as the user wrote them
    if not paths:
        raise InputError(f'--results: there is no file {path}; give a pattern that some files have, or their paths.')
    return [(None, (each,)) for each in paths] if name is None else [(name, paths)]
