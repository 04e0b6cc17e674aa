"""Values at neighbouring places of an axis: curves with their intervals, and bars of how much stands behind each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...results import InstanceRecall, StratumResult
from ..numbers import is_interval
from .style import CHARACTER, SMALL_SIZE, TICK_SIZE, Series, Theme, compact, key, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

PANEL_WIDTH = 5.6  # of one column of panels, in inches


@dataclass(frozen=True)
class Curve:
    """One model or metric: a value at each place, in percent, with its interval; NaN where there is none."""

    look: Series
    values: np.ndarray
    lows: np.ndarray
    highs: np.ndarray

    @classmethod
    def of(cls, look: Series, rows: Sequence[StratumResult | InstanceRecall], metric: str) -> Curve:
        """The metric of some strata or ranges."""
        spans = [row.intervals.get(metric) for row in rows]
        bounds = [(span.low, span.high) if is_interval(span) else (math.nan, math.nan) for span in spans]
        lows, highs = 100 * np.reshape(np.array(bounds, float), (-1, 2)).T
        return cls(look, np.array([100 * getattr(row, metric) for row in rows]), lows, highs)

    @property
    def key(self) -> Line2D:
        """Its entry in the legend."""
        look = self.look
        return key(color=look.colour, marker=look.marker, linestyle=look.dash, linewidth=1.8, label=look.label)


def draw_curves(
    axes: Axes, curves: Sequence[Curve], few: Sequence[bool], theme: Theme, banded: bool, alone: int | None = 0
) -> None:
    """Draw curves over the places 0, 1, 2, ...: bands of their intervals, or whiskers side by side.

    Args:
        axes: Where to.
        curves: Of the same places.
        few: One flag a place: hollow marks.
        theme: Colours.
        banded: Bands rather than whiskers.
        alone: So many places at the start are not joined with the others; None for all of them.
    """
    alone = len(few) if alone is None else alone
    few = np.array(few, bool)
    step = 0 if banded else min(0.8 / len(curves), 0.2)
    for index, curve in enumerate(curves):
        look = curve.look
        at = np.arange(len(few)) + step * (index - (len(curves) - 1) / 2)
        line = {'linewidth': 1.8} if banded else {'linewidth': 1, 'alpha': 0.55}
        axes.plot(at[alone:], curve.values[alone:], color=look.colour, linestyle=look.dash, zorder=3, **line)
        whiskers = np.isfinite(curve.lows)
        if banded:
            axes.fill_between(at, curve.lows, curve.highs, color=look.colour, alpha=0.16, linewidth=0, zorder=2)
            # A band needs a neighbour.
            beside = np.concatenate([[False], whiskers, [False]])
            whiskers = whiskers & ~beside[:-2] & ~beside[2:]
        axes.vlines(
            at[whiskers], curve.lows[whiskers], curve.highs[whiskers], color=look.colour, linewidth=1.4, zorder=2
        )
        for hollow in (False, True):
            axes.plot(
                at[few == hollow], curve.values[few == hollow], look.marker, color=look.colour, zorder=4,
                markerfacecolor=theme.background if hollow else look.colour, markersize=6 if len(curves) < 4 else 5,
            )  # fmt: skip
    if alone == 1 < len(few):
        axes.axvline(0.5, color=theme.muted, linewidth=0.8, zorder=1)
    axes.set_xlim(-0.6, len(few) - 0.4)
    axes.grid(True, axis='y')


def draw_counts(axes: Axes, counts: Sequence[int], few: Sequence[bool], theme: Theme, unseen: int = 0) -> None:
    """Bars of counts below the curves, each with its number; hollow where there are few.

    Args:
        axes: Where to.
        counts: One a place.
        few: One flag a place.
        theme: Colours.
        unseen: So many at the start are given as numbers only: bars of what all the others are part of.
    """
    crowded = len(counts) > 12
    for at, (count, hollow) in enumerate(zip(counts, few, strict=True)):
        height = 0 if at < unseen < len(counts) else count
        face, edge = (theme.background, theme.bar) if hollow else (theme.bar, theme.background)
        axes.bar(at, height, 0.82, color=face, edgecolor=edge, linewidth=1, zorder=2)
        axes.annotate(
            compact(count), (at, height), xytext=(0, 2), textcoords='offset points', ha='center', color=theme.muted,
            fontsize=7.5 if crowded else SMALL_SIZE, rotation=90 if crowded else 0,
        )  # fmt: skip
    top = max(counts[unseen:] or counts, default=0) or 1
    axes.set_ylim(0, top * (1.6 if crowded else 1.3))
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    axes.grid(True, axis='y')


def label_places(axes: Axes, labels: Sequence[str], width: float) -> None:
    """Labels of the places, turned where they would touch one another in so many inches."""
    room = 72 * (width - 0.8) / max(len(labels), 1)
    turned = max(map(len, labels), default=0) * CHARACTER * TICK_SIZE + 4 > room
    look = {'rotation': 40, 'ha': 'right', 'rotation_mode': 'anchor'} if turned else {}
    axes.set_xticks(range(len(labels)), labels, **look)


def range_label(name: str, lower: float, upper: float) -> str:
    """A bin in a few characters: ``'0'``, ``'0.1–0.2'``, else its name."""
    if math.isfinite(lower) and lower == upper:
        return f'{lower:g}'
    if math.isfinite(lower) and math.isfinite(upper):
        return f'{lower:g}–{upper:g}'
    return named(name)


def named(name: str) -> str:
    """A stratum's name with signs as one writes them, cut to what an axis has room for."""
    return wrap(name.replace(' <= ', ' ≤ ').replace(' >= ', ' ≥ '), 24, 1)


def finish_percent(axes: Axes, curves: Sequence[Curve], zoom: bool = False) -> None:
    """An axis of percent up to the largest value, from 0 or, to tell models apart, from below the smallest."""
    values = np.concatenate([[*curve.values, *curve.lows, *curve.highs] for curve in curves])
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 100.0)
    # Ten points at least: less would blow noise up.
    low = max(0.0, min(low, high - 10)) if zoom else 0.0
    margin = 0.08 * max(high - low, 1.0)
    axes.set_ylim(low - margin if low > margin else 0, min(high + margin, max(101.5, high)))


def few_key(least: int, unit: str, theme: Theme) -> Line2D:
    """The legend's entry for hollow marks."""
    return key(color=theme.muted, marker='o', markerfacecolor=theme.background, linestyle='',
               label=f'< {least} {unit}')  # fmt: skip
