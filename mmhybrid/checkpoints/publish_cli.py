"""The command ``mmhybrid publish``."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhybrid import _stack, variants
from mmhybrid.arguments import Parser
from mmhybrid.errors import InputError
from mmhybrid.outputs import check_folder
from mmhybrid.paths import expanded

_FORMATS = ('safetensors', 'pth')
# Of files with weights, so that no folder is meant.
_OTHER_ENDINGS = ('.pt', '.bin', '.ckpt', '.tar', '.pkl', '.pickle', '.onnx', '.h5', '.npz', '.json')
# Facts that a checkpoint may not tell.
_FACTS = {
    'data': 'what it was trained on, e.g. in1k',
    'recipe': 'how, e.g. the name of the config',
    'epochs': 'for how many epochs',
    'top1': 'top-1 accuracy in percent, measured with these weights',
    'commit': 'of the code that trained it',
    'licence': 'under which the weights may be used',
    'source': 'where they come from',
}
_EXAMPLE = """example:
  mmhybrid publish work_dirs/hcgnet_a1/epoch_20.pth --to weights --data cifar10 --licence Apache-2.0

The file is weights/hcgnet_a1_cifar10-HASH.safetensors, HASH the beginning of its SHA-256, and the card of facts beside
it ends with .json. A config takes it as backbone_checkpoint=FILE, Python as create_backbone(NAME, checkpoint=FILE)."""


def build_parser(prog: str = 'mmhybrid publish') -> Parser:
    """The command's arguments."""
    parser = Parser(
        prog=prog,
        description="Make a backbone's file, with a card, of a checkpoint of a classifier or a detector.",
        epilog=_EXAMPLE,
    )
    parser.add_argument('checkpoint', type=Path, metavar='CHECKPOINT', help='.pth or .safetensors file')
    parser.add_argument(
        '--to',
        type=Path,
        default=Path(),
        metavar='FILE_OR_FOLDER',
        help='where it goes (default: here); the hash is added to the name of a file',
    )
    parser.add_argument('--format', choices=_FORMATS, help="of the file (default: that of --to's ending, safetensors)")
    parser.add_argument('--backbone', metavar='NAME', help='variant (default: what the checkpoint tells, or what fits)')
    parser.add_argument(
        '--options',
        nargs='+',
        default=[],
        metavar='KEY=VALUE',
        help='arguments of the backbone that differ from the variant, e.g. base_channels=16',
    )
    parser.add_argument(
        '--ema',
        action=argparse.BooleanOptionalAction,
        help='take the averaged weights, or those that were averaged, of a checkpoint with both (default: averaged)',
    )
    for name, text in _FACTS.items():
        kind = {'epochs': _whole, 'top1': _percent}.get(name, str)
        parser.add_argument(f'--{name}', type=kind, metavar=name.upper(), help=text)
    parser.add_argument('--half', action='store_true', help='half the size: round all but norms and biases to float16')
    parser.add_argument('--force', action='store_true', help='overwrite a card with other facts')
    return parser


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid publish') -> int:
    """Run the command.

    Returns:
        0.

    Raises:
        InputError: If what the user gave cannot be used.
    """
    args = build_parser(prog).parse_args(argv)
    folder, name, suffix = _target(args.to, args.format)
    if not expanded(args.checkpoint).is_file():
        raise InputError(f'There is no checkpoint {args.checkpoint}; give the path of a .pth or .safetensors file.')
    check_folder(folder)
    _stack.require()
    from mmhybrid.checkpoints import cards, publishing
    from mmhybrid.checkpoints.backbone_files import write_backbone
    from mmhybrid.checkpoints.loading import shortened

    found = publishing.find(expanded(args.checkpoint), args.ema)
    variant, options = _variant(args, found)
    state, left_out = publishing.compared(found, variant, options)
    if args.half:
        state = publishing.halved(state)
    card = _card(args, found, variant, options, left_out)
    name = name or _name(variant, card['data'])
    path = write_backbone(state, folder / f'{name}{suffix}', card, args.force)

    size = path.stat().st_size / 1e6
    print(f'{path}: {len(state)} tensors, {card["parameters"]:,} parameters, {size:.1f} MB; {cards.path_of(path).name}')
    print(f'backbone: {publishing.described(variant, options)}, all names and shapes compared')
    if found.ema:
        print(f'weights: {found.ema} (the checkpoint has both; --ema and --no-ema choose)')
    if args.half:
        print('convolutions and linear layers are rounded to float16 (loading makes them float32); top-1 is of before')
    if found.left_out:
        print(f'left out, as no part of the backbone: {shortened(found.left_out)}')
    if left_out:
        print(f'left out, as the stem was changed for small pictures: {shortened(left_out)}; a detector learns it anew')
    if unknown := [key for key in _FACTS if card[key] is None]:
        print(f'not known, and null in the card: {", ".join(unknown)} (--{unknown[0]} and the like tell it)')
    return 0


def _variant(args: argparse.Namespace, found: Any) -> tuple[str, dict[str, Any]]:
    from mmhybrid.checkpoints import publishing

    told, given = found.facts.get('variant'), _options(args.options)
    own = {key: value for key, value in (found.facts.get('options') or {}).items() if key not in variants.USE}
    if args.backbone is not None:
        if told not in (None, args.backbone):
            _report(f'the checkpoint says that it is of {told}, not {args.backbone}')
        return args.backbone, {**(own if told == args.backbone else {}), **given}
    if told is not None:
        return told, {**own, **given}
    if given:
        raise InputError('--options differ from a variant: name it with --backbone.')
    fitting = publishing.fitting_variants(found, _report)
    if len(fitting) > 1:
        raise InputError(
            f'The checkpoint does not tell its backbone, and its weights fit {", ".join(fitting)}: say which it is '
            'with --backbone.'
        )
    _report(f'the checkpoint does not tell its backbone; of all known ones its weights fit {fitting[0]} alone')
    return fitting[0], {}


def _card(
    args: argparse.Namespace, found: Any, variant: str, options: dict[str, Any], left_out: list[str]
) -> dict[str, Any]:
    from mmhybrid.checkpoints import publishing

    given = {key: getattr(args, key) for key in _FACTS if getattr(args, key) is not None}
    backbone = publishing.made(variant, options)
    return {
        **dict.fromkeys((*_FACTS, *publishing.PROVENANCE)),
        **found.facts,
        **given,
        'variant': variant,
        'type': type(backbone).__name__,
        'options': options,
        'left_out': left_out,
        'ema': found.facts.get('ema') if found.ema is None else found.ema == 'averaged',
        'rounded_to': 'float16' if args.half else found.facts.get('rounded_to'),
        'parameters': sum(p.numel() for n, p in backbone.named_parameters() if n not in left_out),
    }


def _target(to: Path, kind: str | None) -> tuple[Path, str, str]:
    """Folder, name without the hash ('' for the variant's) and suffix of what is to be written."""
    ending = to.suffix[1:]
    if ending in _FORMATS and not to.is_dir():
        if kind not in (None, ending):
            raise InputError(f'--to {to} ends with .{ending}, and --format is {kind}; give one of them.')
        return to.parent, to.stem, f'.{ending}'
    if f'.{ending}' in _OTHER_ENDINGS and not to.is_dir():
        raise InputError(f'--to {to}: a backbone is written as .{" or .".join(_FORMATS)}; choose one of these endings.')
    return to, '', f'.{kind or _FORMATS[0]}'


def _name(variant: str, data: Any) -> str:
    word = ''.join(c for c in str(data or '') if c.isascii() and (c.isalnum() or c in '_.'))
    return f'{variant}_{word}' if word and word == data else variant


def _options(words: Sequence[str]) -> dict[str, Any]:
    from mmhybrid.config_options import parse_value

    pairs = [word.partition('=') for word in words]
    if wrong := [word for word, pair in zip(words, pairs, strict=True) if not pair[0] or not pair[1]]:
        raise InputError(f'--options takes KEY=VALUE, and {wrong[0]!r} is none.')
    if of_use := [key for key, _, _ in pairs if key.partition('.')[0] in variants.USE]:
        raise InputError(f'--options {of_use[0]} is nothing by which a backbone differs from a variant: leave it out.')
    return {key: parse_value(value) for key, _, value in pairs}


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f'{text!r} is no percentage')
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number')
    return int(text)


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
