"""AP against the occlusion of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.figure_style import check_results, drawing, model_series, new_figure, settle, wrap
from mmhybrid.text import plural

from ...results import MIN_IMAGES, OcclusionResult, StratumResult
from ..sheet import sizes_of_all
from ..tables import side_by_side
from .panels import (
    PANEL_WIDTH,
    Curve,
    Places,
    add_curve_legend,
    draw_counts,
    draw_curves,
    label_places,
    named,
    range_label,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The kinds of strata, and what the title says of them.
FAMILIES = {
    'instances': 'by stratum of instances', 'group': 'by stratum', 'bin': 'in each bin',
    'cumulative': 'on images with {} ≥ t', 'all': 'on all images',
}  # fmt: skip


def plot_ap(
    results: Sequence[OcclusionResult],
    min_images: int = MIN_IMAGES,
    families: Sequence[str] | None = None,
    width: float = PANEL_WIDTH,
    title: str = '',
) -> Figure:
    """Draw AP on every stratum, one colour, marker and dash pattern a model: a row a family of strata, a column an IoU
    type, on one scale.

    Where strata hold different numbers of images, or of instances where they are of these, bars below show them; equal
    ones are written. Bins, groups and strata of instances stand beside all images and have whiskers, cumulative strata
    are lines with bands: the bootstrap intervals. Bins without images at either end are left out. Marks of strata under
    ``min_images`` images (or instances) are hollow. AP is in percent; the axis starts at 0 for one model, and below the
    lowest value for several.

    Args:
        results: At least one, of one model or several; six models stay legible.
        min_images: Below this many images a stratum is drawn as uncertain.
        families: Which of :func:`ap_families` to draw; by default all but cumulative strata, which repeat what the
            others show, unless there are no others.
        width: Of a column in inches.
        title: Above the figure, e.g. what :func:`finding` says.

    Raises:
        InputError: No result.
    """
    check_results(results, 'strata')
    panels = side_by_side(results)
    if families is None:
        known = ap_families(results)
        families = [family for family in known if family != 'cumulative'] or known
    of_family = {f: [_places(_rows(sizes_of_all(p), f), f, min_images) for p in panels] for f in families}
    counted = [f for f, places in of_family.items() if any(len(set(each.parts.tolist())) > 1 for each in places)]
    with drawing():
        series = model_series([result.name for result in results])
        lines = len(series) + 1.3 * len(wrap(title, int(9 * width * len(panels)), 4).splitlines())
        heights = [height for family in families for height in (3.2, 1)[: 1 + (family in counted)]]
        figure = new_figure(width * len(panels), 1 + 0.2 * lines + sum(heights))
        lines_of_axes = iter(figure.subplots(len(heights), len(panels), squeeze=False, height_ratios=heights))
        few = {}
        for family in families:
            above = next(lines_of_axes)
            below = next(lines_of_axes) if family in counted else above
            for panel, places, axes, last in zip(panels, of_family[family], above, below, strict=True):
                curves = [Curve.of(series[result.name], _rows(result, family), 'ap') for result in panel]
                is_joined = family in ('bin', 'cumulative')
                draw_curves(axes, places, curves, family == 'cumulative', len(series) > 1, is_joined)
                name = FAMILIES[family].format(wrap(panel[0].measure.name, 20, 1))
                axes.set_title(f'{panel[0].iou_type} AP {name}')
                axis = f'{"threshold t of " * (family == "cumulative")}{panel[0].measure.label}'
                if last is axes:
                    label_places(axes, places.labels)
                    axis += f'; {_each(places, _unit(family))}'
                else:
                    last.sharex(axes)
                    axes.tick_params(labelbottom=False)
                    draw_counts(last, places)
                last.set_xlabel(wrap(axis, int(10 * width), 2))
                few[_unit(family)] = few.get(_unit(family), False) or any(places.few)
            _share_scale(above)
            above[0].set_ylabel('AP (%)')
            if family in counted:
                below[0].set_ylabel(_unit(family))
        told = ' or '.join(unit for unit, any_few in few.items() if any_few)
        add_curve_legend(figure, series.values(), f'< {min_images} {told}' if told else '', title)
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
    rows = _members(result, family)
    if family == 'bin' and (filled := [at for at, row in enumerate(rows) if row.num_images]):
        rows = rows[filled[0] : filled[-1] + 1]
    return rows if family == 'cumulative' else [result.all, *rows]


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


def _each(places: Places, unit: str) -> str:
    """``'50 images each'``."""
    return plural(int(places.parts[0]), unit[:-1]) + ' each' * (len(places.parts) > 1)


def _share_scale(line: np.ndarray) -> None:
    """One range for all axes of a row, whose ticks are labelled once."""
    bottoms, tops = zip(*(axes.get_ylim() for axes in line), strict=True)
    for axes in line:
        axes.set_ylim(min(bottoms), max(tops))
        axes.tick_params(labelleft=axes is line[0])
