"""AP against occlusion ratio, with the number of images behind each point."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from .results import SCHEMA, OcclusionResult, StratumResult
from .table import MIN_IMAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart with every common colour-vision deficiency, and by lightness in print.
SERIES = (('ap', 'AP', '#000000', 'o'), ('ap50', 'AP50', '#56B4E9', '^'), ('ap75', 'AP75', '#D55E00', 's'))
BAR_COLOUR, GRID_COLOUR, TEXT_COLOUR = '#8C8C8C', '#DDDDDD', '#555555'
# The bin r = 0 has no width: it gets a slot of its own left of the axis' zero.
ZERO_SLOT = (-0.13, -0.03)
PANEL_WIDTH, HEIGHT, DPI = 6.4, 6.2, 150


def plot(results: Sequence[OcclusionResult], min_images: int = MIN_IMAGES) -> Figure:
    """Draw one panel for each result (one IoU type each), under it the number of images in each bin.

    Lines are the cumulative strata, AP on the images with r >= t at t; horizontal bars are the disjoint bins, AP on
    the images of the bin over its width. Strata under ``min_images`` images are hollow or pale. All APs in percent.

    Args:
        results: At least one result.
        min_images: Below this many images a stratum is drawn as uncertain.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(PANEL_WIDTH * len(results), HEIGHT), dpi=DPI, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    axes = figure.subplots(
        2, len(results), sharex='col', sharey='row', squeeze=False, gridspec_kw={'height_ratios': [3, 1]}
    )
    for column, result in enumerate(results):
        _draw_ap(axes[0, column], result, min_images)
        _draw_counts(axes[1, column], result, min_images)
        # A file name is no formula: a dollar sign in it must not start one.
        title = textwrap.fill(f'{result.name}, {result.iou_type}', width=48)
        axes[0, column].set_title(title, fontsize=13, fontweight='bold', loc='left', parse_math=False)
        axes[1, column].set_xlabel(f'occlusion ratio r of the image ({result.ratio}, {result.geometry})', fontsize=12)
    axes[0, 0].set_ylabel('COCO AP (%)', fontsize=12)
    axes[1, 0].set_ylabel('images in bin', fontsize=12)
    figure.legend(handles=_legend(min_images), loc='outside lower center', ncols=3, frameon=False, fontsize=10)
    return figure


def save_figure(results: Sequence[OcclusionResult], path: str | PathLike[str], min_images: int = MIN_IMAGES) -> None:
    """Draw :func:`plot` into a PNG file of 150 dots per inch, which names mmhybrid as its maker."""
    plot(results, min_images).savefig(path, format='png', dpi=DPI, metadata={'Software': SCHEMA})


def _draw_ap(axes: Axes, result: OcclusionResult, min_images: int) -> None:
    for field, _, colour, marker in SERIES:
        curve = [row for row in result.cumulative if not math.isnan(row.ap)]
        x = [row.stratum.lower for row in curve]
        y = [100 * getattr(row, field) for row in curve]
        axes.plot(x, y, color=colour, linewidth=1.8, zorder=3)
        for row, at, value in zip(curve, x, y, strict=True):
            face = 'white' if row.num_images < min_images else colour
            axes.plot(at, value, marker, color=colour, markerfacecolor=face, markersize=6.5, zorder=4)
        for row in result.bins:
            if not math.isnan(row.ap):
                few = row.num_images < min_images
                style = {'linestyle': (0, (1, 1)), 'alpha': 0.45} if few else {'alpha': 0.75}
                value = 100 * getattr(row, field)
                axes.hlines(value, *_span(row), color=colour, linewidth=4, zorder=2, **style)
    axes.set_ylim(bottom=0)
    _tidy(axes)


def _draw_counts(axes: Axes, result: OcclusionResult, min_images: int) -> None:
    for row in result.bins:
        low, high = _span(row)
        few = row.num_images < min_images
        face, edge = ('white', BAR_COLOUR) if few else (BAR_COLOUR, 'white')
        axes.bar(
            (low + high) / 2, row.num_images, 0.9 * (high - low), color=face, edgecolor=edge, linewidth=1, zorder=2
        )
        axes.annotate(
            str(row.num_images),
            ((low + high) / 2, row.num_images),
            xytext=(0, 2),
            textcoords='offset points',
            ha='center',
            fontsize=9,
            color=TEXT_COLOUR,
        )
    axes.margins(y=0.22)
    axes.set_ylim(bottom=0)
    axes.set_xlim(ZERO_SLOT[0] - 0.03, 1.03)
    ticks = [tick / 10 for tick in range(11)]
    axes.set_xticks([sum(ZERO_SLOT) / 2, *ticks], ['r = 0', *(f'{tick:g}' for tick in ticks)])
    _tidy(axes)


def _span(row: StratumResult) -> tuple[float, float]:
    """Where a bin is drawn on the axis of r."""
    low, high = row.stratum.lower, row.stratum.upper
    return (low, high) if high > low else ZERO_SLOT


def _tidy(axes: Axes) -> None:
    axes.grid(axis='y', color=GRID_COLOUR, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.axvline(-0.015, color=GRID_COLOUR, linewidth=0.8, zorder=1)
    axes.tick_params(labelsize=10)


def _legend(min_images: int) -> list:
    from matplotlib.lines import Line2D

    metrics = [
        Line2D([], [], color=colour, marker=marker, linewidth=1.8, label=label) for _, label, colour, marker in SERIES
    ]
    grey = '#444444'
    kinds = [
        Line2D([], [], color=grey, marker='o', linewidth=1.8, label='images with r ≥ t, at t'),
        Line2D([], [], color=grey, linewidth=4, alpha=0.75, label='images in the bin'),
        Line2D(
            [], [], color=grey, marker='o', markerfacecolor='white', linestyle=(0, (1, 1)), linewidth=3, alpha=0.6,
            label=f'fewer than {min_images} images',
        ),
    ]  # fmt: skip
    # Columns fill first: metrics above, what the marks mean below.
    return [handle for pair in zip(metrics, kinds, strict=True) for handle in pair]
