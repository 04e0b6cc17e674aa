"""The command ``mmhybrid inspect``."""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmhybrid import _stack
from mmhybrid.arguments import Parser, add_config_options, positive, whole
from mmhybrid.console import make_console, plain
from mmhybrid.errors import InputError
from mmhybrid.outputs import Writer
from mmhybrid.text import clean

from .kinds import KINDS, module_of
from .options.base import Kind

_EXAMPLE = """example:
  mmhybrid inspect cam configs/mask_rcnn_tiedresnet50_fpn_2x.py work_dirs/run/epoch_24.pth --images photos/
  mmhybrid inspect gallery work_dirs/inspect

mmhybrid inspect KIND --help lists the options of a kind; docs/inspect.md shows what each is for."""


def build_parser(prog: str = 'mmhybrid inspect') -> Parser:
    """The command's arguments."""
    parser = Parser(prog=prog, description='Look inside of trained networks.', epilog=_EXAMPLE)
    commands = parser.add_subparsers(required=True, metavar='KIND', dest='kind')
    for name, kind in KINDS.items():
        one = commands.add_parser(
            name, help=kind.help, description=kind.description, epilog=f'example:\n  {prog} {kind.example}'
        )
        _add_common(one, name, kind)
        kind.options(one)
        one.set_defaults(run=_inspect)
    gallery = commands.add_parser(
        'gallery',
        help='one page of all that is in a folder',
        description='Put what the other commands wrote below a folder on one HTML page, which fetches nothing.',
        epilog=f'example:\n  {prog} gallery work_dirs/inspect',
    )
    gallery.add_argument('folder', type=Path, metavar='FOLDER', help='with the JSON files of the other commands')
    gallery.add_argument('--out', type=Path, metavar='FILE.html', help='(default: FOLDER/gallery.html)')
    gallery.add_argument('--force', action='store_true', help='overwrite a file that another program wrote')
    gallery.set_defaults(run=_gallery)
    return parser


def _add_common(parser: argparse.ArgumentParser, name: str, kind: Kind) -> None:
    parser.add_argument(
        'model',
        nargs='+',
        metavar='MODEL [CHECKPOINT]',
        help='config file of a detector or a classifier, mmhybrid::NAME, or a backbone (mmhybrid models lists them); '
        'then its checkpoint file or URL, without which it has its initial values',
    )
    parser.add_argument(
        '--versus',
        nargs='+',
        action='append',
        default=[],
        metavar=('MODEL', 'CHECKPOINT'),
        help='another model to show beside the first; again for more',
    )
    parser.add_argument('--name', nargs='+', default=[], metavar='NAME', help='what the models are called, in order')
    if kind.images:
        what = (
            'annotated images are needed, those of the config'
            if kind.annotated
            else f'(default: {kind.images} of the images of the config’s test data set)'
        )
        if not kind.annotated:
            parser.add_argument(
                '--images', nargs='+', default=[], metavar='FILE', help=f'pictures, folders or quoted patterns {what}'
            )
        parser.add_argument(
            '--limit',
            type=positive,
            default=kind.images,
            metavar='N',
            help='images of the test data set, drawn by --seed (default: %(default)s)',
        )
        parser.add_argument(
            '--batch-size', type=positive, default=4, metavar='N', help='images at a time (default: %(default)s)'
        )
    parser.add_argument(
        '--out-dir', type=Path, metavar='DIR', help=f'where the files go (default: work_dirs/inspect/{name})'
    )
    parser.add_argument('--force', action='store_true', help='overwrite files that another program wrote')
    parser.add_argument('--format', nargs='+', choices=('png', 'svg'), default=['png', 'svg'], help='of the figures')
    parser.add_argument('--seed', type=whole, default=0, metavar='N', help='of all random choices (default: 0)')
    parser.add_argument('--device', default='auto', help='cpu, cuda:0, ... (default: a GPU where there is one)')
    add_config_options(parser)
    parser.set_defaults(launcher='none', local_rank=0, work_dir=None, images=[])


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid inspect') -> int:
    """Run the command.

    Returns:
        0.

    Raises:
        InputError: If what the user gave cannot be used.
    """
    args = build_parser(prog).parse_args(argv)
    args.command = shlex.join([*prog.split(), *(sys.argv[2:] if argv is None else argv)])
    args.run(args)
    return 0


def _inspect(args: argparse.Namespace) -> None:
    from . import findings

    kind, start = KINDS[args.kind], time.monotonic()
    folder = args.out_dir or Path('work_dirs', 'inspect', args.kind)
    words = [args.model, *args.versus]
    _check_words(words, args.name)
    files = [word for model in words for word in model]
    writer = Writer(files, args.force, findings.is_ours)
    target = folder / f'{args.kind}.json'
    in_the_way = (each for form in args.format for each in folder.glob(f'{args.kind}*.{form}'))
    writer.check([target, *in_the_way])  # before minutes of work
    _stack.require()
    with _stack.quiet():
        import mmdet.evaluation  # noqa: F401
    from . import samples, subjects

    models = subjects.load(words, args.name, args)
    for model in models:
        _say(f'{model.name}: {model.described}')
    needed = kind.images and kind.needs_images(args)
    shown = samples.find(models[0], args, kind.annotated) if needed else []
    found = importlib.import_module(module_of(args.kind)).run(models, shown, args)
    if untrained := [model.name for model in models if model.checkpoint is None]:
        told = 'has its initial values' if len(untrained) == 1 else 'have their initial values'
        found.notes = [*found.notes, f'{", ".join(untrained)} {told}: no checkpoint was given.']
    about = {
        'command': args.command,
        'models': [model.as_json() for model in models],
        'device': models[0].device,
        'seed': args.seed,
        'images': [sample.name for sample in shown],
        'seconds': round(time.monotonic() - start, 1),
    }
    _print(found)
    made = {folder / name: make for name, make in findings.contents(args.kind, found, about, args.format).items()}
    stale = findings.earlier(target) - made.keys()
    print(clean(writer.write(made)))
    for path in sorted(stale):  # beside numbers of this run they would mislead
        path.unlink()
        print(clean(f'removed {path}, a figure of an earlier run'))


def _gallery(args: argparse.Namespace) -> None:
    from . import findings, gallery

    target = args.out or args.folder / 'gallery.html'
    if target.suffix != '.html':
        raise InputError(f'--out {target}: the page is an HTML file; let its name end in .html.')
    page = gallery.render(args.folder, target.parent)
    print(clean(Writer([], args.force, findings.is_ours).write({target: lambda: page})))


def _check_words(words: Sequence[Sequence[str]], names: Sequence[str]) -> None:
    for each in words:
        if len(each) > 2:
            raise InputError(f'{" ".join(each)}: a model is MODEL CHECKPOINT, two words, and these are {len(each)}.')
    if names and len(names) != len(words):
        raise InputError(f'--name gives {len(names)} names to {len(words)} models; give one to each.')
    if not all(name.strip() for name in names):
        raise InputError('--name gives a model an empty name; give it some.')
    if len(set(names)) < len(names):
        raise InputError('--name gives two models the same name; tell them apart.')


def _print(found: Any) -> None:
    console = make_console()
    from rich.table import Table

    for table in found.tables:
        shown = Table(title=plain(table.title, console), title_justify='left', box=None, pad_edge=False)
        for i, column in enumerate(table.columns):
            shown.add_column(plain(column, console), justify='right' if i else 'left')
        for row in table.rows:
            shown.add_row(*(plain(cell, console) for cell in row))
        console.print(shown)
    for sentence in found.answer:
        print(clean(sentence))
    for note in found.notes:
        print(f'note: {clean(note)}', file=sys.stderr)


def _say(text: str) -> None:
    print(clean(text), file=sys.stderr, flush=True)
