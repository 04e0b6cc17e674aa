"""The command ``mmhybrid convert``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmhybrid import _stack
from mmhybrid.arguments import Parser
from mmhybrid.checkpoints.convert.targets import find_target, targets
from mmhybrid.errors import InputError
from mmhybrid.outputs import check_folder
from mmhybrid.paths import expanded

_FORMATS = ('safetensors', 'pth')
_EXAMPLE = """example:
  mmhybrid convert resnet50-0676ba61.pth --to dsnet50 --out weights --licence BSD-3-Clause
  mmhybrid convert resnet50_a1_in1k.safetensors --to configs/my_resnet50_with_tied_se.py

Files of torchvision, timm, mmpretrain and MMDetection are taken, of classifiers and of detectors. docs/weights.md has
the table of what can become what."""


def build_parser(prog: str = 'mmhybrid convert') -> Parser:
    """The command's arguments."""
    parser = Parser(
        prog=prog,
        description='Make a file for a backbone of published weights of a network with the same trunk. What the '
        'backbone has besides starts so that it changes nothing. The file goes to backbone_checkpoint=FILE.',
        epilog=_EXAMPLE,
    )
    parser.add_argument('source', type=Path, metavar='SOURCE', help='published weights, .pth or .safetensors')
    parser.add_argument(
        '--to',
        required=True,
        metavar='NAME',
        help=f'{", ".join(targets())}; or a config of MMDetection, whose backbone may be any ResNet with plug-ins',
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path(),
        metavar='FILE_OR_FOLDER',
        help='where to write (default: here, NAME-from-SOURCE); a hash is added to the name, and a card lies beside it',
    )
    parser.add_argument('--format', choices=_FORMATS, help="of the file (default: by --out's suffix, or safetensors)")
    parser.add_argument(
        '--licence',
        action='append',
        default=[],
        metavar='TEXT',
        help="the source's terms, for the card; may be repeated",
    )
    parser.add_argument('--data', metavar='TEXT', help='what the source was trained on, for the card, e.g. ImageNet-1k')
    parser.add_argument(
        '--style',
        choices=('pytorch', 'caffe'),
        help="of the source: caffe has the stride on the 1x1 and BGR images (default: caffe where the file's name, or "
        'a config within, tells it, else pytorch)',
    )
    parser.add_argument('--force', action='store_true', help='overwrite a card with other facts')
    return parser


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run the command; a mistake is an ``InputError``, which ``mmhybrid.cli`` tells."""
    args = build_parser().parse_args(argv)
    if not expanded(args.source).is_file():  # before the seconds of importing
        first = 'download it first, and ' if ':/' in str(args.source) else ''
        raise InputError(
            f'There is no file {args.source} (from {Path.cwd()}); {first}give published weights, .pth or .safetensors.'
        )
    target = _target(args)
    if not Path(args.to).is_file():
        find_target(args.to)
    _stack.require()
    from mmhybrid.checkpoints.backbone_files import write_backbone

    from . import report
    from .core import convert

    made = convert(args.source, args.to, _tell, args.style)
    for line in report.lines(made, args.source.name, args.licence):
        print(line)
    written = write_backbone(made.state, target, report.card(made, args.source, args.licence, args.data), args.force)
    print(f'Wrote {written}, and its card {written.with_suffix(".json")}')
    return None


def _target(args: argparse.Namespace) -> Path:
    """The file without the hash in its name; whether it can be written is tried now."""
    out = args.out
    if out.suffix.lstrip('.') in _FORMATS and not out.is_dir():
        suffix = out.suffix
        if args.format and args.format != suffix[1:]:
            raise InputError(f'--out {out} and --format {args.format} contradict each other; leave one of them out.')
        folder, name = out.parent, out.stem
    else:
        suffix = f'.{args.format or _FORMATS[0]}'
        stem = args.source.name.split('.')[0] or 'weights'
        folder, name = out, f'{Path(args.to).stem}-from-{stem}'
    check_folder(folder)
    return folder / f'{name}{suffix}'


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
