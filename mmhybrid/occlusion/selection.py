"""Which number or label an image is put into strata by: an occlusion ratio, a preset, or the user's own property."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import ratios, strata
from .instance_strata import InstanceStratum
from .protocols import AMODAL, PROTOCOLS, Protocol
from .read.columns import positions
from .read.ids import file_name
from .read.properties import read_property
from .strata import Measure, Stratum

if TYPE_CHECKING:
    from .read.ground_truth import GroundTruth

# Labels of COCO val2017 by people (OLAC), in their order.
OLAC = ('low', 'mid', 'high')
PRESETS = ('tbc', 'coco-occ', 'coco-olac', 'amodal', *PROTOCOLS)
# r of these has no upper bound, so the default bins need a last one without.
UNBOUNDED = ('pairwise',)
# Of an image's instances, by their annotated visible share.
HIDDEN = ('mean-hidden', 'max-hidden')


@dataclass(frozen=True)
class Stratification:
    """Images put into strata, and instances by their own occlusion.

    Attributes:
        values: Image id -> number or label, every image of the ground truth, in its order.
        strata: The strata as given; where none of them was of all images, that one before them.
        fractions: ``(n,)`` covered or invisible fraction of each annotation; NaN where it does not count.
        fraction: What ``fractions`` are, for tables and figures.
        notes: What to tell a reader about the user's values.
        holds: Of each stratum of instances, the ``(n,)`` bool of its annotations.
        names: Image id -> file name, where strata of instances are on some images only.
        protocol: The benchmark's, if a preset names one.
        measure_of_values: What ``values`` are by, where that is not ``measure``: all strata are of instances.
    """

    measure: Measure
    values: dict[int, float | str]
    strata: tuple[Stratum, ...]
    fractions: np.ndarray
    fraction: str
    notes: tuple[str, ...] = ()
    holds: Mapping[Stratum, np.ndarray] = field(default_factory=dict)
    names: Mapping[int, Any] = field(default_factory=dict)
    protocol: Protocol | None = None
    measure_of_values: Measure | None = None

    def members(self) -> dict[Stratum, list[int]]:
        """The image ids in each stratum, in the ground truth's order."""
        return {stratum: self._on(stratum) for stratum in self.strata}

    def _on(self, stratum: Stratum) -> list[int]:
        if isinstance(stratum, InstanceStratum):
            return [image_id for image_id in self.values if stratum.is_on(self.names.get(image_id))]
        return stratum.members(self.values)

    def num_outside(self) -> int:
        """How many images are in no stratum but ``all``."""
        inside = [ids for stratum, ids in self.members().items() if stratum.kind != 'all']
        return len(self.values.keys() - set().union(*inside))


@dataclass(frozen=True)
class Selection:
    """What puts images into strata, as asked for: a preset, a ratio with its strata, or the user's own property.

    Attributes:
        preset: ``tbc`` after the TBC article's figure, ``coco-occ`` for pairs of boxes with IoU >= 0.2, ``coco-olac``
            for ``values`` that are people's labels low, mid and high, ``amodal`` for instances by the hidden share of
            their masks, or the name of one of ``PROTOCOLS``, whose strata are of instances; of strata nothing else may
            be given beside it.
        definition: One of ``ratios.DEFINITIONS``, by default ``covered``, or one of ``HIDDEN``: the mean or the largest
            hidden share of the image's instances, as annotated.
        geometry: One of ``ratios.GEOMETRIES``; by default ``bbox``, or ``amodal`` for ``invisible``.
        values: The user's own property instead of a ratio: image id or file name -> label or number, or a JSON or CSV
            file of it (see :func:`mmhybrid.occlusion.read.properties.read_property`).
        column: Of ``values``.
        edges: Of the bins; by default 0, 0.1, ..., 1 of a ratio, and a last bin without end for ``pairwise``.
        thresholds: Of the cumulative strata; by default 0, 0.1, ..., 0.8 of a ratio.
        parts: The strata themselves instead of ``edges`` and ``thresholds``; some may be of instances.
        visibility: The annotations' field with the visible share or the box of the visible part; by default the first
            known one, or masks (see :mod:`mmhybrid.occlusion.read.attributes`).
        level: The field with the level of occlusion; likewise.
    """

    preset: str | None = None
    definition: str | None = None
    geometry: str | None = None
    values: str | PathLike[str] | Mapping[int | str, float | str] | None = None
    column: str | None = None
    edges: Sequence[float] | None = None
    thresholds: Sequence[float] | None = None
    parts: Sequence[Stratum] | None = None
    visibility: str | None = None
    level: str | None = None

    def __post_init__(self) -> None:
        given = {key for key, value in vars(self).items() if value is not None}
        fields = {'visibility', 'level'}
        beside = {'amodal': set(), 'coco-olac': fields | {'values', 'column'}}.get(self.preset, fields)
        for key, others in (
            ('preset', given - {'preset'} - beside),
            ('values', given & {'definition', 'geometry', 'parts'}),
            ('parts', given & {'edges', 'thresholds'}),
        ):
            if key in given and others:
                raise InputError(f'{key} and {sorted(others)[0]} exclude each other; give one of them.')
        if self.preset == 'coco-olac' and self.values is None:
            raise InputError('the preset coco-olac goes by labels of the images; give their file as values.')
        if self.column is not None and self.values is None:
            raise InputError('a column is given but no file of values; give both or neither.')
        if not isinstance(self.values, str | PathLike | Mapping | None):
            raise InputError(f'the values are {show(self.values)}; give a file, or a dictionary by image.')
        parts = () if self.parts is None else self.parts
        if not isinstance(parts, Sequence) or not all(isinstance(part, Stratum) for part in parts):
            raise InputError(f'the strata are {show(parts)}; give a list of Stratum, e.g. bins((0, 0.5, 1)).')

    @property
    def protocol(self) -> Protocol | None:
        """The benchmark's protocol that the preset names."""
        return PROTOCOLS.get(self.preset)

    def geometries(self) -> tuple[str, ...]:
        """What masks the ratio needs from the ground truth."""
        return () if self.values is not None else (self._ratio()[1],)

    def wanted(self) -> dict[str, str | None]:
        """Which attributes of instances the ground truth is read for, and the field of each, None for the usual one."""
        names = {each.attribute for part in self._of_instances() for each in part.ranges}
        if self.visibility is not None or self.definition in HIDDEN:
            names.add('visibility')
        if self.level is not None:
            names.add('level')
        fields = {'visibility': self.visibility, 'level': self.level}
        if self.preset == 'amodal':  # by masks, whatever else is annotated
            names.discard('visibility')
        return {name: fields.get(name) for name in sorted(names)}

    def _of_instances(self) -> tuple[InstanceStratum, ...]:
        if self.protocol is not None:
            return self.protocol.strata
        if self.preset == 'amodal':
            return AMODAL
        return tuple(part for part in self.parts or () if isinstance(part, InstanceStratum))

    def _ratio(self) -> tuple[str, str]:
        """Definition and geometry of r."""
        if self.preset == 'coco-occ':
            return 'max-iou', 'bbox'
        if self.preset == 'amodal':
            return 'invisible', 'amodal'
        definition = 'covered' if self.definition in (None, *HIDDEN) else self.definition
        return definition, self.geometry or ('amodal' if definition == 'invisible' else 'bbox')

    def apply(self, gt: GroundTruth) -> Stratification:
        """Put the images and instances of ``gt`` into strata.

        Args:
            gt: Checked ground truth, with the masks that the geometry needs, and the attributes ``wanted``.

        Raises:
            InputError: An unknown preset, definition or geometry, edges that do not increase, strata of one name, or a
                file of values that cannot be used.
        """
        if self.preset not in (None, *PRESETS):
            raise InputError(f'unknown preset {self.preset!r}; choose from {", ".join(PRESETS)}.')
        definition, geometry = self._ratio()
        occlusion = ratios.measure(gt, definition, geometry)
        measure = ratio = Measure('r', definition, geometry)
        values, parts, notes = occlusion.ratios, self.parts, ()
        fractions, kind = occlusion.fractions, 'invisible' if definition == 'invisible' else 'covered'
        attributes, origin = self._attributes(gt)
        if 'visibility' in attributes:
            fractions, kind, geometry = 1 - attributes['visibility'], 'hidden', origin
            fractions = np.where(gt.is_region, np.nan, fractions)
        own = self._of_instances()
        if self.values is not None:
            name, values, notes = read_property(gt, self.values, self.column)
            measure, parts = Measure(name, 'user', ''), self._parts_of(name, list(values.values()))
        elif self.preset == 'coco-occ':
            parts = strata.coco_occ()
        elif own and len(own) == len(parts or own):
            measure, parts = Measure(self.preset or 'own', 'instances', ''), own
        elif self.definition in HIDDEN:
            measure, values = Measure('h', self.definition, 'annotated'), _of_images(gt, fractions, self.definition)
            parts = self._numbered('h', ()) if parts is None else parts
            if unknown := sum(map(math.isnan, values.values())):
                told = f"{gt.source}: on {unknown:,} of {len(values):,} images no instance's visible share is known"
                notes = (f'{told}; they lie in no stratum by h',)
        elif parts is None:
            parts = self._numbered('r', (math.inf,) if definition in UNBOUNDED else ())
        names = dict(zip(gt.image_ids.tolist(), map(file_name, gt.images), strict=True))
        for part in own:
            if part.prefixes and not any(map(part.is_on, names.values())):
                begin = ', '.join(part.prefixes)
                notes += (f'{gt.source}: no name or folder of an image begins with {begin}: {part.name!r} is empty',)
        return Stratification(
            measure,
            values,
            _with_all(parts),
            fractions,
            f'{kind} fraction f ({geometry})',
            notes,
            {part: part.holds(attributes) if part.ranges else np.ones(len(fractions), bool) for part in own},
            names,
            self.protocol,
            ratio if measure.definition == 'instances' else None,
        )

    def _attributes(self, gt: GroundTruth) -> tuple[dict[str, np.ndarray], str]:
        """Those of the ground truth, and a visibility that only masks tell; what the visibility is read from."""
        attributes, origin = dict(gt.attributes), gt.origins.get('visibility', '')
        if 'visibility' not in attributes and (self.preset == 'amodal' or 'visibility' in self.wanted()):
            attributes['visibility'] = 1 - ratios.measure(gt, 'invisible', 'amodal').fractions
            origin = 'masks'
        return attributes, origin

    def _numbered(self, symbol: str, above: Sequence[float]) -> tuple[Stratum, ...]:
        """Bins and cumulative strata of a ratio, by default the usual ones."""
        edges = (*strata.DEFAULT_EDGES, *above) if self.edges is None else self.edges
        thresholds = strata.DEFAULT_THRESHOLDS if self.thresholds is None else self.thresholds
        return (*strata.bins(edges, symbol), *strata.cumulative(thresholds, symbol))

    def _parts_of(self, name: str, values: list[float | str]) -> tuple[Stratum, ...]:
        """A label makes one stratum each, a number bins, its quartiles by default, and cumulative ones if asked for."""
        if self.preset == 'coco-olac':
            if odd := sorted(set(map(str, values)) - set(OLAC)):
                raise InputError(f'{name!r} holds {show(odd[0])}; the labels of coco-olac are {", ".join(OLAC)}.')
            return strata.groups(label for label in OLAC if label in values)
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


def _of_images(gt: GroundTruth, hidden: np.ndarray, definition: str) -> dict[int, float]:
    """Mean or largest hidden share of each image's instances, of those of which it is known; NaN if it is of none, 0
    without instances."""
    image_ids, known = gt.image_ids.tolist(), ~np.isnan(hidden)
    of_image = positions(gt.image_ids, gt.annotation_image_ids)
    at = of_image[known]
    values = np.zeros(len(image_ids))
    if definition == 'max-hidden':
        np.maximum.at(values, at, hidden[known])
    else:
        counts = np.bincount(at, minlength=len(values))
        values = np.bincount(at, hidden[known], len(values)) / np.maximum(counts, 1)
    values[np.setdiff1d(of_image[~gt.is_region], at)] = np.nan
    return dict(zip(image_ids, values.tolist(), strict=True))


def _with_all(parts: Sequence[Stratum]) -> tuple[Stratum, ...]:
    parts = tuple(dict.fromkeys(parts))
    if not any(part.kind == 'all' for part in parts):
        whole = strata.all_images()
        # Benchmarks have a stratum of that name, which does not hold every instance.
        taken = any(part.name == whole.name for part in parts)
        parts = (replace(whole, name='all instances') if taken else whole, *parts)
    names = [part.name for part in parts]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f'strata share the name {repeated[0]!r}; give every stratum its own name.')
    return parts
