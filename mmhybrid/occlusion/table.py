"""An occlusion-stratified result as a table for the terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from .results import OcclusionResult, StratumResult

if TYPE_CHECKING:
    from rich.table import Table

MIN_IMAGES = 10
MIN_WIDTH = 80
COLUMNS = ('stratum', 'images', 'instances', 'inst/img', 'AP', 'AP50', 'AP75', 'AR')


def print_table(results: Iterable[OcclusionResult], min_images: int = MIN_IMAGES, file: TextIO | None = None) -> None:
    """Print one table for each result, with colour on a terminal and plain elsewhere.

    AP and AR are in percent. Strata under ``min_images`` images are marked ``*`` and explained below the table.
    """
    from rich.console import Console

    console = Console(file=file, highlight=False)
    # A narrow window wraps the lines; a narrow table would lose digits.
    console.width = max(console.width, MIN_WIDTH)
    for result in results:
        console.print(_table(result, min_images))
        if any(_few(row, min_images) for row in result.strata):
            console.print(f'* fewer than {min_images} images: too few to conclude from', style='dim')


def format_table(results: Iterable[OcclusionResult], min_images: int = MIN_IMAGES) -> str:
    """:func:`print_table` as plain text."""
    text = io.StringIO()
    print_table(results, min_images, text)
    return text.getvalue()


def _table(result: OcclusionResult, min_images: int) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = f'{escape(result.name)}: {result.iou_type} AP and AR in %, by occlusion ratio r ({result.ratio})'
    table = Table(title=title, title_justify='left', title_style='bold', box=box.SIMPLE_HEAD, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, justify='left' if column == 'stratum' else 'right', no_wrap=True)
    sections = [[row for row in result.strata if row.stratum.kind == 'all'], result.bins, result.cumulative]
    for section in sections:
        for row in section:
            few = _few(row, min_images)
            table.add_row(*_cells(row, few), style='dim' if few else None)
        table.add_section()
    return table


def _few(row: StratumResult, min_images: int) -> bool:
    return row.num_images < min_images


def _cells(row: StratumResult, few: bool) -> tuple[str, ...]:
    percents = (_percent(value) for value in (row.ap, row.ap50, row.ap75, row.ar))
    density = '-' if math.isnan(row.instances_per_image) else f'{row.instances_per_image:.1f}'
    name = row.stratum.name + (' *' if few else '')
    return name, str(row.num_images), str(row.num_instances), density, *percents


def _percent(value: float) -> str:
    return '-' if math.isnan(value) else f'{100 * value:.1f}'
