"""The results of strata that see the same ground truth: metrics, and what details are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import NAN, SAMPLED, CategoryResult, InstanceRecall, Interval
from . import accumulate, bootstrap, crowdhuman, errors
from .miss_rate import drawn, miss_rates
from .quality import quality
from .recall import recall_by_fraction

if TYPE_CHECKING:
    from ..matching import Index, Matches, Metrics
    from ..protocols import Protocol
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth
    from ..strata import Stratum
    from .details import Details
    from .quirks import Quirk


# Of these, paired differences are made.
COMPARED = ('f1', 'ece', 'olrp')


class Rows:
    """Fields of S results, one a stratum, to which details are added.

    Attributes:
        rows: S dictionaries of fields of ``StratumResult``.
        samples: Metric name -> ``(R, S)`` values on R resamples.
        kept: Fields of ``Evaluated`` that comparisons and galleries go on from.
        told: Fields of ``OcclusionResult``, where the strata are those of images.
        quirks: Where a benchmark's script is not the definition.
        judged: Of each stratum the rows of the instances that count, where these hang on the detections; else empty.
    """

    def __init__(
        self,
        strata: Sequence[Stratum],
        members: Sequence[np.ndarray],
        gt: GroundTruth,
        dt: Detections,
        index: Index,
        metrics: Sequence[Metrics],
        protocol: Protocol | None = None,
        of_set: np.ndarray | None = None,
    ) -> None:
        """Of strata, the ascending positions of their images, what was matched, and COCO's metrics on each; ``of_set``
        ``(n,)`` are the regions that strata of instances have not made."""
        self._members, self._gt, self._dt, self._index, self._protocol = members, gt, dt, index, protocol
        self._of_set = of_set
        self._instances, self._images = _counts(index, members)
        self.rows = list(map(_row, strata, members, self._instances, metrics))
        self.samples: dict[str, np.ndarray] = {}
        self.kept: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.quirks: tuple[Quirk, ...] = ()
        self.judged: list[np.ndarray] = []
        if protocol is not None and not protocol.counts_empty_images:
            counted, image = index.gt_counted, index.gt_image
            self.judged = [np.flatnonzero(counted & index.inside(part)[image]) for part in members]

    def add(
        self,
        details: Details,
        matches: Matches,
        weights: np.ndarray | None,
        fractions: np.ndarray,
        say: Callable[[str], None],
    ) -> None:
        """Add what is asked for, with intervals if there are ``weights`` ``(R, I)``; ``fractions`` ``(n,)`` are of the
        annotations."""
        self.kept['matches'] = matches
        if weights is not None:
            say(f'{details.resamples} bootstrap resamples')
            self.samples |= accumulate.metrics(matches, self._members, weights)
        is_crowdhuman = self._protocol is not None and self._protocol.is_crowdhuman
        if is_crowdhuman:
            self._add_crowdhuman(matches, weights)
        if details.miss_rate:
            self._add_miss_rates(matches, weights)
        if weights is not None:
            self._add_intervals(details.confidence)
        if details.categories and not matches.settings.class_agnostic:
            self._add_categories(details.min_images, matches)
        if details.instances:
            self.told['instances'] = recall_by_fraction(
                matches, fractions, weights=weights, confidence=details.confidence
            )
            if is_crowdhuman:  # recall at its one threshold
                self.told['instances'] = tuple(map(_at_50, self.told['instances']))
        if details.errors:
            say('error anatomy')
            threshold = details.iou_thr, details.min_score
            self.kept['kinds'] = kinds = errors.classify(matches, self._gt, self._dt, *threshold)
            for row, members in zip(self.rows, self._members, strict=True):
                row['errors'] = errors.count(kinds, matches, members, *threshold)
        if details.quality:
            say('curves, calibration and confusions')
            self._add_quality(details, matches, weights)

    def _add_crowdhuman(self, matches: Matches, weights: np.ndarray | None) -> None:
        """CrowdHuman's AP and JI; of COCO's metrics AR stays, which at one threshold is recall."""
        members = self._members
        values = {'ap': crowdhuman.ap(matches, members)[0]}
        if weights is not None:
            self.samples = {'ap': crowdhuman.ap(matches, members, weights), 'ar': self.samples['ar']}
        if crowdhuman.has_scipy():
            found = crowdhuman.jaccard(self._gt, self._dt, self._index, self._of_set)
            values |= {'ji': crowdhuman.ji(found, members)[0], 'ji_score': crowdhuman.best_scores(found, members)}
            if weights is not None:
                self.samples['ji'] = crowdhuman.ji(found, members, weights)
        for i, row in enumerate(self.rows):
            row |= dict.fromkeys(('ap50', 'ap75', 'aps', 'apm', 'apl'), NAN)
            row |= {key: float(column[i]) for key, column in values.items()}

    def _add_miss_rates(self, matches: Matches, weights: np.ndarray | None) -> None:
        by = {} if self._protocol is None else {'reading': self._protocol.reading, 'fppi': self._protocol.fppi}
        rates = miss_rates(matches, self._members, **by)[0].tolist()
        for row, rate, members in zip(self.rows, rates, self._members, strict=True):
            row |= {'mr': rate, 'miss_curve': drawn(matches, members)}
        if weights is not None:
            self.samples['mr'] = miss_rates(matches, self._members, weights, **by)

    def _add_quality(self, details: Details, matches: Matches, weights: np.ndarray | None) -> None:
        found, samples = quality(
            matches, self._gt, self._dt, self._members, weights, details.iou_thr, details.min_score,
            confidence=details.confidence,
        )  # fmt: skip
        for row, each, known in zip(self.rows, found, self._known(), strict=True):
            if each.intervals and not known:
                unknown = dict.fromkeys(each.intervals, Interval(NAN, NAN))
                each = replace(each, intervals=unknown, precision_interval=())
            row['quality'] = each
        self.samples |= {key: samples[key] for key in COMPARED if key in samples}
        names = {row['id']: str(row['name']) for row in self._gt.categories}
        ids = matches.category_ids.tolist()
        self.told['category_names'] = tuple((each, names.get(each, 'any')) for each in ids)

    def _known(self) -> np.ndarray:
        # Drawn again and again, the only image with instances would seem to be known exactly.
        filled = np.unique(self._index.gt_image[self._index.gt_counted])
        return np.array([np.isin(filled, part).sum() > 1 for part in self._members])

    def _add_intervals(self, confidence: float) -> None:
        estimates = np.array([[row[key] for key in self.samples] for row in self.rows])
        stacked = np.stack(list(self.samples.values()), axis=2)
        bounds = np.clip(bootstrap.intervals(stacked, estimates, confidence), 0, 1)
        bounds[:, ~self._known()] = np.nan
        if 'mr' in self.samples:
            # A miss rate of 0 at one of the FPPI makes MR^-2 0, on about every resample too.
            at = list(self.samples).index('mr')
            bounds[:, estimates[:, at] == 0, at] = np.nan
        for row, each in zip(self.rows, bounds.swapaxes(0, 1), strict=True):
            row['intervals'] = dict(zip(self.samples, map(Interval, *each.tolist()), strict=True))

    def _add_categories(self, min_images: int, matches: Matches) -> None:
        """Each stratum's categories, and AP over those that all strata of enough images share; how many these are."""
        names = {row['id']: row['name'] for row in self._gt.categories}
        category_ids = matches.category_ids.tolist()
        values = accumulate.by_category(matches, self._members)
        heard = [row['num_images'] >= min_images and row['num_instances'] > 0 for row in self.rows]
        common = (self._instances[heard] > 0).all(axis=0) & any(heard)
        self.told['num_common_categories'] = int(common.sum())
        for i, row in enumerate(self.rows):
            row['categories'] = tuple(
                CategoryResult(
                    category_ids[k],
                    names[category_ids[k]],
                    int(self._images[i, k]),
                    int(self._instances[i, k]),
                    **{key: float(values[key][i, k]) for key in SAMPLED},
                )
                for k in np.flatnonzero(self._instances[i]).tolist()
            )
            if row['categories'] and common.any():
                row['ap_common'] = float(np.mean(values['ap'][i, common]))


def _counts(index: Index, members: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """``(S, K)`` instances that count, of each stratum and category, and images that have some."""
    instances, images = np.zeros((2, len(members), len(index.category_ids)), dtype=int)
    for i, part in enumerate(members):
        category, _, numbers = index.cells_in(part)
        instances[i] = np.bincount(category, numbers, instances.shape[1])
        images[i] = np.bincount(category, minlength=images.shape[1])
    return instances, images


def _at_50(row: InstanceRecall) -> InstanceRecall:
    intervals = row.intervals and row.intervals | {'recall50': row.intervals['recall']}
    return replace(row, recall50=row.recall, intervals=intervals)


def _row(stratum: Stratum, members: np.ndarray, instances: np.ndarray, metrics: Metrics) -> dict[str, Any]:
    num_images, num_instances = len(members), int(instances.sum())
    return vars(metrics) | {
        'stratum': stratum,
        'num_images': num_images,
        'num_instances': num_instances,
        'num_categories': int(np.count_nonzero(instances)),
        'instances_per_image': num_instances / num_images if num_images else NAN,
    }
