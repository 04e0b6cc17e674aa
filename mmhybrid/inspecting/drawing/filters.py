"""Figures of how alike the filters of a layer are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid import figure_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analyses.filter_similarity import Layer

_WHAT = {'patterns': 'guided patterns', 'weights': 'weights'}


def draw_similarity(found: Mapping[str, Sequence[Layer]], by: str) -> Figure:
    """Mean |similarity| against depth, all models in one panel; below, a panel a model, the histogram of each layer."""
    looks = style.model_series(list(found))
    columns = min(len(found), 2)
    rows = math.ceil(len(found) / columns)
    most = max(map(len, found.values()))
    signed = any(layer.counts[: len(layer.counts) // 2].any() for layers in found.values() for layer in layers)
    tallest = max((layer.density.max() for layers in found.values() for layer in layers), default=0) or 1
    with style.drawing():
        below = 0.9 + 0.42 * max(most, 4)
        figure = style.new_figure(max(8.0, 5.2 * columns), 3.4 + below * rows)
        grid = figure.add_gridspec(1 + rows, columns, height_ratios=[3.4, *[below] * rows])
        axes = figure.add_subplot(grid[0, :])
        for name, layers in found.items():
            _draw_depth(axes, layers, looks[name])
        axes.set(ylim=(0, 1), ylabel='|cosine similarity|, mean', xlabel='depth (place among the convolutions)')
        axes.set_title(f'Similarity of two filters of a layer ({_WHAT[by]}), with quartiles')
        axes.grid(True)
        if len(found) > 1:
            style.add_legend(figure, axes.get_legend_handles_labels()[0])
        for i, (name, layers) in enumerate(found.items()):
            axes = figure.add_subplot(grid[1 + i // columns, i % columns])
            _draw_histograms(axes, layers, tallest)
            axes.set_title(style.wrap(name, 44, 2), color=looks[name].colour)
            axes.set(xlim=(-1 if signed else 0, 1), xlabel='cosine similarity of two filters')
            axes.set_xticks(np.linspace(-1 if signed else 0, 1, 5))
        return style.settle(figure)


def draw_matrices(found: Mapping[str, Sequence[Layer]], by: str) -> Figure:
    """A matrix a layer, rows of panels for each model, from the first layer to the last."""
    import matplotlib

    columns = min(max(map(len, found.values())), 4)
    rows = [(name, layers[i : i + columns]) for name, layers in found.items() for i in range(0, len(layers), columns)]
    with style.drawing():
        figure = style.new_figure(2.1 * columns + 1.2, 0.5 + 2.35 * len(rows))
        grid = figure.subplots(len(rows), columns, squeeze=False)
        colours = matplotlib.colormaps['RdBu_r'].with_extremes(bad=style.LIGHT.bar)
        used = []
        for line, (name, layers) in zip(grid, rows, strict=True):
            for axes, layer in zip(line, layers, strict=False):
                image = axes.imshow(layer.similarity, vmin=-1, vmax=1, cmap=colours, interpolation='nearest')
                axes.set(xticks=[], yticks=[])
                axes.set_title(style.wrap(layer.short, 24, 2), fontsize=style.SMALL_SIZE, fontweight='normal')
                axes.set_xlabel(f'{len(layer.chosen)} filters', fontsize=style.SMALL_SIZE)
                used.append(axes)
            line[0].set_ylabel(style.wrap(name, 22, 2), fontweight='bold', fontsize=style.SMALL_SIZE)
            for axes in line[len(layers) :]:
                axes.remove()
        bar = figure.colorbar(image, ax=used, shrink=0.8, aspect=30, pad=0.02)
        bar.set_label(f'cosine similarity ({_WHAT[by]})')
        return style.settle(figure)


def _draw_depth(axes: Axes, layers: Sequence[Layer], look: style.Series) -> None:
    made = [layer.summary() for layer in layers]
    depth = np.array([layer.depth for layer in layers])
    if np.isnan(depth).any():  # of modules that are no convolutions
        depth = np.linspace(0, 1, len(layers))
    mean, low, high = (np.array([each[key] for each in made]) for key in ('mean', 'lower_quartile', 'upper_quartile'))
    axes.fill_between(depth, low, high, color=look.colour, alpha=0.13, linewidth=0, zorder=2)
    axes.plot(
        depth, mean, color=look.colour, linestyle=look.dash, marker=look.marker, linewidth=1.6, markersize=5,
        label=look.label, zorder=3,
    )  # fmt: skip


def _draw_histograms(axes: Axes, layers: Sequence[Layer], tallest: float) -> None:
    """One above the other from the first layer on, since many in one place hide each other."""
    import matplotlib

    from ..analyses.filter_similarity import BINS

    colours = matplotlib.colormaps['viridis'](np.linspace(0, 0.85, len(layers)))
    lines = range(len(layers) - 1, -1, -1)
    for layer, colour, line in zip(layers, colours, lines, strict=True):
        outline = line + 0.9 * layer.density / tallest
        axes.stairs(outline, BINS, baseline=line, fill=True, color=colour, alpha=0.35)
        axes.stairs(outline, BINS, baseline=None, color=colour, linewidth=1.1)
    axes.set_yticks(list(lines), [style.wrap(layer.short, 28, 1) for layer in layers], fontsize=style.SMALL_SIZE)
    axes.set_ylim(0, len(layers))
    axes.set_ylabel(f'density of pairs, 0 to {tallest / 0.9:.2g} each')
    axes.grid(True)
