"""The commands ``mmhybrid occlusion {ratio,eval,compare,report,listed}``; ``tools/eval_occlusion.py`` is ``eval``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mmhybrid import mistakes
from mmhybrid.arguments import Parser

from ..api import COMPARE_RESAMPLES
from . import commands, listed, options, outputs

_PROG = 'mmhybrid occlusion'
_FILES = """
GT is COCO ground truth (JSON) or CrowdHuman's .odgt. Results are COCO results of any framework (JSON, JSON lines), the
predictions that MMDetection's tools/test.py --out writes (.pkl), those of Detectron2 (.pth), CrowdHuman's dumps, or
KAIST's rows of numbers (.txt); all of them plain, or packed as .gz, .bz2, .xz, .zst or .zip. Several models are given
as NAME=FILE NAME=FILE.
r is by default the share of an image's instance area that other instances cover (docs/occlusion.md). Where occlusion is
annotated, --preset citypersons, kaist, caltech, crowdhuman or amodal goes by that (docs/annotated.md).
"""


# Name -> what runs, what adds its options, what it does, an example of its arguments.
_COMMANDS = {
    'ratio': (
        commands.ratio,
        options.add_ratio,
        "how occluded the images of a data set are, without detections: a table, and each image's ratio as CSV or JSON",
        '--ann instances_val2017.json --out ratios.csv',
    ),
    'eval': (
        commands.evaluate,
        partial(options.add_evaluation, resamples=0, formats=('json', 'png')),
        'COCO AP and AR by how occluded the images are: a table, a JSON file and a figure',
        '--ann annotations/instances_val2017.json --results work_dirs/model/val.bbox.json',
    ),
    'compare': (
        commands.compare,
        partial(options.add_evaluation, resamples=COMPARE_RESAMPLES, formats=('json', 'png')),
        'models against the first one: the difference in every stratum, its interval and p-value, by paired bootstrap',
        '--ann instances_val2017.json --results resnet=r50.bbox.json tiedresnet=tied.bbox.json',
    ),
    'report': (
        commands.report,
        options.add_report,
        'everything, as one HTML file: figures, tables, categories, errors and the costliest images',
        '--ann instances_val2017.json --results model.bbox.json --images val2017 --out-dir work_dirs/report',
    ),
    'listed': (
        listed.listed,
        listed.add_options,
        'recall of listed instances, as of Occluded COCO and Separated COCO, from results with masks',
        '--ann instances_val2017.json --results model.segm.json --lists occluded_coco.pkl separated_coco.pkl',
    ),
}


def build_parser(prog: str = _PROG) -> Parser:
    """All commands' arguments."""
    parser = Parser(
        prog=prog,
        description='COCO evaluation by how occluded the images are.',
        epilog=f'example:\n  {prog} eval --ann instances_val2017.json --results model.bbox.json',
    )
    steps = parser.add_subparsers(required=True, metavar='COMMAND', parser_class=Parser)
    for name, (_, _, text, _) in _COMMANDS.items():
        _fill(steps.add_parser(name, help=text), name)
    return parser


def main(argv: Sequence[str] | None = None, prog: str = _PROG) -> int:
    """Run one of the commands.

    Returns:
        0, or 2 after one sentence on stderr if what the user gave cannot be used, or 130 after Ctrl-C.
    """
    return _run(build_parser(prog), argv)


def main_eval(argv: Sequence[str] | None = None) -> int:
    """Run ``eval`` alone, as ``tools/eval_occlusion.py`` does."""
    return _run(_fill(Parser(prog='python tools/eval_occlusion.py'), 'eval'), argv)


def _fill(parser: Parser, name: str) -> Parser:
    run, add_options, text, example = _COMMANDS[name]
    parser.description = f'{text[0].upper()}{text[1:]}.\n{_FILES if name not in ("ratio", "listed") else ""}'
    parser.epilog = f'example:\n  {parser.prog} {example}'
    add_options(parser)
    parser.set_defaults(run=run, describe=partial(outputs.command_of, parser, name))
    return parser


def _run(parser: Parser, argv: Sequence[str] | None) -> int:
    def run() -> None:
        args = parser.parse_args(argv)
        args.run(args)

    return mistakes.run(run)
