"""Image strata as data: which images, by their occlusion ratio or any other property, are evaluated together.

- Bins are disjoint: ``r = 0``, then ``(0, 0.1]``, ..., ``(0.9, 1]``, so that every r in [0, 1] lies in exactly one.
- Cumulative strata ``r >= t`` include their threshold.
- Groups are the images with one label of the user's own.

Edges carry a tolerance of ``EDGE_TOL``: a ratio that float arithmetic left at 0.30000000000000004 goes where 0.3 goes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from mmhybrid.errors import InputError
from mmhybrid.text import show

EDGE_TOL = 1e-9
DEFAULT_EDGES = tuple(i / 10 for i in range(11))
DEFAULT_THRESHOLDS = tuple(i / 10 for i in range(9))
COCO_OCC_IOU = 0.2


@dataclass(frozen=True)
class Measure:
    """What strata are made by: ``'r'`` by a definition and geometry of :mod:`mmhybrid.occlusion.ratios`; ``'h'``, by
    ``'mean-hidden'`` or ``'max-hidden'`` and ``'annotated'``; the user's own property by its name, the definition
    ``'user'`` and the geometry ``''``; or, where all strata are of instances, the preset and ``'instances'``."""

    name: str = 'r'
    definition: str = 'covered'
    geometry: str = 'bbox'

    @property
    def label(self) -> str:
        """One phrase for an axis, e.g. ``'occlusion ratio r (covered, bbox)'``."""
        if self.definition == 'user':
            return self.name
        if self.definition == 'instances':
            return f'strata of instances ({self.name})'
        return f'occlusion ratio {self.name} ({self.definition}, {self.geometry})'


@dataclass(frozen=True, eq=False)
class Stratum:
    """One set of images, chosen by a number or a label of each image.

    Attributes:
        name: Unique label, e.g. ``'0.2 < r <= 0.3'``.
        lower: Lower bound; NaN for a group.
        upper: Upper bound; infinite where there is none, NaN for a group.
        kind: ``'all'`` holds every image; ``'bin'`` holds lower < r <= upper, or r = lower where the two are equal;
            ``'cumulative'`` holds r >= lower; ``'group'`` holds the images with the label ``name``; ``'instances'`` is
            of instances (see :mod:`mmhybrid.occlusion.instance_strata`).
    """

    name: str
    lower: float
    upper: float
    kind: Literal['all', 'bin', 'cumulative', 'group', 'instances']

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        """The fields; None for NaN, which a copy from another process would not equal."""
        return tuple(None if value != value else value for value in vars(self).values())

    def contains(self, value: float | str) -> bool:
        """Whether an image with this ratio, or this label, belongs to the stratum."""
        if self.kind == 'all':
            return True
        if self.kind == 'group':
            return value == self.name
        if self.kind == 'cumulative':
            return value >= self.lower - EDGE_TOL
        if self.lower == self.upper:
            return abs(value - self.lower) <= EDGE_TOL
        return self.lower + EDGE_TOL < value <= self.upper + EDGE_TOL

    def members(self, values: Mapping[int, float | str]) -> list[int]:
        """The image ids of ``values`` (image id -> ratio or label) in the stratum, in the same order."""
        return [image_id for image_id, value in values.items() if self.contains(value)]


def all_images() -> Stratum:
    """The stratum that holds every image, whatever its ratio."""
    return Stratum('all', 0.0, math.inf, 'all')


def bins(edges: Sequence[float] = DEFAULT_EDGES, symbol: str = 'r') -> tuple[Stratum, ...]:
    """Disjoint bins ``(edges[i], edges[i + 1]]``, led by the bin ``r = 0`` if the first edge is 0.

    Args:
        edges: Increasing numbers; the outer two may be infinite.
        symbol: What the names call the number.

    Raises:
        InputError: Fewer than two edges, or edges that do not increase by more than the tolerance.
    """
    edges = to_floats(edges, 'bin edges')
    if len(edges) < 2 or not all(b - a > 2 * EDGE_TOL for a, b in pairwise(edges)):
        raise InputError(f'bin edges {edges} do not increase; give at least two increasing numbers.')
    zero = (Stratum(f'{symbol} = 0', 0.0, 0.0, 'bin'),) if edges[0] == 0 else ()
    return zero + tuple(Stratum(_bin_name(low, high, symbol), low, high, 'bin') for low, high in pairwise(edges))


def cumulative(thresholds: Iterable[float] = DEFAULT_THRESHOLDS, symbol: str = 'r') -> tuple[Stratum, ...]:
    """Strata ``r >= t``, one a threshold.

    Raises:
        InputError: A threshold that is not finite.
    """
    thresholds = to_floats(thresholds, 'thresholds')
    if not all(map(math.isfinite, thresholds)):
        raise InputError(f'thresholds {thresholds} hold a value that is not finite; give numbers.')
    return tuple(Stratum(f'{symbol} >= {threshold:g}', threshold, math.inf, 'cumulative') for threshold in thresholds)


def groups(labels: Iterable[str]) -> tuple[Stratum, ...]:
    """One stratum a label, in the order of first appearance."""
    return tuple(Stratum(label, math.nan, math.nan, 'group') for label in dict.fromkeys(labels))


def tbc() -> tuple[Stratum, ...]:
    """Preset after the TBC article: all images, the default bins and the default cumulative thresholds."""
    return (all_images(), *bins(), *cumulative())


def coco_occ() -> tuple[Stratum, ...]:
    """Preset after COCO-OCC: images with a pair of instances whose boxes have IoU >= 0.2, and the others."""
    occluded = Stratum(f'max IoU >= {COCO_OCC_IOU}', COCO_OCC_IOU, math.inf, 'cumulative')
    others = Stratum(f'max IoU < {COCO_OCC_IOU}', -math.inf, math.nextafter(COCO_OCC_IOU - 2 * EDGE_TOL, 0), 'bin')
    return (all_images(), others, occluded)


def to_floats(values: Iterable[float], what: str) -> list[float]:
    """Numbers as floats; if they are none, an ``InputError`` about ``what``, in the plural."""
    try:
        if not isinstance(values, str):
            return [float(value) for value in values]
    except (TypeError, ValueError):
        pass
    raise InputError(f'{what} are {show(values)}; give a list of numbers.')


def _bin_name(low: float, high: float, symbol: str) -> str:
    if math.isinf(low):
        return f'{symbol} <= {high:g}' if math.isfinite(high) else f'any {symbol}'
    return f'{low:g} < {symbol} <= {high:g}' if math.isfinite(high) else f'{symbol} > {low:g}'
