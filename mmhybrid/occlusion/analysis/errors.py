"""Error anatomy: what each detection is at one IoU threshold, and what each stratum's errors are made of.

Detections below ``min_score`` are left out, yet the matches are those of all detections. COCO matching goes by
descending score within an image and category, so what a detection takes depends on nothing below it: leaving out the
tail changes no match of the head (nor which are the 100 best), and one matching serves every ``min_score``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..read.polygons import rasterise
from ..results import ERROR_IOU, MIN_SCORE, Errors

if TYPE_CHECKING:
    from ..matching import Index, Matches
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

# Labels are positions in KINDS.
KINDS = ('true_positive', *Errors.KINDS)
TRUE_POSITIVE, DUPLICATE, CONFUSION, PARTIAL, BACKGROUND = range(len(KINDS))
NOT_COUNTED = -1
# From this IoU on a false positive is a poor detection of some instance rather than background.
PARTIAL_IOU = 0.1
# An IoU of 1 is rounded: pycocotools takes what lies this near for it.
MAX_THR = 1 - 1e-10

# (d,) positions of detections in the matches, (g,) rows of ground truth -> (d, g) IoU.
Overlaps = Callable[[np.ndarray, np.ndarray], np.ndarray]


def classify(
    matches: Matches, gt: GroundTruth, dt: Detections, iou_thr: float = ERROR_IOU, min_score: float = MIN_SCORE
) -> np.ndarray:
    """What each detection is; :class:`mmhybrid.occlusion.results.Errors` defines the kinds.

    Crowd and ignore regions are no instances here: a detection that one took is not counted, and one that merely
    overlaps some (of another class, say) is judged by the instances alone. ``matches`` are those of ``gt`` and ``dt``,
    ``iou_thr`` is one of their thresholds, and detections that score less than ``min_score`` are not counted.

    Returns:
        ``(n,)`` int8, positions in :data:`KINDS`, or ``NOT_COUNTED``.
    """
    at = matches.settings.at(iou_thr)
    taken, ignored = matches.dt_gt[at], matches.dt_ignored[at]
    counted = (matches.dt_score >= min_score) & ~ignored
    kinds = np.full(len(counted), NOT_COUNTED, dtype=np.int8)
    kinds[counted & (taken >= 0)] = TRUE_POSITIVE
    false = np.flatnonzero(counted & (taken < 0))
    same, best = _best_overlaps(matches, false, overlaps(matches, gt, dt, matches.iou_type))
    # It would have taken an instance of its class that was still free: at `thr`, `same` was taken before.
    thr = min(matches.iou_thrs[at], MAX_THR)
    kinds[false] = np.select(
        [same >= thr, best >= thr, best >= PARTIAL_IOU], [DUPLICATE, CONFUSION, PARTIAL], BACKGROUND
    )
    return kinds


def count(
    kinds: np.ndarray, matches: Matches, members: np.ndarray, iou_thr: float = ERROR_IOU, min_score: float = MIN_SCORE
) -> Errors:
    """How many of each kind the images of one stratum have, by their positions ``members``, none twice.

    ``kinds`` are :func:`classify`'s of ``matches``, by this ``iou_thr`` and ``min_score``.
    """
    here = kinds[matches.inside(members)[matches.dt_image]]
    numbers = np.bincount(here - NOT_COUNTED, minlength=len(KINDS) + 1)[1:].tolist()
    # No two detections take the same instance, so those that none took are the rest.
    missed = int(matches.cells_in(members)[2].sum()) - numbers[TRUE_POSITIVE]
    return Errors(iou_thr, min_score, *numbers, missed)


def overlaps(index: Index, gt: GroundTruth, dt: Detections, iou_type: str) -> Overlaps:
    """IoU as the matching saw it: by pycocotools itself, for a formula of our own could round across a threshold."""
    from pycocotools import mask

    if iou_type == 'bbox':
        return lambda detections, rows: mask.iou(dt.boxes[index.dt_index[detections]], gt.boxes[rows], [0] * len(rows))
    sizes = gt.sizes[np.argsort(gt.image_ids)]  # by position in index.image_ids

    def of_masks(detections: np.ndarray, rows: np.ndarray) -> np.ndarray:
        found = dt.masks.take(index.dt_index[detections])
        instances = rasterise([gt.segmentations[row] for row in rows.tolist()], sizes[index.gt_image[rows]])
        # Rejects by bounding boxes before it counts pixels.
        return mask.iou(found, instances, [0] * len(rows))

    return of_masks


def _best_overlaps(matches: Matches, chosen: np.ndarray, overlaps: Overlaps) -> tuple[np.ndarray, np.ndarray]:
    """Largest IoU, or 0, of the detections ``chosen`` ``(c,)`` with instances of their class, and with any."""
    same, best = np.zeros((2, len(matches.dt_index)))
    for columns, rows in by_image(matches, chosen):
        iou = overlaps(columns, rows)
        best[columns] = iou.max(axis=1)
        of_class = matches.dt_category[columns, None] == matches.gt_category[rows]
        same[columns] = np.where(of_class, iou, 0).max(axis=1)
    return same[chosen], best[chosen]


def by_image(index: Index, columns: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Which of the detections ``columns``, and rows of instances that count, each image has that has both."""
    rows, borders = np.flatnonzero(index.gt_counted), np.arange(1, len(index.image_ids))
    parts = []
    for chosen, image in (columns, index.dt_image), (rows, index.gt_image):
        chosen = chosen[np.argsort(image[chosen], kind='stable')]
        parts.append(np.split(chosen, np.searchsorted(image[chosen], borders)))
    return (pair for pair in zip(*parts, strict=True) if all(map(len, pair)))
