"""The commands ``mmhybrid occlusion {ratio,eval,compare,report}``; ``tools/eval_occlusion.py`` is ``eval``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmhybrid import mistakes
from mmhybrid.arguments import Parser

from ..api import COMPARE_RESAMPLES
from . import commands, options

_PROG = 'mmhybrid occlusion'
_FILES = """
GT is COCO ground truth (JSON). Results are COCO results of any framework (JSON, JSON lines), the predictions that
MMDetection's tools/test.py --out writes (.pkl), or those of Detectron2 (.pth); all of them plain, or packed as .gz,
.bz2, .xz, .zst or .zip. Several models are given as NAME=FILE NAME=FILE.
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
        add(steps.add_parser(name, help=add.__doc__))
    return parser


def add_ratio(parser: Parser) -> None:
    """how occluded the images of a data set are: a table, and each image's ratio as CSV or JSON"""
    _describe(
        parser,
        commands.ratio,
        'How occluded the images of a data set are. No detections are needed.',
        '--ann instances_val2017.json --out ratios.csv',
    )
    options.add_ground_truth(parser)
    options.add_selection(parser)
    parser.add_argument('--out', metavar='FILE', help="each image's value: .csv or .json")
    parser.add_argument(
        '--instances', metavar='FILE', help="each instance's covered or invisible fraction: .csv or .json"
    )
    options.add_force(parser)


def add_eval(parser: Parser) -> None:
    """AP and AR by how occluded the images are: a table, a JSON file and a figure"""
    _describe(
        parser,
        commands.evaluate,
        'COCO AP and AR by how occluded the images are: a table, a JSON file and a figure.\n' + _FILES,
        '--ann annotations/instances_val2017.json --results work_dirs/model/val.bbox.json',
    )
    _add_evaluation(parser, 0, ('json', 'png'))


def add_compare(parser: Parser) -> None:
    """two or more models: the difference in every stratum, with interval and p-value"""
    _describe(
        parser,
        commands.compare,
        'Compare models with the first one, stratum by stratum, by paired bootstrap over images.\n' + _FILES,
        '--ann instances_val2017.json --results resnet=r50.bbox.json tiedresnet=tied.bbox.json',
    )
    _add_evaluation(parser, COMPARE_RESAMPLES, ('json', 'png'))


def add_report(parser: Parser) -> None:
    """everything, as one HTML file: figures, tables, categories, errors and the costliest images"""
    _describe(
        parser,
        commands.report,
        'Everything in one self-contained HTML file, and the tables and figures as files of their own.\n' + _FILES,
        '--ann instances_val2017.json --results model.bbox.json --images val2017 --out-dir work_dirs/report',
    )
    _add_evaluation(parser, options.FULL_RESAMPLES, ('html', 'json', 'csv', 'md', 'png', 'svg'), full=True)
    parser.add_argument('--images', metavar='DIR', help='folder of the images, for the gallery of the costliest ones')
    parser.add_argument('--title', help='of the report')
    parser.add_argument(
        '--gallery', type=options.natural, default=4, metavar='N', help='images a stratum in it (default: %(default)s)'
    )


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


def _describe(parser: Parser, run: Callable, text: str, example: str) -> None:
    parser.description, parser.epilog = text, f'example:\n  {parser.prog} {example}'
    parser.set_defaults(run=run)


def _add_evaluation(parser: Parser, resamples: int, formats: Sequence[str], full: bool = False) -> None:
    options.add_inputs(parser)
    options.add_selection(parser)
    options.add_details(parser, resamples, full)
    options.add_outputs(parser, formats)
    parser.set_defaults(title=None, images=None, gallery=0)


def _run(parser: Parser, argv: Sequence[str] | None) -> int:
    def run() -> None:
        args = parser.parse_args(argv)
        args.run(args)

    return mistakes.run(run)
