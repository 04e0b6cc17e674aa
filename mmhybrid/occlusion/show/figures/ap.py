"""AP against the occlusion ratio, with the number of images behind each point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...results import MIN_IMAGES, Measure, OcclusionResult, StratumResult
from ..numbers import METRIC_LABELS
from ..sheet import is_few
from ..tables import side_by_side
from .panels import (
    PANEL_WIDTH,
    Curve,
    draw_counts,
    draw_curves,
    few_key,
    finish_percent,
    label_places,
    named,
    range_label,
)
from .style import Series, Theme, add_legend, check_results, drawing, get_theme, model_series, new_figure, settle, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = ('ap', 'ap50', 'ap75')
FAMILIES = ('group', 'bin', 'cumulative')


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
    with drawing(look):
        series = None if single else model_series([result.name for result in results], look)
        # The legend has a line a model, or two.
        figure = new_figure(width * len(families), 0.4 + 0.2 * len(series or 'x') + 4.2 * len(panels))
        grid = figure.subplots(2 * len(panels), len(families), squeeze=False, height_ratios=[3, 1] * len(panels))
        keys, any_few = {}, False
        for row, panel in enumerate(panels):
            for column, family in enumerate(families):
                axes, below = grid[2 * row : 2 * row + 2, column]
                below.sharex(axes)
                axes.tick_params(labelbottom=False)
                places = _places(panel[0], family)
                few = [is_few(place, min_images) for place in places]
                curves = _curves(panel, family, series, look)
                first = 1 if places[0].stratum.kind == 'all' else 0
                draw_curves(axes, curves, few, look, family == 'cumulative', None if family == 'group' else first)
                finish_percent(axes, curves, not single)
                draw_counts(below, [place.num_images for place in places], few, look, first)
                label_places(below, [_label(place, family) for place in places], width)
                axes.set_title(_title(panel[0], family))
                below.set_xlabel(wrap(_axis(panel[0].measure, family), int(10 * width), 2))
                keys |= {curve.look.label: curve.key for curve in curves}
                any_few = any_few or any(few)
            grid[2 * row, 0].set_ylabel('AP (%)')
            grid[2 * row + 1, 0].set_ylabel('images')
        title = ', '.join(dict.fromkeys(result.name for result in results)) if single else ''
        add_legend(figure, [*keys.values(), *([few_key(min_images, 'images', look)] if any_few else [])], title=title)
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


def _curves(
    panel: Sequence[OcclusionResult], family: str, series: Mapping[str, Series] | None, theme: Theme
) -> list[Curve]:
    """AP of each model or, without their looks, several metrics of one."""
    if series is not None:
        return [Curve.of(series[result.name], _places(result, family), 'ap') for result in panel]
    looks = model_series([METRIC_LABELS[metric] for metric in METRICS], theme).values()
    rows = _places(panel[0], family)
    curves = [Curve.of(look, rows, metric) for look, metric in zip(looks, METRICS, strict=True)]
    # AP50 and AP75 are not defined where other thresholds were asked for.
    return [curve for curve in curves if np.isfinite(curve.values).any()] or curves[:1]


def _label(row: StratumResult, family: str) -> str:
    stratum = row.stratum
    if family == 'cumulative':
        return f'{stratum.lower:g}'
    return range_label(stratum.name, stratum.lower, stratum.upper) if stratum.kind == 'bin' else named(stratum.name)


def _title(result: OcclusionResult, family: str) -> str:
    where = {
        'group': 'by stratum', 'bin': 'in each bin', 'all': 'on all images',
        'cumulative': f'on images with {wrap(result.measure.name, 20, 1)} ≥ t',
    }[family]  # fmt: skip
    return f'{result.iou_type} AP {where}'


def _axis(measure: Measure, family: str) -> str:
    return f'threshold t of {measure.label}' if family == 'cumulative' else measure.label
