"""Match once, accumulate many: COCO metrics on any subset of a data set's images.

Matching detections to ground truth is done image by image, so one pass serves every stratum. An engine is a function
``evaluate(gt, dt, iou_type)`` that matches and returns a :class:`Matched`, whose ``accumulate(image_ids)`` gives the
metrics on those images. The engine here is pycocotools, the reference; a faster one would be a second entry of
``ENGINES`` with the same numbers.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from .io import Detections, GroundTruth

MAX_DETS = 100


@dataclass(frozen=True)
class Metrics:
    """COCO metrics in [0, 1], NaN without ground truth: all areas, at most 100 detections an image."""

    ap: float = float('nan')
    ap50: float = float('nan')
    ap75: float = float('nan')
    ar: float = float('nan')


class Matched(Protocol):
    """Detections matched to ground truth on every image of a data set."""

    def accumulate(self, image_ids: Iterable[int]) -> Metrics:
        """Metrics on these images alone, in any order; an image given twice counts twice."""


class PycocotoolsMatched:
    """Matches of ``pycocotools.cocoeval.COCOeval.evaluate()``.

    Args:
        evaluator: A ``COCOeval`` on which ``evaluate()`` was called with a single area range.
    """

    def __init__(self, evaluator: Any) -> None:
        self._evaluator = evaluator
        self._position = {int(image_id): i for i, image_id in enumerate(evaluator.params.imgIds)}

    def accumulate(self, image_ids: Iterable[int]) -> Metrics:
        """Metrics on these images, bit for bit those of pycocotools run on these images alone.

        ``COCOeval.accumulate`` finds an image's matches by its position in ``params.imgIds``, so a subset of ids
        would silently read other images' matches. The view built here holds the subset's matches and nothing else.
        """
        # pycocotools takes images by ascending id, which decides between equal scores.
        image_ids = sorted(image_ids)
        if not image_ids:
            return Metrics()
        from pycocotools.cocoeval import COCOeval

        matched = self._evaluator
        positions = [self._position[image_id] for image_id in image_ids]
        per_category = len(self._position)
        params = copy.copy(matched.params)
        params.imgIds = image_ids
        view = COCOeval(iouType=params.iouType)
        view.params = view._paramsEval = params
        # evalImgs is flat, ordered [category][area range][image]; there is one area range.
        view.evalImgs = [
            matched.evalImgs[start + position]
            for start in range(0, len(params.catIds) * per_category, per_category)
            for position in positions
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            view.accumulate()
        return _summarize(view)


def evaluate(gt: GroundTruth, dt: Detections, iou_type: str) -> PycocotoolsMatched:
    """Match detections to ground truth with pycocotools.

    Args:
        gt: Validated ground truth.
        dt: Validated detections of the same images.
        iou_type: ``'bbox'`` or ``'segm'``.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        coco_gt = COCO()
        # pycocotools writes into what it is given, so both sides are copies. It also overwrites the ground truth's
        # `ignore` by `iscrowd`: instances marked `ignore` are evaluated as any other, as in plain pycocotools.
        coco_gt.dataset = gt.to_coco(iou_type)
        coco_gt.createIndex()
        coco_dt = coco_gt.loadRes(dt.to_coco(iou_type))
        evaluator = COCOeval(coco_gt, coco_dt, iou_type)
        # Sizes and other limits are not reported yet, and each costs a full pass.
        evaluator.params.areaRng = evaluator.params.areaRng[:1]
        evaluator.params.areaRngLbl = evaluator.params.areaRngLbl[:1]
        evaluator.params.maxDets = [MAX_DETS]
        evaluator.evaluate()
    return PycocotoolsMatched(evaluator)


def _summarize(evaluator: Any) -> Metrics:
    """What ``COCOeval.summarize`` prints as AP, AP50, AP75 and AR@100, with NaN for its -1."""
    precision = evaluator.eval['precision'][:, :, :, 0, 0]  # (IoU, recall, category)
    recall = evaluator.eval['recall'][:, :, 0, 0]  # (IoU, category)
    iou_thrs = evaluator.params.iouThrs
    return Metrics(
        ap=_mean(precision),
        ap50=_mean(precision[iou_thrs == 0.5]),
        ap75=_mean(precision[iou_thrs == 0.75]),
        ar=_mean(recall),
    )


def _mean(values: np.ndarray) -> float:
    """Mean without the -1 of categories that have no ground truth."""
    values = values[values > -1]
    return float(np.mean(values)) if len(values) else float('nan')


ENGINES: dict[str, Callable[[GroundTruth, Detections, str], Matched]] = {'pycocotools': evaluate}
