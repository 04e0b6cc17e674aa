"""One ground truth, read and put into strata once, on which any number of models are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import plural, show

from .. import matching
from ..matching import Index, Settings
from ..read.detections import IOU_TYPES, load_detections
from ..read.ground_truth import load_ground_truth
from ..read.notes import BEYOND
from ..results import ERROR_IOU, Bootstrap, OcclusionResult, StratumResult
from ..selection import Selection
from ..strata import Stratum
from . import bootstrap, crowdhuman, quirks
from .comparison import Evaluated
from .details import Details
from .notes import CORNERS, of_details, of_detections, of_masks, of_result, shards_note
from .rows import Rows
from .views import View, notes_of, settings_of, views

if TYPE_CHECKING:
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
        masks: str | None = None,
    ) -> None:
        self.iou_types, selection = _iou_types(iou_types), _selection(by)
        self.settings, asked = _given(settings, Settings), _given(details, Details)
        if selection.protocol is not None:
            if self.iou_types != ('bbox',):
                raise InputError(f'the preset {selection.preset} is of boxes; evaluate bbox alone.')
            asked = replace(asked, miss_rate=True)
        self.details = asked.at(self.settings)
        self._notes = *of_details(asked, self.settings), *of_masks(selection, masks)
        matching.engine_name(engine)
        self._engine, self.ignore, self.masks, self._progress = engine, ignore, masks, progress
        progress('reading ground truth')
        self.gt = load_ground_truth(gt, selection.geometries(), self.iou_types, ignore, selection.wanted(), masks)
        self.settings = settings_of(selection.protocol, self.settings, self.gt)
        self._notes += tuple(notes_of(selection.protocol, self.settings, self.gt))
        chosen = self.settings.chosen(self.gt.categories)  # now rather than after a results file is read
        self._is_crowdhuman = selection.protocol is not None and selection.protocol.is_crowdhuman
        if self._is_crowdhuman:
            if len(chosen) > 1 and not self.settings.class_agnostic:
                raise InputError(f'the preset {selection.preset} is of one category; name that of persons.')
            if asked.iou_thr not in (None, ERROR_IOU):
                raise InputError(
                    f'the preset {selection.preset} matches at IoU 0.5 alone; leave iou_thr (--error-iou) out.'
                )
            # Of one category there is nothing to tell beside AP, which is not COCO's.
            self.details = replace(self.details, categories=False, iou_thr=self.settings.iou_thrs[0])
            if not crowdhuman.has_scipy():
                self._notes += (crowdhuman.NO_JI,)
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
        gt, dt = crowdhuman.clipped(self.gt, dt) if self._is_crowdhuman else (self.gt, dt)
        index = Index.of(gt, dt, self.settings)
        early = *gt.notes, *self.stratification.notes, *self._notes
        notes = *early, *dt.notes, *of_detections(gt, dt, index, self.stratification.protocol), *notes
        for iou_type in self.iou_types if iou_types is None else iou_types:
            yield self._evaluate(gt, dt, index, name, iou_type, notes)

    def _evaluate(
        self, gt: GroundTruth, dt: Detections, index: Index, name: str, iou_type: str, notes: Sequence[str]
    ) -> Evaluated:
        # Now, since the process may have been forked from the one that made the study.
        engine = matching.engine_name(self._engine)
        found = [self._of_view(view, gt, dt, index, name, iou_type, engine) for view in self._views]
        order = np.argsort([i for view in self._views for i in view.at])
        rows = [row for each in found for row in each.rows]
        told, first = {}, found[0]
        if self.details.resamples:
            told['bootstrap'] = Bootstrap(self.details.resamples, self.details.seed, self.details.confidence)
        if self.details.instances:
            told['fraction'] = self.stratification.fraction
        result = OcclusionResult(
            name=name,
            iou_type=iou_type,
            measure=self.stratification.measure,
            engine=engine,
            ground_truth=self.gt.source,
            detections=dt.source,
            strata=tuple(StratumResult(**rows[i]) for i in order.tolist()),
            settings=self.settings,
            ignore=self.ignore,
            masks=self.masks or '',
            **first.told,
            **told,
        )
        late = tuple(of_result(gt, dt, index, iou_type, result.all.ar))
        late += tuple(quirks.note(self.stratification.protocol, (quirk for each in found for quirk in each.quirks)))
        if any(note.startswith(CORNERS) for note in late):  # which is why boxes leave their images
            notes = [note for note in notes if note not in dt.notes or BEYOND not in note]
        samples = {
            key: np.concatenate([each.samples[key] for each in found], axis=1)[:, order] for key in first.samples
        }
        judged = [rows for each in found for rows in each.judged]
        judged = [judged[i] for i in order.tolist()] if judged else []
        return Evaluated(replace(result, notes=(*notes, *late)), dt, samples=samples, judged=judged, **first.kept)

    def _of_view(
        self, view: View, gt: GroundTruth, dt: Detections, index: Index, name: str, iou_type: str, engine: str
    ) -> Rows:
        """The strata of one view; ``gt`` and ``index`` are those of the first."""
        strata, members = ([each[i] for i in view.at] for each in (self.stratification.strata, self.members))
        is_first = view is self._views[0]
        of = f'{plural(len(dt), "detection")} on {plural(len(self.gt.images), "image")}'
        if not is_first:
            of = f'strata of instances: {", ".join(stratum.name for stratum in strata)}'
        self._progress(f'{name}: matching {iou_type}, {of}')
        every = dt
        if not is_first:
            view = replace(view, gt=replace(view.gt, boxes=gt.boxes))
            gt, dt, index = view.see(dt, self.settings)
        matched = matching.match(gt, dt, iou_type, index, engine)
        found = Rows(
            strata, members, gt, dt, index, matched.metrics(members), self.stratification.protocol, self.gt.is_region
        )
        if self.details.any:
            say = (lambda what: self._progress(f'{name}: {what} of {iou_type}')) if is_first else silent
            say('reading the matches')
            weights = self._weights if self.details.resamples else None
            matches = matched.matches()
            found.add(self.details, matches, weights, self.stratification.fractions, say)
            names = [stratum.name for stratum in strata]
            given = every, self.settings, engine, index, matches, members, names
            found.quirks = tuple(quirks.of_view(view, *given))
        if not is_first:  # its categories are compared with no other stratum's
            for row in found.rows:
                row.pop('ap_common', None)
        return found


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
