"""One ground truth, read and put into strata once, on which any number of models are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .. import matching
from ..matching import Index, Metrics, Settings
from ..read.detections import IOU_TYPES, load_detections
from ..read.ground_truth import load_ground_truth
from ..results import NAN, SAMPLED, Bootstrap, Interval, OcclusionResult, StratumResult
from ..selection import Selection
from ..strata import Stratum
from . import accumulate, bootstrap, errors
from .categories import with_categories
from .comparison import Evaluated
from .details import Details
from .notes import of_detections, of_result, shards_note
from .recall import recall_by_fraction

if TYPE_CHECKING:
    from ..matching.index import Matches
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification

PathOr = str | PathLike[str]
# Of one model: a file, several that are read as one, or the loaded list.
Results = PathOr | Sequence[PathOr] | list[dict[str, Any]]
Progress = Callable[[str], None]


class Study:
    """Evaluates models on one ground truth by one stratification; :meth:`open` makes one."""

    def __init__(
        self,
        gt: GroundTruth,
        stratification: Stratification,
        iou_types: Sequence[str],
        settings: Settings,
        engine: str,
        details: Details,
        progress: Progress,
        ignore: str,
    ) -> None:
        self.gt, self.stratification, self.iou_types = gt, stratification, iou_types
        self.settings, self.details, self.ignore = settings, details, ignore
        self._engine, self._progress = engine, progress
        self.members = stratification.members()

    @classmethod
    def open(
        cls,
        gt: PathOr | dict[str, Any],
        iou_types: Sequence[str] = ('bbox',),
        by: Selection | Iterable[Stratum] | None = None,
        settings: Settings | None = None,
        engine: str | None = None,
        details: Details | None = None,
        progress: Progress | None = None,
        ignore: str = 'region',
    ) -> Study:
        """Read ground truth and put its images into strata; arguments and errors are those of ``evaluate``."""
        iou_types, by, progress = _iou_types(iou_types), _selection(by), progress or (lambda message: None)
        settings, details = _given(settings, Settings), _given(details, Details)
        details.check(settings)
        engine = matching.engine_name(engine)
        progress('reading ground truth')
        checked = load_ground_truth(gt, by.geometries(), iou_types, ignore)
        settings.chosen(checked.categories)  # now rather than after a results file is read
        progress('measuring occlusion')
        return cls(checked, by.apply(checked), iou_types, settings, engine, details, progress, ignore)

    def run(self, models: Mapping[str, Results]) -> Iterator[Evaluated]:
        """Evaluate model after model by each IoU type, so that one model's detections are in memory at a time.

        Args:
            models: Name -> results, as :func:`mmhybrid.occlusion.read.detections.load_detections` takes them.

        Raises:
            InputError: Results that cannot be used.
        """
        if not isinstance(models, Mapping) or not models:
            given = show(models) if isinstance(models, Mapping) else f'of the type {type(models).__name__}'
            raise InputError(f'the models are {given}; give a dictionary of at least one name and its results.')
        seen: dict[str, np.ndarray] = {}
        for name, results in models.items():
            self._progress(f'{name}: reading results')
            dt = load_detections(results, self.gt, self.iou_types)
            image_ids = np.unique(dt.image_ids)
            yield from self.evaluate(dt, str(name), notes=shards_note(seen, image_ids))
            seen[str(name)] = image_ids

    def evaluate(
        self, dt: Detections, name: str, iou_types: Sequence[str] | None = None, notes: Sequence[str] = ()
    ) -> Iterator[Evaluated]:
        """Evaluate one model by each IoU type.

        Args:
            dt: Its detections.
            name: What the results are called.
            iou_types: By default the study's.
            notes: What to say beside what the detections themselves give reason for.
        """
        index = Index.of(self.gt, dt, self.settings)
        notes = (*self.gt.notes, *self.stratification.notes, *dt.notes, *of_detections(self.gt, dt, index), *notes)
        for iou_type in self.iou_types if iou_types is None else iou_types:
            yield self._evaluate(dt, index, name, iou_type, notes)

    def positions(self, index: Index) -> list[np.ndarray]:
        """Positions in ``index.image_ids`` of each stratum's images."""
        return [np.searchsorted(index.image_ids, np.sort(np.array(ids, np.int64))) for ids in self.members.values()]

    def _evaluate(self, dt: Detections, index: Index, name: str, iou_type: str, notes: Sequence[str]) -> Evaluated:
        self._progress(f'{name}: matching {iou_type}, {len(dt):,} detections on {len(self.gt.images):,} images')
        matched = matching.match(self.gt, dt, iou_type, index, self._engine)
        metrics = matched.metrics({stratum.name: ids for stratum, ids in self.members.items()})
        positions = self.positions(index)
        result = OcclusionResult(
            name=name,
            iou_type=iou_type,
            measure=self.stratification.measure,
            engine=self._engine,
            ground_truth=self.gt.source,
            detections=dt.source,
            strata=tuple(
                _stratum(stratum, index.instances_of(part), len(part), metrics[stratum.name])
                for stratum, part in zip(self.members, positions, strict=True)
            ),
            settings=self.settings,
            ignore=self.ignore,
        )
        result = replace(result, notes=(*notes, *of_result(self.gt, dt, index, iou_type, result.all.ar)))
        if not self.details.any:
            return Evaluated(result, dt)
        self._progress(f'{name}: reading the matches of {iou_type}')
        return self._with_details(result, matched.matches(), dt, positions)

    def _with_details(
        self, result: OcclusionResult, matches: Matches, dt: Detections, positions: Sequence[np.ndarray]
    ) -> Evaluated:
        details, kinds, samples, weights = self.details, None, {}, None
        if details.resamples:
            self._progress(f'{result.name}: {details.resamples} bootstrap resamples of {result.iou_type}')
            weights = self._weights
            samples = accumulate.metrics(matches, positions, weights)
            result = replace(
                _each(result, intervals=self._intervals(result, samples, matches, positions)),
                bootstrap=Bootstrap(details.resamples, details.seed, details.confidence),
            )
        if details.categories and not self.settings.class_agnostic:
            result = with_categories(result, matches, positions, self.gt.categories, details.min_images)
        if details.instances:
            recall = recall_by_fraction(
                matches, self.gt, self.stratification.fractions, weights=weights, confidence=details.confidence
            )
            result = replace(result, instances=recall, fraction=self.stratification.fraction)
        if details.errors:
            self._progress(f'{result.name}: error anatomy of {result.iou_type}')
            at = details.iou_thr, details.min_score
            kinds = errors.classify(matches, self.gt, dt, *at)
            result = _each(result, errors=[errors.count(kinds, matches, part, *at) for part in positions])
        return Evaluated(result, dt, matches, kinds, samples)

    @cached_property
    def _weights(self) -> np.ndarray:
        # The same for every model and IoU type: that is what pairs them.
        return bootstrap.draw(len(self.gt.images), self.details.resamples, self.details.seed)

    def _intervals(
        self,
        result: OcclusionResult,
        samples: Mapping[str, np.ndarray],
        matches: Matches,
        positions: Sequence[np.ndarray],
    ) -> list[dict[str, Interval]]:
        # Drawn again and again, the only image with instances would seem to be known exactly.
        filled = np.unique(matches.gt_image[matches.gt_counted])
        known = np.array([len(np.intersect1d(part, filled)) > 1 for part in positions])
        bounds = {}
        for key in SAMPLED:
            estimate = [getattr(row, key) for row in result.strata]
            each = np.clip(bootstrap.intervals(samples[key], estimate, self.details.confidence), 0, 1)
            bounds[key] = np.where(known, each, np.nan).T.tolist()
        return [{key: Interval(*bounds[key][i]) for key in SAMPLED} for i in range(len(result.strata))]


def _iou_types(given: Sequence[str]) -> tuple[str, ...]:
    iou_types = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else ()
    if not iou_types or not all(each in IOU_TYPES for each in iou_types):
        raise InputError(f'IoU types {show(given)} cannot be evaluated; choose from {", ".join(IOU_TYPES)}.')
    return tuple(dict.fromkeys(iou_types))


def _selection(by: Selection | Iterable[Stratum] | None) -> Selection:
    if by is None or isinstance(by, Selection):
        return by or Selection()
    if isinstance(by, Iterable) and (parts := tuple(by)) and all(isinstance(part, Stratum) for part in parts):
        return Selection(parts=parts)
    raise InputError(f"by is {show(by)}; give a Selection, e.g. Selection(preset='tbc'), or strata.")


def _given(value: Any, kind: type) -> Any:
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise InputError(f'{kind.__name__.lower()} are {show(value)}; give {kind.__name__}(...).')
    return value


def _each(result: OcclusionResult, **columns: Sequence[Any]) -> OcclusionResult:
    """The result with fields of its strata replaced, by one value a stratum."""
    rows = zip(*columns.values(), strict=True)
    strata = [
        replace(row, **dict(zip(columns, values, strict=True))) for row, values in zip(result.strata, rows, strict=True)
    ]
    return replace(result, strata=tuple(strata))


def _stratum(stratum: Stratum, instances: np.ndarray, num_images: int, metrics: Metrics) -> StratumResult:
    """A stratum's result, given how many instances each category has in it."""
    num_instances = int(instances.sum())
    return StratumResult(
        stratum=stratum,
        num_images=num_images,
        num_instances=num_instances,
        num_categories=int(np.count_nonzero(instances)),
        instances_per_image=num_instances / num_images if num_images else NAN,
        **vars(metrics),
    )
