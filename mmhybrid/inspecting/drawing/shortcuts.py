"""Figures of the weights of dense shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid import figure_style as style
from mmhybrid.figure_style import LIGHT, new_figure, settle, wrap

from .depth import places, set_depth_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PRINTED = 6  # blocks of a stage, up to which its values fit into their cells
TICKS = 8  # of an axis, at most


def draw(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """All figures by name, from model -> its ``stages`` and ``inner`` shortcuts."""
    with style.drawing():
        made = {'': draw_matrices({name: told['stages'] for name, told in found.items()})}
        inner = {name: told['inner'] for name, told in found.items() if told['inner']}
        if inner:
            made['inner'] = draw_inner(inner)
    return made


def draw_matrices(models: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Mean |w|: a row for each model, a column for each of its stages, all on one scale."""
    columns = max(map(len, models.values()))
    most = max(np.nanmax(stage['mean_abs']) for stages in models.values() for stage in stages) or 1.0
    figure = new_figure(2.35 * columns + 0.6, 2.5 * len(models) + 0.3)
    grid = figure.subplots(len(models), columns, squeeze=False)
    image = None
    for line, (name, stages) in zip(grid, models.items(), strict=True):
        for axes, stage in zip(line, stages, strict=False):
            image = _draw_matrix(axes, stage, most)
            axes.set_title(stage['name'].removeprefix('backbone.'))
        for axes in line[len(stages) :]:
            axes.remove()
        line[0].set_title(wrap(f'{name}: {stages[0]["name"].removeprefix("backbone.")}', 30, 2))
        line[0].set_ylabel('block l (w at the start)')
    bar = figure.colorbar(image, ax=grid, fraction=0.02, pad=0.01, aspect=30)
    bar.set_label('mean |w| over channels')
    bar.outline.set_visible(False)
    return settle(figure)


def _draw_matrix(axes: Axes, stage: Mapping[str, Any], most: float) -> Any:
    matrix, start = stage['mean_abs'], stage['start']
    n = len(matrix)
    image = axes.imshow(np.ma.masked_invalid(matrix), cmap='Blues', vmin=0, vmax=most, interpolation='nearest')
    if n <= PRINTED:
        for (row, column), value in np.ndenumerate(matrix):
            if not np.isnan(value):
                colour = LIGHT.background if value > 0.6 * most else LIGHT.text
                axes.text(
                    column, row, f'{value:.2f}', ha='center', va='center', fontsize=8 if n < 6 else 7, color=colour
                )
    step = -(-n // TICKS)
    at = np.arange(0, n, step)
    axes.set_xticks(at, [f'X{_lowered(i)}' for i in at] if n <= PRINTED else [str(i) for i in at])
    axes.set_yticks(at, [f'{i + 1} ({_starts(start[i])})' for i in at])
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_xlabel('source' if n <= PRINTED else 'source i of X_i')
    return image


def _lowered(number: int) -> str:
    return ''.join('₀₁₂₃₄₅₆₇₈₉'[int(digit)] for digit in str(number))


def _starts(row: np.ndarray) -> str:
    """The start of a block's weights: one number if they are alike; of others the last, as the rest are 0."""
    known = row[~np.isnan(row)]
    if not known.size:
        return 'identity'
    return f'{known[-1]:.2g}' if len(set(known)) == 1 else f'0…{known[-1]:.2g}'


def draw_inner(models: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Mean |w| of the inner shortcuts along depth, with a band over channels, and their start as a line."""
    from matplotlib.lines import Line2D

    looks = style.model_series(list(models))
    names = sorted({row['stage'] for rows in models.values() for row in rows})
    known = list(range(1, len(names) + 1))
    figure = new_figure(10, 3.6)
    axes = figure.subplots()
    for name, rows in models.items():
        look = looks[name]
        x = places([known[names.index(row['stage'])] for row in rows], known)
        low, mean, high = (np.array([row[key] for row in rows]) for key in ('p05', 'mean_abs', 'p95'))
        axes.plot(x, mean, color=look.colour, marker=look.marker, linestyle=look.dash, markersize=4, linewidth=1.3)
        axes.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)
    starts = sorted({row['start'] for rows in models.values() for row in rows})
    for value in starts:
        axes.axhline(value, color=LIGHT.muted, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    set_depth_axis(axes, known)
    axes.set_xticks(np.array(known) - 0.5, [name.removeprefix('backbone.') for name in names])
    axes.set_ylim(bottom=0)
    axes.set_ylabel('mean |w| over channels')
    axes.set_title('Inner shortcuts, across the 3x3 convolutions')
    axes.grid(True, axis='y')
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dash, markersize=5, label=look.label)
        for look in looks.values()
    ]
    handles.append(Line2D([], [], color=LIGHT.muted, linewidth=0.9, linestyle=(0, (4, 3)), label='at the start'))
    style.add_legend(figure, handles)
    return settle(figure)
