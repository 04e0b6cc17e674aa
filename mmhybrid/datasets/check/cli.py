"""The commands ``mmhybrid data``: ``check``, and ``shapes``, which has a module of its own."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmhybrid import _stack, mistakes, outputs
from mmhybrid.arguments import Parser, positive
from mmhybrid.datasets._workers import progress_reporter
from mmhybrid.errors import InputError
from mmhybrid.paths import given_config
from mmhybrid.text import clean, plural

from .findings import ERROR, KINDS, WARNING, Finding
from .report import Report, check_annotations, open_images

SCHEMA, SCHEMA_VERSION = 'mmhybrid.data', 1
_EXAMPLE = """example:
  mmhybrid data check --ann annotations/instances_train2017.json --images train2017 --sample 5000
  mmhybrid data check configs/mask_rcnn_tiedresnet50_fpn_2x.py --cfg-options data_root=/data/coco

The exit status is 0 without errors, 1 with errors (training would die or learn something wrong), 2 if there is nothing
to check. docs/data.md says what is checked."""


def build_parser(prog: str = 'mmhybrid data') -> Parser:
    """The command's arguments."""
    parser = Parser(
        prog=prog,
        description='Look at a data set before it is trained on, or make one.',
        epilog=_EXAMPLE.replace('\n\n', '\n', 1),
    )
    steps = parser.add_subparsers(required=True, metavar='COMMAND', parser_class=Parser)
    steps.add_parser('shapes', help='write the occluded-shapes data set, whose occlusion is known exactly')
    text = 'what is wrong with annotations, images and classes, and what MMDetection would do with it'
    check = steps.add_parser('check', help=text, description=f'Tell {text}.', epilog=_EXAMPLE)
    check.add_argument(
        'loaders', nargs='?', metavar='CONFIG', help='check the data sets that a config trains and validates with'
    )
    check.add_argument(
        '--cfg-options', nargs='+', default=[], metavar='KEY=VALUE', help='change settings of the config'
    )
    check.add_argument('--ann', metavar='FILE', help='check a COCO annotation file, .json or .json.gz')
    check.add_argument('--images', metavar='DIR', help='folder of its images (default: no image is opened)')
    names = check.add_mutually_exclusive_group()
    names.add_argument(
        '--classes', nargs='+', metavar='NAME', help='classes to train, in order (default: not compared)'
    )
    names.add_argument('--config', metavar='CONFIG', help='take the classes from a config')
    check.add_argument('--sample', type=positive, metavar='N', help='open N images only, evenly spread (default: all)')
    check.add_argument(
        '--allow',
        nargs='+',
        choices=list(KINDS),
        default=[],
        metavar='KIND',
        help='take errors of these kinds, e.g. class-missing, for warnings',
    )
    check.add_argument(
        '--workers', type=positive, default=_cores(), metavar='N', help='threads that open images (one a core)'
    )
    check.add_argument('--json', type=Path, metavar='FILE', help='also write all findings as JSON')
    check.add_argument('--force', action='store_true', help='overwrite a file that this command did not write')
    check.set_defaults(run=_check)
    return parser  # fmt: skip


def main(argv: Sequence[str] | None = None, prog: str = 'mmhybrid data') -> int:
    """Run one of the commands.

    Returns:
        0, or 1 if there are errors in the data, or 2 after one sentence on stderr if what the user gave cannot be used,
        or 130 after Ctrl-C.
    """

    def run() -> int:
        words = list(sys.argv[1:] if argv is None else argv)
        if words[:1] == ['shapes']:
            from mmhybrid.datasets.cli import main as write_shapes

            return write_shapes(words[1:], f'{prog} shapes')
        args = build_parser(prog).parse_args(words)
        return args.run(args)

    return mistakes.run(run)


def _check(args: argparse.Namespace) -> int:
    from .printing import print_findings, print_report, print_verdict

    _check_arguments(args)
    if args.json is not None:
        # Before the work, which may take minutes.
        outputs.Writer(_inputs(args), args.force, _is_ours).check([args.json])
    reports: list[Report] = []
    around: list[Finding] = []
    for name, part in _parts(args):
        if isinstance(part, Finding):
            around.append(part)
            continue
        report, word = part
        report = report.allowing(args.allow)
        reports.append(report)
        print_report(report, name, word)
    if around:
        print_findings(around)
    findings = [*around, *(each for report in reports for each in report.findings)]
    print_verdict(findings)
    if args.json is not None:
        writer = outputs.Writer(_inputs(args), args.force, _is_ours)
        print(clean(writer.write({args.json: lambda: _to_json(reports, around)})))
    return int(any(each.severity == ERROR for each in findings))


def _parts(args: argparse.Namespace):
    """What is to be printed: reports with their title and a word on images, and findings of a config as a whole."""
    if args.loaders is None:
        classes = _classes_of(args.config, args.cfg_options) if args.config else args.classes
        _tell(f'reading {args.ann}')
        report = check_annotations(args.ann, classes)
        yield args.ann, _with_images(report, args.images, args)
        return
    from mmhybrid.datasets.check import configs
    from mmhybrid.engine.data_check import check_data_set

    cfg = _load(args.loaders, args.cfg_options)
    parts = list(configs.data_sets(cfg))
    if not parts:
        raise InputError(f'{args.loaders} has no data set in its train and val loaders; give --ann.')
    for part in parts:
        title = f'{part.where}: {part.ann_file}'
        if part.remote or not part.numbered or not part.ann_file:
            _tell(f'{part.where} was not looked at: its annotations are no COCO file on a disk')
            continue
        _tell(f'reading {part.ann_file}')
        yield title, _with_images(check_data_set(part, masks=True), part.images, args)
    for each in configs.check_settings(cfg, parts, configs.heads_of_config(cfg.get('model'))):
        yield args.loaders, replace(each, severity=WARNING) if each.kind in args.allow else each


def _with_images(report: Report, folder: str | None, args: argparse.Namespace) -> tuple[Report, str]:
    if not folder:
        return report, 'no image was opened' + ('' if args.loaders else ' (no --images)')
    if not Path(folder).is_dir():
        raise InputError(f'{folder}: is no folder; give the folder of the images.')
    wanted = min(args.sample or report.num_images, report.num_images)
    with progress_reporter(wanted, 'images', enabled=True) as done:
        report = open_images(report, folder, args.sample, args.workers, done)
    part = '' if wanted == report.num_images else f' (--sample: evenly spread, {report.num_images - wanted:,} were not)'
    return report, f'{plural(wanted, "image")} opened{part}'


def _check_arguments(args: argparse.Namespace) -> None:
    given = [name for name in ('ann', 'images', 'classes', 'config') if getattr(args, name)]
    if args.loaders is None and args.ann is None:
        raise InputError('there is nothing to check; give a CONFIG, or --ann FILE and --images DIR.')
    if args.loaders is not None and given:
        raise InputError(f'a CONFIG names its own data, so --{given[0]} cannot apply; give one of them.')
    if args.cfg_options and not (args.loaders or args.config):
        raise InputError('--cfg-options changes a config, and none is given; give a CONFIG or --config.')
    if args.sample is not None and args.loaders is None and args.images is None:
        raise InputError('--sample is about images, and none are given; give --images DIR.')


def _load(path: str, options: Sequence[str]) -> Any:
    """A config with options, as the tools read it."""
    path = given_config(path)  # before the seconds of importing
    _stack.require()
    from mmhybrid import launch

    words = ['--cfg-options', *options] if options else []
    return launch.load_config(launch.make_parser('', '').parse_args([path, *words]))


def _classes_of(path: str, options: Sequence[str]) -> Any:
    cfg = _load(path, options)
    from mmhybrid.datasets.check import configs

    classes = next((part.classes for part in configs.data_sets(cfg) if part.classes is not None), None)
    if classes is None:
        raise InputError(f'--config {path}: its data sets name no classes; give --classes.')
    return classes


def _inputs(args: argparse.Namespace) -> list[str]:
    return [path for path in (args.loaders, args.ann, args.config) if path]


def _to_json(reports: Sequence[Report], around: Sequence[Finding]) -> str:
    document = {
        'schema': SCHEMA,
        'schema_version': SCHEMA_VERSION,
        'data_sets': [report.to_json() for report in reports],
        'config': [each.to_json() for each in around],
    }
    return json.dumps(document, indent=1) + '\n'


def _is_ours(path: Path) -> bool:
    """Whether this command wrote a file."""
    return outputs.is_json_of(path, SCHEMA)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _tell(message: str) -> None:
    print(f'{clean(message)} ...', file=sys.stderr, flush=True)
