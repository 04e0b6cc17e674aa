"""Detections matched to ground truth, as flat arrays: what every analysis beyond AP itself reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Matches:
    """COCO matching of one IoU type, all areas: I images, K categories, T IoU thresholds, n detections, m instances.

    Only detections that COCO evaluation looks at are here: of each image and category the 100 with the highest scores.
    They are ordered by category, in each category by descending score, equal scores by ascending image id, in an image
    in the order of the results file: the order in which pycocotools accumulates.

    Attributes:
        iou_type: ``'bbox'`` or ``'segm'``.
        iou_thrs: ``(T,)`` float64, COCO's 0.50, 0.55, ..., 0.95.
        image_ids: ``(I,)`` int64, ascending.
        category_ids: ``(K,)`` int64, ascending.
        dt_index: ``(n,)`` int64, the detection's row in ``Detections``.
        dt_image: ``(n,)`` int32, its image's position in ``image_ids``.
        dt_category: ``(n,)`` int32, its category's position in ``category_ids``, ascending.
        dt_score: ``(n,)`` float64.
        dt_gt: ``(T, n)`` int32, the row in ``GroundTruth`` of the instance it took, -1 if none.
        dt_ignored: ``(T, n)`` bool, neither right nor wrong: what it took is a crowd region.
        gt_image: ``(m,)`` int32, the position in ``image_ids`` of each row of ``GroundTruth``.
        gt_category: ``(m,)`` int32, the position in ``category_ids``.
        gt_counted: ``(m,)`` bool, whether the instance counts, i.e. is no crowd region.
    """

    iou_type: str
    iou_thrs: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    dt_index: np.ndarray
    dt_image: np.ndarray
    dt_category: np.ndarray
    dt_score: np.ndarray
    dt_gt: np.ndarray
    dt_ignored: np.ndarray
    gt_image: np.ndarray
    gt_category: np.ndarray
    gt_counted: np.ndarray

    @property
    def is_true_positive(self) -> np.ndarray:
        """``(T, n)`` bool: took an instance that counts."""
        return (self.dt_gt >= 0) & ~self.dt_ignored

    def found(self) -> np.ndarray:
        """``(T, m)`` bool: whether some detection took the instance."""
        found = np.zeros((len(self.iou_thrs), len(self.gt_image)), dtype=bool)
        threshold, detection = np.nonzero(self.dt_gt >= 0)
        found[threshold, self.dt_gt[threshold, detection]] = True
        return found
