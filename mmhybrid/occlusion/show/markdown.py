"""Results as Markdown with GitHub's tables, for issues, pull requests and model cards."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..results import MIN_IMAGES, Comparison, OcclusionResult
from .given import listed, notes_of
from .sheet import Sheet
from .tables import category_sheets, comparison_sheets, result_sheets

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

    The results' own notes come first, then the tables in the order in which the commands print them.

    Args:
        results: Of one model or several, of one IoU type or both.
        comparisons: Paired differences; each metric is a table of its own.
        min_images: Strata with fewer images are marked ``*``.
        top: Number of categories in the tables of categories, those with most instances.
    """
    results = listed(results, OcclusionResult)
    sheets = [
        *result_sheets(results, min_images),
        *category_sheets(results, min_images, top),
        *comparison_sheets(comparisons, min_images),
    ]
    notes = ''.join(f'- note: {escape(note)}\n' for note in notes_of(results))
    return '\n'.join(filter(None, [notes, *map(table, sheets)]))


def table(sheet: Sheet) -> str:
    """One sheet."""
    lines = [
        f'### {escape(sheet.title)}',
        '',
        _row(column.heading for column in sheet.columns),
        '|' + '|'.join(':--' if not i or column.is_text else '--:' for i, column in enumerate(sheet.columns)) + '|',
        *map(_row, zip(*(column.texts for column in sheet.columns), strict=True)),
    ]
    if sheet.notes:
        lines += ['', *(f'- {escape(note)}' for note in sheet.notes)]
    return '\n'.join(lines) + '\n'


def _row(cells: Iterable[str]) -> str:
    return '| ' + ' | '.join(map(escape, cells)) + ' |'


def escape(text: str) -> str:
    """Text without meaning for Markdown."""
    return SPECIAL.sub(lambda match: '\\' + match.group(), text)
