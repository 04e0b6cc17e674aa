"""Which number or label an image is put into strata by: an occlusion ratio, a preset, or the user's own property."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import ratios, strata
from .read.properties import read_property
from .strata import Measure, Stratum

if TYPE_CHECKING:
    from .read.ground_truth import GroundTruth

PRESETS = ('tbc', 'coco-occ')
# r of these has no upper bound, so the default bins need a last one without.
UNBOUNDED = ('pairwise',)


@dataclass(frozen=True)
class Stratification:
    """Images put into strata, and instances by their own occlusion.

    Attributes:
        values: Image id -> number or label, every image of the ground truth, in its order.
        strata: The strata, ``all`` first.
        fractions: ``(n,)`` covered or invisible fraction of each annotation; NaN where it does not count.
        fraction: What ``fractions`` are, for tables and figures.
        notes: What to tell a reader about the user's values.
    """

    measure: Measure
    values: dict[int, float | str]
    strata: tuple[Stratum, ...]
    fractions: np.ndarray
    fraction: str
    notes: tuple[str, ...] = ()

    def members(self) -> dict[Stratum, list[int]]:
        """The image ids in each stratum, in the ground truth's order."""
        return {stratum: stratum.members(self.values) for stratum in self.strata}

    def num_outside(self) -> int:
        """How many images are in no stratum but ``all``."""
        inside = [ids for stratum, ids in self.members().items() if stratum.kind != 'all']
        return len(self.values.keys() - set().union(*inside))


@dataclass(frozen=True)
class Selection:
    """What puts images into strata, as asked for: a preset, a ratio with its strata, or the user's own property.

    Attributes:
        preset: ``tbc`` after the TBC article's figure, or ``coco-occ`` for pairs of boxes with IoU >= 0.2; nothing else
            may be given beside it.
        definition: One of ``ratios.DEFINITIONS``; by default ``covered``.
        geometry: One of ``ratios.GEOMETRIES``; by default ``bbox``, or ``amodal`` for ``invisible``.
        values: The user's own property instead of a ratio: image id or file name -> label or number, or a JSON or CSV
            file of it (see :func:`mmhybrid.occlusion.read.properties.read_property`).
        column: Of ``values``.
        edges: Of the bins; by default 0, 0.1, ..., 1 of a ratio, and a last bin without end for ``pairwise``.
        thresholds: Of the cumulative strata; by default 0, 0.1, ..., 0.8 of a ratio.
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
        if not isinstance(self.values, str | PathLike | Mapping | None):
            raise InputError(f'the values are {show(self.values)}; give a file, or a dictionary by image.')
        parts = () if self.parts is None else self.parts
        if not isinstance(parts, Sequence) or not all(isinstance(part, Stratum) for part in parts):
            raise InputError(f'the strata are {show(parts)}; give a list of Stratum, e.g. bins((0, 0.5, 1)).')

    def geometries(self) -> tuple[str, ...]:
        """What masks the ratio needs from the ground truth."""
        return () if self.values is not None else (self._ratio()[1],)

    def _ratio(self) -> tuple[str, str]:
        """Definition and geometry."""
        if self.preset == 'coco-occ':
            return 'max-iou', 'bbox'
        definition = self.definition or 'covered'
        return definition, self.geometry or ('amodal' if definition == 'invisible' else 'bbox')

    def apply(self, gt: GroundTruth) -> Stratification:
        """Put the images of ``gt`` into strata.

        Args:
            gt: Checked ground truth, with the masks that the geometry needs.

        Raises:
            InputError: An unknown preset, definition or geometry, edges that do not increase, strata of one name, or a
                file of values that cannot be used.
        """
        if self.preset not in (None, *PRESETS):
            raise InputError(f'unknown preset {self.preset!r}; choose from {", ".join(PRESETS)}.')
        definition, geometry = self._ratio()
        occlusion = ratios.measure(gt, definition, geometry)
        measure, values, parts, notes = Measure('r', definition, geometry), occlusion.ratios, self.parts, ()
        if self.values is not None:
            name, values, notes = read_property(gt, self.values, self.column)
            measure, parts = Measure(name, 'user', ''), self._parts_of(name, list(values.values()))
        elif self.preset == 'coco-occ':
            parts = strata.coco_occ()
        elif parts is None:
            above = (math.inf,) if definition in UNBOUNDED else ()
            edges = strata.DEFAULT_EDGES + above if self.edges is None else self.edges
            thresholds = strata.DEFAULT_THRESHOLDS if self.thresholds is None else self.thresholds
            parts = (*strata.bins(edges), *strata.cumulative(thresholds))
        fraction = f'{"invisible" if definition == "invisible" else "covered"} fraction f ({geometry})'
        return Stratification(measure, values, _with_all(parts), occlusion.fractions, fraction, notes)

    def _parts_of(self, name: str, values: list[float | str]) -> tuple[Stratum, ...]:
        """A label makes one stratum each, a number bins, its quartiles by default, and cumulative ones if asked for."""
        if any(isinstance(value, str) for value in values):
            if self.edges is not None or self.thresholds is not None:
                raise InputError(f'{name!r} holds labels, which have no bins; leave edges and thresholds out.')
            return strata.groups(sorted(set(values)))
        edges = self.edges
        if edges is None:
            inner = np.unique(np.quantile(values, [0.25, 0.5, 0.75]))
            apart = inner[np.append(True, np.diff(inner) > 3 * strata.EDGE_TOL)]
            edges = (-math.inf, *apart.tolist(), math.inf)
        return (*strata.bins(edges, name), *strata.cumulative(self.thresholds or (), name))


def _with_all(parts: Sequence[Stratum]) -> tuple[Stratum, ...]:
    parts = tuple(dict.fromkeys(parts))
    if not any(part.kind == 'all' for part in parts):
        parts = (strata.all_images(), *parts)
    names = [part.name for part in parts]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f'strata share the name {repeated[0]!r}; give every stratum its own name.')
    return parts
