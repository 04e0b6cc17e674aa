"""False positives by kind on each stratum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...results import MIN_IMAGES, Errors, OcclusionResult, StratumResult
from ..sheet import by_kind, is_few
from ..tables import per_image
from .panels import PANEL_WIDTH, named
from .style import Theme, add_legend, check_results, drawing, get_theme, new_figure, settle, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PARTS = {'image': 'per image', 'share': 'as shares'}


def plot_errors(
    results: Sequence[OcclusionResult],
    min_images: int = MIN_IMAGES,
    theme: str = 'light',
    parts: Sequence[str] = tuple(PARTS),
    width: float = PANEL_WIDTH,
) -> Figure:
    """Draw the kinds of false positives stacked, one row of panels for each result: per image, and as shares.

    Strata are all images, the groups and the bins, or the thresholds where there are neither groups nor bins.

    Args:
        results: Those without ``errors`` are passed over.
        min_images: Strata with fewer images are marked ``*``.
        theme: ``'light'`` or ``'dark'``.
        parts: ``'image'`` (how many per image), ``'share'`` (in percent) or both: a column each.
        width: Of a column in inches.

    Raises:
        InputError: No result has ``errors``, or the theme is unknown.
    """
    results = [result for result in results if any(row.errors for row in result.strata)]
    check_results(results, 'error anatomy')
    look = get_theme(theme)
    rows_of = [_rows(result) for result in results]
    errors = rows_of[0][0].errors
    labels = {
        'image': f'false positives per image (score ≥ {errors.min_score:g}, IoU {errors.iou_thr:.2f})',
        'share': 'share of the false positives (%)',
    }
    with drawing(look):
        from matplotlib.patches import Patch

        heights = [0.6 + 0.27 * len(rows) for rows in rows_of]
        figure = new_figure(width * len(parts), sum(heights) + 1.2)
        grid = figure.subplots(len(results), len(parts), squeeze=False, sharex='col', height_ratios=heights)
        for line, result, rows in zip(grid, results, rows_of, strict=True):
            names = [named(row.stratum.name) + ' *' * is_few(row, min_images) for row in rows]
            for axes, part in zip(line, parts, strict=True):
                _stack(axes, rows, part, look)
                axes.set_yticks(range(len(rows)), names if axes is line[0] else [''] * len(rows))
            line[0].set_title(wrap(f'{result.name}, {result.iou_type}', int(8 * width), 2))
        for axes, part in zip(grid[-1], parts, strict=True):
            axes.set_xlabel(labels[part])
            axes.set_xlim((0, 100) if part == 'share' else (0, None))
        handles = [
            Patch(facecolor=colour, edgecolor=look.background, label=kind)
            for kind, colour in zip(Errors.KINDS, look.kinds, strict=True)
        ]
        if any(is_few(row, min_images) for rows in rows_of for row in rows):
            handles.append(Patch(facecolor='none', label=f'* < {min_images} images'))
        add_legend(figure, handles)
        return settle(figure)


def _rows(result: OcclusionResult) -> list[StratumResult]:
    disjoint = {'all', 'group', 'bin'} if result.groups or result.bins else {'all', 'cumulative'}
    return [row for row in by_kind(result.strata) if row.errors is not None and row.stratum.kind in disjoint]


def _stack(axes: Axes, rows: Sequence[StratumResult], part: str, theme: Theme) -> None:
    start = np.zeros(len(rows))
    for kind, colour in zip(Errors.KINDS, theme.kinds, strict=True):
        values = [per_image(row, kind) if part == 'image' else 100 * row.errors.share(kind) for row in rows]
        widths = np.nan_to_num(values)
        # The gap in the colour of the page parts the kinds without help of their own.
        edge = {'edgecolor': theme.background, 'linewidth': 0.8}
        axes.barh(range(len(rows)), widths, 0.78, left=start, color=colour, zorder=2, **edge)
        start += widths
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis='y', length=0)
    axes.grid(True, axis='x')
