"""How sure a mean difference between two models is, when both the seeds and the images are chance.

Model and baseline were trained from the same S seeds and tested on the same n images. Let ``d_s`` be the difference of
seed s. It is the true difference plus four kinds of chance (Cornfield and Tukey's crossed design):

    d_s = delta + a_s + g + h_s

``a_s`` is what the seed does on images without end, ``g`` what these images do to every seed, ``h_s`` what these images
do to this seed alone. The mean of S seeds hence has the variance ``(var a + var h) / S + var g``, and

- the variance of ``d_s`` between seeds, ``s2``, estimates ``var a + var h`` from S - 1 degrees of freedom;
- drawing images with replacement, the same for all seeds, the variance of the mean of ``d_s`` estimates
  ``var g + var h / S``, call it ``v``, and that of ``d_s`` minus the mean estimates ``var h``.

So ``V = v + max(0, s2 - var h) / S``. Simply adding ``v`` and ``s2 / S`` would count ``h`` twice, as drawing seeds and
images both with replacement does (Owen, The pigeonhole bootstrap, 2007); where chance is mostly ``h``, the interval is
then far too wide. Where seeds are what matters, percentiles of drawn seeds err the other way: four drawn of four have
35 sets and three quarters of the variance.

The interval is ``mean +- t sqrt(V)``, with Satterthwaite's degrees of freedom: S - 1 for ``s2``, images minus strata
for what comes from images. Few seeds make it wide where seeds are what matters, and only there. How often such
intervals hold the truth is measured: ``benchmarks/study/coverage.py``.

Only variances are taken from the resamples, so that their AP is too high (mmhybrid/occlusion/bootstrap.py) is
no matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
MAX_SEEDS = 10_000


@dataclass(frozen=True)
class Effect:
    """A mean difference, in the unit of the metric.

    Attributes:
        value: Mean over the seeds.
        low, high: Interval of ``CONFIDENCE``; NaN with fewer than two seeds.
        p: Two-sided p-value of no difference; NaN likewise.
        df: Degrees of freedom; infinite where nothing varies.
        seeds: S.
        images: n, the images that the metric is of.
        df_images: Degrees of freedom of what comes from images.
        var_seed, var_both, var_image: Variances of ``a``, ``h`` and ``g`` above, for one seed and n images.
    """

    value: float
    low: float
    high: float
    p: float
    df: float
    seeds: int
    images: int
    df_images: int
    var_seed: float
    var_both: float
    var_image: float

    def half_width(self, seeds: int | np.ndarray) -> np.ndarray:
        """Half the interval's width if there were so many seeds, on as many images."""
        seeds = np.asarray(seeds, dtype=np.float64)
        images = self.var_image + self.var_both / seeds
        return _half_width(images, self.var_seed, self.var_seed + self.var_both, seeds, self.df_images)


def effect(per_seed: np.ndarray, resampled: np.ndarray, images: int, strata: int = 1) -> Effect:
    """Mean, interval and p-value of a difference.

    Args:
        per_seed: ``(S,)`` model minus baseline, on the images themselves.
        resampled: ``(R, S)`` the same on R resamples of the images, drawn alike for all seeds, from each stratum as
            many as it has.
        images: How many images the metric is of, more than ``strata``.
        strata: How many strata these are in, evenly.
    """
    seeds = len(per_seed)
    value = float(np.mean(per_seed))
    if seeds < 2:
        return Effect(value, *[math.nan] * 4, seeds, images, images - strata, *[math.nan] * 3)
    # Of n drawn images, the variance of a mean is (n - 1) / n of what it should be; each stratum is drawn by itself.
    per_stratum = images / strata
    scale = per_stratum / (per_stratum - 1)
    means = resampled.mean(axis=1)
    drawn = scale * float(means.var(ddof=1))
    both = scale * float((resampled - means[:, None]).var(axis=0, ddof=1).sum()) / (seeds - 1)
    between = float(np.var(per_seed, ddof=1))
    seed = max(0.0, between - both)
    half = float(_half_width(drawn, seed, between, seeds, images - strata))
    variance = drawn + seed / seeds
    df = float(_df(drawn, seed, between, seeds, images - strata))
    p = float(2 * stats.t.sf(abs(value) / math.sqrt(variance), df)) if variance else float(value == 0)
    image = max(0.0, drawn - both / seeds)
    return Effect(value, value - half, value + half, p, df, seeds, images, images - strata, seed, both, image)


def _df(images: np.ndarray, seed: np.ndarray, between: np.ndarray, seeds: np.ndarray, df_images: int) -> np.ndarray:
    """Satterthwaite's; where ``seed`` is 0, the variance between seeds has no part in V."""
    spread = np.where(np.asarray(seed) > 0, np.square(between / seeds) / (seeds - 1), 0.0)
    spread = spread + np.square(images) / df_images
    total = np.square(images + seed / seeds)
    return np.divide(total, spread, out=np.full(np.shape(total), np.inf), where=spread > 0)


def _half_width(
    images: np.ndarray, seed: np.ndarray, between: np.ndarray, seeds: np.ndarray, df_images: int
) -> np.ndarray:
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, _df(images, seed, between, seeds, df_images))
    return quantile * np.sqrt(images + seed / seeds)


def seeds_needed(found: Effect) -> int | None:
    """The fewest seeds at which the interval would leave out 0, were value and variances those found.

    None if there are none up to ``MAX_SEEDS``, on as many images.
    """
    counts = np.arange(2, MAX_SEEDS + 1)
    enough = found.half_width(counts) < abs(found.value)
    return int(counts[enough.argmax()]) if enough.any() else None


def images_needed(found: Effect) -> int | None:
    """The fewest images at which ever more seeds would leave out 0, were value and variances those found.

    None for a value of 0.
    """
    if not found.value:
        return None
    quantile = stats.norm.ppf((1 + CONFIDENCE) / 2)
    return max(1, math.ceil(found.images * found.var_image * (quantile / found.value) ** 2))


def slope_weights(r: Sequence[float]) -> np.ndarray:
    """What a least-squares line's slope takes of each value at ``r``: ``weights @ values`` is the slope."""
    centred = np.asarray(r, dtype=np.float64) - np.mean(r)
    return centred / np.square(centred).sum()


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: below 0.05 for tests that stay significant although there are several."""
    order = np.argsort(p)
    factors = np.arange(len(order), 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.asarray(p, dtype=np.float64)[order] * factors))
    result = np.empty(len(order))
    result[order] = adjusted
    return result.tolist()
