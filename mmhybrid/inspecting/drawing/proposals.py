"""Figures of the counts of ``mmhybrid inspect proposals``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid import figure_style as style

from ..analyses.proposal_words import level_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from ..analyses.proposal_counts import Measured, Summary

TICKS = ('0', '≤ 0.2', '≤ 0.4', '≤ 0.6', '≤ 0.8', '≤ 1')  # upper ends
COVERED = 'share of the instance that others cover, at most (in brackets: {})'
WIDTH = 10.0


def plot_counts(models: Sequence[Measured], counts: np.ndarray, score_thr: str) -> Figure:
    """Boxes of an instance at each step, and what becomes of instances, by stratum; a line a model.

    Args:
        models: What was measured.
        counts: (S + 1,) instances of each stratum, and of all.
        score_thr: Of the boxes of classes, for titles.
    """
    proposed = any('proposals' in model.summaries for model in models)
    first = {'proposals': 'RPN proposals'} if proposed else {'removed': 'removed by NMS'}
    panels = {
        **first,
        'before': f'score above {score_thr}, before NMS',
        'after': 'detections after NMS',
        'missed': 'missed (no detection)',
        'suppressed': 'suppressed (only before NMS)',
        'twice': 'found twice or more',
    }
    looks = style.model_series([model.name for model in models])
    with style.drawing():
        figure = style.new_figure(WIDTH, 6.6)
        for axes, (name, title) in zip(figure.subplots(2, 3).flat, panels.items(), strict=True):
            share = name in ('missed', 'suppressed', 'twice')
            for at, (model, look) in enumerate(zip(models, looks.values(), strict=True)):
                if name in model.summaries:
                    _draw_line(axes, model.summaries[name], look, 0.14 * (at - (len(models) - 1) / 2), share)
            axes.set_title(title)
            axes.set_ylabel('instances (%)' if share else 'boxes an instance')
            axes.set_xticks(range(len(TICKS)), [f'{tick}\n({n})' for tick, n in zip(TICKS, counts, strict=False)])
            axes.tick_params('x', labelsize=style.SMALL_SIZE)
            axes.set_xlim(-0.5, len(TICKS) - 0.5)
            axes.set_ylim(0, min(max(axes.get_ylim()[1], 5), 101) if share else max(axes.get_ylim()[1], 1))
            axes.grid(True, axis='y')
        figure.supxlabel(COVERED.format('number of instances'), fontsize=style.LABEL_SIZE)
        handles = [_handle(look) for look in looks.values()]
        style.add_legend(figure, handles)
        return style.settle(figure)


def plot_levels(models: Sequence[Measured]) -> Figure:
    """Shares of the FPN's levels by stratum: a row a model, a column a step; of what, its title says."""
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    models = [model for model in models if model.levels]
    # One stage: all that stands before NMS; two: what was pooled.
    columns = [[_first(model), 'after'] for model in models]
    names = sorted({name for model in models for name in model.reader.levels}, key=lambda name: float(name.split()[-1]))
    shades = colormaps['YlGnBu'](np.linspace(0.25, 1, len(names)))
    colours = dict(zip(names, shades, strict=True))
    titles = {'proposals': 'RPN proposals', 'before': 'boxes before NMS', 'after': 'detections'}
    with style.drawing():
        figure = style.new_figure(WIDTH, 0.9 + 2.7 * len(models))
        grid = figure.subplots(len(models), 2, squeeze=False, sharey=True)
        for line, model, steps in zip(grid, models, columns, strict=True):
            for axes, step in zip(line, steps, strict=True):
                axes.set_title(f'{titles[step]}: level of the {level_of(model, step)}')
                axes.set_ylim(0, 100)
                axes.set_xlim(-0.5, len(TICKS) - 0.5)
                axes.tick_params('x', labelsize=style.SMALL_SIZE)
                if step not in model.levels:
                    axes.set_xticks([])
                    axes.text(2.5, 50, 'cannot be told', ha='center', color=style.LIGHT.muted)
                    continue
                shares, counted = model.levels[step]
                bottom = np.zeros(len(TICKS))
                for name, share in zip(model.reader.levels, 100 * np.nan_to_num(shares[:-1]).T, strict=True):
                    axes.bar(
                        range(len(TICKS)), share, bottom=bottom, color=colours[name], width=0.75, edgecolor='white'
                    )
                    bottom += share
                axes.set_xticks(range(len(TICKS)), [f'{t}\n({n})' for t, n in zip(TICKS, counted, strict=False)])
                if not counted[-1]:
                    axes.text(2.5, 50, 'no such box belongs to an instance', ha='center', color=style.LIGHT.muted)
            line[0].set_ylabel(f'{style.wrap(model.name, 26, 2)}\nboxes of an instance (%)')
        figure.supxlabel(COVERED.format('number of instances with such boxes'), fontsize=style.LABEL_SIZE)
        style.add_legend(figure, [Patch(color=colour, label=name) for name, colour in colours.items()])
        return style.settle(figure)


def _first(model: Measured) -> str:
    return 'proposals' if model.reader.two_stages else 'before'


def _draw_line(axes: Axes, summary: Summary, look: style.Series, shift: float, share: bool) -> None:
    factor = 100 if share else 1
    x = np.arange(len(TICKS)) + shift
    value, low, high = (factor * each[:-1] for each in (summary.values, summary.low, summary.high))
    axes.vlines(x, low, high, color=look.colour, linewidth=1.4, alpha=0.75, zorder=2)
    axes.plot(
        x,
        value,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markersize=5,
        linewidth=1.5,
        zorder=3,
        clip_on=False,
    )


def _handle(look: style.Series) -> Line2D:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, label=look.label)
