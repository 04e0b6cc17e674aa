"""Recall by the instances' own occlusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...results import InstanceRecall, OcclusionResult
from ..sheets import side_by_side
from .style import (
    PANEL_WIDTH,
    add_legend,
    check_results,
    draw_counts,
    drawing,
    finish_percent,
    get_theme,
    key,
    model_series,
    new_figure,
    settle,
    wrap,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = (('recall50', 'IoU 0.50'), ('recall75', 'IoU 0.75'))
# Fewer instances than this are drawn hollow.
MIN_INSTANCES = 10


def plot_recall(results: Sequence[OcclusionResult], theme: str = 'light') -> Figure:
    """Draw recall at IoU 0.50 and 0.75 against the covered or invisible fraction, one line a model.

    One column of panels for each IoU type; below, the number of instances. Bands are the bootstrap intervals. All
    recalls in percent; the axis starts at 0 for one model, and below the lowest value for several.

    Args:
        results: Those without ``instances`` are passed over.
        theme: ``'light'`` or ``'dark'``.

    Raises:
        InputError: No result has ``instances``, or the theme is unknown.
    """
    results = [result for result in results if result.instances]
    check_results(results, 'recall by instance')
    look = get_theme(theme)
    panels = side_by_side(results)
    zoom = any(len(panel) > 1 for panel in panels)
    with drawing(look):
        series = model_series([result.name for result in results], look)
        figure = new_figure(max(PANEL_WIDTH * len(panels), 7.2), 7.6)
        grid = figure.subplots(3, len(panels), sharex='col', sharey='row', squeeze=False, height_ratios=[3, 3, 1.2])
        for column, panel in enumerate(panels):
            ranges = {row.name: row for result in panel for row in result.instances}
            places = {name: place for place, name in enumerate(ranges)}
            for axes, (metric, threshold) in zip(grid[:, column], METRICS, strict=False):
                for result in panel:
                    style = series[result.name]
                    rows = result.instances
                    x = [places[row.name] for row in rows]
                    y = [100 * getattr(row, metric) for row in rows]
                    axes.plot(x, y, color=style.colour, linestyle=style.dash, linewidth=1.8, zorder=3)
                    low = [100 * _bound(row, metric, 'low') for row in rows]
                    high = [100 * _bound(row, metric, 'high') for row in rows]
                    axes.fill_between(x, low, high, color=style.colour, alpha=0.16, linewidth=0, zorder=2)
                    for at, value, row in zip(x, y, rows, strict=True):
                        face = look.background if row.num_instances < MIN_INSTANCES else style.colour
                        axes.plot(at, value, style.marker, color=style.colour, markerfacecolor=face, zorder=4)
                axes.set_title(f'{panel[0].iou_type} recall, {threshold}', fontsize=11)
                finish_percent(
                    axes, [v for result in results for row in result.instances for v in _extent(row, metric)], zoom
                )
            counts = [row.num_instances for row in ranges.values()]
            few = [count < MIN_INSTANCES for count in counts]
            draw_counts(grid[2, column], [(at - 0.4, at + 0.4) for at in places.values()], counts, few, look)
            crowded = len(ranges) > 9
            grid[2, column].set_xticks(
                list(places.values()), [_label(row) for row in ranges.values()],
                rotation=40 if crowded else 0, ha='right' if crowded else 'center',
            )  # fmt: skip
            grid[2, column].set_xlim(-0.6, len(ranges) - 0.4)
            grid[2, column].set_xlabel(wrap(f'{panel[0].fraction or "occlusion"} of the instance', 60))
        for axes in grid[:2, 0]:
            axes.set_ylabel('recall (%)')
        grid[2, 0].set_ylabel('instances')
        handles = [
            key(color=each.colour, marker=each.marker, linestyle=each.dash, linewidth=1.8, label=each.label)
            for each in series.values()
        ]
        add_legend(figure, handles, 3)
        return settle(figure)


def _label(row: InstanceRecall) -> str:
    if row.lower == row.upper:
        return f'{row.lower:g}'
    if math.isinf(row.upper):
        return f'> {row.lower:g}'
    return f'{row.lower:g}–{row.upper:g}'


def _bound(row: InstanceRecall, metric: str, end: str) -> float:
    return getattr(row.intervals.get(metric), end, math.nan)


def _extent(row: InstanceRecall, metric: str) -> tuple[float, float, float]:
    return 100 * _bound(row, metric, 'low'), 100 * getattr(row, metric), 100 * _bound(row, metric, 'high')
