"""The files that the commands write: which, what is in them, and how they are known again."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.outputs import HEAD, is_json_of
from mmhybrid.text import clean

from ..analysis.comparison import Compared
from ..analysis.details import Details
from ..results import HEAD as SCHEMA_HEAD
from ..results import SCHEMA, plain
from ..show import figures, records
from ..show.markdown import to_markdown
from ..show.report.gallery import GalleryGroup
from ..show.report.page import render_report

MARKDOWN_MARK = f'<!-- {SCHEMA} -->\n'
# A CSV file has no place for a comment, so its first column says whose it is.
CSV_COLUMN = 'schema'
EMPTY_CSV = f'{CSV_COLUMN},{SCHEMA}\n'  # a heading without rows
# How a file begins that a command of this package wrote; JSON is read instead.
_BEGINNINGS = {
    '.html': rb'<!DOCTYPE html>.*<meta name="generator" content="mmhybrid',
    '.md': rb'<!-- SCHEMA -->\n',
    '.csv': rb'schema,([^\n]*\n)?SCHEMA[,\n]',
    '.png': rb'\x89PNG\r\n\x1a\n.*Software\0SCHEMA',
    '.svg': rb'\s*<\?xml.*<dc:title>SCHEMA</dc:title>',
}
_KNOWN = ('.json', *_BEGINNINGS)
# What stands between the stem of a file's name and its kind.
_PARTS = ('', '_categories', '_instances', '_quality', '_differences', '_recall', '_errors', '_miss_rate')
# Options that say where and as what the results are written, not what they are.
_ASIDE = ('out_dir', 'format', 'force', 'help')
Make = Callable[[Compared], bytes | str | None]


def is_ours(path: Path) -> bool:
    """Whether a command of this package wrote the file."""
    suffix = path.suffix.lower()
    if suffix == '.json':
        return is_json_of(path, SCHEMA)
    with path.open('rb') as file:
        head = file.read(HEAD)
    pattern = _BEGINNINGS[suffix].replace(b'SCHEMA', re.escape(SCHEMA.encode()))
    return re.match(pattern, head, re.DOTALL) is not None


def command_of(parser: argparse.ArgumentParser, name: str, args: argparse.Namespace) -> str:
    """The command that results are of, in one form: options in the order of the help, without those left at default."""
    words = ['mmhybrid', 'occlusion', name]
    for action in parser._actions:
        value = getattr(args, action.dest, action.default)
        if action.dest in _ASIDE or value == action.default:
            continue
        values = value if isinstance(value, list) else [] if action.nargs == 0 else [value]
        words += [action.option_strings[0], *map(str, values)]
    return shlex.join(words)


def own_folder(args: argparse.Namespace, names: Iterable[str], stem: str) -> tuple[Path, set[Path]]:
    """Where a command writes, and the files there that another one wrote, of which there are none without ``--force``.

    By default a folder called after the models, with a number behind it where another command's results have that name.

    Raises:
        InputError: The folder that was given holds another command's results.
    """
    command = args.describe(args)
    if not args.out_dir:
        words = [re.sub(r'[^\w.-]+', '_', clean(name)).strip('._') or 'results' for name in names]
        first = Path('work_dirs', 'occlusion', '_vs_'.join(words)[:100])
        later = (first.with_name(f'{first.name}_{number}') for number in count(2))
        folder = next(each for each in chain([first], later) if args.force or not _others(each, stem, command)[0])
    else:
        folder = Path(args.out_dir)
    other, files = _others(folder, stem, command)
    if other and not args.force:
        raise InputError(
            f'{folder}: holds the results of {other}; choose another --out-dir, or --force to replace them.'
        )
    return folder, files


def names_of(stem: str) -> list[str]:
    """All names that files of a command can have; a copy that a user keeps under another one is the user's."""
    return [f'{stem}{part}{kind}' for part in _PARTS for kind in _KNOWN]


def _others(folder: Path, stem: str, command: str) -> tuple[str, set[Path]]:
    """The other command whose results a folder holds, and these; empty if there is none."""
    paths = (folder / name for name in names_of(stem))
    files = {path for path in paths if path.is_file() and not path.is_symlink() and is_ours(path)}
    record = folder / f'{stem}.json'
    told = json.loads(record.read_bytes()).get('command') if record in files else None
    # A user's own file in the record's place is the writer's to tell of.
    if not files or told == command or (record.exists() and record not in files):
        return '', set()
    return (f'`{clean(told)}`' if isinstance(told, str) else 'a command that is not recorded there'), files


def remove(files: Iterable[Path]) -> None:
    """Leave no file of a command whose results were replaced beside those of the next."""
    for path in files:
        path.unlink(missing_ok=True)


def of_evaluation(
    folder: Path,
    args: argparse.Namespace,
    details: Details,
    num_models: int,
    pictures: Sequence[GalleryGroup],
    miss_rate: bool = False,
) -> dict[Path, Make]:
    """The files that were asked for, and what makes the content of each; ``miss_rate`` tells whether there are any."""
    least = args.min_images

    def drawn(plot: Callable, kind: str) -> Make:
        return lambda made: figures.to_bytes(plot(made.results, least), kind)

    def ap(kind: str) -> Make:
        def make(made: Compared) -> bytes:
            title = figures.finding(made.results, made.comparisons, least)
            return figures.to_bytes(figures.plot_ap(made.results, least, title=title), kind)

        return make

    def has_miss_rates(made: Compared) -> bool:
        # Not where the evaluated categories have no instance.
        return any(row.miss_curve for result in made.results for row in result.strata)

    def miss_rates(kind: str) -> Make:
        draw = drawn(figures.plot_miss_rate, kind)
        return lambda made: draw(made) if has_miss_rates(made) else None

    def document(made: Compared) -> str:
        found = [result.to_dict() for result in made.results]
        return to_json({'command': args.describe(args), 'results': found, 'comparisons': made.comparisons})

    # The end of its name, what makes it, and whether there is anything to put into it.
    files: list[tuple[str, Make, bool]] = [
        ('.json', document, True),
        ('.md', lambda made: MARKDOWN_MARK + to_markdown(made.results, made.comparisons, least), True),
        ('.html', lambda made: render_report(made.results, made.comparisons, pictures, args.title, least), True),
        ('.csv', lambda made: to_csv(records.strata_records(made.results)), True),
        ('_categories.csv', lambda made: to_csv(records.category_records(made.results)),
         details.categories and not args.class_agnostic),
        ('_instances.csv', lambda made: to_csv(records.instance_records(made.results)), details.instances),
        ('_quality.csv', lambda made: to_csv(records.quality_records(made.results)), details.quality),
        ('_differences.csv', lambda made: to_csv(records.difference_records(made.comparisons)),
         details.resamples > 0 and num_models > 1),
    ]  # fmt: skip
    for kind in ('png', 'svg'):
        files += [
            (f'.{kind}', ap(kind), True),
            (f'_recall.{kind}', drawn(figures.plot_recall, kind), details.instances),
            (f'_errors.{kind}', drawn(figures.plot_errors, kind), details.errors),
            (f'_quality.{kind}', drawn(figures.plot_quality, kind), details.quality),
            (f'_miss_rate.{kind}', miss_rates(kind), miss_rate),
        ]
    return {
        folder / f'occlusion{end}': make
        for kind in dict.fromkeys(args.format)
        for end, make, is_filled in files
        if is_filled and end.endswith(f'.{kind}')
    }


def of_values(path: Path, rows: list[records.Record]) -> str:
    """Values as CSV or JSON, by the file's name."""
    if path.suffix.lower() == '.csv':
        return to_csv(rows)
    return to_json({'values': rows}, indent=1)


def to_json(content: Mapping[str, Any], indent: int = 2) -> str:
    """What a command tells, under the names of the schema and its version."""
    return json.dumps(SCHEMA_HEAD | plain(dict(content)), indent=indent, allow_nan=False) + '\n'


def to_csv(rows: list[records.Record]) -> str:
    """Records as CSV, marked as ours by their first column."""
    return records.to_csv([{CSV_COLUMN: SCHEMA} | row for row in rows]) or EMPTY_CSV
