"""What both engines share: which detections COCO evaluation looks at and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

import numpy as np

from . import MAX_DETS
from .matches import Matches

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

# The values of pycocotools' ``Params.setDetParams``, bit for bit.
IOU_THRS = np.linspace(0.5, 0.95, 10)
# COCO's "all areas" ends here; what is larger is ignored, as a crowd region is.
MAX_AREA = 1e5**2


_frames: WeakKeyDictionary[Detections, tuple[ref[GroundTruth], Frame]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Frame:
    """Positions instead of ids: I images, K categories, m instances, n detections that are looked at.

    Attributes:
        image_ids: ``(I,)`` int64, ascending.
        category_ids: ``(K,)`` int64, ascending.
        gt_image: ``(m,)`` int32, position in ``image_ids``.
        gt_category: ``(m,)`` int32, position in ``category_ids``.
        gt_counted: ``(m,)`` bool.
        dt_index: ``(n,)`` int64, row in ``Detections``, in the order of :class:`.Matches`.
        dt_image: ``(n,)`` int32.
        dt_category: ``(n,)`` int32.
        dt_score: ``(n,)`` float64.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    gt_image: np.ndarray
    gt_category: np.ndarray
    gt_counted: np.ndarray
    dt_index: np.ndarray
    dt_image: np.ndarray
    dt_category: np.ndarray
    dt_score: np.ndarray

    def matches(self, iou_type: str, dt_gt: np.ndarray, dt_ignored: np.ndarray) -> Matches:
        """The matches, given ``(T, n)`` which instance each detection took and whether it is left out."""
        return Matches(
            iou_type=iou_type,
            iou_thrs=IOU_THRS.copy(),
            image_ids=self.image_ids,
            category_ids=self.category_ids,
            dt_index=self.dt_index,
            dt_image=self.dt_image,
            dt_category=self.dt_category,
            dt_score=self.dt_score,
            dt_gt=dt_gt,
            dt_ignored=dt_ignored,
            gt_image=self.gt_image,
            gt_category=self.gt_category,
            gt_counted=self.gt_counted,
        )


def frame(gt: GroundTruth, dt: Detections) -> Frame:
    """The frame of detections, made once: it serves boxes and masks."""
    known = _frames.get(dt)
    if known is None or known[0]() is not gt:
        known = _frames[dt] = ref(gt), _frame(gt, dt)
    return known[1]


def _frame(gt: GroundTruth, dt: Detections) -> Frame:
    """Order the detections as pycocotools accumulates them, the 100 of each image and category with the best scores.

    pycocotools sorts twice, both times stably: in an image by score, then over all images, taken by ascending id, by
    score. Equal scores hence keep the order of image ids and, in an image, that of the results file.
    """
    image_ids = np.sort(gt.image_ids)
    category_ids = np.sort(np.array([category['id'] for category in gt.categories], dtype=np.int64))
    dt_image = np.searchsorted(image_ids, dt.image_ids).astype(np.int32)
    dt_category = np.searchsorted(category_ids, dt.category_ids).astype(np.int32)
    order = _sorted(np.arange(len(dt_image)), dt_image)
    order = order[np.argsort(-dt.scores[order], kind='stable')]
    order = _sorted(order, dt_category)
    if np.bincount(dt_image).max(initial=0) > MAX_DETS:
        cells = dt_category[order].astype(np.int64) * len(image_ids) + dt_image[order]
        order = order[_rank_in_cell(cells) < MAX_DETS]
    return Frame(
        image_ids=image_ids,
        category_ids=category_ids,
        gt_image=np.searchsorted(image_ids, gt.annotation_image_ids).astype(np.int32),
        gt_category=np.searchsorted(category_ids, gt.category_ids).astype(np.int32),
        gt_counted=~gt.is_crowd & (gt.areas <= MAX_AREA),
        dt_index=order,
        dt_image=dt_image[order],
        dt_category=dt_category[order],
        dt_score=dt.scores[order],
    )


def _sorted(order: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """``order`` sorted stably by the ``keys`` ``(n,)`` at it; quick for keys that are sorted, or below 65,536."""
    values = keys[order]
    if (values[1:] >= values[:-1]).all():
        return order
    if values.max() < 2**16:
        values = values.astype(np.uint16)  # for these NumPy has a sort in linear time
    return order[np.argsort(values, kind='stable')]


def _rank_in_cell(cells: np.ndarray) -> np.ndarray:
    """How many earlier entries of ``cells`` ``(n,)`` are equal to each."""
    order = np.argsort(cells, kind='stable')
    ordered = cells[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(cells) else order
    rank = np.empty(len(cells), dtype=np.int64)
    rank[order] = np.arange(len(cells)) - np.repeat(starts, np.diff(np.append(starts, len(cells))))
    return rank
