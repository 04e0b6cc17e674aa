"""Recall against the occlusion of instances, and errors by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.figure_style import LIGHT, add_legend, check_results, drawing, model_series, new_figure, settle, wrap

from ...results import MIN_IMAGES, Errors, OcclusionResult, StratumResult
from ..sheet import by_kind, size_of, unit_of
from ..tables import per_image, side_by_side
from .panels import PANEL_WIDTH, Curve, Places, add_curve_legend, draw_counts, draw_curves, named, range_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RECALLS = {'recall50': 'IoU 0.50', 'recall75': 'IoU 0.75'}
ERROR_PARTS = {'image': 'per image', 'share': 'as shares'}


def plot_recall(
    results: Sequence[OcclusionResult],
    min_instances: int = MIN_IMAGES,
    metrics: Sequence[str] = tuple(RECALLS),
    width: float = PANEL_WIDTH,
) -> Figure:
    """Draw recall at IoU 0.50 and 0.75 against the covered or invisible fraction, one line a model.

    One column of panels for each IoU type; below, the number of instances. Bands are the bootstrap intervals. All
    recalls in percent; the axis starts at 0 for one model, and below the lowest value for several.

    Args:
        results: Those without ``instances`` are passed over.
        min_instances: Marks of fewer instances are hollow.
        metrics: ``'recall50'``, ``'recall75'`` or both: a row of panels each.
        width: Of a column in inches.

    Raises:
        InputError: No result has ``instances``.
    """
    results = [result for result in results if result.instances]
    check_results(results, 'recall by instance')
    panels = side_by_side(results)
    zoom = any(len(panel) > 1 for panel in panels)
    with drawing():
        series = model_series([result.name for result in results])
        figure = new_figure(width * len(panels), 1.6 + 0.2 * len(series) + 2.6 * len(metrics))
        heights = [3] * len(metrics) + [1.2]
        grid = figure.subplots(len(heights), len(panels), sharex='col', squeeze=False, height_ratios=heights)
        any_few = False
        for panel, (*above, below) in zip(panels, grid.T, strict=True):
            ranges = panel[0].instances
            sizes = np.array([row.num_instances for row in ranges])
            places = Places([range_label(row) for row in ranges], sizes, sizes < min_instances)
            for axes, metric in zip(above, metrics, strict=True):
                curves = [Curve.of(series[result.name], result.instances, metric) for result in panel]
                draw_curves(axes, places, curves, True, zoom)
                axes.set_title(f'{panel[0].iou_type} recall, {RECALLS[metric]}')
            draw_counts(below, places)
            below.set_xlabel(wrap(f'{panel[0].fraction or "occlusion"} of the instance', int(10 * width)))
            any_few = any_few or any(places.few)
        for axes in grid[:-1, 0]:
            axes.set_ylabel('recall (%)')
        grid[-1, 0].set_ylabel('instances')
        add_curve_legend(figure, series.values(), f'< {min_instances} instances' if any_few else '')
        return settle(figure)


def plot_errors(
    results: Sequence[OcclusionResult],
    min_images: int = MIN_IMAGES,
    parts: Sequence[str] = tuple(ERROR_PARTS),
    width: float = PANEL_WIDTH,
) -> Figure:
    """Draw the kinds of false positives stacked, one row of panels for each result: per image, and as shares.

    Strata are all images, those of instances, the groups and the bins, or the thresholds where there are neither groups
    nor bins.

    Args:
        results: Those without ``errors`` are passed over.
        min_images: Strata with fewer images (or instances) are marked ``*``.
        parts: ``'image'`` (how many per image), ``'share'`` (in percent) or both: a column each.
        width: Of a column in inches.

    Raises:
        InputError: No result has ``errors``.
    """
    results = [result for result in results if result.all.errors]
    check_results(results, 'error anatomy')
    rows_of = [_error_rows(result) for result in results]
    errors = rows_of[0][0].errors
    labels = {
        'image': f'false positives per image (score ≥ {errors.min_score:g}, IoU {errors.iou_thr:.2f})',
        'share': 'share of the false positives (%)',
    }
    with drawing():
        from matplotlib.patches import Patch

        heights = [0.6 + 0.27 * len(rows) for rows in rows_of]
        figure = new_figure(width * len(parts), sum(heights) + 1.2)
        grid = figure.subplots(len(results), len(parts), squeeze=False, sharex='col', height_ratios=heights)
        for line, result, rows in zip(grid, results, rows_of, strict=True):
            names = [named(row.stratum.name) + ' *' * (size_of(row) < min_images) for row in rows]
            for axes, part in zip(line, parts, strict=True):
                _stack(axes, rows, part)
                axes.set_yticks(range(len(rows)), names if axes is line[0] else [''] * len(rows))
            line[0].set_title(wrap(f'{result.name}, {result.iou_type}', int(8 * width), 2))
        for axes, part in zip(grid[-1], parts, strict=True):
            axes.set_xlabel(labels[part])
            axes.set_xlim((0, 100) if part == 'share' else (0, None))
        handles = [
            Patch(facecolor=colour, edgecolor=LIGHT.background, label=kind)
            for kind, colour in zip(Errors.KINDS, LIGHT.kinds, strict=True)
        ]
        few = {unit_of(row) for rows in rows_of for row in rows if size_of(row) < min_images}
        if few:
            handles.append(Patch(facecolor='none', label=f'* < {min_images} {" or ".join(sorted(few))}'))
        add_legend(figure, handles)
        return settle(figure)


def _error_rows(result: OcclusionResult) -> list[StratumResult]:
    kinds = {'all', 'instances', *(('group', 'bin') if result.groups or result.bins else ('cumulative',))}
    return [row for row in by_kind(result.strata) if row.stratum.kind in kinds]


def _stack(axes: Axes, rows: Sequence[StratumResult], part: str) -> None:
    start = np.zeros(len(rows))
    for kind, colour in zip(Errors.KINDS, LIGHT.kinds, strict=True):
        values = [per_image(row, kind) if part == 'image' else 100 * row.errors.share(kind) for row in rows]
        widths = np.nan_to_num(values)
        # The gap in the colour of the page parts the kinds without help of their own.
        edge = {'edgecolor': LIGHT.background, 'linewidth': 0.8}
        axes.barh(range(len(rows)), widths, 0.78, left=start, color=colour, zorder=2, **edge)
        start += widths
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis='y', length=0)
    axes.grid(True, axis='x')
