"""AP on strata that have names rather than a place on an axis: groups, bins of very unlike widths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...results import OcclusionResult
from ..labels import METRIC_LABELS, is_few
from ..sheets import by_kind
from .style import MARKERS, SMALL_SIZE, Theme, add_legend, compact, key, model_series, new_figure, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_bars(panels: Sequence[Sequence[OcclusionResult]], min_images: int, theme: Theme) -> Figure:
    """One row a stratum: horizontal bars of AP with whiskers, one a model, and beside them the number of images.

    Args:
        panels: For each column the results it compares.
        min_images: Below this many images a stratum is hollow.
        theme: Colours.
    """
    from matplotlib.patches import Patch

    models = max(map(len, panels))
    names = list(dict.fromkeys(row.stratum.name for row in by_kind(r for p in panels for s in p for r in s.strata)))
    series = model_series([result.name for panel in panels for result in panel], theme)
    height = 1.7 + len(names) * max(0.34, 0.17 * models + 0.1) + 0.25 * len(series)
    figure = new_figure(4.6 * len(panels) + 3.2, height)
    grid = figure.subplots(1, len(panels) + 1, sharey=True, squeeze=False, width_ratios=[3] * len(panels) + [1])[0]
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, names, [series[result.name].colour for result in panel], min_images, theme)
        title = f'{panel[0].name}, {panel[0].iou_type}' if models == 1 else f'{panel[0].iou_type} AP'
        axes.set_title(wrap(title, 40))
        axes.set_xlabel('COCO AP (%)')
    _draw_images(grid[-1], [result for panel in panels for result in panel], names, min_images, theme)
    grid[0].set_ylim(len(names) - 0.45, -0.55)
    grid[0].set_yticks(range(len(names)), [wrap(name, 26, 2) for name in names])
    handles = [
        Patch(facecolor=look.colour, label=look.label if models > 1 else METRIC_LABELS['ap'])
        for look in list(series.values())[: None if models > 1 else 1]
    ]
    if models == 1:
        handles += [key(color=colour, marker=marker, linestyle='', label=METRIC_LABELS[metric])
                    for metric, colour, marker in _points(theme)]  # fmt: skip
    if any(is_few(row, min_images) for panel in panels for result in panel for row in result.strata):
        handles.append(
            Patch(facecolor=theme.background, edgecolor=theme.muted, label=f'fewer than {min_images} images')
        )
    add_legend(figure, handles, 4)
    return figure


def _draw_panel(
    axes: Axes,
    panel: Sequence[OcclusionResult],
    names: list[str],
    colours: list[str],
    min_images: int,
    theme: Theme,
) -> None:
    thick = 0.8 / len(panel)
    for index, (result, colour) in enumerate(zip(panel, colours, strict=True)):
        for row in result.strata:
            if math.isnan(row.ap):
                continue
            at = names.index(row.stratum.name) - 0.4 + thick * (index + 0.5)
            face = theme.background if is_few(row, min_images) else colour
            axes.barh(at, 100 * row.ap, 0.9 * thick, color=face, edgecolor=colour, linewidth=1, zorder=2)
            interval = row.intervals.get('ap')
            if interval is not None and not math.isnan(interval.low):
                axes.hlines(at, 100 * interval.low, 100 * interval.high, color=theme.text, linewidth=1.3, zorder=3)
            if len(panel) == 1:
                for metric, mark_colour, marker in _points(theme):
                    axes.plot(100 * getattr(row, metric), at, marker, color=mark_colour, markersize=5.5, zorder=4)
    axes.set_xlim(left=0)
    axes.grid(True, axis='x')
    axes.tick_params(axis='y', length=0)


def _draw_images(
    axes: Axes, results: Sequence[OcclusionResult], names: list[str], min_images: int, theme: Theme
) -> None:
    rows = {row.stratum.name: row for result in results for row in result.strata}
    for name, row in rows.items():
        few = is_few(row, min_images)
        face = theme.background if few else theme.bar
        axes.barh(names.index(name), row.num_images, 0.6, color=face, edgecolor=theme.bar, linewidth=1, zorder=2)
        axes.annotate(
            compact(row.num_images), (row.num_images, names.index(name)), xytext=(3, 0), textcoords='offset points',
            va='center', fontsize=SMALL_SIZE, color=theme.muted,
        )  # fmt: skip
    top = max((row.num_images for row in rows.values()), default=0) or 1
    axes.set_xlim(0, 1.45 * top)
    axes.set_xticks([])
    axes.set_xlabel('images')
    axes.tick_params(axis='y', length=0)


def _points(theme: Theme) -> list[tuple[str, str, str]]:
    return [('ap50', theme.metrics[1], MARKERS[2]), ('ap75', theme.metrics[2], MARKERS[1])]
