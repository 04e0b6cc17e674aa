"""Image strata as data: which images, by their occlusion ratio r, are evaluated together.

Two families, both used by the TBC article's figure of AP against r = 0 ... 0.8 or needed to read it:

- bins, disjoint: ``r = 0`` is a bin of its own, then ``(0, 0.1]``, ``(0.1, 0.2]``, ..., ``(0.9, 1]``. A bin excludes
  its lower edge and includes its upper edge, so every r in [0, 1] lies in exactly one bin.
- cumulative: ``r >= t``. It includes its threshold.

An image with r = 0.3 is hence in the bin ``(0.2, 0.3]`` and in ``r >= 0.3``. Edges carry a tolerance of ``EDGE_TOL``:
a ratio that float arithmetic left at 0.30000000000000004 goes where 0.3 goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mmhybrid.errors import InputError

EDGE_TOL = 1e-9
DEFAULT_EDGES = tuple(i / 10 for i in range(11))
DEFAULT_THRESHOLDS = tuple(i / 10 for i in range(9))


@dataclass(frozen=True)
class Stratum:
    """One set of images, chosen by occlusion ratio.

    Attributes:
        name: Unique label, e.g. ``'0.2 < r <= 0.3'``.
        lower: Lower bound on r.
        upper: Upper bound on r; infinite where there is none.
        kind: ``'all'`` holds every image; ``'bin'`` holds lower < r <= upper, or r = lower where the two are equal;
            ``'cumulative'`` holds r >= lower.
    """

    name: str
    lower: float
    upper: float
    kind: Literal['all', 'bin', 'cumulative']

    def contains(self, ratio: float) -> bool:
        """Whether an image with occlusion ratio ``ratio`` belongs to the stratum."""
        if self.kind == 'all':
            return True
        if self.kind == 'cumulative':
            return ratio >= self.lower - EDGE_TOL
        if self.lower == self.upper:
            return abs(ratio - self.lower) <= EDGE_TOL
        return self.lower + EDGE_TOL < ratio <= self.upper + EDGE_TOL

    def members(self, ratios: dict[int, float]) -> list[int]:
        """The image ids of ``ratios`` (image id -> r) in the stratum, in the same order."""
        return [image_id for image_id, ratio in ratios.items() if self.contains(ratio)]


def all_images() -> Stratum:
    """The stratum that holds every image, whatever its ratio."""
    return Stratum('all', 0.0, math.inf, 'all')


def bins(edges: Sequence[float] = DEFAULT_EDGES) -> tuple[Stratum, ...]:
    """Disjoint bins ``(edges[i], edges[i + 1]]``, led by the bin ``r = 0`` if the first edge is 0.

    Raises:
        InputError: Fewer than two edges, or edges that do not increase by more than the tolerance.
    """
    edges = [float(edge) for edge in edges]
    if len(edges) < 2 or not all(b - a > 2 * EDGE_TOL for a, b in pairwise(edges)):
        raise InputError(f'bin edges {edges} do not increase; give at least two increasing numbers.')
    zero = (Stratum('r = 0', 0.0, 0.0, 'bin'),) if edges[0] == 0 else ()
    return zero + tuple(Stratum(f'{low:g} < r <= {high:g}', low, high, 'bin') for low, high in pairwise(edges))


def cumulative(thresholds: Iterable[float] = DEFAULT_THRESHOLDS) -> tuple[Stratum, ...]:
    """Strata ``r >= t``, one a threshold.

    Raises:
        InputError: A threshold that is not finite.
    """
    thresholds = [float(threshold) for threshold in thresholds]
    if not all(map(math.isfinite, thresholds)):
        raise InputError(f'thresholds {thresholds} hold a value that is not finite; give numbers.')
    return tuple(Stratum(f'r >= {threshold:g}', threshold, math.inf, 'cumulative') for threshold in thresholds)


def tbc() -> tuple[Stratum, ...]:
    """Preset after the TBC article: all images, the default bins and the default cumulative thresholds."""
    return (all_images(), *bins(), *cumulative())
