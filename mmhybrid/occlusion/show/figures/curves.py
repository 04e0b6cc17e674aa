"""AP against the occlusion of images, and recall against that of instances; below, how much stands behind each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...results import MIN_IMAGES, OcclusionResult, StratumResult
from ..numbers import METRIC_LABELS
from ..sheet import is_few
from ..tables import side_by_side
from .panels import PANEL_WIDTH, Curve, add_curve_legend, draw_counts, draw_curves, named, range_label
from .style import Series, check_results, drawing, get_theme, model_series, new_figure, settle, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

APS = ('ap', 'ap50', 'ap75')
FAMILIES = ('group', 'bin', 'cumulative')
RECALLS = {'recall50': 'IoU 0.50', 'recall75': 'IoU 0.75'}


def plot_ap(
    results: Sequence[OcclusionResult],
    min_images: int = MIN_IMAGES,
    theme: str = 'light',
    families: Sequence[str] | None = None,
    width: float = PANEL_WIDTH,
) -> Figure:
    """Draw AP on every stratum, with the number of images below: a column a family of strata, a row an IoU type.

    One model: AP, AP50 and AP75. Several models: AP, one colour, marker and dash pattern a model. Bins and groups stand
    beside all images and have whiskers, cumulative strata are lines with bands: the bootstrap intervals. Marks of
    strata under ``min_images`` images are hollow. All APs in percent; the axis starts at 0 for one model, and below
    the lowest value for several.

    Args:
        results: At least one, of one model or several; six models stay legible.
        min_images: Below this many images a stratum is drawn as uncertain.
        theme: ``'light'`` or ``'dark'``.
        families: Which of :func:`ap_families` to draw; by default all.
        width: Of a column in inches.

    Raises:
        InputError: No result, or an unknown theme.
    """
    check_results(results, 'strata')
    look = get_theme(theme)
    panels = side_by_side(results)
    families = ap_families(results) if families is None else families
    single = all(len(panel) == 1 for panel in panels)
    names = [METRIC_LABELS[metric] for metric in APS] if single else [result.name for result in results]
    with drawing(look):
        series = model_series(names, look)
        # The legend has a line a model, or two.
        lines = 1 if single else len(series)
        figure = new_figure(width * len(families), 0.4 + 0.2 * lines + 4.2 * len(panels))
        grid = figure.subplots(2 * len(panels), len(families), squeeze=False, height_ratios=[3, 1] * len(panels))
        drawn, any_few = {}, False
        for row, panel in enumerate(panels):
            for column, family in enumerate(families):
                axes, below = grid[2 * row : 2 * row + 2, column]
                below.sharex(axes)
                axes.tick_params(labelbottom=False)
                places = _places(panel[0], family)
                few = [is_few(place, min_images) for place in places]
                curves = _curves(panel, family, series, single)
                first = 1 if places[0].stratum.kind == 'all' else 0
                alone = None if family == 'group' else first
                draw_curves(axes, curves, few, look, family == 'cumulative', not single, alone)
                counts = [place.num_images for place in places]
                draw_counts(below, counts, few, [_label(place, family) for place in places], look, first)
                axes.set_title(f'{panel[0].iou_type} AP {_where(panel[0], family)}')
                axis = f'threshold t of {panel[0].measure.label}' if family == 'cumulative' else panel[0].measure.label
                below.set_xlabel(wrap(axis, int(10 * width), 2))
                drawn |= dict.fromkeys(curve.look for curve in curves)
                any_few = any_few or any(few)
            grid[2 * row, 0].set_ylabel('AP (%)')
            grid[2 * row + 1, 0].set_ylabel('images')
        title = ', '.join(dict.fromkeys(result.name for result in results)) if single else ''
        add_curve_legend(figure, drawn, f'< {min_images} images' if any_few else '', look, title)
        return settle(figure)


def plot_recall(
    results: Sequence[OcclusionResult],
    theme: str = 'light',
    metrics: Sequence[str] = tuple(RECALLS),
    width: float = PANEL_WIDTH,
    min_instances: int = MIN_IMAGES,
) -> Figure:
    """Draw recall at IoU 0.50 and 0.75 against the covered or invisible fraction, one line a model.

    One column of panels for each IoU type; below, the number of instances. Bands are the bootstrap intervals. All
    recalls in percent; the axis starts at 0 for one model, and below the lowest value for several.

    Args:
        results: Those without ``instances`` are passed over.
        theme: ``'light'`` or ``'dark'``.
        metrics: ``'recall50'``, ``'recall75'`` or both: a row of panels each.
        width: Of a column in inches.
        min_instances: Marks of fewer instances are hollow.

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
        figure = new_figure(width * len(panels), 1.6 + 0.2 * len(series) + 2.6 * len(metrics))
        heights = [3] * len(metrics) + [1.2]
        grid = figure.subplots(len(heights), len(panels), sharex='col', squeeze=False, height_ratios=heights)
        any_few = False
        for panel, (*above, below) in zip(panels, grid.T, strict=True):
            ranges = panel[0].instances
            few = [row.num_instances < min_instances for row in ranges]
            for axes, metric in zip(above, metrics, strict=True):
                curves = [Curve.of(series[result.name], result.instances, metric) for result in panel]
                draw_curves(axes, curves, few, look, True, zoom)
                axes.set_title(f'{panel[0].iou_type} recall, {RECALLS[metric]}')
            labels = [range_label(row.name, row.lower, row.upper) for row in ranges]
            draw_counts(below, [row.num_instances for row in ranges], few, labels, look)
            below.set_xlabel(wrap(f'{panel[0].fraction or "occlusion"} of the instance', int(10 * width)))
            any_few = any_few or any(few)
        for axes in grid[:-1, 0]:
            axes.set_ylabel('recall (%)')
        grid[-1, 0].set_ylabel('instances')
        add_curve_legend(figure, series.values(), f'< {min_instances} instances' if any_few else '', look)
        return settle(figure)


def ap_families(results: Sequence[OcclusionResult]) -> list[str]:
    """The kinds of strata that some results have, each of which :func:`plot_ap` draws by itself."""
    return [family for family in FAMILIES if any(_members(result, family) for result in results)] or ['all']


def _members(result: OcclusionResult, family: str) -> list[StratumResult]:
    """The strata of a family by their bounds. Groups are shown by name, and so is a bin or threshold without others."""
    rows = {kind: list(result.of_kind(kind)) for kind in FAMILIES}
    alone = [row for kind in ('bin', 'cumulative') if len(rows[kind]) == 1 for row in rows[kind]]
    if family == 'group':
        return rows['group'] + alone
    own = [row for row in rows.get(family, []) if row not in alone]
    return sorted(own, key=lambda row: (row.stratum.lower, row.stratum.upper))


def _places(result: OcclusionResult, family: str) -> list[StratumResult]:
    """Bins and groups after all images, of which they are parts; the first threshold holds all, or nearly."""
    return ([] if family == 'cumulative' else [result.all]) + _members(result, family)


def _curves(panel: Sequence[OcclusionResult], family: str, series: Mapping[str, Series], single: bool) -> list[Curve]:
    """AP of each model or several metrics of a single one."""
    if not single:
        return [Curve.of(series[result.name], _places(result, family), 'ap') for result in panel]
    rows = _places(panel[0], family)
    curves = [Curve.of(series[METRIC_LABELS[metric]], rows, metric) for metric in APS]
    # AP50 and AP75 are not defined where other thresholds were asked for.
    return [curve for curve in curves if np.isfinite(curve.values).any()] or curves[:1]


def _label(row: StratumResult, family: str) -> str:
    stratum = row.stratum
    if family == 'cumulative':
        return f'{stratum.lower:g}'
    return range_label(stratum.name, stratum.lower, stratum.upper) if stratum.kind == 'bin' else named(stratum.name)


def _where(result: OcclusionResult, family: str) -> str:
    if family == 'cumulative':
        return f'on images with {wrap(result.measure.name, 20, 1)} ≥ t'
    return {'group': 'by stratum', 'bin': 'in each bin', 'all': 'on all images'}[family]
