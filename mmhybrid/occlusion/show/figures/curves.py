"""Curves of some strata: miss rate against false positives, precision against recall, precision against score."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.figure_style import (
    LIGHT,
    TICK_SIZE,
    Series,
    check_results,
    drawing,
    model_series,
    new_figure,
    settle,
    wrap,
)

from ...results import MIN_IMAGES, OcclusionResult, StratumResult
from ..numbers import METRIC_LABELS, interval, number
from ..sheet import parts_of
from ..tables import side_by_side
from .panels import PANEL_WIDTH, add_curve_legend, named

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 6  # curves or panels that stay legible
NINE = slice(20, 61, 5)  # of the points of a curve, those that MR^-2 is the mean of
LEAST_MISS = 0.005  # the axis ends here; a logarithm has no 0
QUALITY_PARTS = {'curve': 'Precision and recall', 'reliability': 'Calibration'}


def plot_miss_rate(
    results: Sequence[OcclusionResult],
    min_images: int = MIN_IMAGES,
    strata: Sequence[str] | None = None,
    width: float = PANEL_WIDTH,
) -> Figure:
    """Draw miss rate against false positives an image, both logarithmic, with MR^-2 and its interval in the legend.

    Several models: a panel a stratum, a line a model. One model: one panel, a line a stratum. Marks are at the nine
    values that MR^-2 is the mean of. Miss rates below 0.5% are drawn there.

    Args:
        results: Those without miss rates are passed over.
        min_images: Strata with fewer images are left out.
        strata: Names of those to draw; by default :func:`miss_rate_strata`.
        width: Of a panel in inches.

    Raises:
        InputError: No result has miss rates.
    """
    results = [result for result in results if result.all.miss_curve]
    check_results(results, 'miss rates')
    with drawing():
        panels = [each for group in side_by_side(results) for each in _miss_panels(group, min_images, strata)]
        columns = min(len(panels), 3)
        rows = math.ceil(len(panels) / columns)
        lines = max(len(curves) for _, curves in panels)
        figure = new_figure(width * columns, (3.6 + 0.2 * lines) * rows)
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (title, curves) in zip(grid.flat, panels, strict=False):
            _draw_miss(axes, title, curves)
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes in grid[:, 0]:
            axes.set_ylabel('miss rate (%)')
        return settle(figure)


def miss_rate_strata(results: Sequence[OcclusionResult], min_images: int) -> list[str]:
    """Six strata at most, whose miss rates of the first model differ most; none without miss rates."""
    asked = [result for result in results if result.all.miss_curve]
    return [row.stratum.name for result in asked[:1] for row in apart(result, min_images, lambda row: row.mr)]


def plot_quality(
    results: Sequence[OcclusionResult],
    min_images: int = MIN_IMAGES,
    parts: Sequence[str] = tuple(QUALITY_PARTS),
    width: float = PANEL_WIDTH,
) -> Figure:
    """Draw, for some strata, precision against recall and against score: a row a result, a line a stratum.

    The strata are six at most, whose best F1 of the first result differs most. Bands are bootstrap intervals. Where a
    detector is calibrated, precision is as high as the score: the diagonal.

    Args:
        results: Those without ``quality`` are passed over.
        min_images: Strata with fewer images, and bins of the score with fewer detections, are left out.
        parts: Which of :data:`QUALITY_PARTS`: a column each.
        width: Of a column in inches.

    Raises:
        InputError: No result has ``quality``.
    """
    results = [result for result in results if result.all.quality]
    check_results(results, 'quality')
    with drawing():
        names = [row.stratum.name for row in apart(results[0], min_images, lambda row: row.quality.f1)]
        looks = model_series(list(map(named, names)))
        figure = new_figure(width * len(parts), 0.5 + 3.6 * len(results))
        grid = figure.subplots(len(results), len(parts), squeeze=False, sharex='col')
        for line, result in zip(grid, results, strict=True):
            rows = {row.stratum.name: row for row in result.strata}
            for axes, part in zip(line, parts, strict=True):
                for name, look in zip(names, looks.values(), strict=True):
                    draw = _draw_precision if part == 'curve' else _draw_reliability
                    draw(axes, rows[name], look, min_images)
                axes.set(xlim=(0, 100), ylim=(0, 101.5), ylabel='precision (%)')
                axes.grid(True)
            title = wrap(f'{result.name}, {result.iou_type}, IoU {result.all.quality.iou_thr:.2f}', int(8 * width), 2)
            line[0].set_title(title)
        for axes, part in zip(grid[-1], parts, strict=True):
            axes.set_xlabel('recall (%)' if part == 'curve' else f'score (%), bins of {min_images} detections or more')
        add_curve_legend(figure, looks.values(), '')
        return settle(figure)


def apart(
    result: OcclusionResult, min_images: int, value: Callable[[StratumResult], float], most: int = MOST
) -> list[StratumResult]:
    """All images, the first stratum of instances and, one by one, the one whose value is furthest from those before; in
    the order of strata."""
    left = [row for row in (result.all, *parts_of(result, min_images)) if not math.isnan(value(row))]
    # A benchmark's first stratum is the one that papers report.
    chosen = left[: 1 + any(row.stratum.kind == 'instances' for row in left[1:2])] or [result.all]
    while len(chosen) < most and left:
        gaps = [min(abs(value(row) - value(other)) for other in chosen) for row in left]
        if max(gaps) == 0:
            break
        chosen.append(left[int(np.argmax(gaps))])
    names = {row.stratum.name for row in chosen}
    return [row for row in result.strata if row.stratum.name in names]


def _miss_panels(
    group: Sequence[OcclusionResult], min_images: int, strata: Sequence[str] | None
) -> Iterator[tuple[str, list[tuple[Series, StratumResult]]]]:
    """Title and curves of each panel."""
    first, is_one = group[0], len(group) == 1
    strata = miss_rate_strata(group, min_images) if strata is None else strata
    rows = [{row.stratum.name: row for row in result.strata} for result in group]
    if is_one:
        looks = model_series(list(map(named, strata)))
        curves = [(look, rows[0][name]) for look, name in zip(looks.values(), strata, strict=True)]
        yield f'{wrap(first.name, 40, 1)}, {first.iou_type}', curves
        return
    looks = model_series([result.name for result in group])
    for name in strata:
        curves = [(look, own[name]) for look, own in zip(looks.values(), rows, strict=True)]
        yield f'{named(name)}, {first.iou_type}', curves


def _draw_miss(axes: Axes, title: str, curves: Sequence[tuple[Series, StratumResult]]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    bottom = 1.0
    axes.axvspan(0.01, 1, color=LIGHT.grid, alpha=0.4, linewidth=0, zorder=0)
    for look, row in curves:
        if not row.miss_curve:
            continue
        fppi, miss = np.array(row.miss_curve).T
        miss = np.maximum(miss, LEAST_MISS)
        bottom = min(bottom, miss.min())
        label = f'{look.label}: {number(100 * row.mr, 2)} {interval(row.intervals.get("mr"))}'.strip()
        axes.plot(
            fppi, miss, color=look.colour, linestyle=look.dash, marker=look.marker, markevery=NINE, markersize=4.5,
            linewidth=1.6, label=label, zorder=3,
        )  # fmt: skip
    axes.set(xscale='log', yscale='log', xlim=(1e-3, 10), ylim=(0.85 * bottom, 1.06), xlabel='false positives an image')
    for axis, ticks, factor in (
        (axes.xaxis, (0.001, 0.01, 0.1, 1, 10), 1),
        (axes.yaxis, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1), 100),
    ):
        axis.set_ticks([tick for tick in ticks if axis is axes.xaxis or tick >= 0.85 * bottom])
        axis.set_major_formatter(FuncFormatter(lambda value, _, by=factor: f'{by * value:g}'))
        axis.set_minor_locator(NullLocator())
    axes.grid(True)
    axes.legend(
        title=f'{title}: {METRIC_LABELS["mr"]} in %', title_fontproperties={'size': TICK_SIZE, 'weight': 'bold'},
        loc='lower left', bbox_to_anchor=(-0.02, 1), alignment='left', handlelength=2.6, borderpad=0.2,
    )  # fmt: skip


def _draw_precision(axes: Axes, row: StratumResult, look: Series, _: int) -> None:
    quality = row.quality
    recall = np.linspace(0, 100, len(quality.precision))
    axes.plot(
        recall, 100 * np.array(quality.precision), color=look.colour, linestyle=look.dash, linewidth=1.6, zorder=3
    )
    if quality.precision_interval:
        low, high = 100 * np.array(quality.precision_interval)[:, ::2]
        axes.fill_between(recall[::2], low, high, color=look.colour, alpha=0.12, linewidth=0, zorder=2)


def _draw_reliability(axes: Axes, row: StratumResult, look: Series, min_detections: int) -> None:
    axes.plot([0, 100], [0, 100], color=LIGHT.muted, linewidth=0.8, zorder=1)
    bins = np.array(row.quality.reliability, float).reshape(-1, 3)
    bins[bins[:, 2] < min_detections] = np.nan  # a gap in the line
    score, precision = 100 * bins[:, :2].T
    axes.plot(
        score, precision, color=look.colour, linestyle=look.dash, marker=look.marker, markersize=4.5, linewidth=1.2,
        zorder=3, clip_on=False, in_layout=False,
    )  # fmt: skip
