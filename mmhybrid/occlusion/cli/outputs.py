"""The files that the commands write: which, what is in them, and how they are known again."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from mmhybrid.outputs import HEAD, is_json_of

from ..analysis.comparison import Compared
from ..analysis.details import Details
from ..results import SCHEMA, SCHEMA_VERSION, plain, to_json
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

    def has_miss_rates(made: Compared) -> bool:
        # Not where the evaluated categories have no instance.
        return any(row.miss_curve for result in made.results for row in result.strata)

    def miss_rates(kind: str) -> Make:
        draw = drawn(figures.plot_miss_rate, kind)
        return lambda made: draw(made) if has_miss_rates(made) else None

    # The end of its name, what makes it, and whether there is anything to put into it.
    files: list[tuple[str, Make, bool]] = [
        ('.json', lambda made: to_json(made.results, made.comparisons), True),
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
            (f'.{kind}', drawn(figures.plot_ap, kind), True),
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
    document = {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION, 'values': rows}
    return json.dumps(plain(document), indent=1, allow_nan=False) + '\n'


def to_csv(rows: list[records.Record]) -> str:
    """Records as CSV, marked as ours by their first column."""
    return records.to_csv([{CSV_COLUMN: SCHEMA} | row for row in rows]) or EMPTY_CSV
