"""Recall by how occluded each instance itself is: the instance's side of the question.

Image strata say how a detector does in crowded pictures; this says whether it finds the very instances that others
hide. Precision has no such form, since a false positive belongs to no instance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError

from .. import strata
from ..results import InstanceRecall, Interval
from . import bootstrap

if TYPE_CHECKING:
    from ..matching.index import Matches
    from ..read.ground_truth import GroundTruth

DEFAULT_EDGES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def recall_by_fraction(
    matches: Matches,
    gt: GroundTruth,
    fractions: np.ndarray,
    edges: Sequence[float] = DEFAULT_EDGES,
    symbol: str = 'f',
    weights: np.ndarray | None = None,
    confidence: float = 0.95,
) -> tuple[InstanceRecall, ...]:
    """Recall in bins of the instances' covered or invisible fraction.

    Recall is over all instances of a bin, whatever their category, with as many detections an image and category as
    were matched and no limit on the score. COCO's AR averages over categories instead, so the two differ even over all
    instances.

    Crowd and ignore regions are never counted.

    Args:
        matches: The matches.
        gt: The ground truth they are matched to, m annotations.
        fractions: ``(m,)`` covered or invisible fraction of each annotation; NaN, or a value in no bin, leaves it out.
        edges: Edges of the bins, as in :func:`mmhybrid.occlusion.strata.bins`: f = 0 is a bin of its own.
        symbol: What the bins' names call the fraction.
        weights: ``(R, I)`` how often each of R resamples draws each image. An image's instances are drawn together.
        confidence: Of the bootstrap intervals, in (0, 1).

    Returns:
        One result a bin, in order; its recalls are NaN where it is empty. ``intervals`` is empty without ``weights``;
        resamples that draw none of the bin's instances are left out, and with fewer than two others a bound is NaN.

    Raises:
        InputError: An argument has another shape, or a value out of range.
    """
    parts = strata.bins(edges, symbol)
    fractions = np.asarray(fractions, dtype=np.float64)
    if fractions.shape != matches.gt_image.shape:
        raise InputError(
            f'fractions have the shape {fractions.shape}; '
            f'give one for each of the {len(matches.gt_image)} annotations of {gt.source}.'
        )
    rows = np.flatnonzero(matches.gt_counted & ~np.isnan(fractions))
    values, images = fractions[rows].tolist(), matches.gt_image[rows]
    groups = np.full(len(rows), -1)
    for position, part in enumerate(parts):
        groups[np.fromiter(map(part.contains, values), dtype=bool, count=len(values))] = position
    found = matches.found()[:, rows]
    # Of none at a threshold that was not asked for, the mean of which is NaN.
    hits = {
        'recall50': found[np.isclose(matches.iou_thrs, 0.5)],
        'recall75': found[np.isclose(matches.iou_thrs, 0.75)],
        'recall': found,
    }

    def shares(weights: np.ndarray | None) -> dict[str, np.ndarray]:
        return {
            name: bootstrap.shares(
                each.mean(axis=0) if len(each) else np.full(len(rows), np.nan), groups, len(parts), images, weights
            )
            for name, each in hits.items()
        }

    recalls, bounds = shares(None), {}
    if weights is not None:
        weights = _checked(weights, len(matches.image_ids))
        sampled = shares(weights)
        bounds = {
            name: np.clip(bootstrap.intervals(sampled[name], each[0], confidence), 0, 1)
            for name, each in recalls.items()
        }
    counts = np.bincount(groups[groups >= 0], minlength=len(parts))
    return tuple(
        InstanceRecall(
            part.name,
            part.lower,
            part.upper,
            int(counts[i]),
            **{name: float(each[0, i]) for name, each in recalls.items()},
            intervals={name: Interval(*each[:, i].tolist()) for name, each in bounds.items()},
        )
        for i, part in enumerate(parts)
    )


def _checked(weights: np.ndarray, num_images: int) -> np.ndarray:
    weights = np.asarray(weights)
    if weights.ndim != 2 or weights.shape[1] != num_images or weights.min(initial=0) < 0:
        raise InputError(
            f'weights of the shape {weights.shape} are no resamples; '
            f'give (R, {num_images}) numbers that say how often each image is drawn.'
        )
    return weights
