"""The files that the commands write: which, what is in them, and how they are known again."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from mmhybrid.outputs import HEAD, Output, is_json_of

from ..analysis.details import Details
from ..results import SCHEMA, SCHEMA_VERSION, Comparison, OcclusionResult, plain, to_json
from ..show import figures, records
from ..show.markdown import to_markdown
from ..show.report import GalleryGroup, render_report

HTML_MARK = b'<meta name="generator" content="mmhybrid'
MARKDOWN_MARK = f'<!-- {SCHEMA} -->\n'
# A CSV file has no place for a comment, so its first column says whose it is.
CSV_COLUMN = 'schema'
EMPTY_CSV = f'{CSV_COLUMN},{SCHEMA}\n'  # a heading without rows


class Made(NamedTuple):
    """What the files of an evaluation are made of."""

    results: Sequence[OcclusionResult]
    comparisons: Sequence[Comparison]
    pictures: Sequence[GalleryGroup]


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
    folder: Path, args: argparse.Namespace, details: Details, num_models: int
) -> dict[Path, Callable[[Made], bytes | str]]:
    """The files that were asked for, and what makes the content of each."""
    makers: dict[str, Callable[[Made], bytes | str]] = {}
    for suffix in dict.fromkeys(args.format):
        if suffix == 'csv':
            for part, rows in _records(details, num_models).items():
                makers[f'occlusion{part}.csv'] = lambda made, rows=rows: _csv(rows(made))
        elif suffix in ('png', 'svg'):
            for part, draw in _figures(details, args.min_images).items():
                name = f'occlusion{part}.{suffix}'
                makers[name] = lambda made, draw=draw, name=name: figures.to_bytes(draw(made.results), name)
        else:
            makers[f'occlusion.{suffix}'] = partial(_DOCUMENTS[suffix], args)
    return {folder / name: make for name, make in makers.items()}


def of_values(path: Path, rows: list[records.Record]) -> Output:
    """One file of values, as CSV or JSON by its name."""
    if path.suffix.lower() == '.csv':
        return Output(path, lambda: _csv(rows))
    document = {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION, 'values': rows}
    return Output(path, lambda: json.dumps(plain(document), indent=1, allow_nan=False) + '\n')


_DOCUMENTS: dict[str, Callable[[argparse.Namespace, Made], str]] = {
    'json': lambda args, made: to_json(made.results, made.comparisons),
    'md': lambda args, made: MARKDOWN_MARK + to_markdown(made.results, made.comparisons, args.min_images),
    'html': lambda args, made: render_report(*made, args.title, min_images=args.min_images),
}


def _records(details: Details, num_models: int) -> dict[str, Callable[[Made], list[records.Record]]]:
    parts = {'': lambda made: records.strata_records(made.results)}
    if details.categories:
        parts['_categories'] = lambda made: records.category_records(made.results)
    if details.instances:
        parts['_instances'] = lambda made: records.instance_records(made.results)
    if details.resamples and num_models > 1:
        parts['_differences'] = lambda made: records.difference_records(made.comparisons)
    return parts


def _figures(details: Details, min_images: int) -> dict[str, Callable]:
    parts = {'': lambda results: figures.plot_ap(results, min_images)}
    if details.instances:
        parts['_recall'] = figures.plot_recall
    if details.errors:
        parts['_errors'] = lambda results: figures.plot_errors(results, min_images)
    return parts


def _csv(rows: list[records.Record]) -> str:
    return records.to_csv([{CSV_COLUMN: SCHEMA} | row for row in rows]) or EMPTY_CSV
