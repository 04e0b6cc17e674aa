"""The command ``mmhybrid``. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmhybrid import _stack, mistakes
from mmhybrid.arguments import Parser
from mmhybrid.errors import InputError
from mmhybrid.paths import given_config
from mmhybrid.variants import FAMILIES
from mmhybrid.version import __version__

_MODELS_EXAMPLE = 'example:\n  mmhybrid models --family tbc --shape 224 224 --json models.json'
_FLOPS_EXAMPLE = 'example:\n  mmhybrid flops configs/mask_rcnn_tiedresnet50_fpn_2x.py --shape 1280 800'
# Commands whose arguments are read by the `main` of a module of theirs: it is imported when its command runs.
_OWN_PARSERS = {
    'train': ('mmhybrid.commands.train', 'train a detector'),
    'test': ('mmhybrid.commands.test', 'test a trained detector: COCO AP, also by occlusion'),
    'predict': ('mmhybrid.commands.predict', 'detect on pictures and videos'),
    'pretrain': ('mmhybrid.commands.pretrain', 'train a backbone to classify pictures, for its weights'),
    'occlusion': ('mmhybrid.occlusion.cli', 'evaluate COCO results by occlusion: ratio, eval, compare, report'),
    'data': (
        'mmhybrid.datasets.check.cli',
        'data sets: check one before it is trained on, make occluded shapes',
    ),
    'publish': ('mmhybrid.checkpoints.publish_cli', "make a backbone's file, with a card, of a checkpoint"),
    'convert': ('mmhybrid.checkpoints.convert.cli', "make a backbone's file of published weights of a related network"),
    'export': ('mmhybrid.exporting.cli', 'write a detector as ONNX, checked in onnxruntime'),
    'inspect': ('mmhybrid.inspecting.cli', 'look inside of networks: filters, cam, fgsm, proposals, gates and more'),
}


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = Parser(
        prog='mmhybrid',
        description='Backbones for MMDetection, and evaluation under occlusion.',
        epilog=f'{_MODELS_EXAMPLE}\n\n{mistakes.DEBUG}=1 in the environment shows the traceback of a mistake.',
    )
    parser.add_argument('--version', action='version', version=f'mmhybrid {__version__}')
    commands = parser.add_subparsers(required=True, metavar='COMMAND', dest='command')

    models = commands.add_parser(
        'models',
        help='table of the backbones: parameters, multiply-adds, channels, strides, paper',
        description='Parameters and multiply-adds of the backbones; --shape counts them, about a second each.',
        epilog=_MODELS_EXAMPLE,
    )
    models.add_argument('--family', choices=list(FAMILIES), help='one paper only (default: all)')
    _add_shape(models, 'image to count for (default: 224 224, and 32 32 for the variants made for CIFAR)')
    models.add_argument('--json', type=Path, metavar='FILE', help='also write the exact counts')
    models.set_defaults(run=_models)

    flops = commands.add_parser(
        'flops',
        help='parameters and multiply-adds of a whole detector, without its data set',
        description='Count a detector by part: backbone, neck, heads. No data set is needed.',
        epilog=_FLOPS_EXAMPLE,
    )
    flops.add_argument('config', metavar='CONFIG', help='config file, or mmhybrid::NAME, one that this package brings')
    _add_shape(flops, 'image to count for, padded as the detector pads (default: 1280 800)')
    flops.set_defaults(run=_flops, shape=(1280, 800))

    for name, (_, text) in _OWN_PARSERS.items():
        commands.add_parser(name, help=text)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0, or 2 after one sentence on stderr if what the user gave cannot be used, or 130 after Ctrl-C; with
        ``MMHYBRID_DEBUG=1`` in the environment the traceback comes before the sentence.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    _stack.wait_idly()
    return mistakes.run(lambda: _command(argv))


def _command(argv: list[str]) -> int | None:
    if not argv:
        build_parser().print_help()
        return 0
    if argv[0] in _OWN_PARSERS:
        return importlib.import_module(_OWN_PARSERS[argv[0]][0]).main(argv[1:])
    args = build_parser().parse_args(argv)
    return args.run(args)


def _add_shape(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument('--shape', type=_side, nargs=2, metavar=('H', 'W'), help=text)


def _side(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 32 <= int(text) <= 8192:
        raise argparse.ArgumentTypeError(f'{text!r} is no side of an image in pixels, 32 to 8192')
    return int(text)


def _models(args: argparse.Namespace) -> None:
    if args.json is not None and not args.json.absolute().parent.is_dir():
        raise InputError(f'--json {args.json}: there is no folder {args.json.parent}.')
    from mmhybrid.counting import count_models, kept_models
    from mmhybrid.counting.tables import models_json, models_table, print_wide

    if args.shape is None:
        rows = kept_models(args.family)
    else:
        _stack.require()
        rows = list(count_models(args.family, tuple(args.shape), _report))
    if args.json is not None:  # before what a reader may see enough of
        args.json.write_text(models_json(rows), encoding='utf-8')
        _report(f'wrote {args.json}')
    print_wide(*models_table(rows))


def _flops(args: argparse.Namespace) -> None:
    args.config = given_config(args.config)  # before the seconds of importing
    _stack.require()
    from mmhybrid.counting import count_detector
    from mmhybrid.counting.tables import flops_table, print_wide

    _report(f'building and running {args.config} once')
    start = time.monotonic()
    counts = count_detector(args.config, tuple(args.shape))
    _report(f'took {time.monotonic() - start:.0f} s')
    print_wide(*flops_table(counts, Path(args.config).stem))


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
