"""What stands in a stratum's result beside its metrics, and in a model's beside its strata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from .matching.settings import NAN


@dataclass(frozen=True)
class Interval:
    """Bootstrap interval of a metric (see :mod:`mmhybrid.occlusion.analysis.bootstrap`)."""

    low: float
    high: float


@dataclass(frozen=True)
class Errors:
    """Detections and instances of a stratum by kind, at one IoU threshold (TBC article, Fig. 7c).

    Every detection that counts, i.e. scores at least ``min_score`` and was not taken by a region, is of exactly
    one of the first five kinds, the first that fits. ``true_positive + missed`` is the number of instances.

    Attributes:
        true_positive: Took an instance.
        duplicate: IoU >= threshold with an instance of its class, which a detection of higher score took.
        confusion: IoU >= threshold with an instance of another class.
        partial: 0.1 <= IoU < threshold with an instance of any class.
        background: None of these: IoU below 0.1 with every instance.
        missed: Instances that none of the detections took.
    """

    iou_thr: float
    min_score: float
    true_positive: int
    duplicate: int
    confusion: int
    partial: int
    background: int
    missed: int

    KINDS: ClassVar[tuple[str, ...]] = ('duplicate', 'confusion', 'partial', 'background')

    @property
    def false_positives(self) -> int:
        """Sum of the four kinds."""
        return sum(getattr(self, kind) for kind in self.KINDS)

    def share(self, kind: str) -> float:
        """A kind's part of the false positives; NaN without any."""
        return getattr(self, kind) / self.false_positives if self.false_positives else NAN


@dataclass(frozen=True)
class CategoryResult:
    """One category on one stratum; ``ap``, ``ap50``, ``ap75`` and ``ar`` as in :class:`StratumResult`."""

    id: int
    name: str
    num_images: int
    num_instances: int
    ap: float
    ap50: float
    ap75: float
    ar: float


@dataclass(frozen=True)
class InstanceRecall:
    """Recall of the instances whose own occlusion lies in ``(lower, upper]``, or is ``lower`` where the two are equal.

    Only recall is well posed by instance: a false positive belongs to no instance.

    Attributes:
        name: E.g. ``'0.2 < f <= 0.4'``.
        num_instances: Number of instances, without crowd and ignore regions.
        recall50: Share found at IoU 0.50; NaN if that is none of the thresholds.
        recall75: Share found at IoU 0.75; likewise.
        recall: Mean share over the IoU thresholds.
        intervals: Bootstrap intervals by field name; empty if none were asked for.
    """

    name: str
    lower: float
    upper: float
    num_instances: int
    recall50: float
    recall75: float
    recall: float
    intervals: dict[str, Interval] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """A stratum at one IoU threshold, by the definitions in :mod:`.analysis.quality`; NaN where undefined.

    Attributes:
        iou_thr: The IoU threshold.
        precision: COCO's interpolated precision at recalls 0, 0.01, ..., 1, mean over the categories with instances;
            its mean is AP at this threshold.
        f1: The best F1; NaN without instances.
        f1_score: The score threshold that gives it, the highest of several; NaN where nothing is found.
        f1_precision: Precision there.
        f1_recall: Recall there.
        ece: Expected calibration error; NaN without detections, or if some score of the model is outside of 0 to 1.
        reliability: Of each bin of the score, mean score, precision and number of detections; empty if scores are
            outside of 0 to 1.
        olrp: Optimal LRP error, from 0 (perfect) to 1.
        olrp_loc: Its localisation component.
        olrp_fp: Its component of false positives.
        olrp_fn: Its component of missed instances.
        olrp_scores: Category id and score threshold of the minimum, of each category of which something is found.
        min_score: What detections score at least that ``confusion`` counts.
        confusion: Category id of the instance, category id of the detection and how often the one was detected as the
            other; None for background, which is detected as something or which an instance is lost in. Pairs that
            there are none of are left out. Detection and instance of whatever categories are paired by descending IoU,
            from ``iou_thr`` on, each once; of equal IoU, the detection of higher score first.
        intervals: Bootstrap intervals of the fields in :attr:`SAMPLED`; empty if none were asked for.
        precision_interval: Lower and upper bounds of ``precision``; likewise.
    """

    iou_thr: float
    precision: tuple[float, ...]
    f1: float
    f1_score: float
    f1_precision: float
    f1_recall: float
    ece: float
    reliability: tuple[tuple[float, float, int], ...]
    olrp: float
    olrp_loc: float
    olrp_fp: float
    olrp_fn: float
    olrp_scores: tuple[tuple[int, float], ...]
    min_score: float
    confusion: tuple[tuple[int | None, int | None, int], ...]
    intervals: dict[str, Interval] = field(default_factory=dict)
    precision_interval: tuple[tuple[float, ...], ...] = ()

    SAMPLED: ClassVar[tuple[str, ...]] = ('f1', 'ece', 'olrp', 'olrp_loc', 'olrp_fp', 'olrp_fn')

    def confusion_matrix(self, category_ids: Sequence[int]) -> np.ndarray:
        """``(K + 1, K + 1)`` counts: an instance's row, its detection's column, background last; by these K ids."""
        at = {each: i for i, each in enumerate([*category_ids, None])}
        matrix = np.zeros((len(at), len(at)), dtype=np.int64)
        for truth, found, count in self.confusion:
            matrix[at[truth], at[found]] = count
        return matrix
