"""Which number or label an image is put into strata by: an occlusion ratio, a preset, or the user's own property."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError

from . import ratios, strata
from .read.properties import read_property
from .results import Measure
from .strata import Stratum

if TYPE_CHECKING:
    from .read.ground_truth import GroundTruth

PRESETS = ('tbc', 'coco-occ')
# r of these has no upper bound, so the default bins need a last one without.
UNBOUNDED = ('pairwise',)


@dataclass(frozen=True)
class Stratification:
    """Images put into strata, and instances by their own occlusion.

    Attributes:
        measure: What the strata are made by.
        values: Image id -> number or label, every image of the ground truth, in its order.
        strata: The strata, ``all`` first.
        fractions: ``(n,)`` covered or invisible fraction of each annotation; NaN where it does not count.
        fraction: What ``fractions`` are, for tables and figures.
    """

    measure: Measure
    values: dict[int, float | str]
    strata: tuple[Stratum, ...]
    fractions: np.ndarray
    fraction: str

    def members(self) -> dict[Stratum, list[int]]:
        """The image ids in each stratum, in the ground truth's order."""
        return {stratum: stratum.members(self.values) for stratum in self.strata}

    def num_outside(self) -> int:
        """How many images are in no stratum but ``all``."""
        parts = [stratum for stratum in self.strata if stratum.kind != 'all']
        return sum(not any(part.contains(value) for part in parts) for value in self.values.values())


@dataclass(frozen=True)
class Selection:
    """What puts images into strata, as asked for: a preset, a ratio with its strata, or the user's own property.

    Attributes:
        preset: One of ``PRESETS``; nothing else may be given beside it.
        definition: One of ``ratios.DEFINITIONS``; by default ``covered``.
        geometry: One of ``ratios.GEOMETRIES``; by default ``bbox``, or ``amodal`` for ``invisible``.
        values: The user's own property instead of a ratio (see :func:`by_property`).
        column: Of ``values``.
        edges: Of the bins.
        thresholds: Of the cumulative strata.
        parts: The strata themselves instead of ``edges`` and ``thresholds``.
    """

    preset: str | None = None
    definition: str | None = None
    geometry: str | None = None
    values: str | PathLike[str] | Mapping[int | str, float | str] | None = None
    column: str | None = None
    edges: Sequence[float] | None = None
    thresholds: Sequence[float] | None = None
    parts: Sequence[Stratum] | None = None

    def __post_init__(self) -> None:
        given = {key for key, value in vars(self).items() if value is not None}
        for key, others in (
            ('preset', given - {'preset'}),
            ('values', given & {'preset', 'definition', 'geometry', 'parts'}),
            ('parts', given & {'edges', 'thresholds'}),
        ):
            if key in given and others:
                raise InputError(f'{key} and {sorted(others)[0]} exclude each other; give one of them.')
        if self.column is not None and self.values is None:
            raise InputError('a column is given but no file of values; give both or neither.')

    def geometries(self) -> tuple[str, ...]:
        """What masks the ratio needs from the ground truth."""
        return () if self.values is not None else (self._geometry(),)

    def apply(self, gt: GroundTruth) -> Stratification:
        """Put the images of ``gt`` into strata; raises as the functions below do."""
        if self.preset is not None:
            return by_preset(gt, self.preset)
        if self.values is not None:
            return by_property(gt, self.values, self.column, self.edges, self.thresholds)
        return by_ratio(gt, self.definition or 'covered', self._geometry(), self.edges, self.thresholds, self.parts)

    def _geometry(self) -> str:
        return self.geometry or ('amodal' if self.definition == 'invisible' else 'bbox')


def by_ratio(
    gt: GroundTruth,
    definition: str = 'covered',
    geometry: str = 'bbox',
    edges: Sequence[float] | None = None,
    thresholds: Sequence[float] | None = None,
    parts: Sequence[Stratum] | None = None,
) -> Stratification:
    """By occlusion ratio (see :mod:`mmhybrid.occlusion.ratios`).

    Args:
        gt: Checked ground truth, with the masks that ``geometry`` needs.
        definition: One of ``ratios.DEFINITIONS``.
        geometry: One of ``ratios.GEOMETRIES``.
        edges: Edges of the disjoint bins; by default 0, 0.1, ..., 1, and a last bin without end for ``pairwise``.
        thresholds: Of the cumulative strata; by default 0, 0.1, ..., 0.8.
        parts: The strata themselves instead of ``edges`` and ``thresholds``.

    Raises:
        InputError: An unknown definition or geometry, edges that do not increase, or strata of one name.
    """
    if edges is None:
        edges = strata.DEFAULT_EDGES + ((math.inf,) if definition in UNBOUNDED else ())
    if parts is None:
        thresholds = strata.DEFAULT_THRESHOLDS if thresholds is None else thresholds
        parts = (*strata.bins(edges), *strata.cumulative(thresholds))
    parts = _with_all(parts)
    occlusion = ratios.measure(gt, definition, geometry)
    kind = 'invisible' if definition == 'invisible' else 'covered'
    return Stratification(
        Measure('r', definition, geometry),
        occlusion.ratios,
        parts,
        occlusion.fractions,
        f'{kind} fraction f ({geometry})',
    )


def by_preset(gt: GroundTruth, preset: str = 'tbc') -> Stratification:
    """By one of ``PRESETS``: ``tbc`` after the TBC article's figure, ``coco-occ`` for pairs of boxes with IoU >= 0.2.

    Raises:
        InputError: No preset has this name.
    """
    if preset == 'tbc':
        return by_ratio(gt, parts=strata.tbc())
    if preset == 'coco-occ':
        return by_ratio(gt, 'max-iou', parts=strata.coco_occ())
    raise InputError(f'unknown preset {preset!r}; choose from {", ".join(PRESETS)}.')


def by_property(
    gt: GroundTruth,
    values: str | PathLike[str] | Mapping[int | str, float | str],
    column: str | None = None,
    edges: Sequence[float] | None = None,
    thresholds: Sequence[float] | None = None,
) -> Stratification:
    """By a property of the user's own: a label (one stratum each) or a number (bins, and cumulative if asked for).

    Args:
        gt: Checked ground truth.
        values: Image id or file name -> value, or a JSON or CSV file of it (see :func:`properties.read_property`).
        column: Which column of a CSV file; the property's name otherwise.
        edges: Bins of a number; by default its quartiles.
        thresholds: Cumulative strata of a number; by default none.

    Raises:
        InputError: The file cannot be used, an image has no value, or edges are given for labels.
    """
    name, by_image = read_property(gt, values, column)
    is_label = any(isinstance(value, str) for value in by_image.values())
    if is_label and (edges is not None or thresholds is not None):
        raise InputError(f'{name!r} holds labels, which have no bins; leave edges and thresholds out.')
    if is_label:
        parts = strata.groups(sorted(set(by_image.values())))
    else:
        edges = _quartiles(list(by_image.values())) if edges is None else edges
        parts = (*strata.bins(edges, name), *strata.cumulative(thresholds or (), name))
    covered = ratios.measure(gt, 'covered', 'bbox')
    return Stratification(
        Measure(name, 'user', ''), by_image, _with_all(parts), covered.fractions, 'covered fraction f (bbox)'
    )


def _quartiles(values: list[float]) -> tuple[float, ...]:
    inner = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
    apart = inner[np.append(True, np.diff(inner) > 3 * strata.EDGE_TOL)]
    return (-math.inf, *apart.tolist(), math.inf)


def _with_all(parts: Sequence[Stratum]) -> tuple[Stratum, ...]:
    parts = tuple(dict.fromkeys(parts))
    if not any(part.kind == 'all' for part in parts):
        parts = (strata.all_images(), *parts)
    names = [part.name for part in parts]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f'strata share the name {repeated[0]!r}; give every stratum its own name.')
    return parts
