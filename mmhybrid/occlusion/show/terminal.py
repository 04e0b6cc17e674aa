"""Occlusion-stratified results as tables for the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TextIO

from mmhybrid.console import make_console, plain

from ..results import MIN_IMAGES, Comparison, OcclusionResult
from .given import BRACKETS
from .sheet import Column, Sheet
from .tables import comparison_sheets, result_sheets

MIN_WIDTH = 80
GAP = 2
LONG_TITLE = 24


def print_table(
    results: Iterable[OcclusionResult],
    min_images: int = MIN_IMAGES,
    file: TextIO | None = None,
    width: int | None = None,
) -> None:
    """Print the strata of each result and, where it has them, recall by instance, errors and scores; then models side
    by side.

    Metrics are in percent. Columns that the width has no room for are left out and named under the table.

    Args:
        results: Of one model or several, of one IoU type or both.
        min_images: Strata with fewer images are marked ``*`` and dimmed.
        file: Where to; by default stdout. Colour only on a terminal.
        width: Characters a line, at least 80; by default the terminal's, or COLUMNS, or else as many as it takes.
    """
    print_sheets(result_sheets(results, min_images), file, width)


def format_table(results: Iterable[OcclusionResult], min_images: int = MIN_IMAGES, width: int | None = None) -> str:
    """:func:`print_table` as plain text."""
    text = io.StringIO()
    print_table(results, min_images, text, width)
    return text.getvalue()


def print_comparison(
    comparisons: Iterable[Comparison],
    min_images: int = MIN_IMAGES,
    file: TextIO | None = None,
    metrics: Sequence[str] = ('ap',),
    width: int | None = None,
) -> None:
    """Print, for each comparison and metric, the paired difference on every stratum; other arguments as above.

    ``better`` and ``worse`` mark differences whose interval excludes 0.

    Args:
        comparisons: Each of a model with the baseline.
        metrics: Of ``'ap'``, ``'ap50'``, ``'ap75'``, ``'ar'``; those that were not compared are passed over.
    """
    print_sheets(comparison_sheets(comparisons, min_images, metrics), file, width)


def print_sheets(sheets: Iterable[Sheet], file: TextIO | None = None, width: int | None = None) -> None:
    """Print tables one below the other; arguments as in :func:`print_table`."""
    from rich import box
    from rich.table import Table

    console = make_console(file, width)
    # A narrow window wraps the lines; a narrow table would lose digits.
    console.width = max(console.width, MIN_WIDTH)
    for sheet in sheets:
        sheet = fit(sheet, console.width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
        for index, column in enumerate(sheet.columns):
            table.add_column(
                plain(column.heading, console),
                justify='right' if index and not column.is_text else 'left',
                overflow='fold',
                no_wrap=index > 0,
                max_width=_width(column, console.width, index == 0),
            )
        ends = set(accumulate(size for _, size in sheet.sections))
        rows = zip(sheet.few, *(column.texts for column in sheet.columns), strict=True)
        for number, (few, *cells) in enumerate(rows, 1):
            cells = [plain(cell, console) for cell in cells]
            table.add_row(*cells, style='dim' if few else None, end_section=number in ends)
        console.print(plain(sheet.title, console, 'bold'), end='\n\n')
        console.print(table)
        for note in sheet.notes:
            console.print(plain(note, console, 'dim'))
        console.print()


def fit(sheet: Sheet, width: int) -> Sheet:
    """The sheet with what does not fit ``width`` characters shortened or left out, and a note that says so.

    Titles give way to their aliases first; then, from the highest ``drop`` down, columns lose their details or go.
    """
    columns, notes = list(sheet.columns), list(sheet.notes)
    if _total(columns, width) > width or any(len(column.heading) > LONG_TITLE for column in columns[1:]):
        notes += [f'{column.alias} = {column.title}' for column in columns if column.alias]
        columns = [replace(column, title=column.alias or column.title) for column in columns]
    shortened, dropped = [], []
    for level in sorted({column.drop for column in columns if column.drop}, reverse=True):
        if _total(columns, width) <= width:
            break
        for column in (column for column in columns if column.drop == level):
            (shortened if column.details else dropped).append(column.heading)
        columns = [
            replace(column, details=()) if column.drop == level else column
            for column in columns
            if column.drop != level or column.details
        ]
    if shortened:
        if not _has_intervals(columns):
            notes = [note for note in notes if not note.startswith(BRACKETS)]
        what = 'intervals' if _has_intervals(sheet.columns) else 'shares'
        notes.append(f'no room at this width for the {what} of {", ".join(shortened)}')
    if dropped:
        notes.append(f'no room at this width for {", ".join(dropped)}')
    return replace(sheet, columns=tuple(columns), notes=tuple(notes))


def _has_intervals(columns: Iterable[Column]) -> bool:
    return any('[' in text for column in columns for text in column.details)


def _total(columns: Sequence[Column], width: int) -> int:
    return sum(_width(column, width, not i) for i, column in enumerate(columns)) + GAP * (len(columns) - 1)


def _width(column: Column, width: int, first: bool) -> int:
    """Characters a column takes; the first, which holds the user's names, folds beyond a third of the width."""
    from rich.cells import cell_len

    natural = max(map(cell_len, (column.heading, *column.texts)))
    return min(natural, max(18, width // 3)) if first else natural
