"""False positives by kind on each stratum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...results import MIN_IMAGES, Errors, OcclusionResult, StratumResult
from ..labels import is_few
from ..sheets import by_kind
from .style import Theme, add_legend, check_results, drawing, get_theme, new_figure, settle, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_errors(results: Sequence[OcclusionResult], min_images: int = MIN_IMAGES, theme: str = 'light') -> Figure:
    """Draw the kinds of false positives stacked, one row of panels for each result: an image, and as shares.

    Strata are all images, the groups and the bins, or the thresholds where there are neither groups nor bins.

    Args:
        results: Those without ``errors`` are passed over.
        min_images: Strata with fewer images are marked ``*``.
        theme: ``'light'`` or ``'dark'``.

    Raises:
        InputError: No result has ``errors``, or the theme is unknown.
    """
    results = [result for result in results if any(row.errors for row in result.strata)]
    check_results(results, 'error anatomy')
    look = get_theme(theme)
    rows_of = [_rows(result) for result in results]
    with drawing(look):
        from matplotlib.patches import Patch

        heights = [0.7 + 0.29 * len(rows) for rows in rows_of]
        figure = new_figure(9.6, sum(heights) + 1.3)
        grid = figure.subplots(len(results), 2, squeeze=False, sharex='col', height_ratios=heights, width_ratios=[3, 2])
        for (left, right), result, rows in zip(grid, results, rows_of, strict=True):
            per_image = [[getattr(row.errors, kind) / row.num_images if row.num_images else math.nan for row in rows]
                         for kind in Errors.KINDS]  # fmt: skip
            shares = [[100 * row.errors.share(kind) for row in rows] for kind in Errors.KINDS]
            _stack(left, per_image, look)
            _stack(right, shares, look)
            names = [wrap(row.stratum.name, 28, 1) + (' *' if is_few(row, min_images) else '') for row in rows]
            left.set_yticks(range(len(rows)), names)
            right.set_yticks(range(len(rows)), [''] * len(rows))
            left.set_title(wrap(f'{result.name}, {result.iou_type}', 52, 2), fontsize=11)
            right.set_xlim(0, 100)
        errors = next(row.errors for row in rows_of[0])
        grid[-1, 0].set_xlabel(f'false positives an image (score ≥ {errors.min_score:g}, at IoU {errors.iou_thr:.2f})')
        grid[-1, 1].set_xlabel('share (%)')
        handles = [
            Patch(facecolor=colour, edgecolor=look.background, label=kind)
            for kind, colour in zip(Errors.KINDS, look.kinds, strict=True)
        ]
        if any(is_few(row, min_images) for rows in rows_of for row in rows):
            handles.append(Patch(facecolor='none', label=f'* fewer than {min_images} images'))
        add_legend(figure, handles, 5)
        return settle(figure)


def _rows(result: OcclusionResult) -> list[StratumResult]:
    disjoint = {'all', 'group', 'bin'} if result.groups or result.bins else {'all', 'cumulative'}
    return [row for row in by_kind(result.strata) if row.errors is not None and row.stratum.kind in disjoint]


def _stack(axes: Axes, parts: list[list[float]], theme: Theme) -> None:
    start = [0.0] * len(parts[0])
    for values, colour in zip(parts, theme.kinds, strict=True):
        widths = [0.0 if math.isnan(value) else value for value in values]
        axes.barh(
            range(len(start)), widths, 0.78, left=start, color=colour, edgecolor=theme.background,
            linewidth=0.5, zorder=2,
        )  # fmt: skip
        start = [a + b for a, b in zip(start, widths, strict=True)]
    axes.set_ylim(len(start) - 0.4, -0.6)
    axes.tick_params(axis='y', length=0)
    axes.grid(True, axis='x')
