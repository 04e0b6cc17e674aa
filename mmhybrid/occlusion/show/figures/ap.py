"""AP against the occlusion ratio, with the number of images behind each point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...results import MIN_IMAGES, Interval, OcclusionResult, StratumResult
from ..labels import METRIC_LABELS, is_few
from ..sheets import side_by_side
from .axis import RatioAxis
from .bars import plot_bars
from .style import (
    FEW_DASH,
    MARKERS,
    PANEL_WIDTH,
    Series,
    Theme,
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
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METRICS = ('ap', 'ap50', 'ap75')
BAND_ALPHA = 0.16


def plot_ap(results: Sequence[OcclusionResult], min_images: int = MIN_IMAGES, theme: str = 'light') -> Figure:
    """Draw AP against the measure, one column of panels for each IoU type, with the number of images below.

    One model: AP, AP50 and AP75; lines are the cumulative strata (AP on the images with r >= t, at t), horizontal
    bars the disjoint bins. Several models: AP alone, one colour, marker and dash pattern a model, cumulative strata
    and bins in panels of their own. Bands and whiskers are the bootstrap intervals. Strata under ``min_images`` images
    are hollow or dotted. Strata that no linear axis holds (groups, bins of very unlike widths, a single threshold) are
    drawn as bars with their names instead. All APs in percent; lines and points of several models are told apart on an
    axis that starts below the lowest value, everything else starts at 0.

    Args:
        results: At least one, of one model or several; six models stay legible.
        min_images: Below this many images a stratum is drawn as uncertain.
        theme: ``'light'`` or ``'dark'``.

    Raises:
        InputError: No result, or an unknown theme.
    """
    check_results(results, 'strata')
    look = get_theme(theme)
    panels = side_by_side(results)
    axes_of = [
        RatioAxis.of([row.stratum for result in panel for row in result.strata], panel[0].measure.name)
        for panel in panels
    ]
    with drawing(look):
        if None in axes_of or any(result.groups for result in results):
            return settle(plot_bars(panels, min_images, look))
        series = model_series([result.name for result in results], look)
        single = all(len(panel) == 1 for panel in panels)
        draw = _plot_single if single else _plot_several
        return settle(draw(panels, axes_of, series, min_images, look))


def _plot_single(
    panels: list[list[OcclusionResult]],
    axes_of: list[RatioAxis],
    series: dict[str, Series],
    min_images: int,
    theme: Theme,
) -> Figure:
    figure = new_figure(PANEL_WIDTH * len(panels), 6.4)
    grid = figure.subplots(2, len(panels), sharex='col', sharey='row', squeeze=False, height_ratios=[3, 1])
    looks = [Series(METRIC_LABELS[metric], *look) for metric, *look in
             zip(METRICS, theme.metrics, (MARKERS[0], MARKERS[2], MARKERS[1]), ('-',) * 3, strict=True)]  # fmt: skip
    for column, ((result,), axis) in enumerate(zip(panels, axes_of, strict=True)):
        axes = grid[0, column]
        for metric, look in zip(METRICS, looks, strict=True):
            _line(axes, result, metric, look, min_images, theme)
            for row in result.bins:
                _bin_bar(axes, axis.span(row.stratum), row, metric, look, min_images)
        axis.separate(axes, theme.grid)
        axes.set_title(wrap(f'{result.name}, {result.iou_type}', 46))
        _draw_images(grid[1, column], [result], axis, min_images, theme)
        axes.grid(True, axis='y')
    rows = [row for (result,) in panels for row in (*result.bins, *result.cumulative)]
    finish_percent(grid[0, 0], [value for row in rows for metric in METRICS for value in _extent(row, metric)])
    grid[0, 0].set_ylabel('COCO AP (%)')
    grid[1, 0].set_ylabel('images')
    handles = [key(color=look.colour, marker=look.marker, linewidth=1.8, label=look.label) for look in looks]
    add_legend(figure, handles + _marks([result for (result,) in panels], min_images, theme), 3)
    return figure


def _plot_several(
    panels: list[list[OcclusionResult]],
    axes_of: list[RatioAxis],
    series: dict[str, Series],
    min_images: int,
    theme: Theme,
) -> Figure:
    flat = [result for panel in panels for result in panel]
    kinds = [kind for kind in ('cumulative', 'bin') if any(result.of_kind(kind) for result in flat)]
    figure = new_figure(max(PANEL_WIDTH * len(panels), 7.2), 3.1 * len(kinds) + 2.4)
    grid = figure.subplots(
        len(kinds) + 1, len(panels), sharex='col', sharey='row', squeeze=False, height_ratios=[3] * len(kinds) + [1.2]
    )
    for column, (panel, axis) in enumerate(zip(panels, axes_of, strict=True)):
        for row, kind in enumerate(kinds):
            axes = grid[row, column]
            for index, result in enumerate(panel):
                look = series[result.name]
                if kind == 'cumulative':
                    _line(axes, result, 'ap', look, min_images, theme)
                else:
                    _bin_points(axes, axis, result, look, min_images, theme, (index, len(panel)))
            if kind == 'cumulative':
                axis.separate(axes, theme.grid)
            symbol = panel[0].measure.name
            what = f'images with {symbol} ≥ t, at t' if kind == 'cumulative' else 'images in each bin'
            axes.set_title(f'{panel[0].iou_type} AP, {what}', fontsize=11)
            finish_percent(
                axes, [v for result in flat for each in result.of_kind(kind) for v in _extent(each, 'ap')], True
            )
        _draw_images(grid[-1, column], panel, axis, min_images, theme)
    for axes in grid[:-1, 0]:
        axes.set_ylabel('COCO AP (%)')
    grid[-1, 0].set_ylabel('images')
    handles = [
        key(color=look.colour, marker=look.marker, linestyle=look.dash, linewidth=1.8, label=look.label)
        for look in series.values()
    ]
    if any(is_few(row, min_images) for result in flat for row in (*result.bins, *result.cumulative)):
        handles.append(_few_key(min_images, theme))
    add_legend(figure, handles, 3)
    return figure


def _line(axes: Axes, result: OcclusionResult, metric: str, look: Series, min_images: int, theme: Theme) -> None:
    """The cumulative strata; a stratum without ground truth breaks the line."""
    curve = sorted(result.cumulative, key=lambda row: row.stratum.lower)
    x = [row.stratum.lower for row in curve]
    y = [100 * getattr(row, metric) for row in curve]
    axes.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=1.8, zorder=3)
    bounds = [_bounds(row, metric) for row in curve]
    if any(not math.isnan(interval.low) for interval in bounds):
        low, high = [100 * each.low for each in bounds], [100 * each.high for each in bounds]
        axes.fill_between(x, low, high, color=look.colour, alpha=BAND_ALPHA, linewidth=0, zorder=2)
    for row, at, value in zip(curve, x, y, strict=True):
        face = theme.background if is_few(row, min_images) else look.colour
        axes.plot(at, value, look.marker, color=look.colour, markerfacecolor=face, markersize=6, zorder=4)


def _bin_bar(
    axes: Axes, span: tuple[float, float], row: StratumResult, metric: str, look: Series, min_images: int
) -> None:
    """A bin as a bar over its width, with its interval as a whisker."""
    value = 100 * getattr(row, metric)
    if math.isnan(value):
        return
    few = is_few(row, min_images)
    style = {'linestyle': FEW_DASH, 'alpha': 0.5} if few else {'alpha': 0.75}
    axes.hlines(value, *span, color=look.colour, linewidth=4, zorder=2, **style)
    interval = _bounds(row, metric)
    if not math.isnan(interval.low):
        axes.vlines(
            sum(span) / 2,
            100 * interval.low,
            100 * interval.high,
            color=look.colour,
            linewidth=1.2,
            alpha=0.75,
            zorder=2,
        )


def _bin_points(
    axes: Axes,
    axis: RatioAxis,
    result: OcclusionResult,
    look: Series,
    min_images: int,
    theme: Theme,
    place: tuple[int, int],
) -> None:
    """Bins as points with whiskers, the models side by side in each bin."""
    index, count = place
    for row in result.bins:
        low, high = axis.span(row.stratum)
        at = low + (high - low) * (index + 1) / (count + 1)
        value = 100 * row.ap
        interval = _bounds(row, 'ap')
        if not math.isnan(interval.low):
            axes.vlines(at, 100 * interval.low, 100 * interval.high, color=look.colour, linewidth=1.4, zorder=2)
        face = theme.background if is_few(row, min_images) else look.colour
        axes.plot(
            at, value, look.marker, color=look.colour, markerfacecolor=face, markersize=6 if count < 4 else 5, zorder=4
        )
    edges = {edge for row in result.bins for edge in axis.span(row.stratum)}
    for edge in edges:
        axes.axvline(edge, color=theme.grid, linewidth=0.6, zorder=0)


def _draw_images(axes: Axes, panel: list[OcclusionResult], axis: RatioAxis, min_images: int, theme: Theme) -> None:
    """Counts of the bins, or of the thresholds where there are no bins."""
    result = next((each for each in panel if each.bins), panel[0])
    rows = result.bins or result.cumulative
    half = 0.02 * axis.length
    spans = [
        axis.span(row.stratum) if row.stratum.kind == 'bin' else (row.stratum.lower - half, row.stratum.lower + half)
        for row in rows
    ]
    draw_counts(axes, spans, [row.num_images for row in rows], [is_few(row, min_images) for row in rows], theme)
    axis.apply(axes)
    axis.separate(axes, theme.grid)
    axes.set_xlabel(wrap(result.measure.label, 60))


def _bounds(row: StratumResult, metric: str) -> Interval:
    interval = row.intervals.get(metric)
    if interval is None or math.isnan(interval.low) or math.isnan(interval.high):
        return Interval(math.nan, math.nan)
    return interval


def _extent(row: StratumResult, metric: str) -> tuple[float, float, float]:
    interval = _bounds(row, metric)
    return 100 * interval.low, 100 * getattr(row, metric), 100 * interval.high


def _marks(results: list[OcclusionResult], min_images: int, theme: Theme) -> list:
    """What the marks of a single model mean, of those that are drawn."""
    symbol = results[0].measure.name
    marks = []
    if any(result.cumulative for result in results):
        marks.append(key(color=theme.muted, marker='o', linewidth=1.8, label=f'images with {symbol} ≥ t, at t'))
    if any(result.bins for result in results):
        marks.append(key(color=theme.muted, linewidth=4, alpha=0.75, label='images in the bin'))
    if any(is_few(row, min_images) for result in results for row in (*result.bins, *result.cumulative)):
        marks.append(_few_key(min_images, theme))
    return marks


def _few_key(min_images: int, theme: Theme):
    return key(
        color=theme.muted, marker='o', markerfacecolor=theme.background, linestyle=FEW_DASH, linewidth=2.5,
        label=f'fewer than {min_images} images',
    )  # fmt: skip
