"""hotcoco (https://github.com/derekallman/hotcoco): COCO evaluation in Rust, with pycocotools' numbers.

The data set goes through in batches of images, of which only the matches stay in memory. Images, categories and
instances are numbered from 1 on the way: hotcoco does not take every id that COCO files may hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import hotcoco
import numpy as np

from ..read.columns import to_rows
from ..read.files import garbage_collector_paused
from .index import Index, Matches
from .settings import MAX_AREA, NAN, Metrics

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

Batch = tuple[slice, np.ndarray, np.ndarray]
BATCH = 500  # images
# Stands for masks that are not read, those of detections that can take no instance.
UNREAD = {'size': [1, 1], 'counts': b'1'}
METRICS = {'ap': 'AP', 'ap50': 'AP50', 'ap75': 'AP75', 'aps': 'APs', 'apm': 'APm', 'apl': 'APl', 'ar': 'AR100'}
# Detections below the lowest threshold by more than this are left out of the search for matches.
IOU_MARGIN = 1e-6


class HotcocoMatched:
    """Matches of hotcoco's evaluator; parameters as :func:`mmhybrid.occlusion.matching.match`."""

    @garbage_collector_paused()
    def __init__(self, gt: GroundTruth, dt: Detections, iou_type: str, index: Index) -> None:
        self._gt, self._dt, self._iou_type, self._index = gt, dt, iou_type, index
        self._images = [{'id': i + 1} for i in range(len(index.image_ids))]
        if iou_type == 'segm':
            for image, at in zip(self._images, np.argsort(gt.image_ids).tolist(), strict=True):
                image |= {key: gt.images[at][key] for key in ('height', 'width')}
        self._categories = [{'id': i + 1, 'name': str(i + 1)} for i in range(len(index.category_ids))]
        batches = list(self._batches())
        half, self._stopped = len(batches) // 2, False
        # While one thread makes objects, under Python's lock, hotcoco works without it on those of the other.
        with ThreadPoolExecutor(2) as pool:
            try:
                parts = list(pool.map(self._stream, (batches[:half], batches[half:])))
            finally:
                self._stopped = True
        self._evaluator = hotcoco.StreamingEval.merge(parts).finalize()

    def metrics(self, members: Sequence[np.ndarray]) -> list[Metrics]:
        """Metrics on each stratum's images alone."""
        whole = len(self._images)
        slices = {str(i): (part + 1).tolist() for i, part in enumerate(members) if 0 < len(part) < whole}
        reply = self._evaluator.slice_by(slices)
        made = []
        for i, part in enumerate(members):
            found = reply.get('_overall' if len(part) == whole else str(i), {})  # nothing where there is no image
            values = {ours: found.get(theirs, -1) for ours, theirs in METRICS.items()}
            made.append(Metrics(**{name: NAN if value == -1 else value for name, value in values.items()}))
        return made

    @garbage_collector_paused()
    def matches(self) -> Matches:
        """The matches over all areas.

        hotcoco hands them out as Python lists, which takes longer than the matching. So a second evaluation, of one
        area range, gets only the detections that can take an instance; the others take none in any case.
        """
        matches = Matches.from_records(self._index, self._iou_type, self._records())
        if self._iou_type == 'bbox':  # no mask is that large
            is_large = self._dt.boxes[self._index.dt_index, 2:].prod(axis=1) > MAX_AREA
            matches.dt_ignored[is_large & (matches.dt_gt < 0)] = True
        return matches

    def _records(self) -> Iterator[tuple[np.ndarray, list[dict[str, Any] | None]]]:
        dataset = {'categories': self._categories}
        for images, gt_rows, columns in self._batches():
            columns = columns[self._candidates(gt_rows, columns)]
            if not len(columns):
                continue
            # Not as a stream: that keeps no single matches. Detections are numbered from 1 in the order given.
            dataset |= {'images': self._images[images], 'annotations': self._instances(gt_rows)}
            coco_gt = hotcoco.COCO(dataset)
            results, segmentation = self._detections(gt_rows, columns)
            coco_dt = coco_gt.load_res(results, segmentation=segmentation)
            evaluator = hotcoco.COCOeval(coco_gt, coco_dt, self._iou_type)
            self._set(evaluator.params)
            evaluator.params.area_rng, evaluator.params.area_rng_lbl = [[0, MAX_AREA]], ['all']
            evaluator.evaluate()
            yield columns, evaluator.eval_imgs

    def _set(self, params: hotcoco.Params) -> None:
        params.iou_thrs = list(self._index.settings.iou_thrs)
        # Alone: AR at 1 and 10 detections would take a third of the time of `metrics`.
        params.max_dets = [self._index.settings.max_dets]

    def _stream(self, batches: Sequence[Batch]) -> hotcoco.StreamingEval:
        params = hotcoco.Params(self._iou_type)
        self._set(params)
        stream = hotcoco.StreamingEval(self._categories, self._iou_type, params=params)
        for images, gt_rows, columns in batches:
            if self._stopped:  # the other thread was interrupted
                break
            results, segmentation = self._detections(gt_rows, columns)
            stream.update(self._images[images], self._instances(gt_rows), results, segmentation=segmentation)
        return stream

    def _batches(self) -> Iterator[Batch]:
        """Batches of images, ascending: which, their rows of ground truth, and columns of the index.

        Both go by image. In an image rows go by category and keep the order of the file, and columns keep that of the
        index, so that equal IoU and equal scores are decided as pycocotools decides them.
        """
        index = self._index
        gt_order = np.lexsort((self._gt.category_ids, index.gt_image))
        gt_order = gt_order[index.gt_category[gt_order] >= 0]
        dt_order = np.argsort(index.dt_image, kind='stable')
        starts = np.arange(0, len(self._images) + BATCH, BATCH)
        gt_at = np.searchsorted(index.gt_image[gt_order], starts)
        dt_at = np.searchsorted(index.dt_image[dt_order], starts)
        for i in range(len(starts) - 1):
            images = slice(starts[i], starts[i + 1])
            yield images, gt_order[gt_at[i] : gt_at[i + 1]], dt_order[dt_at[i] : dt_at[i + 1]]

    def _instances(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """Rows ``(b,)`` of the ground truth as hotcoco takes them."""
        gt, index = self._gt, self._index
        columns = {
            'id': (rows + 1).tolist(),
            'image_id': (index.gt_image[rows] + 1).tolist(),
            'category_id': (index.gt_category[rows] + 1).tolist(),
            'bbox': gt.boxes[rows].tolist(),
            'area': gt.areas[rows].tolist(),
            'iscrowd': gt.is_region[rows].tolist(),
        }
        if self._iou_type == 'segm':
            columns['segmentation'] = [gt.segmentations[row] for row in rows.tolist()]
        return to_rows(columns)

    def _detections(self, gt_rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, list[dict[str, Any]] | None]:
        """Detections at ``columns`` ``(b,)`` of the index as hotcoco takes them: an array, and masks for ``segm``."""
        index, dt = self._index, self._dt
        rows = index.dt_index[columns]
        results = np.empty((len(rows), 7))
        results[:, 0] = index.dt_image[columns] + 1
        results[:, 5] = index.dt_score[columns]
        results[:, 6] = index.dt_category[columns] + 1
        if self._iou_type == 'bbox':
            results[:, 1:5] = dt.boxes[rows]
            return results, None
        # hotcoco matches by the masks and takes the area from the box: it gets one with the mask's area.
        results[:, 1:3] = 0
        results[:, 3] = dt.masks.areas[rows]
        results[:, 4] = 1
        masks = [UNREAD] * len(rows)
        read = np.flatnonzero(self._candidates(gt_rows, columns))
        for i, mask in zip(read.tolist(), dt.masks.take(rows[read]), strict=True):
            masks[i] = mask
        return results, masks

    def _candidates(self, gt_rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """``(b,)`` bool: which columns of a batch may take one of its instances at the lowest threshold."""
        index = self._index
        num_images = len(index.image_ids)
        gt_cell = index.gt_category[gt_rows].astype(np.int64) * num_images + index.gt_image[gt_rows]
        dt_cell = index.dt_category[columns].astype(np.int64) * num_images + index.dt_image[columns]
        order = np.argsort(gt_cell)
        start, end = (np.searchsorted(gt_cell, dt_cell, side, sorter=order) for side in ('left', 'right'))
        count = end - start
        # Every pair of a detection and an instance of its image and class.
        pair_dt = np.repeat(np.arange(len(columns)), count)
        pair_gt = gt_rows[order[np.arange(count.sum()) + np.repeat(end - np.cumsum(count), count)]]
        rows = index.dt_index[columns]
        if self._iou_type == 'bbox':
            reach = _iou(self._dt.boxes[rows[pair_dt]], self._gt.boxes[pair_gt], self._gt.is_region[pair_gt])
        else:
            masks = self._dt.masks
            reach = _most_iou(masks.spans(rows)[pair_dt], masks.areas[rows[pair_dt]], self._gt.extents[pair_gt])
        return np.bincount(pair_dt[reach >= index.iou_thrs[0] - IOU_MARGIN], minlength=len(columns)) > 0


def _iou(boxes: np.ndarray, others: np.ndarray, is_crowd: np.ndarray) -> np.ndarray:
    """IoU of ``(p, 4)`` pairs as COCO defines it: with a crowd region, over the detection's area alone."""
    ends = np.minimum(boxes[:, :2] + boxes[:, 2:], others[:, :2] + others[:, 2:])
    overlap = np.maximum(ends - np.maximum(boxes[:, :2], others[:, :2]), 0).prod(axis=1)
    area = boxes[:, 2:].prod(axis=1)
    union = np.where(is_crowd, area, area + others[:, 2:].prod(axis=1) - overlap)
    return np.divide(overlap, union, out=np.zeros(len(boxes)), where=overlap > 0)


def _most_iou(spans: np.ndarray, areas: np.ndarray, extents: np.ndarray) -> np.ndarray:
    """What the IoU of ``(p,)`` pairs of masks cannot exceed, crowd regions included.

    The union is no smaller than the detection; the overlap lies in the columns that both reach (``spans`` ``(p, 2)`` of
    detections), and in the instance's rows (of its ``extents`` ``(p, 4)``).
    """
    width = np.minimum(spans[:, 1], extents[:, 2]) - np.maximum(spans[:, 0], extents[:, 0])
    return np.maximum(width, 0) * (extents[:, 3] - extents[:, 1]) / np.maximum(areas, 1)
