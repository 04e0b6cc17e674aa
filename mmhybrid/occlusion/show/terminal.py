"""Occlusion-stratified results as tables for the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from mmhybrid.text import is_unsafe

from ..results import MIN_IMAGES, Comparison, OcclusionResult
from .labels import METRIC_LABELS
from .sheets import (
    BRACKETS,
    Column,
    Sheet,
    categories_sheet,
    comparison_sheet,
    errors_sheet,
    instances_sheet,
    models_sheet,
    side_by_side,
    strata_sheet,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification

MIN_WIDTH = 80
GAP = 2


def print_table(
    results: Iterable[OcclusionResult],
    min_images: int = MIN_IMAGES,
    file: TextIO | None = None,
    width: int | None = None,
) -> None:
    """Print the strata of each result and, where it has them, recall by instance and errors; then models side by side.

    AP, AR and recall are in percent. Strata under ``min_images`` images are marked ``*`` and dimmed. Columns that the
    width has no room for are left out and named under the table.

    Args:
        results: Of one model or several, of one IoU type or both.
        min_images: Below this many images a stratum is marked.
        file: Where to; by default stdout. Colour only on a terminal.
        width: Characters a line, at least 80; by default the terminal's.
    """
    results = list(results)
    sheets = []
    for result in results:
        sheets.append(strata_sheet(result, min_images))
        if result.instances:
            sheets.append(instances_sheet(result))
        if any(row.errors for row in result.strata):
            sheets.append(errors_sheet(result, min_images))
    sheets += [models_sheet(group, min_images) for group in side_by_side(results) if len(group) > 1]
    _print(sheets, file, width)


def format_table(results: Iterable[OcclusionResult], min_images: int = MIN_IMAGES, width: int | None = None) -> str:
    """:func:`print_table` as plain text."""
    text = io.StringIO()
    print_table(results, min_images, text, width)
    return text.getvalue()


def print_categories(
    results: Iterable[OcclusionResult],
    top: int = 20,
    min_images: int = MIN_IMAGES,
    strata: Sequence[str] | None = None,
    file: TextIO | None = None,
    width: int | None = None,
) -> None:
    """Print AP by category: the categories with most instances, on all images and on a few strata.

    Args:
        results: Those without categories are passed over.
        top: Number of categories.
        min_images: Strata with fewer images are passed over, unless named in ``strata``.
        strata: Names of the strata; by default up to five, evenly spread over the groups or bins.
        file: As in :func:`print_table`.
        width: As in :func:`print_table`.
    """
    filled = [result for result in results if any(row.categories for row in result.strata)]
    _print([categories_sheet(result, min_images, top, strata) for result in filled], file, width)


def print_distribution(
    stratification: Stratification, gt: GroundTruth, file: TextIO | None = None, width: int | None = None
) -> None:
    """Print how the images and instances of a ground truth are spread: by stratum, and by the instances' own fraction.

    Args:
        stratification: Of the images of ``gt``.
        gt: The ground truth.
        file: As in :func:`print_table`.
        width: As in :func:`print_table`.
    """
    from .distribution import fractions_sheet, images_sheet

    _print([images_sheet(stratification, gt), fractions_sheet(stratification, gt)], file, width)


def print_comparison(
    comparisons: Iterable[Comparison],
    min_images: int = MIN_IMAGES,
    file: TextIO | None = None,
    metrics: Sequence[str] = ('ap',),
    width: int | None = None,
) -> None:
    """Print, for each comparison and metric, the paired difference on every stratum.

    ``better`` and ``worse`` mark differences whose interval excludes 0.

    Args:
        comparisons: Each of a model with the baseline.
        min_images: Below this many images a stratum is marked.
        file: As in :func:`print_table`.
        metrics: Of ``'ap'``, ``'ap50'``, ``'ap75'``, ``'ar'``; those that were not compared are passed over.
        width: As in :func:`print_table`.
    """
    sheets = []
    for comparison in comparisons:
        compared = dict.fromkeys(row.metric for row in comparison.differences)
        shown = [metric for metric in metrics if metric in compared]
        sheets += [comparison_sheet(comparison, metric, min_images) for metric in shown]
        others = [METRIC_LABELS[metric] for metric in compared if metric not in shown]
        if shown and others:
            note = f'also compared: {", ".join(others)} (in the JSON and CSV)'
            sheets[-1] = replace(sheets[-1], notes=(*sheets[-1].notes, note))
    _print(sheets, file, width)


def _print(sheets: Iterable[Sheet], file: TextIO | None, width: int | None) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise

    console = Piped(file=file, highlight=False, width=width)
    # A narrow window wraps the lines; a narrow table would lose digits.
    console.width = max(console.width, MIN_WIDTH)
    for sheet in sheets:
        fitted = fit(sheet, console.width)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
        for index, column in enumerate(fitted.columns):
            first = index == 0
            table.add_column(
                _text(column.title, console),
                justify='left' if first or not column.title else 'right',
                overflow='fold',
                no_wrap=not first,
                max_width=_widths(column, console.width, first),
            )
        rows = zip(*(column.values for column in fitted.columns), strict=True)
        ends = {sum(fitted.sections[: i + 1]) for i in range(len(fitted.sections))}
        for number, (cells, few) in enumerate(zip(rows, fitted.few, strict=True), 1):
            table.add_row(*(_text(cell, console) for cell in cells), style='dim' if few else None)
            if number in ends and number < len(fitted.few):
                table.add_section()
        console.print(_text(fitted.title, console, 'bold'))
        console.print()
        console.print(table)
        for note in fitted.notes:
            console.print(_text(note, console, 'dim'))
        console.print()


def fit(sheet: Sheet, width: int) -> Sheet:
    """The sheet with what does not fit ``width`` characters shortened or left out, and a note that says so.

    Titles give way to their aliases first; then, from the highest ``drop`` down, columns lose their intervals or go.
    """
    columns, notes = list(sheet.columns), list(sheet.notes)
    if _total(columns, width) > width or any(len(column.title) > 24 for column in columns[1:]):
        notes += [f'{column.alias} = {column.title}' for column in columns if column.alias]
        columns = [replace(column, title=column.alias or column.title) for column in columns]
    shortened, dropped = [], []
    for level in sorted({column.drop for column in columns if column.drop}, reverse=True):
        if _total(columns, width) <= width:
            break
        shortened += [column.title for column in columns if column.drop == level and column.short]
        dropped += [column.title for column in columns if column.drop == level and not column.short]
        columns = [
            replace(column, values=column.short) if column.drop == level and column.short else column
            for column in columns
            if column.drop != level or column.short
        ]
    if shortened:
        if not any('[' in value for column in columns for value in column.values):
            notes = [note for note in notes if not note.startswith(BRACKETS)]
        notes.append(f'no room at this width for the intervals of {", ".join(shortened)}')
    if dropped:
        notes.append(f'no room at this width for {", ".join(dropped)}')
    return replace(sheet, columns=tuple(columns), notes=tuple(notes))


def _total(columns: Sequence[Column], width: int) -> int:
    return sum(_widths(column, width, not i) for i, column in enumerate(columns)) + GAP * (len(columns) - 1)


def _widths(column: Column, width: int, first: bool) -> int:
    """Characters a column takes; the first, which holds the user's names, folds beyond a third of the width."""
    from rich.cells import cell_len

    natural = max(map(cell_len, (column.title, *column.values)))
    return min(natural, max(18, width // 3)) if first else natural


def _text(value: str, console: Console, style: str = ''):
    """Text that is never read as rich's markup nor by the terminal, in characters that the output can write."""
    from rich.text import Text

    encoding = console.encoding
    value = ''.join('?' if is_unsafe(char) else char for char in value)
    return Text(value.encode(encoding, 'replace').decode(encoding), style=style, overflow='fold')
