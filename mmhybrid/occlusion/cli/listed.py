"""``mmhybrid occlusion listed``: recall of listed instances, such as those of Occluded COCO and Separated COCO."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from mmhybrid.errors import InputError
from mmhybrid.text import clean

from ..analysis.details import Details
from ..analysis.listed_recall import IOU_THR, SCORE_THR, ListedResult, listed_recall
from ..api import COMPARE_RESAMPLES, default_name
from ..results import MIN_IMAGES
from ..show import listed as show
from ..show import markdown, records
from ..show.terminal import print_sheets
from . import commands, options, outputs

if TYPE_CHECKING:
    from mmhybrid.arguments import Parser

FORMATS = ('json', 'csv', 'md')
# The end of a file's name, what makes it, and of how many models it tells at least.
_FILES: tuple[tuple[str, Callable[[ListedResult, argparse.Namespace], str], int], ...] = (
    ('.json', lambda made, args: outputs.to_json({'command': args.describe(args)} | made.to_dict()), 1),
    ('.csv', lambda made, _: outputs.to_csv(show.recall_records(made)), 1),
    ('_differences.csv', lambda made, _: outputs.to_csv(records.difference_records(made.comparisons)), 2),
    ('.md', lambda made, args: outputs.MARKDOWN_MARK + _markdown(made, args.min_images), 1),
)


def add_options(parser: Parser) -> None:
    """Options of ``listed``."""
    parser.set_defaults(merge=False, name=None)
    add = options.adder(parser)
    text = 'COCO ground truth that the lists are of; its images and categories are used'
    add('--ann', text, required=True, metavar='GT')
    text = "results with masks, a file a model; NAME='*.json' for parts of one model"
    add('--results', text, required=True, nargs='+', metavar='[NAME=]DT')
    add('--lists', 'occluded_coco.pkl, separated_coco.pkl, or such lists', required=True, nargs='+', metavar='LIST')
    add('--score-thr', 'least score of a detection', type=options.number, default=SCORE_THR, metavar='S')
    add('--iou-thr', 'least mask IoU', type=options.number, default=IOU_THR, metavar='IOU')
    text = 'resamples of the images for 95%% intervals and differences; 0 for none'
    add('--bootstrap', text, **options.COUNT, default=COMPARE_RESAMPLES)
    add('--seed', 'of the bootstrap', **options.COUNT, default=0)
    add = options.adder(parser, 'output')
    add('--out-dir', 'default: work_dirs/occlusion/<names of the results>', metavar='DIR')
    add('--format', 'default: json', nargs='+', choices=FORMATS, default=['json'])
    add('--min-images', 'mark lists with instances on fewer images', **options.COUNT, default=MIN_IMAGES)
    add('--force', options.FORCE, action='store_true')


def listed(args: argparse.Namespace) -> None:
    """Evaluate every model on every list, print and write."""
    models, details = options.models(args), Details(resamples=args.bootstrap, seed=args.seed)
    lists: dict[str, str] = {}
    for path in args.lists:
        name = default_name(path)
        if name in lists:
            raise InputError(f'--lists: two lists are called {name!r}; give each once, and rename one if they differ.')
        lists[name] = path
    folder, replaced = outputs.own_folder(args, models, 'listed')
    enough = len(models) if args.bootstrap else 1
    files = {
        folder / f'listed{end}': make
        for kind in dict.fromkeys(args.format)
        for end, make, least in _FILES
        if end.endswith(f'.{kind}') and enough >= least
    }
    writer = commands.checked_writer(args, [*chain(*models.values()), *args.lists], files)
    made = listed_recall(args.ann, models, lists, details, args.score_thr, args.iou_thr, commands.say)
    message = writer.write({path: partial(make, made, args) for path, make in files.items()})
    outputs.remove(replaced - files.keys())
    commands.say_notes(made.notes)
    print_sheets(show.listed_sheets(made, args.min_images))
    print(clean(message))


def _markdown(made: ListedResult, least: int) -> str:
    notes = ''.join(f'- note: {markdown.escape(clean(note))}\n' for note in made.notes)
    return '\n'.join(filter(None, [notes, *map(markdown.table, show.listed_sheets(made, least))]))
