"""What both engines share: which detections COCO evaluation looks at and in which order, and what they took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .settings import MAX_AREA, Settings

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

ANY_CATEGORY = -1  # as pycocotools has it


@dataclass(frozen=True)
class Index:
    """Positions instead of ids: I images, K categories, m instances, n detections that are looked at.

    These are of each image and category the 100 (``settings.max_dets``) with the highest scores. They are ordered as
    pycocotools accumulates: by category, in each category by descending score, equal scores by ascending image id, in
    an image in the order of the results file.

    Attributes:
        settings: Which categories, how many detections, at which thresholds.
        image_ids: ``(I,)`` int64, ascending.
        category_ids: ``(K,)`` int64, ascending, of the evaluated categories; the one ``ANY_CATEGORY`` if the classes
            make no difference.
        gt_image: ``(m,)`` int32, the position in ``image_ids`` of each row of ``GroundTruth``.
        gt_category: ``(m,)`` int32, the position in ``category_ids``; -1 if its category is not evaluated.
        gt_counted: ``(m,)`` bool, whether the instance counts: evaluated, and no crowd or ignore region.
        dt_index: ``(n,)`` int64, the detection's row in ``Detections``.
        dt_image: ``(n,)`` int32, its image's position in ``image_ids``.
        dt_category: ``(n,)`` int32, its category's position in ``category_ids``, ascending.
        dt_score: ``(n,)`` float64.
    """

    settings: Settings
    image_ids: np.ndarray
    category_ids: np.ndarray
    gt_image: np.ndarray
    gt_category: np.ndarray
    gt_counted: np.ndarray
    dt_index: np.ndarray
    dt_image: np.ndarray
    dt_category: np.ndarray
    dt_score: np.ndarray

    @property
    def iou_thrs(self) -> np.ndarray:
        """``(T,)`` float64, ascending."""
        return np.array(self.settings.iou_thrs)

    def inside(self, positions: np.ndarray) -> np.ndarray:
        """``(I,)`` bool, the images at these positions."""
        inside = np.zeros(len(self.image_ids), dtype=bool)
        inside[positions] = True
        return inside

    def cells_in(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Category, image and number ``(c,)`` of instances that count, of each cell with some on these images."""
        counted = self.gt_counted & self.inside(positions)[self.gt_image]
        size = len(self.image_ids)
        cells = self.gt_category[counted].astype(np.int64) * size + self.gt_image[counted]
        cells, numbers = np.unique(cells, return_counts=True)
        return cells // size, cells % size, numbers

    @classmethod
    def of(cls, gt: GroundTruth, dt: Detections, settings: Settings | None = None) -> Index:
        """The index of detections, which serves boxes and masks.

        pycocotools sorts twice, both times stably: in an image by score, then over all images, taken by ascending id,
        by score. Equal scores hence keep the order of image ids and, in an image, that of the results file; where
        classes make no difference, in an image first that of category ids.

        Raises:
            InputError: The settings name a category that the ground truth does not have.
        """
        settings = (Settings() if settings is None else settings).limited()
        image_ids, category_ids = np.sort(gt.image_ids), settings.chosen(gt.categories)
        gt_category, dt_category = _positions(category_ids, gt.category_ids), _positions(category_ids, dt.category_ids)
        dt_image = np.searchsorted(image_ids, dt.image_ids).astype(np.int32)
        # The last is the first to sort by. Integers are narrow since NumPy sorts those of up to 16 bits in linear time.
        of_image = dt_image.astype(np.min_scalar_type(len(image_ids)))
        of_category = dt_category.astype(np.min_scalar_type(len(category_ids)))
        order = np.lexsort(
            (of_category, of_image, -dt.scores) if settings.class_agnostic else (of_image, -dt.scores, of_category)
        )
        order = order[dt_category[order] >= 0]
        if settings.class_agnostic:
            category_ids = np.array([ANY_CATEGORY])
            gt_category, dt_category = np.minimum(gt_category, 0), np.minimum(dt_category, 0)
        if np.bincount(dt_image).max(initial=0) > settings.max_dets:
            cells = dt_category[order].astype(np.int64) * len(image_ids) + dt_image[order]
            by_cell = np.argsort(cells, kind='stable')
            cells = cells[by_cell]
            rank = np.arange(len(cells)) - np.searchsorted(cells, cells)
            order = order[np.sort(by_cell[rank < settings.max_dets])]
        return cls(
            settings=settings,
            image_ids=image_ids,
            category_ids=category_ids,
            gt_image=np.searchsorted(image_ids, gt.annotation_image_ids).astype(np.int32),
            gt_category=gt_category,
            gt_counted=(gt_category >= 0) & ~gt.is_region & (gt.areas <= MAX_AREA),
            dt_index=order,
            dt_image=dt_image[order],
            dt_category=dt_category[order],
            dt_score=dt.scores[order],
        )


@dataclass(frozen=True)
class Matches(Index):
    """COCO matching of one IoU type, all areas: the index, and what each of its n detections took at T thresholds.

    Attributes:
        iou_type: ``'bbox'`` or ``'segm'``.
        dt_gt: ``(T, n)`` int32, the row in ``GroundTruth`` of the instance it took, -1 if none.
        dt_ignored: ``(T, n)`` bool, neither right nor wrong: what it took is a crowd or ignore region.
    """

    iou_type: str
    dt_gt: np.ndarray
    dt_ignored: np.ndarray

    @classmethod
    def from_records(
        cls, index: Index, iou_type: str, parts: Iterable[tuple[np.ndarray, list[dict[str, Any] | None]]]
    ) -> Matches:
        """From records of pycocotools' ``evalImgs``, each list with the columns ``dt_...`` of the ids 1, 2, ...."""
        shape = len(index.iou_thrs), len(index.dt_index)
        dt_gt, dt_ignored = np.full(shape, -1, dtype=np.int32), np.zeros(shape, dtype=bool)
        for columns, records in parts:
            found = [each for each in records if each is not None and len(each['dtIds'])]
            if found:
                taken = columns[np.concatenate([each['dtIds'] for each in found]) - 1]
                dt_gt[:, taken] = np.concatenate([each['dtMatches'] for each in found], axis=1) - 1
                dt_ignored[:, taken] = np.concatenate([each['dtIgnore'] for each in found], axis=1)
        return cls(**vars(index), iou_type=iou_type, dt_gt=dt_gt, dt_ignored=dt_ignored)

    @property
    def is_true_positive(self) -> np.ndarray:
        """``(T, n)`` bool: took an instance that counts."""
        return (self.dt_gt >= 0) & ~self.dt_ignored

    def found(self) -> np.ndarray:
        """``(T, m)`` bool: whether some detection took the instance."""
        found = np.zeros((len(self.dt_gt), len(self.gt_image)), dtype=bool)
        threshold, detection = np.nonzero(self.dt_gt >= 0)
        found[threshold, self.dt_gt[threshold, detection]] = True
        return found


def _positions(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """``(n,)`` int32, the position of each of ``values`` in ``known`` (ascending, not empty); -1 if it is not there."""
    found = np.searchsorted(known[:-1], values).astype(np.int32)
    return np.where(known[found] == values, found, np.int32(-1))
