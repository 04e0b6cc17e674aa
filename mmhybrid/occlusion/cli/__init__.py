"""The commands ``mmhybrid occlusion {ratio,eval,compare,report}``; ``tools/eval_occlusion.py`` is ``eval``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mmhybrid.arguments import Parser
from mmhybrid.errors import InputError
from mmhybrid.text import clean

from ..api import COMPARE_RESAMPLES
from . import commands, options

_PROG = 'mmhybrid occlusion'
_FILES = """
GT is COCO ground truth (JSON, plain or .gz). Results are COCO results JSON of any framework (plain or .gz), or the
predictions that MMDetection's tools/test.py --out writes (.pkl). Several are given as NAME=FILE NAME=FILE.
r is by default the share of an image's instance area that other instances cover (docs/occlusion.md).
"""


def build_parser(prog: str = _PROG) -> Parser:
    """All four commands' arguments."""
    parser = Parser(
        prog=prog,
        description='COCO evaluation by how occluded the images are.',
        epilog=f'example:\n  {prog} eval --ann instances_val2017.json --results model.bbox.json',
    )
    steps = parser.add_subparsers(required=True, metavar='COMMAND', parser_class=Parser)
    for name, add in (('ratio', add_ratio), ('eval', add_eval), ('compare', add_compare), ('report', add_report)):
        step = steps.add_parser(name, help=add.__doc__)
        add(step)
    return parser


def add_ratio(parser: Parser) -> None:
    """how occluded the images of a data set are: a table, and each image's ratio as CSV or JSON"""
    options.describe(
        parser,
        'How occluded the images of a data set are. No detections are needed.',
        '--ann instances_val2017.json --out ratios.csv',
    )
    parser.add_argument('--ann', required=True, metavar='GT', help='COCO ground truth')
    options.add_selection(parser)
    parser.add_argument('--out', metavar='FILE', help="each image's value: .csv or .json")
    parser.add_argument(
        '--instances', metavar='FILE', help="each instance's covered or invisible fraction: .csv or .json"
    )
    parser.add_argument('--force', action='store_true', help='overwrite files that this command did not write')
    parser.set_defaults(run=commands.ratio)


def add_eval(parser: Parser) -> None:
    """AP and AR by how occluded the images are: a table, a JSON file and a figure"""
    options.describe(
        parser,
        'COCO AP and AR by how occluded the images are: a table, a JSON file and a figure.\n' + _FILES,
        '--ann annotations/instances_val2017.json --results work_dirs/model/val.bbox.json',
    )
    options.add_inputs(parser)
    options.add_selection(parser)
    options.add_details(parser, resamples=0)
    options.add_outputs(parser, ('json', 'png'))
    parser.set_defaults(run=commands.evaluate)


def add_compare(parser: Parser) -> None:
    """two or more models: the difference in every stratum, with interval and p-value"""
    options.describe(
        parser,
        'Compare models with the first one, stratum by stratum, by paired bootstrap over images.\n' + _FILES,
        '--ann instances_val2017.json --results resnet=r50.bbox.json tiedresnet=tied.bbox.json',
    )
    options.add_inputs(parser)
    options.add_selection(parser)
    options.add_details(parser, resamples=COMPARE_RESAMPLES)
    options.add_outputs(parser, ('json', 'png'))
    parser.set_defaults(run=commands.compare)


def add_report(parser: Parser) -> None:
    """everything, as one HTML file: figures, tables, categories, errors and the costliest images"""
    options.describe(
        parser,
        'Everything in one self-contained HTML file, and the tables and figures as files of their own.\n' + _FILES,
        '--ann instances_val2017.json --results model.bbox.json --images val2017 --out-dir work_dirs/report',
    )
    options.add_inputs(parser)
    options.add_selection(parser)
    options.add_details(parser, resamples=options.FULL_RESAMPLES, full=True)
    options.add_outputs(parser, ('html', 'json', 'csv', 'md', 'png', 'svg'))
    parser.add_argument('--images', metavar='DIR', help='folder of the images, for the gallery of the costliest ones')
    parser.add_argument('--title', help='of the report')
    parser.add_argument(
        '--gallery', type=options.natural, default=4, metavar='N', help='images a stratum in it (default: %(default)s)'
    )
    parser.set_defaults(run=commands.report)


def main(argv: Sequence[str] | None = None, prog: str = _PROG) -> int:
    """Run one of the commands.

    Returns:
        0, or 2 after one sentence on stderr if what the user gave cannot be used, or 130 after Ctrl-C.
    """
    return _run(build_parser(prog), argv)


def main_eval(argv: Sequence[str] | None = None) -> int:
    """Run ``eval`` alone, as ``tools/eval_occlusion.py`` does."""
    parser = Parser(prog='python tools/eval_occlusion.py')
    add_eval(parser)
    return _run(parser, argv)


def _run(parser: Parser, argv: Sequence[str] | None) -> int:
    args = parser.parse_args(argv)
    try:
        args.run(args)
    except (InputError, ImportError) as error:
        print(f'error: {clean(str(error))}', file=sys.stderr)  # a file may have brought control characters
        return 2
    except KeyboardInterrupt:
        print('interrupted.', file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough; the files are written by then
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its exit
        return 0
    return 0
