"""Which images cost a stratum the most AP: what to look at first.

An image's cost is what the stratum's AP gains when the image is left out. That takes one accumulation an image, so it
is done for a shortlist only, picked by an estimate for all images at once.

The estimate is the derivative of AP by the image's weight, as in the infinitesimal jackknife (Jaeckel 1972). COCO's
interpolated precision is replaced by precision itself: with weights w_k of the detections' images, a category's AP is

    A = 1/P sum_{j true} w_j T_j/N_j,   T_j = sum_{k <= j, k true} w_k,   N_j = sum_{k <= j} w_k

over detections j by descending score and P the weight of all instances. At w = 1 an image adds to A, for each of its

    true positives k:   1/P (T_k/N_k + sum_{j >= k, j true} 1/N_j)     its own precision, and that of those after it
    detections k:      -1/P sum_{j >= k, j true} T_j/N_j^2             which it ranks before
    instances:         -A/P                                            which are to be found

per unit of weight. Suffix sums give every detection's part in linear time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..results import ERROR_IOU, MIN_SCORE, Errors
from . import accumulate
from .errors import count as count_errors

if TYPE_CHECKING:
    from ..matching import Matches

SHORTLIST = 50
# Smaller differences of AP are rounding.
TOLERANCE = 1e-12


@dataclass(frozen=True)
class ImageCost:
    """One image of a stratum, what is wrong on it, and what it costs: AP without it, less AP with it, as a fraction."""

    image_id: int
    cost: float
    errors: Errors


def costliest(
    matches: Matches,
    kinds: np.ndarray,
    members: np.ndarray,
    count: int = 6,
    iou_thr: float = ERROR_IOU,
    min_score: float = MIN_SCORE,
    shortlist: int = SHORTLIST,
) -> list[ImageCost]:
    """The images of a stratum whose absence would raise its AP most.

    The cost is exact, AP over IoU 0.50:0.95 as COCO has it, for the images of the shortlist. A stratum with no more
    images than ``shortlist`` is hence done exactly. Leaving out the only image with a category takes the category out
    of the mean; that is part of the cost.

    Args:
        matches: Detections matched to ground truth.
        kinds: ``(n,)`` of :func:`mmhybrid.occlusion.analysis.errors.classify` by ``iou_thr`` and ``min_score``.
        members: ``(M,)`` positions in ``matches.image_ids`` of the stratum's images, none twice.
        count: At most how many images to return.
        iou_thr, min_score: Of ``kinds``.
        shortlist: For how many images AP is worked out; at least ``count``.

    Returns:
        By descending cost, equal costs by ascending image id; without images that cost nothing.
    """
    if count < 1 or not len(members):
        return []
    members = np.sort(members)
    estimated = estimate_costs(matches, members)
    chosen = np.sort(members[np.argsort(-estimated, kind='stable')[: max(shortlist, count)]])
    weights = np.ones((1 + len(chosen), len(matches.image_ids)), dtype=np.int64)
    weights[np.arange(1, len(weights)), chosen] = 0
    ap = accumulate.metrics(matches, [members], weights)['ap'][:, 0]
    costs = ap[1:] - ap[0]
    # Without the last image that has instances there is no AP, hence no cost: NaN is above nothing.
    order = [i for i in np.argsort(-costs, kind='stable') if costs[i] > TOLERANCE][:count]
    return [
        ImageCost(
            int(matches.image_ids[chosen[i]]),
            float(costs[i]),
            count_errors(kinds, matches, chosen[i : i + 1], iou_thr, min_score),
        )
        for i in order
    ]


def estimate_costs(matches: Matches, members: np.ndarray) -> np.ndarray:
    """First-order estimate ``(M,)`` of the AP a stratum gains without each of its images (see the module's text).

    Where an image is the only one with a category, leaving it out does not change that category's AP a little, it
    takes the category out of the mean: that part is exact. All 0 where the stratum has no instances.
    """
    num_images, num_categories = len(matches.image_ids), len(matches.category_ids)
    gt_category, gt_image, numbers = matches.cells_in(members)
    instances = np.bincount(gt_category, numbers, num_categories)  # P
    filled = instances > 0
    kept = np.flatnonzero(matches.inside(members)[matches.dt_image] & filled[matches.dt_category])
    category, image = matches.dt_category[kept], matches.dt_image[kept]
    ap, parts = _first_order(matches, kept, instances)
    # Cells of the only image with instances of a category, and that image; -1 where there is none or more than one.
    is_sole = np.bincount(gt_category, minlength=num_categories)[gt_category] == 1
    sole = np.full(num_categories, -1)
    sole[gt_category[is_sole]] = gt_image[is_sole]

    per_instance = filled / np.maximum(instances * filled.sum(), 1)
    gains = np.where(is_sole, 0, (ap * per_instance)[gt_category] * numbers)
    if filled.sum() > 1:
        gains[is_sole] = (ap[filled].mean() - ap[gt_category[is_sole]]) / (filled.sum() - 1)
    losses = np.where(sole[category] == image, 0, parts * per_instance[category])
    return (np.bincount(gt_image, gains, num_images) - np.bincount(image, losses, num_images))[members]


def _first_order(matches: Matches, kept: np.ndarray, instances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AP ``(K,)`` and P dA/dw ``(k,)`` of the detections ``kept``, uninterpolated, both as means over IoU thresholds.

    ``instances`` ``(K,)`` are P of each category, positive wherever there is a detection.
    """
    category = matches.dt_category[kept]
    num_categories = len(instances)
    starts = np.searchsorted(category, np.arange(num_categories + 1))

    def until(values: np.ndarray) -> np.ndarray:
        """Sum of a category's values up to and with each."""
        sums = np.append(0, np.cumsum(values))
        return sums[1:] - sums[starts[category]]

    def onwards(values: np.ndarray) -> np.ndarray:
        """Sum of a category's values from each on."""
        sums = np.append(0, np.cumsum(values))
        return sums[starts[category + 1]] - sums[:-1]

    ap, parts = np.zeros(num_categories), np.zeros(len(kept))
    for taken, ignored in zip(matches.dt_gt, matches.dt_ignored, strict=True):
        counted = ~ignored[kept]
        true = counted & (taken[kept] >= 0)
        ranked = np.maximum(until(counted), 1)
        precision = np.where(true, until(true) / ranked, 0)
        ap += np.bincount(category, precision, num_categories)
        parts += true * (precision + onwards(true / ranked)) - counted * onwards(precision / ranked)
    return ap / np.maximum(instances, 1) / len(matches.iou_thrs), parts / len(matches.iou_thrs)
