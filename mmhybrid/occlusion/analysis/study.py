"""One ground truth, read and put into strata once, on which any number of models are evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError

from .. import matching as engines
from ..matching.index import IOU_THRS, MAX_AREA
from ..results import (
    MIN_IMAGES,
    SAMPLED,
    Bootstrap,
    CategoryResult,
    Comparison,
    Difference,
    Interval,
    OcclusionResult,
    StratumResult,
)
from . import accumulate, bootstrap
from . import errors as anatomy
from . import recall as instances

if TYPE_CHECKING:
    from ..matching import Matched
    from ..matching.matches import Matches
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification

MAX_RESAMPLES = 100_000


@dataclass(frozen=True)
class Details:
    """What to work out beyond the metrics of each stratum; everything is off by default, since it takes longer.

    Attributes:
        categories: Metrics per category, and the mean over the categories common to all filled strata.
        instances: Recall by the instances' own occlusion.
        errors: Error anatomy.
        resamples: Bootstrap resamples of the intervals; 0 for none.
        seed: Of the bootstrap.
        confidence: Of the intervals.
        iou_thr: Of the error anatomy.
        min_score: Detections below it are no part of the error anatomy.
        min_images: Strata with fewer images have no say in which categories are common.
    """

    categories: bool = False
    instances: bool = False
    errors: bool = False
    resamples: int = 0
    seed: int = 0
    confidence: float = 0.95
    iou_thr: float = 0.5
    min_score: float = 0.3
    min_images: int = MIN_IMAGES

    def __post_init__(self) -> None:
        if self.resamples < 0 or self.resamples == 1:
            raise InputError(f'{self.resamples} bootstrap resamples give no interval; ask for 0 or for at least 100.')
        if self.resamples > MAX_RESAMPLES:
            raise InputError(f'{self.resamples} bootstrap resamples are too many; ask for at most {MAX_RESAMPLES}.')
        if self.seed < 0:
            raise InputError(f'the bootstrap seed is {self.seed}; give 0 or a positive integer.')
        if not 0 < self.confidence < 1:
            raise InputError(f'the confidence is {self.confidence}; give a number between 0 and 1, e.g. 0.95.')
        if not np.isclose(IOU_THRS, self.iou_thr, rtol=0, atol=1e-9).any():
            known = ', '.join(f'{each:g}' for each in IOU_THRS)
            raise InputError(f'errors cannot be told at IoU {self.iou_thr}; choose from {known}.')
        if not 0 <= self.min_score <= 1:
            raise InputError(f'the least score is {self.min_score}; give a number from 0 to 1.')

    @property
    def any(self) -> bool:
        """Whether the matches themselves are needed."""
        return self.categories or self.instances or self.errors or self.resamples > 0

    @classmethod
    def full(cls, resamples: int = 200, **others: Any) -> Details:
        """Everything."""
        return cls(categories=True, instances=True, errors=True, resamples=resamples, **others)


@dataclass(frozen=True)
class Evaluated:
    """One model by one IoU type, with what comparisons and galleries go on from.

    Attributes:
        result: The numbers.
        matches: The matches, if any detail was asked for.
        kinds: Error kind of each detection of ``matches``, if asked for.
        samples: Metric name -> ``(R, S)`` values of each resample and stratum, if asked for.
    """

    result: OcclusionResult
    matches: Matches | None = None
    kinds: np.ndarray | None = None
    samples: dict[str, np.ndarray] = field(default_factory=dict)

    def without_matches(self) -> Evaluated:
        """The same without what is large; comparisons need no more."""
        return replace(self, matches=None, kinds=None)


class Study:
    """Evaluates models on one ground truth by one stratification.

    Args:
        gt: Checked ground truth.
        stratification: Which images go into which strata.
        engine: ``'pycocotools'``, ``'hotcoco'``, or None for the quicker one that is installed.
        details: What to work out beyond the strata's metrics.
        progress: Called with a few words before each long step.

    Raises:
        InputError: An unknown or missing engine.
    """

    def __init__(
        self,
        gt: GroundTruth,
        stratification: Stratification,
        engine: str | None = None,
        details: Details | None = None,
        progress: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.gt = gt
        self.stratification = stratification
        self.details = Details() if details is None else details
        self._engine, self._match = engines.get(engine)
        self._progress = progress
        self.members = stratification.members()
        self._weights: np.ndarray | None = None
        self._counts = {stratum: _count(gt, ids) for stratum, ids in self.members.items()}

    def evaluate(self, dt: Detections, name: str, iou_type: str) -> Evaluated:
        """Evaluate one model by one IoU type."""
        self._progress(f'{name}: matching {iou_type}, {len(dt.scores):,} detections on {len(self.gt.images):,} images')
        matched = self._match(self.gt, dt, iou_type)
        result = OcclusionResult(
            name=name,
            iou_type=iou_type,
            measure=self.stratification.measure,
            engine=self._engine,
            ground_truth=self.gt.source,
            detections=dt.source,
            strata=self._strata(matched),
        )
        if not self.details.any:
            return Evaluated(result)
        self._progress(f'{name}: reading the matches of {iou_type}')
        return self._with_details(result, matched.matches(), dt)

    def positions(self, matches: Matches) -> list[np.ndarray]:
        """Positions in ``matches.image_ids`` of each stratum's images."""
        return [np.searchsorted(matches.image_ids, np.sort(np.array(ids, np.int64))) for ids in self.members.values()]

    def _strata(self, matched: Matched) -> tuple[StratumResult, ...]:
        metrics = matched.metrics({stratum.name: ids for stratum, ids in self.members.items()})
        return tuple(
            StratumResult(stratum=stratum, **self._counts[stratum], **vars(metrics[stratum.name]))
            for stratum in self.members
        )

    def _with_details(self, result: OcclusionResult, matches: Matches, dt: Detections) -> Evaluated:
        details, positions = self.details, self.positions(matches)
        kinds, samples, weights = None, {}, None
        if details.resamples:
            self._progress(f'{result.name}: {details.resamples} bootstrap resamples of {result.iou_type}')
            weights = self._draw(len(matches.image_ids))
            samples = accumulate.metrics(matches, positions, weights)
            rows = [
                replace(row, intervals={key: Interval(*interval) for key, interval in each.items()})
                for row, each in zip(result.strata, self._intervals(result, samples, matches, positions), strict=True)
            ]
            boot = Bootstrap(details.resamples, details.seed, details.confidence)
            result = replace(result, strata=tuple(rows), bootstrap=boot)
        if details.categories:
            result = self._with_categories(result, accumulate.by_category(matches, positions), matches, positions)
        if details.instances:
            recall = instances.recall_by_fraction(
                matches, self.gt, self.stratification.fractions, weights=weights, confidence=details.confidence
            )
            result = replace(result, instances=recall, fraction=self.stratification.fraction)
        if details.errors:
            self._progress(f'{result.name}: error anatomy of {result.iou_type}')
            kinds = anatomy.classify(matches, self.gt, dt, details.iou_thr, details.min_score)
            rows = [
                replace(row, errors=anatomy.count(kinds, matches, part, details.iou_thr, details.min_score))
                for row, part in zip(result.strata, positions, strict=True)
            ]
            result = replace(result, strata=tuple(rows))
        return Evaluated(result, matches, kinds, samples)

    def _draw(self, num_images: int) -> np.ndarray:
        # The same for every model and IoU type: that is what pairs them.
        if self._weights is None:
            self._weights = bootstrap.draw(num_images, self.details.resamples, self.details.seed)
        return self._weights

    def _intervals(
        self,
        result: OcclusionResult,
        samples: Mapping[str, np.ndarray],
        matches: Matches,
        positions: Sequence[np.ndarray],
    ) -> list[dict[str, list[float]]]:
        # Drawn again and again, the only image with instances would seem to be known exactly.
        filled = np.unique(matches.gt_image[matches.gt_counted])
        known = np.array([len(np.intersect1d(part, filled)) > 1 for part in positions])
        bounds = {}
        for key in SAMPLED:
            estimate = [getattr(row, key) for row in result.strata]
            each = np.clip(bootstrap.intervals(samples[key], estimate, self.details.confidence), 0, 1)
            bounds[key] = np.where(known, each, np.nan).T.tolist()
        return [{key: bounds[key][i] for key in SAMPLED} for i in range(len(result.strata))]

    def _with_categories(
        self,
        result: OcclusionResult,
        values: Mapping[str, np.ndarray],
        matches: Matches,
        positions: Sequence[np.ndarray],
    ) -> OcclusionResult:
        names = {row['id']: str(row.get('name', row['id'])) for row in self.gt.categories}
        category_ids = matches.category_ids.tolist()
        counted = [_category_counts(matches, part) for part in positions]
        filled = [
            instances_of
            for row, (_, instances_of) in zip(result.strata, counted, strict=True)
            if instances_of.any() and row.num_images >= self.details.min_images
        ]
        common = np.all([each > 0 for each in filled], axis=0) if filled else np.zeros(len(category_ids), dtype=bool)
        rows = []
        for i, row in enumerate(result.strata):
            images_of, instances_of = counted[i]
            categories = tuple(
                CategoryResult(
                    category_ids[k],
                    names[category_ids[k]],
                    int(images_of[k]),
                    int(instances_of[k]),
                    **{key: float(values[key][i, k]) for key in SAMPLED},
                )
                for k in np.flatnonzero(instances_of)
            )
            ap = values['ap'][i, common]
            ap_common = float(np.mean(ap)) if len(ap) and instances_of.any() else float('nan')
            rows.append(replace(row, categories=categories, ap_common=ap_common))
        return replace(result, strata=tuple(rows), num_common_categories=int(common.sum()))


def compare(baseline: Evaluated, model: Evaluated, metrics: Sequence[str] = SAMPLED) -> Comparison:
    """Paired bootstrap between two models of one study: both on the same resampled images.

    Raises:
        InputError: The evaluations have no resamples, or are of different IoU types.
    """
    a, b = baseline.result, model.result
    if not baseline.samples or not model.samples or a.bootstrap != b.bootstrap or a.iou_type != b.iou_type:
        raise InputError(f'{a.name} and {b.name} were not resampled alike; evaluate both in one study, with resamples.')
    differences = []
    for i, (row_a, row_b) in enumerate(zip(a.strata, b.strata, strict=True)):
        for key in metrics:
            values = getattr(row_a, key), getattr(row_b, key)
            gap = values[1] - values[0]
            low = high = p_value = float('nan')
            if not any(math.isnan(row.intervals[key].low) for row in (row_a, row_b)):
                low, high, p_value = bootstrap.paired(
                    baseline.samples[key][:, i], model.samples[key][:, i], gap, a.bootstrap.confidence
                )
            differences.append(
                Difference(row_a.stratum, row_a.num_images, key, *values, gap, Interval(low, high), p_value)
            )
    return Comparison(a.name, b.name, a.iou_type, a.bootstrap, tuple(differences))


def _count(gt: GroundTruth, image_ids: list[int]) -> dict[str, Any]:
    counted = np.isin(gt.annotation_image_ids, np.array(image_ids, dtype=np.int64))
    # pycocotools counts no instance of an area beyond its own largest.
    counted &= ~gt.is_crowd & (gt.areas <= MAX_AREA)
    num_instances = int(counted.sum())
    return {
        'num_images': len(image_ids),
        'num_instances': num_instances,
        'num_categories': len(np.unique(gt.category_ids[counted])),
        'instances_per_image': num_instances / len(image_ids) if image_ids else float('nan'),
    }


def _category_counts(matches: Matches, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images and instances of each category on these images; two ``(K,)`` arrays."""
    inside = np.zeros(len(matches.image_ids), dtype=bool)
    inside[positions] = True
    kept = matches.gt_counted & inside[matches.gt_image]
    size = len(matches.category_ids)
    pairs = np.unique(matches.gt_image[kept].astype(np.int64) * size + matches.gt_category[kept])
    return np.bincount(pairs % size, minlength=size), np.bincount(matches.gt_category[kept], minlength=size)
