"""Log-average miss rate, MR^-2 (Dollar et al., Pedestrian Detection, PAMI 2012, section 3.1), on strata and resamples.

The miss rate, 1 - recall, is read where the curve of the detections by descending score has so many false positives an
image (FPPI): at nine values from 0.01 to 1, evenly spaced by their logarithm. MR^-2 is the geometric mean of the nine.
Lower is better. What a region took is neither a true nor a false positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..matching import Matches
from ..protocols import ROUNDED

FPPI = np.array(ROUNDED)
# Where curves are drawn.
CURVE = np.geomspace(1e-3, 10, 81)
# How the miss rate at an FPPI f is read off: 'caltech' by the definition, at the last detection up to which there are
# at most f, and 1 if there is none; 'script' likewise, but at the last detection of all if there is none, as the Python
# scripts of CityPersons and KAIST do; 'crowdhuman' at the first detection up to which there are f or more, or the last.
READINGS = ('caltech', 'script', 'crowdhuman')
# Weights worked on at a time, and in how many parts a curve is looked at: found best where there are many, few or one.
BLOCK = 2**21
PARTS, FEWEST = 37, 16


def miss_rates(
    matches: Matches,
    members: Sequence[np.ndarray],
    weights: np.ndarray | None = None,
    reading: str = 'caltech',
    iou_thr: float = 0.5,
    fppi: Sequence[float] = ROUNDED,
) -> np.ndarray:
    """MR^-2 on every stratum and resample; S strata, R resamples, I images.

    Args:
        matches: Detections matched to ground truth.
        members: S arrays of positions in ``matches.image_ids``, none twice in a stratum.
        weights: ``(R, I)`` integers, how often each image counts; None for one row of ones.
        reading: One of :data:`READINGS`.
        iou_thr: One of the IoU thresholds of ``matches``, or the nearest.
        fppi: Where curves are read.

    Returns:
        ``(R, S)`` float64, the mean over the categories with instances; NaN where there is none.
    """
    read = [read_curve(matches, each, np.array(fppi), weights, reading, iou_thr) for each in members]
    return np.stack([log_average(each) for each in read], axis=1)


def log_average(miss: np.ndarray) -> np.ndarray:
    """``(...)`` geometric mean of miss rates ``(K, ..., F)`` over F, averaged over K categories; NaN without any."""
    with np.errstate(divide='ignore'):  # a miss rate of 0 makes the mean 0
        each = np.exp(np.log(miss).mean(axis=-1))
    return _mean_over_categories(each)


def drawn(matches: Matches, positions: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Pairs of :data:`CURVE` and the miss rate there, averaged over the categories with instances; empty without."""
    miss = mean_curve(matches, positions, CURVE)
    return () if np.isnan(miss).any() else tuple(zip(CURVE.tolist(), miss.tolist(), strict=True))


def mean_curve(matches: Matches, positions: np.ndarray, fppi: np.ndarray, iou_thr: float = 0.5) -> np.ndarray:
    """``(F,)`` miss rates at these FPPI, by the definition, averaged over the categories with instances."""
    return _mean_over_categories(read_curve(matches, positions, fppi, iou_thr=iou_thr))[0]


def read_curve(
    matches: Matches,
    positions: np.ndarray,
    fppi: np.ndarray = FPPI,
    weights: np.ndarray | None = None,
    reading: str = 'caltech',
    iou_thr: float = 0.5,
) -> np.ndarray:
    """Miss rates at F ``fppi`` (ascending) of K categories on the images at ``positions``, on R resamples.

    Returns:
        ``(K, R, F)`` float64; NaN where a category has no instance that counts.
    """
    weights = np.ones((1, len(matches.image_ids)), np.int64) if weights is None else weights
    inside = np.unique(positions)
    at = np.full(len(matches.image_ids), -1)
    at[inside] = np.arange(len(inside))
    t = int(np.argmin(np.abs(matches.iou_thrs - iou_thr)))
    right, kept = matches.is_true_positive[t], (at[matches.dt_image] >= 0) & ~matches.dt_ignored[t]
    counted = matches.gt_counted & (at[matches.gt_image] >= 0)
    curves = {}
    for k in np.unique(matches.gt_category[counted]).tolist():
        totals = np.bincount(at[matches.gt_image[counted & (matches.gt_category == k)]], minlength=len(inside))
        own = np.flatnonzero(kept & (matches.dt_category == k))
        curves[k] = totals.astype(np.float64), _Curve(at[matches.dt_image[own]], right[own], len(inside))
    miss = np.full((len(matches.category_ids), len(weights), len(fppi)), np.nan)
    rows = max(1, BLOCK // max(1, len(inside)))
    for start in range(0, len(weights), rows):
        part = weights[start : start + rows, inside]
        part = part.astype(np.min_scalar_type(part.max(initial=0)))
        exact = part.astype(np.float64)  # of integers, which stay exact, for the sake of BLAS
        for k, (totals, curve) in curves.items():
            total, found = (exact @ totals)[:, None], curve.found(part, exact, fppi, reading)
            with np.errstate(invalid='ignore', divide='ignore'):
                miss[k, start : start + rows] = np.where(total > 0, 1 - found / total, np.nan)
    return miss


class _Curve:
    """n detections of a category by descending score: the positions of their images ``(n,)``, and which are right."""

    def __init__(self, images: np.ndarray, right: np.ndarray, num_images: int) -> None:
        n = len(images)
        # Of a size at which it takes about as long to find the part that a curve is read in as to read in it.
        parts = math.isqrt(PARTS * n // max(1, num_images))
        parts = parts if parts >= FEWEST else 1
        self._images, self._right, self._edges = images, right, np.arange(parts + 1) * n // parts
        part = np.repeat(np.arange(parts), np.diff(self._edges))
        cells = [images[each] * parts + part[each] for each in (right, ~right)]
        # True and false positives of each image and part.
        self._counts = [np.bincount(each, minlength=num_images * parts).reshape(-1, parts) for each in cells]

    def found(self, weights: np.ndarray, exact: np.ndarray, fppi: np.ndarray, reading: str) -> np.ndarray:
        """``(R, F)`` true positives where each curve is read; ``weights`` ``(R, I)`` narrow, and in float64."""
        true, false = (np.cumsum(exact @ each, axis=1).astype(np.int64) for each in self._counts)
        # At the first false positive of too many, recall is what it was before.
        at_least = reading == 'crowdhuman'
        most = np.minimum(_counts(weights.sum(axis=1, dtype=np.int64), fppi, at_least) - at_least, false[:, -1:])
        found, seen = (np.repeat(each[:, -1:], len(fppi), axis=1) for each in (true, true + false))
        for i, (start, stop) in enumerate(pairwise(self._edges.tolist())):
            true_before, false_before = (each[:, i - 1 : i] if i else 0 * each[:, :1] for each in (true, false))
            is_read = (most >= false_before) & (most < false[:, i : i + 1])
            rows = np.flatnonzero(is_read.any(axis=1))
            if not len(rows):
                continue
            right, images = self._right[start:stop], self._images[start:stop]
            right_sums, wrong_sums = _sums(weights[rows], images[right]), _sums(weights[rows], images[~right])
            rights = np.cumsum(right)[~right]  # before each that is wrong
            left = np.clip(most[rows] - false_before[rows], 0, wrong_sums[:, -1:]).astype(wrong_sums.dtype)
            each_row = zip(wrong_sums[:, 1:], left, strict=True)
            wrongs = np.stack([sums.searchsorted(values, side='right') for sums, values in each_row])
            own, f = np.nonzero(is_read[rows])
            r, wrongs = rows[own], wrongs[own, f]
            found[r, f] = true_before[r, 0] + right_sums[own, rights[wrongs]]
            seen[r, f] = found[r, f] + false_before[r, 0] + wrong_sums[own, wrongs]
        # Before the first detection that counts there is nothing to read.
        return np.where(seen == 0, true[:, -1:], found) if reading == 'script' else found


def _sums(weights: np.ndarray, images: np.ndarray) -> np.ndarray:
    """``(R, n + 1)`` sums of ``weights`` ``(R, I)`` at the first 0, 1, ..., n ``images``, in narrow integers."""
    kind = np.min_scalar_type(-1 - int(weights.max(initial=0)) * len(images))
    sums = np.zeros((len(weights), len(images) + 1), dtype=kind)
    np.cumsum(weights[:, images], axis=1, dtype=kind, out=sums[:, 1:])
    return sums


def _counts(images: np.ndarray, fppi: np.ndarray, at_least: bool) -> np.ndarray:
    """``(R, F)`` the most false positives that make at most, or the fewest that make at least, so many an image."""
    images = np.maximum(images, 1)[:, None]
    counts = np.floor(fppi * images).astype(np.int64)
    if at_least:
        counts -= (counts - 1) / images >= fppi
        return counts + (counts / images < fppi)
    # Decided by the quotient, as the scripts do: the product rounds differently.
    counts += (counts + 1) / images <= fppi
    return counts - (counts / images > fppi)


def _mean_over_categories(values: np.ndarray) -> np.ndarray:
    known = ~np.isnan(values)
    total, count = np.where(known, values, 0).sum(axis=0), known.sum(axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
