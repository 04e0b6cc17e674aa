"""Results as Markdown with GitHub's tables, for issues, pull requests and model cards."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..results import MIN_IMAGES, Comparison, OcclusionResult
from .labels import METRIC_LABELS
from .sheets import (
    Sheet,
    categories_sheet,
    comparison_sheet,
    errors_sheet,
    instances_sheet,
    models_sheet,
    side_by_side,
    strata_sheet,
)

# '<' only where it would open a tag, brackets only where they would make a link or footnote: 'r < 0.1' and
# '41.2 [39.8, 42.9]' read better as they are.
SPECIAL = re.compile(r'[\\`*_{}|~#$&]|<(?=[A-Za-z/!?])|\](?=[(\[:])|\[(?=\^)')


def to_markdown(
    results: Iterable[OcclusionResult],
    comparisons: Iterable[Comparison] = (),
    min_images: int = MIN_IMAGES,
    top: int = 20,
) -> str:
    """Every table as a heading, a GitHub table and a list of notes; percent with one decimal.

    Models side by side come first, then the comparisons, then each result by itself.

    Args:
        results: Of one model or several, of one IoU type or both.
        comparisons: Paired differences; each metric is a table of its own.
        min_images: Strata with fewer images are marked ``*``.
        top: Number of categories in the tables of categories, those with most instances.
    """
    results = list(results)
    sheets = [models_sheet(group, min_images) for group in side_by_side(results) if len(group) > 1]
    for comparison in comparisons:
        metrics = dict.fromkeys(row.metric for row in comparison.differences)
        sheets += [comparison_sheet(comparison, metric, min_images) for metric in METRIC_LABELS if metric in metrics]
    for result in results:
        sheets.append(strata_sheet(result, min_images))
        if result.instances:
            sheets.append(instances_sheet(result))
        if any(row.errors for row in result.strata):
            sheets.append(errors_sheet(result, min_images))
        if any(row.categories for row in result.strata):
            sheets.append(categories_sheet(result, min_images, top))
    return '\n'.join(map(_table, sheets))


def _table(sheet: Sheet) -> str:
    rows = zip(*(column.values for column in sheet.columns), strict=True)
    lines = [
        f'### {_escape(sheet.title)}',
        '',
        _row(column.title for column in sheet.columns),
        '|:--|' + '--:|' * (len(sheet.columns) - 1),
        *map(_row, rows),
    ]
    if sheet.notes:
        lines += ['', *(f'- {_escape(note)}' for note in sheet.notes)]
    return '\n'.join(lines) + '\n'


def _row(cells: Iterable[str]) -> str:
    return '| ' + ' | '.join(map(_escape, cells)) + ' |'


def _escape(text: str) -> str:
    return SPECIAL.sub(lambda match: '\\' + match.group(), text)
