"""The files that the commands write: which, what is in them, and how they are known again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mmhybrid.outputs import HEAD, is_json_of

from ..analysis.comparison import Compared
from ..analysis.details import Details
from ..results import SCHEMA, SCHEMA_VERSION, plain, to_json
from ..show import figures, records
from ..show.markdown import to_markdown
from ..show.report import GalleryGroup, render_report

HTML_MARK = b'<meta name="generator" content="mmhybrid'
MARKDOWN_MARK = f'<!-- {SCHEMA} -->\n'
# A CSV file has no place for a comment, so its first column says whose it is.
CSV_COLUMN = 'schema'
EMPTY_CSV = f'{CSV_COLUMN},{SCHEMA}\n'  # a heading without rows


def is_ours(path: Path) -> bool:
    """Whether a command of this package wrote the file."""
    suffix = path.suffix.lower()
    if suffix == '.json':
        return is_json_of(path, SCHEMA)
    with path.open('rb') as file:
        content = file.read(HEAD)
    if suffix == '.html':
        return HTML_MARK in content
    if suffix == '.md':
        return content.startswith(MARKDOWN_MARK.encode())
    if suffix == '.csv':
        heading = f'{CSV_COLUMN},'.encode()
        return content == EMPTY_CSV.encode() or (content.startswith(heading) and f'\n{SCHEMA},'.encode() in content)
    return figures.is_ours(content)


def of_evaluation(
    folder: Path, args: argparse.Namespace, details: Details, num_models: int, pictures: Sequence[GalleryGroup]
) -> dict[Path, Callable[[Compared], bytes | str]]:
    """The files that were asked for, and what makes the content of each."""
    least = args.min_images
    # The end of its name, whether there is anything to put into it, and what makes it.
    files: list[tuple[str, bool, Callable[[Compared], bytes | str]]] = [
        ('.json', True, lambda made: to_json(made.results, made.comparisons)),
        ('.md', True, lambda made: MARKDOWN_MARK + to_markdown(made.results, made.comparisons, least)),
        ('.html', True, lambda made: render_report(made.results, made.comparisons, pictures, args.title, least)),
        ('.csv', True, lambda made: _csv(records.strata_records(made.results))),
        (
            '_categories.csv',
            details.categories and not args.class_agnostic,
            lambda made: _csv(records.category_records(made.results)),
        ),
        ('_instances.csv', details.instances, lambda made: _csv(records.instance_records(made.results))),
        (
            '_differences.csv',
            details.resamples > 0 and num_models > 1,
            lambda made: _csv(records.difference_records(made.comparisons)),
        ),
    ]
    for kind in ('png', 'svg'):
        save = partial(figures.to_bytes, path=f'occlusion.{kind}')
        files += [
            (f'.{kind}', True, lambda made, save=save: save(figures.plot_ap(made.results, least))),
            (f'_recall.{kind}', details.instances, lambda made, save=save: save(figures.plot_recall(made.results))),
            (f'_errors.{kind}', details.errors, lambda made, save=save: save(figures.plot_errors(made.results, least))),
        ]
    return {
        folder / f'occlusion{end}': make
        for kind in dict.fromkeys(args.format)
        for end, is_filled, make in files
        if is_filled and end.endswith(f'.{kind}')
    }


def of_values(path: Path, rows: list[records.Record]) -> str:
    """Values as CSV or JSON, by the file's name."""
    if path.suffix.lower() == '.csv':
        return _csv(rows)
    document = {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION, 'values': rows}
    return json.dumps(plain(document), indent=1, allow_nan=False) + '\n'


def _csv(rows: list[records.Record]) -> str:
    return records.to_csv([{CSV_COLUMN: SCHEMA} | row for row in rows]) or EMPTY_CSV
