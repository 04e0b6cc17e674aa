"""What the commands do."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmhybrid.errors import InputError
from mmhybrid.text import clean

from .. import api
from .. import selection as stratify
from ..read.ground_truth import load_ground_truth
from ..results import SCHEMA, SCHEMA_VERSION, to_json
from ..show import figures
from ..show import records as frames
from ..show.markdown import to_markdown
from ..show.report import GalleryGroup, GalleryImage, render_report
from ..show.report.costliest import make_gallery
from ..show.terminal import print_categories, print_comparison, print_distribution, print_table
from . import options, outputs
from .outputs import CSV_COLUMN, EMPTY_CSV, MARKDOWN_MARK, Output, text


def ratio(args: argparse.Namespace) -> None:
    """Print how a data set's images and instances are spread, and write each one's value."""
    selection = options.selection(args)
    paths = [Path(path) for path in (args.out, args.instances) if path]
    for path in paths:
        if path.suffix.lower() not in ('.csv', '.json'):
            raise InputError(f'{path}: values are written as .csv or .json; choose a name that ends so.')
    if len({path.parent.resolve() / path.name for path in paths}) < len(paths):
        raise InputError(f'{paths[0]}: --out and --instances name the same file; give two.')
    given = [args.ann, *filter(None, [args.values])]
    outputs.check_targets(paths, given, args.force)
    _report('reading ground truth')
    gt = load_ground_truth(args.ann, selection.geometries())
    _report('measuring occlusion')
    made = selection.apply(gt)
    _warn_outside(made)
    written = []
    if args.out:
        written.append(_values_output(Path(args.out), frames.image_records(gt, made)))
    if args.instances:
        written.append(_values_output(Path(args.instances), frames.annotation_records(gt, made)))
    # Written before anything is printed: the reader of a pipe may go away.
    message = outputs.write(written, given, args.force) if written else None
    print_distribution(made, gt)
    if message:
        print(clean(message), flush=True)


def evaluate(args: argparse.Namespace) -> None:
    """Evaluate every model, print and write."""
    _evaluate(args, options.models(args))


def compare(args: argparse.Namespace) -> None:
    """Evaluate every model, compare each with the first, print and write."""
    if args.bootstrap is not None and args.bootstrap < 100:
        raise InputError(f'--bootstrap {args.bootstrap}: a comparison needs resamples; give at least 100.')
    _evaluate(args, options.models(args, least=2))


def report(args: argparse.Namespace) -> None:
    """Evaluate every model with all details and write the report."""
    if args.images and not Path(args.images).is_dir():
        raise InputError(f'--images {args.images}: is no folder; give the folder of the images.')
    if 'html' not in args.format:
        args.format.append('html')
    _evaluate(args, options.models(args), args.gallery)


def _evaluate(args: argparse.Namespace, models: dict[str, str], gallery: int = 0) -> None:
    selection, details = options.selection(args), options.details(args)
    out_dir = Path(args.out_dir or Path('work_dirs', 'occlusion', _folder_name(models)))
    given = [args.ann, *models.values(), *filter(None, [args.values])]
    # Before the evaluation, which may take minutes.
    outputs.check_targets(_targets(out_dir, args.format, details, len(models)), given, args.force)
    for path in given:
        if Path(path).is_dir() or not Path(path).exists():
            raise InputError(
                f'{path}: {"a folder" if Path(path).is_dir() else "no such file"}; give the path of a file.'
            )

    evaluated, pictures = [], []
    with api.reading_begun(models, args.iou_type) as begun:
        opened = api.open_study(args.ann, args.iou_type, selection, args.engine, details, _report)
        _warn_outside(opened.stratification)
        for each, dt in api.evaluations(opened, begun, args.iou_type, _report):
            if gallery and each.kinds is not None:
                _report(f'{each.result.name}: looking for the images that cost most {each.result.iou_type} AP')
                pictures += make_gallery(opened, each, dt, args.images, gallery)
            # Matches of several models would not fit into memory on a large set.
            evaluated.append(each.without_matches())
    compared = api.collect(evaluated)
    message = outputs.write(_outputs(out_dir, args, compared, details, pictures), given, args.force)
    if outside := [image for group in pictures for image in group.images if image.outside]:
        _warn_of_pictures(outside, args.images)
    print_table(compared.results, args.min_images)
    if not gallery:  # the report has all of them
        print_categories(compared.results, min_images=args.min_images)
    print_comparison(compared.comparisons, args.min_images)
    print(clean(message), flush=True)


def _targets(out_dir: Path, formats: Sequence[str], details: api.Details, num_models: int) -> list[Path]:
    names = []
    for suffix in dict.fromkeys(formats):
        if suffix == 'csv':
            names += [f'occlusion{part}.csv' for part in _csv_parts(details, num_models)]
        elif suffix in ('png', 'svg'):
            names += [f'occlusion{part}.{suffix}' for part in _figures(details)]
        else:
            names.append(f'occlusion.{suffix}')
    return [out_dir / name for name in names]


def _csv_parts(details: api.Details, num_models: int) -> dict[str, Callable[[api.Compared], list]]:
    parts = {'': lambda compared: frames.strata_records(compared.results)}
    if details.categories:
        parts['_categories'] = lambda compared: frames.category_records(compared.results)
    if details.instances:
        parts['_instances'] = lambda compared: frames.instance_records(compared.results)
    if details.resamples and num_models > 1:
        parts['_differences'] = lambda compared: frames.difference_records(compared.comparisons)
    return parts


def _figures(details: api.Details) -> dict[str, Callable]:
    parts = {'': lambda results, min_images: figures.plot_ap(results, min_images)}
    if details.instances:
        parts['_recall'] = lambda results, min_images: figures.plot_recall(results)
    if details.errors:
        parts['_errors'] = lambda results, min_images: figures.plot_errors(results, min_images)
    return parts


def _outputs(
    out_dir: Path,
    args: argparse.Namespace,
    compared: api.Compared,
    details: api.Details,
    pictures: Sequence[GalleryGroup],
) -> list[Output]:
    results, comparisons = compared.results, compared.comparisons
    content = {
        'json': lambda: to_json(results, comparisons),
        'md': lambda: MARKDOWN_MARK + to_markdown(results, comparisons, args.min_images),
        'html': lambda: render_report(results, comparisons, pictures, args.title, min_images=args.min_images),
    }
    written = []
    for path in _targets(out_dir, args.format, details, len({result.name for result in results})):
        suffix, part = path.suffix[1:], path.stem.removeprefix('occlusion')
        if suffix == 'csv':
            make = _csv_parts(details, len({result.name for result in results}))[part]
            written.append(Output(path, text(lambda make=make: _to_csv(make(compared)))))
        elif suffix in ('png', 'svg'):
            draw = _figures(details)[part]
            written.append(
                Output(path, lambda path=path, draw=draw: figures.to_bytes(draw(results, args.min_images), path))
            )
        else:
            written.append(Output(path, text(content[suffix])))
    return written


def _values_output(path: Path, records: list[dict]) -> Output:
    if path.suffix.lower() == '.csv':
        return Output(path, text(lambda: _to_csv(records)))
    document = {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION, 'values': records}
    return Output(path, text(lambda: json.dumps(frames.plain(document), indent=1, allow_nan=False) + '\n'))


def _to_csv(records: list[dict]) -> str:
    return frames.to_csv([{CSV_COLUMN: SCHEMA} | record for record in records]) or EMPTY_CSV


def _folder_name(models: dict[str, str]) -> str:
    words = [re.sub(r'[^\w.-]+', '_', clean(name)).strip('._') or 'results' for name in models]
    return '_vs_'.join(words)[:100]


def _warn_outside(made: stratify.Stratification) -> None:
    outside = made.num_outside()
    if outside:
        _report(f'{outside:,} of {len(made.values):,} images lie in no stratum but "all"', end='')


def _warn_of_pictures(outside: Sequence[GalleryImage], folder: str) -> None:
    places = list({image.file_name: image.outside for image in outside}.values())
    count = f'{len(places)} images are' if len(places) > 1 else '1 image is'
    _report(
        f"note: {count} not shown in the report, since 'file_name' leads out of --images {folder} (first to "
        f'{places[0]}); to show them, give the folder in which the files themselves lie',
        end='.',
    )


def _report(message: str, end: str = ' ...') -> None:
    print(f'{clean(message)}{end}', file=sys.stderr, flush=True)
