"""Recall by how occluded each instance itself is: the instance's side of the question.

Image strata say how a detector does in crowded pictures; this says whether it finds the very instances that others
hide. Precision has no such form, since a false positive belongs to no instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import strata
from ..results import InstanceRecall, Interval
from . import bootstrap

if TYPE_CHECKING:
    from ..matching import Matches

FRACTION_EDGES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def recall_by_fraction(
    matches: Matches,
    fractions: np.ndarray,
    edges: Sequence[float] = FRACTION_EDGES,
    weights: np.ndarray | None = None,
    confidence: float = 0.95,
) -> tuple[InstanceRecall, ...]:
    """Recall in bins of the instances' covered or invisible fraction.

    Recall is over all instances of a bin, whatever their category, with as many detections an image and category as
    were matched and no limit on the score. COCO's AR averages over categories instead, so the two differ even over all
    instances. Crowd and ignore regions are never counted.

    Args:
        matches: Detections matched to ground truth.
        fractions: ``(m,)`` covered or invisible fraction of each annotation; NaN, or a value in no bin, leaves it out.
        edges: Of the bins; f = 0 is a bin of its own.
        weights: ``(R, I)`` how often each of R resamples draws each image. An image's instances are drawn together.
        confidence: Of the bootstrap intervals, which there are none of without ``weights``.
    """
    parts = strata.bins(edges, 'f')
    rows = np.flatnonzero(matches.gt_counted & ~np.isnan(fractions))
    values, images = fractions[rows].tolist(), matches.gt_image[rows]
    groups = np.full(len(rows), -1)
    for position, part in enumerate(parts):
        groups[[part.contains(value) for value in values]] = position
    found = matches.found()[:, rows]
    thresholds = {'recall50': matches.iou_thrs == 0.5, 'recall75': matches.iou_thrs == 0.75, 'recall': slice(None)}
    recalls, bounds = {}, {}
    for name, at in thresholds.items():
        each = found[at]  # none where the threshold was not asked for
        hit = each.mean(axis=0) if len(each) else np.full(len(rows), np.nan)
        recalls[name] = bootstrap.shares(hit, groups, len(parts), images)[0]
        if weights is not None:
            sampled = bootstrap.shares(hit, groups, len(parts), images, weights)
            bounds[name] = np.clip(bootstrap.intervals(sampled, recalls[name], confidence), 0, 1)
    counts = np.bincount(groups[groups >= 0], minlength=len(parts))
    return tuple(
        InstanceRecall(
            part.name,
            part.lower,
            part.upper,
            int(counts[i]),
            **{name: float(each[i]) for name, each in recalls.items()},
            intervals={name: Interval(*each[:, i].tolist()) for name, each in bounds.items()},
        )
        for i, part in enumerate(parts)
    )
