"""The figures: AP against the occlusion of images, recall against that of instances, errors by kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...results import MIN_IMAGES, Errors, OcclusionResult, StratumResult
from ..numbers import METRIC_LABELS
from ..sheet import by_kind, size_of, sizes_of_all, unit_of
from ..tables import per_image, side_by_side
from .panels import PANEL_WIDTH, Curve, Places, add_curve_legend, draw_counts, draw_curves, named, range_label
from .style import LIGHT, Series, add_legend, check_results, drawing, model_series, new_figure, settle, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

APS = ('ap', 'ap50', 'ap75')
# The kinds of strata, and what the title says of them.
FAMILIES = {
    'instances': 'by stratum of instances', 'group': 'by stratum', 'bin': 'in each bin',
    'cumulative': 'on images with {} ≥ t', 'all': 'on all images',
}  # fmt: skip
RECALLS = {'recall50': 'IoU 0.50', 'recall75': 'IoU 0.75'}
ERROR_PARTS = {'image': 'per image', 'share': 'as shares'}


def plot_ap(
    results: Sequence[OcclusionResult],
    min_images: int = MIN_IMAGES,
    families: Sequence[str] | None = None,
    width: float = PANEL_WIDTH,
) -> Figure:
    """Draw AP on every stratum, with the number of images below: a column a family of strata, a row an IoU type.

    Below strata of instances stands their number of instances. One model: AP, AP50 and AP75. Several models: AP, one
    colour, marker and dash pattern a model. Bins, groups and strata of instances stand beside all images and have
    whiskers, cumulative strata are lines with bands: the bootstrap intervals. Marks of strata under ``min_images``
    images (or instances) are hollow. All APs in percent; the axis starts at 0 for one model, and below the lowest value
    for several.

    Args:
        results: At least one, of one model or several; six models stay legible.
        min_images: Below this many images a stratum is drawn as uncertain.
        families: Which of :func:`ap_families` to draw; by default all.
        width: Of a column in inches.

    Raises:
        InputError: No result.
    """
    check_results(results, 'strata')
    panels = side_by_side(results)
    families = ap_families(results) if families is None else families
    single = all(len(panel) == 1 for panel in panels)
    names = [METRIC_LABELS[metric] for metric in APS] if single else [result.name for result in results]
    with drawing():
        series = model_series(names)
        # The legend has a line a model, or two.
        lines = 1 if single else len(series)
        figure = new_figure(width * len(families), 0.4 + 0.2 * lines + 4.2 * len(panels))
        grid = figure.subplots(2 * len(panels), len(families), squeeze=False, height_ratios=[3, 1] * len(panels))
        drawn, units = {}, {}
        for panel, above, below in zip(panels, grid[::2], grid[1::2], strict=True):
            measure = panel[0].measure
            for family, axes, counts in zip(families, above, below, strict=True):
                counts.sharex(axes)
                axes.tick_params(labelbottom=False)
                places = _places(_rows(sizes_of_all(panel), family), family, min_images)
                curves = _curves(panel, family, series, single)
                draw_curves(axes, places, curves, family == 'cumulative', not single, family in ('bin', 'cumulative'))
                draw_counts(counts, places)
                axes.set_title(f'{panel[0].iou_type} AP {FAMILIES[family].format(wrap(measure.name, 20, 1))}')
                axis = f'threshold t of {measure.label}' if family == 'cumulative' else measure.label
                counts.set_xlabel(wrap(axis, int(10 * width), 2))
                drawn |= dict.fromkeys(curve.look for curve in curves)
                units[_unit(family)] = units.get(_unit(family), False) or any(places.few)
                if counts is below[0] or len(units) > 1:
                    counts.set_ylabel(_unit(family))
            above[0].set_ylabel('AP (%)')
        title = ', '.join(dict.fromkeys(result.name for result in results)) if single else ''
        few = ' or '.join(unit for unit, any_few in units.items() if any_few)
        add_curve_legend(figure, drawn, f'< {min_images} {few}' if few else '', title)
        return settle(figure)


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


def ap_families(results: Sequence[OcclusionResult]) -> list[str]:
    """The kinds of strata that some results have, each of which :func:`plot_ap` draws by itself."""
    return [kind for kind in FAMILIES if any(_members(result, kind) for result in results)] or ['all']


def _members(result: OcclusionResult, family: str) -> list[StratumResult]:
    """The strata of a family by their bounds. Groups are shown by name, and so is a bin or threshold without others."""
    lone = [rows[0] for rows in (result.bins, result.cumulative) if len(rows) == 1]
    if family == 'group':
        return [*result.groups, *lone]
    if family == 'instances':
        return list(result.of_kind(family))
    own = [row for row in result.strata if row.stratum.kind == family != 'all' and row not in lone]
    return sorted(own, key=lambda row: (row.stratum.lower, row.stratum.upper))


def _rows(result: OcclusionResult, family: str) -> list[StratumResult]:
    """Bins and groups after all images, of which they are parts; the first threshold holds all, or nearly."""
    return ([] if family == 'cumulative' else [result.all]) + _members(result, family)


def _places(rows: Sequence[StratumResult], family: str, min_images: int) -> Places:
    labels = []
    for stratum in (row.stratum for row in rows):
        label = range_label(stratum) if stratum.kind == 'bin' else named(stratum.name)
        labels.append(f'{stratum.lower:g}' if family == 'cumulative' else label)
    sizes = np.array([row.num_instances if _unit(family) == 'instances' else row.num_images for row in rows])
    whole = int(rows[0].stratum.kind == 'all')
    # Strata of instances overlap: beside one that is nearly all, that bar dwarfs nothing.
    return Places(labels, sizes, sizes < min_images, whole, 0 if family == 'instances' else whole)


def _unit(family: str) -> str:
    """What is counted below strata; each stratum of instances is on all images, or nearly."""
    return 'instances' if family == 'instances' else 'images'


def _curves(panel: Sequence[OcclusionResult], family: str, series: Mapping[str, Series], single: bool) -> list[Curve]:
    """AP of each model or several metrics of a single one."""
    if not single:
        return [Curve.of(series[result.name], _rows(result, family), 'ap') for result in panel]
    rows = _rows(panel[0], family)
    curves = [Curve.of(series[METRIC_LABELS[metric]], rows, metric) for metric in APS]
    # AP50 and AP75 are not defined where other thresholds were asked for.
    return [curve for curve in curves if np.isfinite(curve.values).any()] or curves[:1]


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
