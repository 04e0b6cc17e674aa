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
from ..read.notes import BEYOND
from ..results import NAN, SAMPLED, Bootstrap, CategoryResult, Interval, OcclusionResult, StratumResult
from ..selection import Selection
from ..strata import Stratum
from . import accumulate, bootstrap, errors
from .comparison import Evaluated
from .details import Details
from .miss_rate import drawn, miss_rates
from .notes import CORNERS, of_details, of_detections, of_result, shards_note
from .recall import recall_by_fraction
from .views import settings_of, views

if TYPE_CHECKING:
    from ..matching import Matches
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

PathOr = str | PathLike[str]
# Of one model: a file, several that are read as one, or the loaded list.
ModelResults = PathOr | Sequence[PathOr] | list[dict[str, Any]]
Progress = Callable[[str], None]


def silent(message: str) -> None:
    """Progress that nobody follows."""


class Study:
    """Evaluates models on one ground truth, read and put into strata here.

    Arguments and errors are those of :func:`mmhybrid.occlusion.evaluate`.
    """

    def __init__(
        self,
        gt: PathOr | dict[str, Any],
        iou_types: Sequence[str] = ('bbox',),
        by: Selection | Iterable[Stratum] | None = None,
        settings: Settings | None = None,
        engine: str | None = None,
        details: Details | None = None,
        progress: Progress = silent,
        ignore: str = 'region',
    ) -> None:
        self.iou_types, selection = _iou_types(iou_types), _selection(by)
        self.settings, asked = _given(settings, Settings), _given(details, Details)
        if selection.protocol is not None:
            if self.iou_types != ('bbox',):
                raise InputError(f'the preset {selection.preset} is of boxes; evaluate bbox alone.')
            asked = replace(asked, miss_rate=True)
        self.details, self._notes = asked.at(self.settings), tuple(of_details(asked, self.settings))
        matching.engine_name(engine)
        self._engine, self.ignore, self._progress = engine, ignore, progress
        progress('reading ground truth')
        self.gt = load_ground_truth(gt, selection.geometries(), self.iou_types, ignore, selection.wanted())
        self.settings = settings_of(selection.protocol, self.settings, self.gt)
        self.settings.chosen(self.gt.categories)  # now rather than after a results file is read
        progress('measuring occlusion')
        self.stratification = selection.apply(self.gt)
        known = np.sort(self.gt.image_ids)
        # Of each stratum, the ascending positions of its images.
        self.members = [np.searchsorted(known, sorted(ids)) for ids in self.stratification.members().values()]
        self._views = views(self.gt, self.stratification)

    @cached_property
    def _weights(self) -> np.ndarray:
        # The same for every model and IoU type: that is what pairs them.
        return bootstrap.draw(len(self.gt.images), self.details.resamples, self.details.seed)

    def run(self, models: Mapping[str, ModelResults]) -> Iterator[Evaluated]:
        """Evaluate name -> results by each IoU type, so that one model's detections are in memory at a time."""
        seen: dict[str, np.ndarray] = {}
        for name, results in models.items():
            self._progress(f'{name}: reading results')
            dt = load_detections(results, self.gt, self.iou_types)
            image_ids = np.unique(dt.image_ids)
            yield from self.evaluate(dt, str(name), notes=shards_note(seen, str(name), image_ids))
            seen[str(name)] = image_ids

    def evaluate(
        self, dt: Detections, name: str, iou_types: Sequence[str] | None = None, notes: Iterable[str] = ()
    ) -> Iterator[Evaluated]:
        """Evaluate one model by each IoU type, by default the study's, with ``notes`` beside those of its own."""
        index = Index.of(self.gt, dt, self.settings)
        early = *self.gt.notes, *self.stratification.notes, *self._notes
        notes = *early, *dt.notes, *of_detections(self.gt, dt, index), *notes
        for iou_type in self.iou_types if iou_types is None else iou_types:
            yield self._evaluate(dt, index, name, iou_type, notes)

    def _evaluate(self, dt: Detections, index: Index, name: str, iou_type: str, notes: Sequence[str]) -> Evaluated:
        # Now, since the process may have been forked from the one that made the study.
        engine = matching.engine_name(self._engine)
        rows: dict[int, dict[str, Any]] = {}
        samples: dict[str, np.ndarray] = {}
        whole, more = Evaluated(None), {}
        for view in self._views:
            is_first = view is self._views[0]
            of = f'{len(dt):,} detections on {len(self.gt.images):,} images'
            if not is_first:
                of = f'strata of instances: {", ".join(self.stratification.strata[i].name for i in view.at)}'
            self._progress(f'{name}: matching {iou_type}, {of}')
            seen = (self.gt, dt, index) if is_first else view.see(dt, self.settings)
            say = self._progress if is_first else silent
            found, sampled, kept, told = self._of_view(view.at, *seen, name, iou_type, engine, say)
            rows |= found
            if not is_first:  # its categories are compared with no other stratum's
                for row in found.values():
                    row.pop('ap_common', None)
            for key, values in sampled.items():
                shape = len(values), len(self.members)
                samples.setdefault(key, np.full(shape, np.nan))[:, view.at] = values
            if is_first:
                whole, more = Evaluated(None, dt, **kept), told
        if self.details.resamples:
            more['bootstrap'] = Bootstrap(self.details.resamples, self.details.seed, self.details.confidence)
        result = OcclusionResult(
            name=name,
            iou_type=iou_type,
            measure=self.stratification.measure,
            engine=engine,
            ground_truth=self.gt.source,
            detections=dt.source,
            strata=tuple(StratumResult(**rows[i]) for i in range(len(self.members))),
            settings=self.settings,
            ignore=self.ignore,
            **more,
        )
        late = tuple(of_result(self.gt, dt, index, iou_type, result.all.ar))
        if any(note.startswith(CORNERS) for note in late):  # which is why boxes leave their images
            notes = [note for note in notes if note not in dt.notes or BEYOND not in note]
        return replace(whole, result=replace(result, notes=(*notes, *late)), samples=samples)

    def _of_view(
        self,
        at: Sequence[int],
        gt: GroundTruth,
        dt: Detections,
        index: Index,
        name: str,
        iou_type: str,
        engine: str,
        say: Progress,
    ) -> tuple[dict[int, dict[str, Any]], dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
        """Strata that see the same ground truth: the fields of each result by its position, values on resamples
        ``(R, s)``, what comparisons go on from, and what is told of the whole result."""
        matched = matching.match(gt, dt, iou_type, index, engine)
        members = [self.members[i] for i in at]
        counts = _counts(index, members)
        parts = [self.stratification.strata[i] for i in at]
        # The fields of each stratum's result; what details there are is added.
        rows = list(map(_row, parts, members, counts[0], matched.metrics(members)))
        details, samples, kept, more = self.details, {}, {}, {}
        weights = self._weights if details.resamples else None
        if details.any:
            say(f'{name}: reading the matches of {iou_type}')
            kept['matches'] = matches = matched.matches()
        if details.miss_rate:
            reading = self._reading
            for row, rate, part in zip(rows, miss_rates(matches, members, None, reading)[0], members, strict=True):
                row |= {'mr': float(rate), 'miss_curve': drawn(matches, part)}
        if details.resamples:
            say(f'{name}: {details.resamples} bootstrap resamples of {iou_type}')
            samples = accumulate.metrics(matches, members, weights)
            if details.miss_rate:
                samples['mr'] = miss_rates(matches, members, weights, reading)
            self._add_intervals(rows, samples, index, members)
        if details.categories and not self.settings.class_agnostic:
            more['num_common_categories'] = self._add_categories(rows, *counts, matches, members)
        if details.instances:
            fractions = self.stratification.fractions
            recall = recall_by_fraction(matches, fractions, weights=weights, confidence=details.confidence)
            more |= {'instances': recall, 'fraction': self.stratification.fraction}
        if details.errors:
            say(f'{name}: error anatomy of {iou_type}')
            threshold = details.iou_thr, details.min_score
            kept['kinds'] = kinds = errors.classify(matches, gt, dt, *threshold)
            for row, part in zip(rows, members, strict=True):
                row['errors'] = errors.count(kinds, matches, part, *threshold)
        return dict(zip(at, rows, strict=True)), samples, kept, more

    @property
    def _reading(self) -> str:
        protocol = self.stratification.protocol
        return 'caltech' if protocol is None else protocol.reading

    def _add_intervals(
        self,
        rows: list[dict[str, Any]],
        samples: Mapping[str, np.ndarray],
        index: Index,
        members: Sequence[np.ndarray],
    ) -> None:
        # Drawn again and again, the only image with instances would seem to be known exactly.
        filled = np.unique(index.gt_image[index.gt_counted])
        known = np.array([np.isin(filled, part).sum() > 1 for part in members])
        estimates = np.array([[row[key] for key in samples] for row in rows])
        stacked = np.stack(list(samples.values()), axis=2)
        bounds = np.clip(bootstrap.intervals(stacked, estimates, self.details.confidence), 0, 1)
        bounds[:, ~known] = np.nan
        for row, each in zip(rows, bounds.swapaxes(0, 1), strict=True):
            row['intervals'] = dict(zip(samples, map(Interval, *each.tolist()), strict=True))

    def _add_categories(
        self,
        rows: list[dict[str, Any]],
        instances: np.ndarray,
        images: np.ndarray,
        matches: Matches,
        members: Sequence[np.ndarray],
    ) -> int:
        """Each stratum's categories, and AP over those that all strata of enough images share; how many these are."""
        names = {row['id']: row['name'] for row in self.gt.categories}
        category_ids = matches.category_ids.tolist()
        values = accumulate.by_category(matches, members)
        heard = [row['num_images'] >= self.details.min_images and row['num_instances'] > 0 for row in rows]
        common = (instances[heard] > 0).all(axis=0) & any(heard)
        for i, row in enumerate(rows):
            row['categories'] = tuple(
                CategoryResult(
                    category_ids[k],
                    names[category_ids[k]],
                    int(images[i, k]),
                    int(instances[i, k]),
                    **{key: float(values[key][i, k]) for key in SAMPLED},
                )
                for k in np.flatnonzero(instances[i]).tolist()
            )
            if row['categories'] and common.any():
                row['ap_common'] = float(np.mean(values['ap'][i, common]))
        return int(common.sum())


def _counts(index: Index, members: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """``(S, K)`` instances that count, of each stratum and category, and images that have some."""
    instances, images = np.zeros((2, len(members), len(index.category_ids)), dtype=int)
    for i, part in enumerate(members):
        category, _, numbers = index.cells_in(part)
        instances[i] = np.bincount(category, numbers, instances.shape[1])
        images[i] = np.bincount(category, minlength=images.shape[1])
    return instances, images


def _row(stratum: Stratum, members: np.ndarray, instances: np.ndarray, metrics: Metrics) -> dict[str, Any]:
    num_images, num_instances = len(members), int(instances.sum())
    return vars(metrics) | {
        'stratum': stratum,
        'num_images': num_images,
        'num_instances': num_instances,
        'num_categories': int(np.count_nonzero(instances)),
        'instances_per_image': num_instances / num_images if num_images else NAN,
    }


def _iou_types(given: Any) -> tuple[str, ...]:
    iou_types = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else ()
    if not iou_types or not all(each in IOU_TYPES for each in iou_types):
        raise InputError(f'IoU types {show(given)} cannot be evaluated; choose from {", ".join(IOU_TYPES)}.')
    return tuple(dict.fromkeys(iou_types))


def _selection(by: Any) -> Selection:
    if by is None or isinstance(by, Selection):
        return by or Selection()
    if isinstance(by, Iterable) and (parts := tuple(by)) and all(isinstance(part, Stratum) for part in parts):
        return Selection(parts=parts)
    raise InputError(f"by is {show(by)}; give a Selection, e.g. Selection(preset='tbc'), or strata.")


def _given(value: Any, kind: type) -> Any:
    if value is not None and not isinstance(value, kind):
        raise InputError(f'{kind.__name__.lower()} are {show(value)}; give {kind.__name__}(...).')
    return kind() if value is None else value
