"""Accuracy against epsilon, a line a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmhybrid.figure_style import LIGHT, add_legend, drawing, model_series, new_figure, settle

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analyses.accuracy import Measured

KINDS = {'fgsm': 'gradient', 'random': 'random'}
_DASHES = {'fgsm': '-', 'random': (0, (4, 2))}
_WIDTH, _HEIGHT = 7.0, 2.6  # of all panels side by side and of one panel, in inches


def draw(measured: Mapping[str, Measured], epsilons: Sequence[float], label: str) -> Figure:
    """A panel for each set of images or measure; solid for the gradient's signs, dashed for random ones.

    Args:
        measured: By the name of the model.
        epsilons: Ascending, from 0 on.
        label: Of the values, which are drawn in percent.
    """
    from matplotlib.ticker import FuncFormatter

    panels = list(dict.fromkeys(what for own in measured.values() for what in own.curves)) or ['no image']
    with drawing():
        columns = min(len(panels), 2)
        lines = math.ceil(len(panels) / columns)
        figure = new_figure(_WIDTH, _HEIGHT * lines + 0.6 + 0.2 * len(measured))
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
        looks = model_series(list(measured))
        for i, axes in enumerate(grid.flat):
            if i >= len(panels):
                axes.remove()
                continue
            what = panels[i]
            drawn = {name: own for name, own in measured.items() if what in own.curves}
            for name, own in drawn.items():
                _lines(axes, own, what, epsilons, looks[name])
            counts = sorted({own.counts[what] for own in drawn.values()}) or [0]
            number = f'{counts[0]}' if len(counts) == 1 else f'{counts[0]} to {counts[-1]}'
            axes.set_title(f'{what} ({number} image{"" if counts == [1] else "s"})')
            axes.set(xlim=(0, epsilons[-1]))
            axes.grid(True)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
            axes.yaxis.set_tick_params(labelleft=True)
            if i + columns >= len(panels):
                axes.set_xlabel('epsilon (pixels from 0 to 1)')
            if i % columns == 0:
                axes.set_ylabel(f'{label} (%)')
        values = [100 * each for own in measured.values() for curve in own.curves.values() for each in curve.values()]
        # One range for all panels, which compare with one another.
        grid.flat[0].set_ylim(0, 1.05 * max([value for value in values if value == value] + [1]))
        add_legend(figure, _handles(measured, looks))
        return settle(figure)


def _lines(axes: Axes, measured: Measured, what: str, epsilons: Sequence[float], look) -> None:
    for kind, dash in _DASHES.items():
        values = measured.along(what, kind, epsilons)
        if values is not None:
            axes.plot(
                epsilons, [100 * value for value in values], color=look.colour, linestyle=dash, linewidth=1.6,
                marker=look.marker, markersize=5 if kind == 'fgsm' else 3, zorder=3, clip_on=False,
            )  # fmt: skip


def _handles(measured: Mapping[str, Measured], looks) -> list:
    from matplotlib.lines import Line2D

    told = {'fgsm': 'signs of the gradient', 'random': 'random signs'}
    taken = {kind for own in measured.values() for values in own.curves.values() for kind, _ in values}
    return [
        *(
            Line2D([], [], color=look.colour, marker=look.marker, markersize=5, label=look.label)
            for look in looks.values()
        ),
        *(
            Line2D([], [], color=LIGHT.muted, linestyle=_DASHES[kind], label=word)
            for kind, word in told.items()
            if kind in taken
        ),
    ]
