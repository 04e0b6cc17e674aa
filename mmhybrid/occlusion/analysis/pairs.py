"""Detections and instances in pairs: how well each matched pair overlaps, and which class is taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .errors import MAX_THR, by_image, overlaps

if TYPE_CHECKING:
    from ..matching import Matches
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth


def pairs(
    matches: Matches, gt: GroundTruth, dt: Detections, min_score: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """IoU of the pairs that were matched, and confusions, by one look at each image.

    Args:
        matches: The matches of n detections, at one IoU threshold.
        gt: The ground truth they are matched to.
        dt: The detections they match.
        min_score: Of the detections that may be confused.

    Returns:
        ``(n,)`` 1 - IoU of each true positive with its instance, 0 of others; and of each pair of an instance and a
        detection, or one of them alone, three ``(e,)`` columns: image, position of the instance's category, and of the
        detection's, with K for background. :class:`.quality.Quality` says how they are paired.
    """
    thr, right = min(matches.iou_thrs[0], MAX_THR), matches.is_true_positive[0]
    shown = ~matches.dt_ignored[0] & (matches.dt_score >= min_score)
    iou_of, lost, candidates = overlaps(matches, gt, dt, matches.iou_type), np.zeros(len(right)), [np.empty((3, 0))]
    for columns, rows in by_image(matches, np.flatnonzero(right | shown)):
        iou = iou_of(columns, rows)
        own = np.flatnonzero(right[columns])
        lost[columns[own]] = 1 - iou[own, np.searchsorted(rows, matches.dt_gt[0, columns[own]])]
        i, j = np.nonzero((iou >= thr) & shown[columns, None])
        candidates.append([columns[i], rows[j], iou[i, j]])
    column, row, iou = np.concatenate(candidates, axis=1)
    column, row = column.astype(int), row.astype(int)
    order = np.lexsort((-matches.dt_score[column], -iou))
    missed, found = matches.gt_counted.copy(), np.full(len(right), -1)
    for i, j in zip(column[order].tolist(), row[order].tolist(), strict=True):
        if found[i] < 0 and missed[j]:
            found[i], missed[j] = j, False
    shown, missed, background = np.flatnonzero(shown), np.flatnonzero(missed), len(matches.category_ids)
    truth = np.append(matches.gt_category, background)[found[shown]]  # -1 is the last
    return lost, (
        np.append(matches.dt_image[shown], matches.gt_image[missed]),
        np.append(truth, matches.gt_category[missed]),
        np.append(matches.dt_category[shown], np.full(len(missed), background)),
    )
