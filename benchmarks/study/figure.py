"""The figure of a size: each model's difference to the baseline against r."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.figure_style import (
    LIGHT,
    SMALL_SIZE,
    TICK_SIZE,
    drawing,
    model_series,
    new_figure,
    settle,
)

from .words import change, count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
BESIDE = 0.018  # in r: single seeds stand beside the interval


def plot(document: Mapping[str, Any]) -> Figure:
    """A panel a model: differences with intervals, single seeds, and the line whose slope is tested; in points of AP.

    Args:
        document: What :func:`analysis.analyse` gave, with one model at least beside the baseline.
    """
    models = [each for each in document['models'].values() if each.get('against', {}).get('seeds')]
    baseline = document['models'][document['baseline']]
    # The baseline's own look comes first, so that a model keeps its own in any figure.
    series = list(model_series([baseline['title'], *(each['title'] for each in models)]).values())[1:]
    columns = 2 if len(models) == 4 else min(COLUMNS, len(models))  # no row with one alone
    rows = -(-len(models) // columns)
    with drawing():
        figure = new_figure(1.2 + 3.7 * columns, 0.6 + 3.1 * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes, model, look in zip(grid.flat, models, series, strict=False):
            _panel(axes, document, model, look.colour, look.marker)
        for axes in grid.flat[len(models) :]:
            axes.set_visible(False)
        for column in range(columns):
            lowest = grid[(len(models) - 1 - column) // columns, column]
            lowest.set_xlabel('occlusion ratio r')
            lowest.tick_params(labelbottom=True)
        figure.supylabel(f'difference in box AP to {baseline["title"]}, points', fontsize=TICK_SIZE)
        return settle(figure)


def _panel(axes: Axes, document: Mapping[str, Any], model: Mapping[str, Any], colour: str, marker: str) -> None:
    found = model['against']
    r = np.array([row['mean_r'] for row in document['strata']])
    values = 100 * np.array([row['value'] for row in found['strata']])
    axes.axhline(0, color=LIGHT.muted, linewidth=0.8, zorder=1)
    for each in _by_seed(document, model):
        axes.plot(r + BESIDE, 100 * each, '.', color=colour, alpha=0.5, markersize=4, zorder=2)
    if found['strata'][0]['low'] is not None:
        low, high = (100 * np.array([row[key] for row in found['strata']]) for key in ('low', 'high'))
        axes.errorbar(
            r, values, (values - low, high - values), fmt='none', ecolor=colour, elinewidth=1.2, capsize=2, zorder=3
        )
    axes.plot(r, values, marker, color=colour, markersize=5.5, zorder=4)
    line = values.mean() + 100 * found['slope']['value'] * (r - r.mean())
    axes.plot(r, line, '-', color=colour, linewidth=1.5, zorder=3)
    axes.set_title(
        f'{model["title"]}\nslope {change(found["slope"])}, {count(len(found["seeds"]), "seed")}',
        fontsize=SMALL_SIZE + 1,
    )
    axes.grid(True, axis='y')


def _by_seed(document: Mapping[str, Any], model: Mapping[str, Any]) -> np.ndarray:
    """``(S, K)``, each common seed's difference in each stratum."""
    both = []
    for each in (model, document['models'][document['baseline']]):
        by_seed = dict(zip(each['seeds'], each['by_seed']['ap'], strict=True))
        both.append(np.array([by_seed[seed][1:] for seed in model['against']['seeds']]))
    return both[0] - both[1]
