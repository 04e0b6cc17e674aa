"""Values at neighbouring places of an axis: curves with their intervals, and bars of how much stands behind each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.figure_style import CHARACTER, LIGHT, SMALL_SIZE, TICK_SIZE, Series, add_legend, wrap

from ...results import InstanceRecall, StratumResult
from ...strata import Stratum
from ..numbers import is_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL_WIDTH = 5.6  # of one column of panels, in inches
CROWDED = 12  # from more bars on, their counts are turned


@dataclass(frozen=True)
class Places:
    """What stands side by side on an axis: strata, or ranges of instances."""

    labels: Sequence[str]
    counts: np.ndarray  # of images or instances
    few: np.ndarray  # whether these are too few to conclude from: marks and bars are hollow
    whole: int = 0  # how many of the first places hold what all the others are parts of
    barless: int = 0  # how many of these have no bar, which would dwarf those of the others

    @property
    def parts(self) -> np.ndarray:
        """The counts of what is not the whole, if there is any part."""
        return self.counts[self.whole :] if len(self.counts) > self.whole else self.counts


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
        return cls(look, np.array([100 * getattr(row, metric) for row in rows]), *100 * np.array(bounds, float).T)


def draw_curves(
    axes: Axes, places: Places, curves: Sequence[Curve], banded: bool, zoom: bool, joined: bool = True
) -> None:
    """Draw curves over places: with bands of their intervals, or with whiskers side by side.

    The axis starts at 0 or, with ``zoom``, below the lowest value, to tell models apart. Lines join the parts alone,
    or nothing.
    """
    few = places.few
    start = places.whole if joined else len(few)
    step = 0 if banded else min(0.8 / len(curves), 0.2)
    for index, curve in enumerate(curves):
        look = curve.look
        at = np.arange(len(few)) + step * (index - (len(curves) - 1) / 2)
        line = {'linewidth': 1.8} if banded else {'linewidth': 1, 'alpha': 0.55}
        axes.plot(at[start:], curve.values[start:], color=look.colour, linestyle=look.dash, zorder=3, **line)
        whiskers = np.isfinite(curve.lows)
        if banded:
            axes.fill_between(at, curve.lows, curve.highs, color=look.colour, alpha=0.16, linewidth=0, zorder=2)
            # A band needs a neighbour.
            beside = np.concatenate([[False], whiskers, [False]])
            whiskers = whiskers & ~beside[:-2] & ~beside[2:]
        axes.vlines(
            at[whiskers], curve.lows[whiskers], curve.highs[whiskers], color=look.colour, linewidth=1.4, zorder=2
        )
        size = 6 if len(curves) < 4 else 5
        for own, face in ((~few, look.colour), (few, LIGHT.background)):
            # Marks at 0 and at 100 stand on the frame: whole, not cut by it.
            axes.plot(
                at[own], curve.values[own], look.marker, color=look.colour, markerfacecolor=face, markersize=size,
                zorder=4, clip_on=False, in_layout=False,
            )  # fmt: skip
    if start == 1 < len(few):
        axes.axvline(0.5, color=LIGHT.muted, linewidth=0.8, zorder=1)
    axes.set_xlim(-0.6, len(few) - 0.4)
    axes.set_ylim(*_limits(curves, zoom))
    axes.grid(True, axis='y')


def draw_counts(axes: Axes, places: Places) -> None:
    """Draw one bar a place with its count above and its label below; some places have a number only."""
    counts, barless = places.counts, places.barless
    crowded = len(counts) > CROWDED
    for at, (count, hollow) in enumerate(zip(counts, places.few, strict=True)):
        height = 0 if at < barless < len(counts) else count
        face, edge = (LIGHT.background, LIGHT.bar) if hollow else (LIGHT.bar, LIGHT.background)
        axes.bar(at, height, 0.82, color=face, edgecolor=edge, linewidth=1, zorder=2)
        axes.annotate(
            compact(int(count)), (at, height), xytext=(0, 2), textcoords='offset points', ha='center',
            color=LIGHT.muted, fontsize=7.5 if crowded else SMALL_SIZE, rotation=90 if crowded else 0,
        )  # fmt: skip
    top = max(counts[barless:] if barless < len(counts) else counts) or 1
    axes.set_ylim(0, top * (1.6 if crowded else 1.3))
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=3)
    axes.grid(True, axis='y')
    label_places(axes, places.labels)


def label_places(axes: Axes, labels: Sequence[str]) -> None:
    """Write the places below an axis, turned where there is no room."""
    width = axes.figure.get_figwidth() / axes.get_gridspec().ncols
    room = 72 * (width - 0.8) / len(labels)
    turned = max(map(len, labels)) * CHARACTER * TICK_SIZE + 4 > room
    look = {'rotation': 40, 'ha': 'right', 'rotation_mode': 'anchor'} if turned else {}
    axes.set_xticks(range(len(labels)), labels, **look)


def add_curve_legend(figure: Figure, looks: Iterable[Series], few: str, title: str = '') -> None:
    """A legend of curves and, unless ``few`` is empty, of hollow marks."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dash, linewidth=1.8, label=look.label)
        for look in looks
    ]
    if few:
        hollow = {'marker': 'o', 'markerfacecolor': LIGHT.background, 'linestyle': ''}
        handles.append(Line2D([], [], color=LIGHT.muted, label=few, **hollow))
    add_legend(figure, handles, title)


def range_label(part: Stratum | InstanceRecall) -> str:
    """A range in a few characters: ``'0'``, ``'0.1–0.2'``, else its name."""
    lower, upper = part.lower, part.upper
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return named(part.name)
    return f'{lower:g}' if lower == upper else f'{lower:g}–{upper:g}'


def named(name: str) -> str:
    """A stratum's name with signs as one writes them, cut to what an axis has room for."""
    return wrap(name.replace(' <= ', ' ≤ ').replace(' >= ', ' ≥ '), 24, 1)


def compact(count: int) -> str:
    """A count in at most four or five characters: ``'4952'``, ``'118k'``, ``'1.3M'``."""
    if count < 10_000:
        return str(count)
    return f'{count / 1e3:.0f}k' if count < 999_500 else f'{count / 1e6:.1f}M'


def _limits(curves: Sequence[Curve], zoom: bool) -> tuple[float, float]:
    """Of an axis of percent that holds every value and interval."""
    values = np.concatenate([[*curve.values, *curve.lows, *curve.highs] for curve in curves])
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 100.0)
    # Ten points at least: less would blow noise up.
    low = max(0.0, min(low, high - 10)) if zoom else 0.0
    margin = 0.08 * max(high - low, 1.0)
    return low - margin if low > margin else 0, min(high + margin, max(101.5, high))
