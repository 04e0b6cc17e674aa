"""Command line of the occlusion-stratified evaluation."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mmhybrid.errors import InputError

from .api import default_name, evaluate
from .figure import save_figure
from .io import IOU_TYPES
from .results import SCHEMA, to_json
from .table import MIN_IMAGES, print_table

EXAMPLE = """example:
  python tools/eval_occlusion.py --ann annotations/instances_val2017.json --results work_dirs/model/val.bbox.json

The files are COCO ground truth and COCO results (a list of image_id, category_id, score, bbox and, for segm,
segmentation), plain or .gz, of any framework. r is the share of an image's instance area that other instances cover.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit status: 0, or 2 with one line on stderr if what the user gave cannot be used.
    """
    args = build_parser().parse_args(argv)
    try:
        run(args)
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        description='COCO AP and AR by how occluded the images are: a table, a JSON file and a figure.',
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--ann', required=True, metavar='GT.json', help='COCO ground truth')
    parser.add_argument('--results', required=True, metavar='DT.json', help='COCO results')
    parser.add_argument('--iou-type', nargs='+', choices=IOU_TYPES, default=['bbox'], help='default: bbox')
    parser.add_argument('--out-dir', metavar='DIR', help='default: work_dirs/occlusion/<name of the results file>')
    parser.add_argument(
        '--min-images', type=int, default=MIN_IMAGES, metavar='N',
        help='mark strata with fewer images (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--name', help="title of the table and figure (default: the results file's name)")
    parser.add_argument('--force', action='store_true', help='overwrite files that this command did not write')
    return parser


def run(args: argparse.Namespace) -> None:
    """Evaluate, print and write, given the arguments of :func:`build_parser`.

    Raises:
        InputError: An input or the output folder cannot be used.
    """
    out_dir = Path(args.out_dir or Path('work_dirs', 'occlusion', default_name(args.results)))
    json_path, figure_path = out_dir / 'occlusion.json', out_dir / 'occlusion.png'
    # Before the evaluation, which takes minutes.
    _check_folder(out_dir)
    for path, is_ours in ((json_path, _is_our_json), (figure_path, _is_our_png)):
        _check_target(path, is_ours, (args.ann, args.results), args.force)
    results = evaluate(args.ann, args.results, args.iou_type, name=args.name, progress=_report)
    results = list(results.values())
    print_table(results, args.min_images)
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        _replace(json_path, lambda path: path.write_text(to_json(results), encoding='utf-8'))
        _replace(figure_path, lambda path: save_figure(results, path, args.min_images))
    except OSError as error:
        raise InputError(f'{out_dir}: cannot be written ({error}); choose another --out-dir.') from None
    print(f'wrote {json_path} and {figure_path}')


def _report(message: str) -> None:
    print(f'{message} ...', file=sys.stderr, flush=True)


def _check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made or written in."""
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f'{path}: {existing} is no folder to write in; choose another --out-dir.')


def _check_target(path: Path, is_ours: Callable[[bytes], bool], inputs: Sequence[str], force: bool) -> None:
    """Refuse to overwrite what this command did not write."""
    try:
        if not path.exists():
            return
        if any(path.samefile(given) for given in inputs if Path(given).exists()):
            raise InputError(f'{path}: is an input of this run; choose another --out-dir.')
        if not force and not is_ours(path.read_bytes()):
            raise InputError(
                f'{path}: exists and was not written by this command; choose another --out-dir or --force.'
            )
    except OSError as error:
        raise InputError(f'{path}: cannot be used ({error}); choose another --out-dir.') from None


def _is_our_json(content: bytes) -> bool:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and 'schema_version' in document and document.get('schema') == SCHEMA


def _is_our_png(content: bytes) -> bool:
    # The text chunk that save_figure writes stands before the image data.
    return b'Software\0' + SCHEMA.encode() in content[:4096]


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
