"""Do the intervals of ``effects.py`` hold the truth as often as they say, with four seeds?

Two simulations with a known truth. *Numbers*: every image and seed adds chance of known size, and the metric is a mean.
*Detectors*: made-up detectors that find instances by skill and luck, evaluated as the study's are, AP and all; under
"alike", model and baseline have the same skill, so the true difference is 0.

    python benchmarks/occlusion_study.py coverage
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from mmhybrid.occlusion.analysis import accumulate, bootstrap
from mmhybrid.occlusion.matching.index import Matches
from mmhybrid.occlusion.matching.settings import IOU_THRS, Settings

from .effects import Effect, effect, slope_weights

# Standard deviations of the mean, of one seed: of a, g and h in effects.py.
NUMBERS = {
    'seeds alone': (1.0, 0.0, 0.0),
    'images alone': (0.0, 1.0, 0.0),
    'both, together': (0.0, 0.0, 1.0),
    'all alike': (1.0, 1.0, 1.0),
    'mostly together': (0.5, 0.5, 1.0),
}
BINS, CATEGORIES = 10, 10
RESAMPLES = 100  # few, since the trials are many: their chance makes the intervals a little less sure
# How much better at r = 0, and how much more of that by r = 0.9, in standard deviations of an instance's difficulty.
DETECTORS = {'alike': (0.0, 0.0), 'better under occlusion': (0.1, 0.3)}


def measure(seeds: Sequence[int], trials: int, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Both simulations, for each number of seeds.

    Args:
        seeds: Numbers of seeds a model.
        trials: Of the detectors; of the numbers ten times as many.
        say: Called with a sentence now and then.
    """
    return dict(
        resamples=RESAMPLES,
        numbers=[row for each in seeds for row in numbers(each, 10 * trials, RESAMPLES)],
        detectors=[row for each in seeds for row in detectors(each, trials, RESAMPLES, say=say)],
    )


def numbers(seeds: int, trials: int, resamples: int, images: int = 50) -> list[dict[str, Any]]:
    """Coverage on made-up numbers, one row a case of ``NUMBERS``; the truth is 0."""
    rng = np.random.default_rng(seeds)
    weights = bootstrap.draw(images, resamples, seed=0) / images
    rows = []
    for name, (seed, image, both) in NUMBERS.items():
        found = []
        for _ in range(trials):
            each = rng.normal(0, seed, seeds) + rng.normal(0, image * images**0.5, (images, 1))
            each = each + rng.normal(0, both * images**0.5, (images, seeds))
            found.append((effect(each.mean(axis=0), weights @ each, images), _percentiles(each, weights, rng)))
        rows.append(dict(case=name, sd_seed=seed, sd_image=image, sd_both=both, seeds=seeds, **_counted(found, 0.0)))
    return rows


def _percentiles(each: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """What drawing images and seeds with replacement gives, for comparison."""
    seeds = each.shape[1]
    drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), len(weights)) / seeds
    low, high = np.quantile(((weights @ each) * drawn).sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def detectors(
    seeds: int, trials: int, resamples: int, per_bin: int = 50, say: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """Coverage on made-up detectors: of AP's difference over all images, in the last bin, and of its slope over r.

    Where the detectors differ, the truth is the mean over all trials.
    """
    r = np.arange(BINS) / 10
    bins = np.repeat(np.arange(BINS), per_bin)
    members = [np.arange(len(bins)), *(np.flatnonzero(bins == k) for k in range(BINS))]
    rows = []
    for name, better in DETECTORS.items():
        found: dict[str, list[Effect]] = {'overall': [], 'last bin': [], 'slope': []}
        for trial in range(trials):
            rng = np.random.default_rng([trial, seeds])
            draws = [bootstrap.draw(per_bin, resamples, seed=1000 * trial + k) for k in range(BINS)]
            weights = np.vstack([np.ones(len(bins), dtype=np.int32), np.hstack(draws)])
            pairs = _pairs(rng, r[bins], seeds, better)
            ap = np.stack([_ap(b, members, weights) - _ap(a, members, weights) for a, b in pairs], axis=1)
            columns = dict(zip(found, (ap[..., 0], ap[..., -1], ap[..., 1:] @ slope_weights(r)), strict=True))
            for key, values in columns.items():
                images, strata = (per_bin, 1) if key == 'last bin' else (len(bins), BINS)
                found[key].append(effect(values[0], values[1:], images, strata))
            if (trial + 1) % 50 == 0:
                say(f'{name}: {trial + 1} of {trials} trials')
        for key, each in found.items():
            truth = float(np.mean([one.value for one in each])) if any(better) else 0.0
            rows.append(dict(case=name, metric=key, seeds=seeds, **_counted([(one, None) for one in each], truth)))
    return rows


def _ap(matches: Matches, members: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    return accumulate.metrics(matches, members, weights, threads=1)['ap']


def _pairs(
    rng: np.random.Generator, r: np.ndarray, seeds: int, better: tuple[float, float]
) -> list[tuple[Matches, Matches]]:
    """Baseline and model of each seed, on one new set of images with these ratios ``(I,)``."""
    size = len(r)
    image = np.repeat(np.arange(size), rng.integers(3, 8, size)).astype(np.int32)
    category = rng.integers(0, CATEGORIES, len(image)).astype(np.int32)
    hard = 2.2 * r[image] + rng.normal(0, 0.5, size)[image] + rng.normal(0, 1, len(image))
    models = []
    for gain, more in ((0.0, 0.0), better):
        # What a kind of network finds easy or hard, with every seed.
        hard_for = hard + rng.normal(0, 0.2, size)[image] + rng.normal(0, 0.3, len(image))
        runs = []
        for _ in range(seeds):
            skill = 0.6 + gain + rng.normal(0, 0.06) + (more + rng.normal(0, 0.08)) * r[image]
            runs.append(_detected(rng, image, category, skill - hard_for, size))
        models.append(runs)
    return list(zip(*models, strict=True))


def _detected(
    rng: np.random.Generator, image: np.ndarray, category: np.ndarray, ease: np.ndarray, size: int
) -> Matches:
    """One detection of each of m instances, of a quality that grows with ``ease`` ``(m,)``, and as many false ones."""
    quality = ease + rng.normal(0, 0.7, len(image))
    iou = 0.97 / (1 + np.exp(-0.9 * quality - 0.6))
    false = rng.integers(0, size, 2 * len(image)).astype(np.int32)
    score = np.concatenate([quality + rng.normal(0, 0.6, len(image)), rng.normal(-1.4, 1.0, len(false))])
    dt_image = np.concatenate([image, false])
    dt_category = np.concatenate([category, rng.integers(0, CATEGORIES, len(false)).astype(np.int32)])
    order = np.lexsort((dt_image, -score, dt_category))
    taken = np.where(iou >= np.array(IOU_THRS)[:, None], np.arange(len(image)), -1)
    taken = np.hstack([taken, np.full((len(IOU_THRS), len(false)), -1)]).astype(np.int32)
    return Matches(
        settings=Settings(),
        iou_type='bbox',
        image_ids=np.arange(size),
        category_ids=np.arange(CATEGORIES),
        dt_index=order,
        dt_image=dt_image[order],
        dt_category=dt_category[order],
        dt_score=score[order],
        dt_gt=taken[:, order],
        dt_ignored=np.zeros((len(IOU_THRS), len(order)), dtype=bool),
        gt_image=image,
        gt_category=category,
        gt_counted=np.ones(len(image), dtype=bool),
    )


def _counted(found: list[tuple[Effect, tuple[float, float] | None]], truth: float) -> dict[str, Any]:
    """Coverage, how sure it is (a 95% interval of the share), the widths, and p < 0.05 where the truth is 0."""
    effects = [each for each, _ in found]
    held = sum(each.low <= truth <= each.high for each in effects)
    sure = stats.binomtest(held, len(effects)).proportion_ci(method='wilson')
    row = dict(
        trials=len(effects),
        coverage=round(held / len(effects), 4),
        coverage_interval=[round(float(sure.low), 4), round(float(sure.high), 4)],
        mean_half_width=round(float(np.mean([(each.high - each.low) / 2 for each in effects])), 5),
        sd_of_estimates=round(float(np.std([each.value for each in effects])), 5),
        root_mean_variance=round(float(np.sqrt(np.mean([_variance(each) for each in effects]))), 5),
    )
    if truth == 0:
        row['p_below_0.05'] = round(float(np.mean([each.p < 0.05 for each in effects])), 4)
    else:
        row['mean'] = round(truth, 5)
    percentiles = [bounds for _, bounds in found if bounds is not None]
    if percentiles:
        row['coverage_of_percentiles'] = round(float(np.mean([a <= truth <= b for a, b in percentiles])), 4)
    return row


def _variance(found: Effect) -> float:
    return found.var_image + (found.var_both + found.var_seed) / found.seeds
