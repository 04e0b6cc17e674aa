"""Where strata lie along the axis of a ratio."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ...strata import EDGE_TOL, Stratum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Narrower bins, as a part of the axis, could not hold their marks.
NARROWEST = 0.03
# Bins without width or without an end get a slot of their own beside the axis: gap and least width, as parts of its
# length.
SLOT_GAP, SLOT_WIDTH = 0.03, 0.10
# What one character of a tick label takes, as a part of the axis' length; more of it beside wide slots.
CHARACTER, SLOT_CHARACTER = 0.02, 0.027


@dataclass(frozen=True)
class RatioAxis:
    """A linear axis of the measure, with slots at its ends for a bin of one value (r = 0) and for open bins.

    Attributes:
        low: Lowest edge or threshold.
        high: Highest.
        edges: All finite bounds, ascending.
        before: Label of the slot on the left; empty without one.
        after: Label of the slot on the right; empty without one.
    """

    low: float
    high: float
    edges: tuple[float, ...]
    before: str
    after: str

    @classmethod
    def of(cls, strata: Iterable[Stratum], symbol: str) -> RatioAxis | None:
        """The axis of some bins and thresholds; None if they do not fit a linear axis, as bins of unlike widths."""
        # Several models have the same strata.
        strata = [stratum for stratum in dict.fromkeys(strata) if stratum.kind in ('bin', 'cumulative')]
        bins = [(stratum.lower, stratum.upper) for stratum in strata if stratum.kind == 'bin']
        bounds = {bound for pair in bins for bound in pair} | {s.lower for s in strata if s.kind == 'cumulative'}
        edges = sorted(bound for bound in bounds if math.isfinite(bound))
        # A bin of r < t has its end a hair below the threshold of r >= t.
        edges = edges[:1] + [b for a, b in pairwise(edges) if b - a > 4 * EDGE_TOL]
        points = [low for low, high in bins if low == high]
        open_below = [high for low, high in bins if math.isinf(low)]
        open_above = [low for low, high in bins if math.isinf(high)]
        if len(edges) < 2 or len(points) + len(open_below) > 1 or len(open_above) > 1:
            return None
        low, high = edges[0], edges[-1]
        narrow = any(b - a < NARROWEST * (high - low) for a, b in bins if a < b)
        if narrow or points not in ([], [low]) or open_below not in ([], [low]):
            return None
        name = f'{symbol} ' if len(symbol) <= 3 else ''
        before = f'{name}= {low:g}' if points else f'{name}≤ {low:g}' if open_below else ''
        return cls(low, high, tuple(edges), before, f'{name}> {high:g}' if open_above == [high] else '')

    @property
    def length(self) -> float:
        """From the lowest to the highest edge."""
        return self.high - self.low

    def span(self, stratum: Stratum) -> tuple[float, float]:
        """Where a bin is drawn."""
        gap = SLOT_GAP * self.length
        if math.isinf(stratum.upper) and not self.after:
            # Thresholds go on beyond the last edge: so does its bin.
            return stratum.lower, self.high + gap
        if math.isinf(stratum.upper):
            return self.high + gap, self.high + self._slot_end(self.after, self.high)
        if stratum.lower == stratum.upper or math.isinf(stratum.lower):
            return self.low - self._slot_end(self.before, self.low), self.low - gap
        return stratum.lower, stratum.upper

    def apply(self, axes: Axes) -> None:
        """Limits and ticks."""
        margin = 0.045 * self.length
        before = self._slot_end(self.before, self.low) if self.before else 0
        after = self._slot_end(self.after, self.high) if self.after else 0
        axes.set_xlim(self.low - before - margin, self.high + after + margin)
        ticks = {}
        if self.before:
            ticks[self.low - (before + SLOT_GAP * self.length) / 2] = self.before
        ticks |= {edge: f'{edge:g}' for edge in self._ticks()}
        if self.after:
            ticks[self.high + (after + SLOT_GAP * self.length) / 2] = self.after
        axes.set_xticks(list(ticks), list(ticks.values()))

    def separate(self, axes: Axes, colour: str) -> None:
        """Thin lines between the axis and its slots."""
        for label, at in ((self.before, self.low), (self.after, self.high)):
            if label:
                side = -1 if at == self.low else 1
                axes.axvline(at + side * SLOT_GAP / 2 * self.length, color=colour, linewidth=0.8, zorder=1)

    def _slot_end(self, label: str, edge: float) -> float:
        """How far a slot reaches beyond the axis: its label, in its middle, must not touch that of the edge."""
        apart = SLOT_CHARACTER / 2 * (len(label) + len(f'{edge:g}')) + 0.015
        return max(SLOT_GAP + SLOT_WIDTH, 2 * apart - SLOT_GAP) * self.length

    def _ticks(self) -> list[float]:
        """The edges where they have room, else round numbers."""
        longest = max(len(f'{edge:g}') for edge in self.edges)
        room = CHARACTER * (longest + 1)
        if all(b - a >= room * self.length for a, b in pairwise(self.edges)):
            return list(self.edges)
        from matplotlib.ticker import MaxNLocator

        ticks = MaxNLocator(max(2, min(10, int(1 / room)))).tick_values(self.low, self.high)
        slack = 1e-9 * self.length
        return [float(tick) for tick in ticks if self.low - slack <= tick <= self.high + slack]
