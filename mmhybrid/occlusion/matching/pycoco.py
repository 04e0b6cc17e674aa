"""pycocotools: the reference engine.

``COCOeval.evaluate`` runs once on all images; every stratum is accumulated by ``COCOeval.accumulate`` itself.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .index import Index, Matches
from .settings import Metrics

if TYPE_CHECKING:
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

ALL, SMALL, MEDIUM, LARGE = range(4)  # of ``Params.areaRng``


class PycocotoolsMatched:
    """Matches of ``COCOeval.evaluate``; parameters as :func:`mmhybrid.occlusion.matching.match`."""

    def __init__(self, gt: GroundTruth, dt: Detections, iou_type: str, index: Index) -> None:
        self._index = index
        with contextlib.redirect_stdout(io.StringIO()):
            # pycocotools writes into what it is given, so both sides are copies.
            coco_gt = COCO()
            coco_gt.dataset = gt.to_coco(iou_type)
            coco_gt.createIndex()
            if len(dt):
                coco_dt = coco_gt.loadRes(dt.to_coco(iou_type))
            else:  # loadRes fails on an empty list
                coco_dt = COCO()
                coco_dt.dataset = coco_gt.dataset | {'annotations': []}
                coco_dt.createIndex()
            self._evaluator = COCOeval(coco_gt, coco_dt, iou_type)
            params, settings = self._evaluator.params, index.settings
            params.iouThrs, params.maxDets = index.iou_thrs, [settings.max_dets]
            params.useCats, params.catIds = int(not settings.class_agnostic), settings.chosen(gt.categories).tolist()
            self._evaluator.evaluate()

    def metrics(self, members: Sequence[np.ndarray]) -> list[Metrics]:
        """Metrics on each stratum, bit for bit those of pycocotools run on its images alone."""
        # pycocotools takes images by ascending id, which decides between equal scores.
        strata = [tuple(np.sort(positions).tolist()) for positions in members]
        done = {positions: self._accumulate(positions) if positions else Metrics() for positions in set(strata)}
        return [done[positions] for positions in strata]

    def _accumulate(self, positions: tuple[int, ...]) -> Metrics:
        # `COCOeval.accumulate` finds an image's matches by its position in `params.imgIds`, so a subset of ids would
        # silently read other images' matches. The view built here holds the subset's matches and nothing else.
        params = copy.copy(self._evaluator.params)
        params.imgIds = [params.imgIds[position] for position in positions]
        with contextlib.redirect_stdout(io.StringIO()):
            view = COCOeval(iouType=params.iouType)
            view.params = view._paramsEval = params
            view.evalImgs = [part[position] for part in self._parts() for position in positions]
            view.accumulate()
        return _summarize(view)

    def _parts(self, first: int = 0, step: int = 1) -> Iterator[list[dict[str, Any] | None]]:
        """``evalImgs`` is flat, ordered [category][area range][image]: its parts of one category and area range."""
        images, found = len(self._index.image_ids), self._evaluator.evalImgs
        for start in range(first * images, len(found), step * images):
            yield found[start : start + images]

    def matches(self) -> Matches:
        """The matches over all areas."""
        column = np.full(len(self._evaluator.cocoDt.anns), -1)
        column[self._index.dt_index] = np.arange(len(self._index.dt_index))
        parts = self._parts(ALL, len(self._evaluator.params.areaRng))
        return Matches.from_records(self._index, self._evaluator.params.iouType, ((column, part) for part in parts))


def _summarize(evaluator: COCOeval) -> Metrics:
    """What ``COCOeval.summarize`` prints: means without the -1 of categories that have no ground truth, NaN of none."""
    precision = evaluator.eval['precision'][..., 0]  # (IoU, recall, category, area)
    iou_thrs = evaluator.params.iouThrs
    values = {
        'ap': precision[..., ALL],
        'ap50': precision[iou_thrs == 0.5][..., ALL],
        'ap75': precision[iou_thrs == 0.75][..., ALL],
        'aps': precision[..., SMALL],
        'apm': precision[..., MEDIUM],
        'apl': precision[..., LARGE],
        'ar': evaluator.eval['recall'][..., ALL, 0],  # (IoU, category)
    }
    found = {name: each[each > -1] for name, each in values.items()}
    return Metrics(**{name: float(np.mean(each)) for name, each in found.items() if len(each)})
