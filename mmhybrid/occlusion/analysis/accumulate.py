"""COCO's accumulation, vectorised over resamples: what bootstrap intervals and per-category metrics are made of.

``COCOeval.accumulate`` walks over every detection of a category, IoU threshold and set of images. Here a set of images
is a row of integer weights, how often each image counts, and three facts make hundreds of rows affordable:

- Only true positives can raise precision, so only they matter to its envelope; the detections between them matter by
  their number alone, one cumulative sum of weights for all thresholds.
- The recall after c of n instances depends on c and n only, so how many of COCO's 101 recall thresholds lie at or
  below it is read from a table.
- The precision at a threshold is the envelope where recall first reaches it, so the 101 values are the envelope's,
  each repeated as often as thresholds fall on it.

Arithmetic and order of summation are pycocotools' own: results are equal bit for bit to pycocotools on the images with
weight 1, and to pycocotools on copies of an image with weight above 1 where no scores in it are equal. (With equal
scores pycocotools would take copy by copy, all detections of one before the next.)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..matching import Matches
from ..results import SAMPLED

# The values of pycocotools' ``Params.setDetParams``, bit for bit.
REC_THRS = np.linspace(0, 1, 101)
EPS = np.spacing(1)
TABLE_BYTES = 2**28  # for the precision of all categories, on as many resamples as fit
BLOCK = 2**20  # elements worked on at a time: few enough for the processor's cache


def metrics(
    matches: Matches, members: Sequence[np.ndarray], weights: np.ndarray | None = None, threads: int | None = None
) -> dict[str, np.ndarray]:
    """AP, AP50, AP75 and AR on every stratum and resample; S strata, R resamples, I images.

    Args:
        matches: Detections matched to ground truth.
        members: S arrays of positions in ``matches.image_ids``, none twice in a stratum.
        weights: ``(R, I)`` integers, how often each image counts; None for one row of ones.
        threads: At most this many; by default one a processor. The results do not depend on it.

    Returns:
        ``'ap'``, ``'ap50'``, ``'ap75'`` and ``'ar'``, each ``(R, S)`` float64; NaN where no instance counts.
    """
    weights = np.asarray(_once(matches) if weights is None else weights, dtype=np.int32)
    categories = categories_of(matches)
    values = np.full((len(SAMPLED), len(weights), len(members)), np.nan)
    rows = max(1, TABLE_BYTES // (max(1, len(categories)) * len(matches.iou_thrs) * len(REC_THRS) * 8))
    processors = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    with ThreadPoolExecutor(threads or processors) as pool:
        for start in range(0, len(weights), rows):
            part = weights[start : start + rows]
            for s, positions in enumerate(members):
                table = Table(matches, categories, part, positions, pool.map)
                values[:, start : start + rows, s] = np.transpose(list(pool.map(table.means, range(len(part)))))
    return dict(zip(SAMPLED, values, strict=True))


def by_category(matches: Matches, members: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """As :func:`metrics`, of each of K categories: ``(S, K)`` in the order of ``matches.category_ids``."""
    categories, weights = categories_of(matches), _once(matches)
    values = np.full((len(SAMPLED), len(members), len(matches.category_ids)), np.nan)
    for s, positions in enumerate(members):
        table = Table(matches, categories, weights, positions, map)
        for k, category in enumerate(categories):
            values[:, s, category.position] = table.means(0, slice(k, k + 1))
    return dict(zip(SAMPLED, values, strict=True))


def _once(matches: Matches) -> np.ndarray:
    return np.ones((1, len(matches.image_ids)), np.int32)


@dataclass(frozen=True)
class Category:
    """One category: n detections by descending score, g instances that count, T thresholds."""

    position: int
    dt_image: np.ndarray  # (n,)
    true_positive: np.ndarray  # (T, n)
    ignored: np.ndarray  # (T, n)
    gt_image: np.ndarray  # (g,)


def categories_of(matches: Matches) -> list[Category]:
    """The categories with an instance that counts: no other has AP."""
    rows = np.flatnonzero(matches.gt_counted)
    rows = rows[np.argsort(matches.gt_category[rows], kind='stable')]
    true_positive = matches.is_true_positive
    made = []
    for k in np.unique(matches.gt_category[rows]).tolist():
        gt = slice(*np.searchsorted(matches.gt_category[rows], [k, k + 1]))
        dt = slice(*np.searchsorted(matches.dt_category, [k, k + 1]))
        columns = matches.dt_image[dt], true_positive[:, dt], matches.dt_ignored[:, dt]
        made.append(Category(k, *columns, matches.gt_image[rows[gt]]))
    return made


class Table:
    """Precision at each recall threshold ``(R, C, T, 101)``, recall ``(R, C, T)``, and how many instances count
    ``(R, C)``, of C categories on one stratum and R resamples."""

    def __init__(
        self, matches: Matches, categories: list[Category], weights: np.ndarray, positions: np.ndarray, run: Callable
    ) -> None:
        shape = len(weights), len(categories), len(matches.iou_thrs)
        self.precision = np.zeros((*shape, len(REC_THRS)))
        self.recall = np.zeros(shape)
        self.instances = np.zeros(shape[:2], dtype=np.int64)
        self._single = [np.flatnonzero(matches.iou_thrs == threshold) for threshold in (0.5, 0.75)]
        inside = matches.inside(positions) & weights.any(axis=0)

        def fill(k: int) -> None:
            columns = self.precision[:, k], self.recall[:, k], self.instances[:, k]
            _accumulate(categories[k], weights, inside, *columns)

        # The largest first, so that no thread is left alone with it at the end.
        list(run(fill, sorted(range(len(categories)), key=lambda k: -len(categories[k].dt_image))))

    def means(self, row: int, categories: slice = slice(None)) -> list[float]:
        """AP, AP50, AP75, AR of a resample: means over its categories with ground truth."""
        filled = self.instances[row, categories] > 0
        # Values in pycocotools' order, (threshold, recall, category), since the order of summation rounds.
        precision = self.precision[row, categories][filled].transpose(1, 2, 0)
        recall = self.recall[row, categories][filled].T
        parts = precision, *(precision[t] for t in self._single), recall
        return [np.mean(part.ravel()) if part.size else np.nan for part in parts]


def _accumulate(
    category: Category,
    weights: np.ndarray,
    inside: np.ndarray,
    precision: np.ndarray,
    recall: np.ndarray,
    instances: np.ndarray,
) -> None:
    """One category on the images ``inside`` ``(I,)``; fills ``(R, T, 101)``, ``(R, T)`` and ``(R,)``."""
    gt_image = category.gt_image[inside[category.gt_image]]
    columns = np.flatnonzero(inside[category.dt_image])
    dt_image = category.dt_image[columns]
    true_positive, ignored = category.true_positive[:, columns], category.ignored[:, columns]
    hits = np.flatnonzero(true_positive.any(axis=0))  # columns that are right at one threshold at least
    rights = [np.flatnonzero(each) for each in true_positive[:, hits]]
    lefts = [np.flatnonzero(each) for each in ignored]
    rows = max(1, BLOCK // max(len(columns), len(gt_image), 1))
    for start in range(0, len(weights), rows):
        block = slice(start, start + rows)
        drawn = weights[block]
        instances[block] = total = drawn.take(gt_image, axis=1).sum(axis=1)
        if not len(hits):
            continue
        reached = _reached(total)
        weight = drawn.take(dt_image, axis=1)
        seen = np.cumsum(weight, axis=1, dtype=np.int32).take(hits, axis=1)
        weight_of_hits = weight.take(hits, axis=1)
        for t, (right, left) in enumerate(zip(rights, lefts, strict=True)):
            if not len(right):
                continue
            found = np.cumsum(weight_of_hits.take(right, axis=1), axis=1, dtype=np.int32)
            counted = seen.take(right, axis=1)
            if len(left):
                skipped = np.zeros((len(drawn), len(left) + 1), dtype=np.int32)
                np.cumsum(weight.take(left, axis=1), axis=1, out=skipped[:, 1:])
                counted -= skipped.take(np.searchsorted(left, hits[right]), axis=1)
            recall[block, t] = found[:, -1] / np.maximum(total, 1)
            precision[block, t] = _precision(found, counted, reached)


def _reached(instances: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """How many recall thresholds lie at or below c / n, given n ``(R,)``, as a function of c ``(R, p)``."""
    sizes = instances.astype(np.int64) + 1
    starts = np.cumsum(sizes) - sizes
    found = np.arange(sizes.sum()) - np.repeat(starts, sizes)
    recall = found / np.repeat(np.maximum(instances, 1), sizes)
    counts = np.searchsorted(REC_THRS, recall, side='right').astype(np.int16)
    return lambda found: counts.take(found + starts[:, None])


def _precision(found: np.ndarray, counted: np.ndarray, reached: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """``(R, 101)`` interpolated precision, given ``(R, p)`` true positives and detections up to each true positive."""
    # From the last true positive to the first, led by the 0 of the recall that is never reached.
    size = len(found), found.shape[1] + 1
    envelope = np.zeros(size)
    np.divide(found[:, ::-1], counted[:, ::-1] + EPS, out=envelope[:, 1:])
    np.maximum.accumulate(envelope, axis=1, out=envelope)
    thresholds = np.empty((size[0], size[1] + 1), dtype=np.int16)
    thresholds[:, 0], thresholds[:, 1:-1], thresholds[:, -1] = len(REC_THRS), reached(found)[:, ::-1], 0
    repeats = np.subtract(thresholds[:, :-1], thresholds[:, 1:], dtype=np.intp)
    return np.repeat(envelope.ravel(), repeats.ravel()).reshape(size[0], -1)[:, ::-1]
