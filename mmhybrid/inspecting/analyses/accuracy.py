"""Accuracy of a classifier, or AP of a detector by occlusion, under each condition of an attack."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmhybrid.occlusion import OcclusionResult, Settings, bins, evaluate

from .attacked import FGSM, RANDOM, Condition, Outcome, rows
from .truth import Truth

EDGES = (-math.inf, 0.2, 0.5, math.inf)  # of the strata by occlusion; a few, so that some images are in each


@dataclass(frozen=True)
class Measured:
    """Of one model, on the images on which the attack worked.

    Attributes:
        curves: Of which images or of what -> condition -> value from 0 to 1; NaN where there is nothing to measure.
        counts: Of the same -> number of images.
        more: Further numbers.
    """

    curves: dict[str, dict[Condition, float]]
    counts: dict[str, int]
    more: dict[str, Any] = field(default_factory=dict)

    def along(self, what: str, kind: str, epsilons: Sequence[float]) -> list[float] | None:
        """Values by epsilon, at 0 of the images as they are; None if this kind of step was not taken."""
        return _along(self.curves[what], kind, epsilons)


def by_rank(outcome: Outcome, epsilons: Sequence[float]) -> Measured:
    """Top-1 accuracy and, of more than five classes, top-5 accuracy; the mean cross entropy is among the rest."""
    kept = ~np.array(outcome.failed)
    best = {'top-1': 1} | ({'top-5': 5} if outcome.num_classes > 5 else {})
    curves = {
        what: {condition: mean(np.array(ranks)[kept] < k) for condition, ranks in outcome.ranks.items()}
        for what, k in best.items()
    }
    losses = {condition: mean(np.array(each)[kept]) for condition, each in outcome.losses.items()}
    return Measured(curves, dict.fromkeys(curves, int(kept.sum())), {'cross_entropy': listed(losses, epsilons)})


def by_stratum(outcome: Outcome, image_ids: Sequence[Any], truth: Truth, epsilons: Sequence[float]) -> Measured:
    """Box AP by occlusion, of strata with images; numbers of instances and AP at IoU 0.5 are among the rest."""
    kept = [i for i, failed in enumerate(outcome.failed) if not failed]
    if not kept:
        return Measured({}, {})
    results = {
        condition: by_occlusion({image_ids[i]: found[i] for i in kept}, truth)
        for condition, found in outcome.detections.items()
    }
    filled = {row.stratum.name: row for row in results[FGSM, 0.0].strata if row.num_images}
    ap, ap50 = (
        {
            name: {condition: getattr(_row(result, name), metric) for condition, result in results.items()}
            for name in filled
        }
        for metric in ('ap', 'ap50')
    )
    more = {
        'instances': {name: row.num_instances for name, row in filled.items()},
        'ap50': {name: listed(own, epsilons) for name, own in ap50.items()},
    }
    return Measured(ap, {name: row.num_images for name, row in filled.items()}, more)


def by_occlusion(found: Mapping[Any, Any], truth: Truth) -> OcclusionResult:
    """COCO box AP by the occlusion ratio r of the images (``covered``, of boxes).

    Args:
        found: MMDetection's ``pred_instances`` by the ids of the images, which are those that are evaluated.
        truth: Ground truth of them and perhaps others.
    """
    some = set(truth.category_ids) != {each['id'] for each in truth.annotations['categories']}
    settings = Settings(categories=truth.category_ids) if some else None
    detections = rows(found, truth.category_ids)
    return evaluate(truth.of(list(found)), detections, ('bbox',), by=bins(EDGES), settings=settings)['bbox']


def listed(values: Mapping[Condition, float], epsilons: Sequence[float]) -> dict[str, list[float]]:
    """Values by epsilon for each kind of step."""
    found = {kind: _along(values, kind, epsilons) for kind in (FGSM, RANDOM)}
    return {kind: each for kind, each in found.items() if each is not None}


def mean(values: Any) -> float:
    """NaN of nothing."""
    return float(np.mean(values)) if len(values) else math.nan


def _along(values: Mapping[Condition, float], kind: str, epsilons: Sequence[float]) -> list[float] | None:
    if not any(each == kind for each, _ in values):
        return None
    return [values[kind if epsilon else FGSM, epsilon] for epsilon in epsilons]


def _row(result: OcclusionResult, name: str) -> Any:
    return next(row for row in result.strata if row.stratum.name == name)
