"""What the commands do."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

from mmhybrid.errors import InputError
from mmhybrid.outputs import Writer
from mmhybrid.text import clean, plural

from ..analysis.comparison import Compared, Evaluated
from ..analysis.study import Study
from ..read.ground_truth import GroundTruth, load_ground_truth
from ..selection import Stratification
from ..show import records
from ..show.distribution import distribution_sheets
from ..show.given import ENOUGH, notes_of
from ..show.report.gallery import GalleryGroup, make_gallery
from ..show.tables import category_sheets, comparison_sheets, result_sheets
from ..show.terminal import print_sheets
from . import options, outputs


def ratio(args: argparse.Namespace) -> None:
    """Print how a data set's images and instances are spread, and write each one's value."""
    selection = options.selection(args)
    wanted = ((args.out, records.image_records), (args.instances, records.annotation_records))
    files = [(Path(path), rows) for path, rows in wanted if path]
    for path, _ in files:
        if path.suffix.lower() not in ('.csv', '.json'):
            raise InputError(f'{path}: values are written as .csv or .json; choose a name that ends so.')
    if len({path.parent.resolve() / path.name for path, _ in files}) < len(files):
        raise InputError(f'{files[0][0]}: --out and --instances name the same file; give two.')
    writer = Writer([args.ann, *filter(None, [args.values])], args.force, outputs.is_ours)
    writer.check(path for path, _ in files)
    say('reading ground truth')
    gt = load_ground_truth(args.ann, selection.geometries(), (), args.ignore, selection.wanted())
    say('measuring occlusion')
    made = selection.apply(gt)
    _first_notes(gt, made)
    # Written before anything is printed: the reader of a pipe may go away.
    contents = {path: partial(outputs.of_values, path, rows(gt, made)) for path, rows in files}
    message = writer.write(contents) if contents else ''
    print_sheets(distribution_sheets(made, gt))
    if message:
        print(clean(message))


def compare(args: argparse.Namespace) -> None:
    """Evaluate every model, compare each with the first, print and write."""
    if args.bootstrap in (0, 1):
        raise InputError(f'--bootstrap {args.bootstrap}: a comparison needs resamples; give at least {ENOUGH}.')
    if len(options.models(args)) < 2:
        raise InputError('--results names one model, but at least two are compared; give [NAME=]DT twice.')
    evaluate(args)


def report(args: argparse.Namespace) -> None:
    """Evaluate every model with all details and write the report."""
    if args.images and not Path(args.images).is_dir():
        raise InputError(f'--images {args.images}: is no folder; give the folder of the images.')
    if 'html' not in args.format:
        args.format.append('html')
    evaluate(args)


def evaluate(args: argparse.Namespace) -> None:
    """Evaluate every model, print and write."""
    models, selection = options.models(args), options.selection(args)
    settings, details = options.settings(args), options.details(args)
    folder, replaced = outputs.own_folder(args, models, 'occlusion')
    pictures: list[GalleryGroup] = []
    miss_rate = details.miss_rate or selection.protocol is not None
    files = outputs.of_evaluation(folder, args, details, len(models), pictures, miss_rate)
    # Before the evaluation, which may take minutes.
    writer = checked_writer(args, [*chain(*models.values()), *filter(None, [args.values])], files)
    study = Study(args.ann, args.iou_type, selection, settings, args.engine, details, say, args.ignore, args.masks)
    early = _first_notes(study.gt, study.stratification)
    compared = Compared.of(_evaluated(study, models, args, pictures))
    message = writer.write({path: partial(make, compared) for path, make in files.items()})
    outputs.remove(replaced - files.keys())
    say_notes(note for note in notes_of(compared.results) if note not in early)
    say_notes(_outside(pictures, args.images))
    print_sheets(result_sheets(compared.results, args.min_images))
    if not args.gallery:  # the report has all of them
        print_sheets(category_sheets(compared.results, args.min_images))
    print_sheets(comparison_sheets(compared.comparisons, args.min_images, ('mr', 'ap', 'ji')))
    print(clean(message))


def checked_writer(args: argparse.Namespace, given: Iterable[str], files: Iterable[Path]) -> Writer:
    """What will write the files: they can be written, and the ground truth and what else was given are there."""
    writer = Writer([args.ann, *given], args.force, outputs.is_ours)
    writer.check(files)
    for path in map(Path, writer.inputs):
        if not path.exists() or path.is_dir():
            raise InputError(f'{path}: {"a folder" if path.exists() else "no such file"}; give the path of a file.')
    return writer


def _evaluated(
    study: Study, models: options.Models, args: argparse.Namespace, pictures: list[GalleryGroup]
) -> Iterator[Evaluated]:
    """Model after model, whose matches would not fit into memory together on a large set; ``pictures`` is filled."""
    for each in study.run(models):
        if args.gallery and each.kinds is not None:
            say(f'{each.result.name}: looking for the images that cost most {each.result.iou_type} AP')
            pictures += make_gallery(study, each, args.images, args.gallery)
        yield each


def _first_notes(gt: GroundTruth, made: Stratification) -> list[str]:
    """Tell, and return, what there is to say before any model is looked at."""
    notes = [clean(note) for note in dict.fromkeys((*gt.notes, *made.notes))]
    if outside := made.num_outside():
        notes.append(f'{outside:,} of {len(made.values):,} images lie in no stratum but "all"')
    say_notes(notes)
    return notes


def _outside(pictures: Iterable[GalleryGroup], folder: str) -> Iterator[str]:
    """A note on the images that are not in the folder given."""
    places = {image.file_name: image.outside for group in pictures for image in group.images if image.outside}
    if places:
        yield (
            f"not shown in the report: {plural(len(places), 'image')} whose 'file_name' leads out of --images {folder} "
            f'(first to {next(iter(places.values()))}); to show them, give the folder in which the files themselves lie'
        )


def say_notes(notes: Iterable[str]) -> None:
    """Notes on stderr, a line each."""
    for note in notes:
        say(f'note: {note}', end='.')


def say(message: str, end: str = ' ...') -> None:
    """Progress on stderr."""
    print(f'{clean(message)}{end}', file=sys.stderr, flush=True)
