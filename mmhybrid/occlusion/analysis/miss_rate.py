"""Log-average miss rate, MR^-2 (Dollar et al., Pedestrian Detection, PAMI 2012, section 3.1), on strata and resamples.

The miss rate, 1 - recall, is read where the curve of the detections by descending score has so many false positives an
image (FPPI): at nine values from 0.01 to 1, evenly spaced by their logarithm. MR^-2 is the geometric mean of the nine.
Lower is better. What a region took is neither a true nor a false positive.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..matching import Matches

# As the benchmarks' scripts have them, rounded.
FPPI = np.array([0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0])
# Where curves are drawn.
CURVE = np.geomspace(1e-3, 10, 81)
# How the miss rate at an FPPI f is read off: 'caltech' by the definition, at the last detection up to which there are
# at most f, and 1 if there is none; 'script' likewise, but at the last detection of all if there is none, as the Python
# scripts of CityPersons and KAIST do; 'crowdhuman' at the first detection up to which there are f or more, or the last.
READINGS = ('caltech', 'script', 'crowdhuman')
# Elements worked on at a time.
BLOCK = 2**22


def miss_rates(
    matches: Matches,
    members: Sequence[np.ndarray],
    weights: np.ndarray | None = None,
    reading: str = 'caltech',
    iou_thr: float = 0.5,
) -> np.ndarray:
    """MR^-2 on every stratum and resample; S strata, R resamples, I images.

    Args:
        matches: Detections matched to ground truth.
        members: S arrays of positions in ``matches.image_ids``, none twice in a stratum.
        weights: ``(R, I)`` integers, how often each image counts; None for one row of ones.
        reading: One of :data:`READINGS`.
        iou_thr: One of the IoU thresholds of ``matches``, or the nearest.

    Returns:
        ``(R, S)`` float64, the mean over the categories with instances; NaN where there is none.
    """
    read = [read_curve(matches, each, FPPI, weights, reading, iou_thr) for each in members]
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
    inside = matches.inside(positions)
    weights = np.ones((1, len(inside)), np.int64) if weights is None else weights
    t = int(np.argmin(np.abs(matches.iou_thrs - iou_thr)))
    kept = inside[matches.dt_image] & ~matches.dt_ignored[t]
    counted = matches.gt_counted & inside[matches.gt_image]
    right = matches.is_true_positive[t]
    miss = np.full((len(matches.category_ids), len(weights), len(fppi)), np.nan)
    for k in np.unique(matches.gt_category[counted]).tolist():
        gt_image = matches.gt_image[counted & (matches.gt_category == k)]
        own = np.flatnonzero(kept & (matches.dt_category == k))
        rows = max(1, BLOCK // max(1, len(own), len(gt_image)))
        for start in range(0, len(weights), rows):
            part = weights[start : start + rows]
            images = part[:, inside].sum(axis=1)
            total = part[:, gt_image].sum(axis=1)
            found = _found(part[:, matches.dt_image[own]], right[own], images, fppi, reading)
            with np.errstate(invalid='ignore', divide='ignore'):
                miss[k, start : start + rows] = np.where(total > 0, 1 - (found.T / total), np.nan).T
    return miss


def _found(weight: np.ndarray, right: np.ndarray, images: np.ndarray, fppi: np.ndarray, reading: str) -> np.ndarray:
    """``(R, F)`` true positives where each curve is read; ``weight`` ``(R, n)`` of detections by descending score."""
    resamples, n = weight.shape
    if n == 0:
        return np.zeros((resamples, len(fppi)), dtype=np.int64)
    true = np.cumsum(weight * right, axis=1, dtype=np.int64)
    false = np.cumsum(weight * ~right, axis=1, dtype=np.int64)
    # All rows are searched at once, each lifted above the one before.
    lift = np.arange(resamples)[:, None] * (int(false[:, -1].max()) + 2)
    rows = np.arange(resamples)[:, None]
    if reading == 'crowdhuman':
        least = np.minimum(_counts(images, fppi, at_least=True), false[:, -1:] + 1)
        at = np.searchsorted((false + lift).ravel(), least + lift, side='left') - rows * n
        return true[rows, np.minimum(at, n - 1)]
    most = np.minimum(_counts(images, fppi, at_least=False), false[:, -1:])
    at = np.searchsorted((false + lift).ravel(), most + lift, side='right') - rows * n - 1
    found = true[rows, np.maximum(at, 0)]
    # Before the first detection that counts there is nothing to read.
    is_none = (at < 0) | (found + false[rows, np.maximum(at, 0)] == 0)
    return np.where(is_none, true[:, -1:] if reading == 'script' else 0, found)


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
