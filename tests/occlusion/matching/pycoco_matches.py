"""``Matches`` straight from a plain pycocotools run on raw COCO dictionaries: the reference for tests."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmhybrid.occlusion.matching.index import Matches
from mmhybrid.occlusion.matching.settings import Settings


def pycoco_matches(gt, dt, iou_type='bbox'):
    """Matches of ``dt`` to ``gt`` (loaded JSON, unchanged), all areas, 100 detections an image and category."""
    results = [{key: row[key] for key in row if key != 'bbox' or iou_type == 'bbox'} for row in dt]
    with contextlib.redirect_stdout(io.StringIO()):
        coco_gt = COCO()
        coco_gt.dataset = copy.deepcopy(gt)
        coco_gt.createIndex()
        evaluator = COCOeval(coco_gt, coco_gt.loadRes(copy.deepcopy(results)), iou_type)
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluator.params.maxDets = [100]
        evaluator.evaluate()
    image_ids, category_ids = np.array(evaluator.params.imgIds), np.array(evaluator.params.catIds)
    gt_row = {row['id']: i for i, row in enumerate(gt['annotations'])}
    rows = []  # (category, -score, image, place in the image, detection, taken, ignored)
    for found in filter(None, evaluator.evalImgs):
        image, category = (
            np.searchsorted(image_ids, found['image_id']),
            np.searchsorted(category_ids, found['category_id']),
        )
        for place, (detection, score) in enumerate(zip(found['dtIds'], found['dtScores'], strict=True)):
            taken = [gt_row[int(i)] if i else -1 for i in found['dtMatches'][:, place]]
            rows.append((category, -score, image, place, detection - 1, taken, found['dtIgnore'][:, place]))
    rows.sort(key=lambda row: row[:4])
    columns = list(zip(*rows, strict=True)) or [()] * 7
    thresholds = len(evaluator.params.iouThrs)
    annotations = gt['annotations']
    return Matches(
        settings=Settings().limited(),
        iou_type=iou_type,
        image_ids=image_ids,
        category_ids=category_ids,
        dt_index=np.array(columns[4], dtype=np.int64),
        dt_image=np.array(columns[2], dtype=np.int32),
        dt_category=np.array(columns[0], dtype=np.int32),
        dt_score=-np.array(columns[1], dtype=np.float64),
        dt_gt=np.array(columns[5], dtype=np.int32).reshape(-1, thresholds).T,
        dt_ignored=np.array(columns[6], dtype=bool).reshape(-1, thresholds).T,
        gt_image=np.searchsorted(image_ids, [row['image_id'] for row in annotations]).astype(np.int32),
        gt_category=np.searchsorted(category_ids, [row['category_id'] for row in annotations]).astype(np.int32),
        gt_counted=np.array([not row['iscrowd'] for row in annotations], dtype=bool),
    )
