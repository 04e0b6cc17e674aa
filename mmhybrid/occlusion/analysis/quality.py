"""What one IoU threshold says of a stratum: its precision-recall curve, best F1, calibration, oLRP and confusions.

A score threshold keeps the detections that score at least so much; those of equal scores are kept together. What a
crowd or ignore region took is neither right nor wrong anywhere here. F1, calibration and confusions take the detections
of all evaluated categories, the precision-recall curve and oLRP, as AP, those of categories with instances.

- Best F1: 2 TP / (2 TP + FP + FN) of all categories together (micro), at the score threshold where it is largest.
- Expected calibration error (Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015;
  Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3): sum_b n_b / n |precision_b - score_b|
  over bins ((b - 1) / B, b / B] of the score, a score of 0 in the first; b has n_b of the n detections. Right is a
  detection that took an instance, which makes it the D-ECE of Kueppers et al., Multivariate Confidence Calibration for
  Object Detection, CVPR Workshops 2020, by confidence alone.
- LRP (Oksuz et al., One Metric to Measure them All: Localisation Recall Precision (LRP) for Evaluating Visual Detection
  Tasks, TPAMI 2022): (sum over TP of (1 - IoU) / (1 - tau) + FP + FN) / (TP + FP + FN) of a category, with the IoU
  threshold tau; oLRP is its minimum over score thresholds, averaged over categories. Its components at the minimum:
  the mean 1 - IoU of true positives, FP / (TP + FP) and FN / (TP + FN). As in the authors' evaluation, a category of
  which nothing is found has oLRP and FN of 1, and no say in the other two. (They cut between equal scores too.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError

from ..results import ERROR_IOU, MIN_SCORE, Interval, Quality
from . import accumulate, bootstrap
from .notes import SCORE_MARGIN
from .pairs import pairs
from .ranked import Ranked, f1_error, lrp, ratio

if TYPE_CHECKING:
    from ..matching import Matches
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth

NUM_BINS = 20  # every 0.05, so that bins from 0.3 on, say, can be told apart


def quality(
    matches: Matches,
    gt: GroundTruth,
    dt: Detections,
    members: Sequence[np.ndarray],
    weights: np.ndarray | None = None,
    iou_thr: float = ERROR_IOU,
    min_score: float = MIN_SCORE,
    num_bins: int = NUM_BINS,
    confidence: float = 0.95,
) -> tuple[list[Quality], dict[str, np.ndarray]]:
    """Quality of each of S strata.

    Args:
        matches: Detections matched to ground truth.
        gt: The ground truth they are matched to.
        dt: The detections they match.
        members: S arrays of positions in ``matches.image_ids``, none twice in a stratum.
        weights: ``(R, I)`` integers, how often each resample draws each image; None for no intervals.
        iou_thr: One of ``matches.iou_thrs``.
        min_score: Detections that score less are in no confusion.
        num_bins: B, of the calibration.
        confidence: Of the intervals.

    Returns:
        The S of them, and the fields in ``Quality.SAMPLED`` on the resamples, ``(R, S)`` each; none without weights.

    Raises:
        InputError: The matches have no such threshold.
    """
    scored = _Scored(matches, gt, dt, iou_thr, num_bins, min_score)
    ones = np.ones((1, len(matches.image_ids)), dtype=np.int32)
    shape = 0 if weights is None else len(weights), len(members)
    found, drawn = [], {} if weights is None else {name: np.empty(shape) for name in Quality.SAMPLED}
    for s, positions in enumerate(members):
        values, olrp_scores = scored.values(positions, ones)
        plain = {name: float(value[0]) for name, value in values.items()}
        precision, more = scored.precision(positions, ones)[0], {}
        if weights is not None:
            samples, _ = scored.values(positions, weights)
            bounds = {name: bootstrap.intervals(samples[name], plain[name], confidence) for name in drawn}
            band = bootstrap.intervals(scored.precision(positions, weights), precision, confidence)
            more['intervals'] = {name: Interval(*np.clip(pair, 0, 1).tolist()) for name, pair in bounds.items()}
            more['precision_interval'] = tuple(map(tuple, np.clip(band, 0, 1).tolist()))
            for name, column in drawn.items():
                column[:, s] = samples[name]
        found.append(
            Quality(
                iou_thr=scored.iou_thr,
                precision=tuple(precision.tolist()),
                reliability=scored.reliability(positions),
                olrp_scores=olrp_scores,
                min_score=min_score,
                confusion=scored.confusion(positions),
                **plain,
                **more,
            )
        )
    return found, drawn


class _Scored:
    """The n detections that count, by category and descending score, and what is read of them on one stratum."""

    def __init__(
        self, matches: Matches, gt: GroundTruth, dt: Detections, iou_thr: float, num_bins: int, min_score: float
    ) -> None:
        at = matches.settings.at(iou_thr)
        if at is None:
            known = ', '.join(f'{each:g}' for each in matches.iou_thrs)
            raise InputError(
                f'IoU {iou_thr:g} is none of the thresholds {known} that are matched at; give one of them.'
            )
        self.iou_thr = matches.settings.iou_thrs[at]
        taken = {name: getattr(matches, name)[at : at + 1] for name in ('dt_gt', 'dt_ignored')}
        settings = replace(matches.settings, iou_thrs=(self.iou_thr,))
        self._matches = matches = replace(matches, settings=settings, **taken)
        lost, self._confused = pairs(matches, gt, dt, min_score)
        kept = np.flatnonzero(~matches.dt_ignored[0])
        self._image, self._category, self._score = (
            column[kept] for column in (matches.dt_image, matches.dt_category, matches.dt_score)
        )
        self._right, self._lost = matches.is_true_positive[0, kept], lost[kept]
        self._order = np.argsort(-self._score, kind='stable')
        rows = np.flatnonzero(matches.gt_counted)
        rows = rows[np.argsort(matches.gt_category[rows], kind='stable')]
        self._gt_image, self._gt_category = matches.gt_image[rows], matches.gt_category[rows]
        self._bins = self._binned(num_bins)
        self._categories = accumulate.categories_of(matches)

    def _binned(self, num_bins: int) -> np.ndarray | None:
        """``(I, 3, B)`` detections of each bin, how many are right and the sum of scores; None of no probabilities."""
        if ((self._score < -SCORE_MARGIN) | (self._score > 1 + SCORE_MARGIN)).any():
            return None
        cells = np.searchsorted(np.arange(1, num_bins) / num_bins, self._score) + self._image.astype(int) * num_bins
        size = len(self._matches.image_ids) * num_bins
        sums = [np.bincount(cells, each, size) for each in (None, self._right, self._score)]
        return np.stack([each.reshape(-1, num_bins) for each in sums], axis=1)

    def precision(self, positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """``(R, 101)`` interpolated precision at COCO's recalls."""
        found = np.empty((len(weights), len(accumulate.REC_THRS)))
        rows = max(1, accumulate.TABLE_BYTES // (max(1, len(self._categories)) * found.shape[1] * 8))
        for start in range(0, len(weights), rows):
            part = weights[start : start + rows].astype(np.int32, copy=False)
            table = accumulate.Table(self._matches, self._categories, part, positions, map)
            # A category without instances has 0 everywhere.
            number = np.count_nonzero(table.instances, axis=1)[:, None]
            found[start : start + rows] = ratio(table.precision[:, :, 0].sum(axis=1), number)
        return found

    def values(
        self, positions: np.ndarray, weights: np.ndarray
    ) -> tuple[dict[str, np.ndarray], tuple[tuple[int, float], ...]]:
        """The scalar fields of :class:`Quality` on R resamples, ``(R,)`` each; ``olrp_scores`` on the first."""
        inside, error = self._matches.inside(positions), partial(lrp, tau=self.iou_thr)
        columns, scores = [np.full((4, len(weights)), np.nan)], []
        for k, ranked, gt_image in self._by_category(inside):
            total, seen, found, lost, score = ranked.least(error, weights, gt_image)
            parts = ratio(lost, found), ratio(seen - found, seen), ratio(total - found, total)
            columns.append([error(total, seen, found, lost), *parts])
            scores.append((int(self._matches.category_ids[k]), float(score[0])))
        known = ~np.isnan(columns)
        olrp = ratio(np.where(known, columns, 0).sum(axis=0), known.sum(axis=0))
        ranked = self._ranked(self._order[inside[self._image[self._order]]])
        total, seen, found, _, score = ranked.least(f1_error, weights, self._gt_image[inside[self._gt_image]])
        values = {
            'f1': ratio(2 * found, seen + total),
            'f1_score': score,
            'f1_precision': ratio(found, seen),
            'f1_recall': ratio(found, total),
            'ece': self._ece(positions, weights),
            **dict(zip(Quality.SAMPLED[2:], olrp, strict=True)),
        }
        return values, tuple(each for each in scores if not math.isnan(each[1]))

    def _by_category(self, inside: np.ndarray) -> Iterator[tuple[int, Ranked, np.ndarray]]:
        """Of each category with instances on these images, its position, detections, and the instances' images."""
        gt_here, here = np.flatnonzero(inside[self._gt_image]), np.flatnonzero(inside[self._image])
        present = np.unique(self._gt_category[gt_here])
        borders = [
            np.searchsorted(category, [present, present + 1]).T.tolist()
            for category in (self._category[here], self._gt_category[gt_here])
        ]
        for k, dt, gt in zip(present.tolist(), *borders, strict=True):
            yield k, self._ranked(here[slice(*dt)]), self._gt_image[gt_here[slice(*gt)]]

    def _ranked(self, chosen: np.ndarray) -> Ranked:
        return Ranked(*(column[chosen] for column in (self._image, self._score, self._right, self._lost)))

    def _ece(self, positions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if self._bins is None:
            return np.full(len(weights), np.nan)
        sums = np.tensordot(weights[:, positions].astype(float), self._bins[positions], 1)
        return ratio(abs(sums[:, 1] - sums[:, 2]).sum(axis=1), sums[:, 0].sum(axis=1))

    def reliability(self, positions: np.ndarray) -> tuple[tuple[float, float, int], ...]:
        """As in :class:`Quality`."""
        if self._bins is None:
            return ()
        number, right, score = self._bins[positions].sum(axis=0)
        means = ratio(score, number).tolist(), ratio(right, number).tolist()
        return tuple(zip(*means, number.astype(int).tolist(), strict=True))

    def confusion(self, positions: np.ndarray) -> tuple[tuple[int | None, int | None, int], ...]:
        """As in :class:`Quality`."""
        image, *pair = self._confused
        ids = [*self._matches.category_ids.tolist(), None]
        cells = np.ravel_multi_index(pair, (len(ids), len(ids)))[self._matches.inside(positions)[image]]
        cells, numbers = np.unique(cells, return_counts=True)
        rows, columns = np.unravel_index(cells, (len(ids), len(ids)))
        found = zip(rows.tolist(), columns.tolist(), numbers.tolist(), strict=True)
        return tuple((ids[row], ids[column], number) for row, column, number in found)
