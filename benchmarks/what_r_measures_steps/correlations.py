"""Rank correlations with annotated occlusion, and their intervals over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmhybrid.occlusion import ratios
from mmhybrid.occlusion.analysis import bootstrap
from mmhybrid.occlusion.read.columns import positions
from mmhybrid.occlusion.strata import EDGE_TOL

from .sources import Annotated

CONFIDENCE = 0.95
DEFINITIONS = ('covered', 'multi', 'pairwise', 'max-iou')
NUMBER = 'number of instances'
MEAN, LARGEST = 'mean of its instances', 'largest of its instances'
LABEL = 'label of the image'
WIDER = 'bbox, ignored cover'


def measure(annotated: Annotated, resamples: int, seed: int) -> dict[str, Any]:
    """All numbers of a data set.

    Args:
        annotated: What was read.
        resamples: Of the images, with replacement.
        seed: Of the draws.

    Returns:
        ``instances`` and ``images``, how many were used; ``by_instance``, a row a geometry: the correlation of hidden
        share and covered fraction; ``uncovered``, of heavily hidden instances the share that nothing covers, a row a
        geometry; ``by_image``, for each target rows of correlations of the images' measures with it. Correlations have
        ``value``, ``low``, ``high``, and ``most``, what they can be at most with ties as they are.
    """
    gt = annotated.gt
    image = positions(gt.image_ids, gt.annotation_image_ids)
    fractions = {each: ratios.measure(gt, 'covered', each).fractions for each in annotated.geometries}
    weights = bootstrap.draw(len(gt.image_ids), resamples, seed)
    found: dict[str, Any] = {'by_instance': [], 'uncovered': []}
    counted = ~gt.is_region
    if annotated.hidden is not None:
        known = np.flatnonzero(counted & ~np.isnan(annotated.hidden))
        hidden, image_of = annotated.hidden[known], image[known]
        wider = {} if annotated.wider is None else {WIDER: annotated.wider}
        for geometry, values in (fractions | wider).items():
            row = correlation(values[known], hidden, weights, image_of)[0]
            found['by_instance'].append({'geometry': geometry, **row})
            heavy = hidden >= annotated.heavy - EDGE_TOL
            found['uncovered'].append({
                'geometry': geometry, 'instances': int(heavy.sum()),
                **share(values[known][heavy] <= EDGE_TOL, weights, image_of[heavy]),
            })  # fmt: skip
        has = np.bincount(image_of, minlength=len(gt.image_ids)) > 0
        targets = dict(zip((MEAN, LARGEST), _by_image(hidden, image_of, len(has)), strict=True))
    else:
        has = np.ones(len(gt.image_ids), dtype=bool)
        targets = {LABEL: annotated.labels}
    measures = _measures(annotated, fractions, image, counted)
    found['by_image'] = {
        name: _rows({key: values[has] for key, values in measures.items()}, target[has], weights[:, has])
        for name, target in targets.items()
    }
    return {'images': int(has.sum()), 'instances': int(counted.sum()), **found}


def _measures(
    annotated: Annotated, fractions: dict[str, np.ndarray], image: np.ndarray, counted: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """``(I,)`` each measure of the images, by name and geometry."""
    gt = annotated.gt
    measures = {(NUMBER, ''): np.bincount(image[counted], minlength=len(gt.image_ids)).astype(float)}
    for geometry in annotated.geometries:
        for definition in DEFINITIONS:
            values = ratios.measure(gt, definition, geometry).ratios
            measures[definition, geometry] = np.array([values[i] for i in gt.image_ids.tolist()])
        both = _by_image(fractions[geometry][counted], image[counted], len(gt.image_ids))
        measures['mean fraction', geometry], measures['largest fraction', geometry] = both
    return measures


def _rows(measures: dict[tuple[str, str], np.ndarray], target: np.ndarray, weights: np.ndarray) -> list[dict[str, Any]]:
    """A row a measure, with its difference to the number of instances on the same draws."""
    rows, number = [], None
    for (name, geometry), values in measures.items():
        row, drawn = correlation(values, target, weights)
        if number is None:
            number = row, drawn
        else:
            difference = _minus(row['value'], number[0]['value'])
            row['minus_number'] = interval(difference, drawn - number[1], math.inf)
        rows.append({'measure': name, 'geometry': geometry, **row})
    return rows


def correlation(
    values: np.ndarray, target: np.ndarray, weights: np.ndarray, image: np.ndarray | None = None
) -> tuple[dict[str, Any], np.ndarray]:
    """Spearman's correlation of n values with a target, its interval, and what it is on each resample.

    Args:
        values: ``(n,)``.
        target: ``(n,)``.
        weights: ``(R, I)`` how often a resample draws each image.
        image: ``(n,)`` the image that each value is of; by default the n images.
    """
    a, b = codes(values), codes(target)
    drawn = np.array([spearman(a, b, row if image is None else row[image]) for row in weights])
    row = interval(spearman(a, b), drawn, 1.0)
    # With ties the ranks of both cannot be the same, even where both are in one order.
    return {'n': len(a), **row, 'most': _rounded(spearman(np.sort(a), np.sort(b)))}, drawn


def share(holds: np.ndarray, weights: np.ndarray, image: np.ndarray) -> dict[str, Any]:
    """Share of n instances, on ``image`` ``(n,)``, of which something ``holds``, with its interval."""
    if not len(holds):
        return dict.fromkeys(('value', 'low', 'high'))
    drawn = np.array([np.average(holds, weights=row[image]) if row[image].any() else np.nan for row in weights])
    row = interval(holds.mean(), drawn, 1.0)
    return row | {'low': None if row['low'] is None else max(row['low'], 0.0)}


def interval(value: float, drawn: np.ndarray, most: float) -> dict[str, float | None]:
    """A value and its bounds, within ``-most`` and ``most``, as evaluation gives them."""
    low, high = np.clip(bootstrap.intervals(drawn, value, CONFIDENCE), -most, most).tolist()
    return {'value': _rounded(value), 'low': _rounded(low), 'high': _rounded(high)}


def codes(values: np.ndarray | Sequence[float]) -> np.ndarray:
    """Order of the n values as whole numbers from 0 on, equal for equal values; so are those less than 1e-9 apart."""
    return np.unique(np.round(np.asarray(values, dtype=float), 9), return_inverse=True)[1]


def spearman(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Spearman's correlation of n pairs of :func:`codes`, each there as often as its weight; ties share a mean rank.

    NaN where all of either are equal.
    """
    weights = np.ones(len(a)) if weights is None else weights
    ranks = []
    for each in (a, b):
        counts = np.bincount(each, weights)
        ranks.append((np.cumsum(counts) - counts / 2 - weights.sum() / 2)[each])  # from the mean rank
    x, y = ranks
    spread = math.sqrt((weights * x * x).sum() * (weights * y * y).sum())
    return float((weights * x * y).sum() / spread) if spread > EDGE_TOL else math.nan


def _by_image(values: np.ndarray, image: np.ndarray, images: int) -> tuple[np.ndarray, np.ndarray]:
    """``(I,)`` mean and largest of the values, none of which is negative; 0 without any."""
    counts = np.bincount(image, minlength=images)
    largest = np.zeros(images)
    np.maximum.at(largest, image, values)
    return np.bincount(image, values, images) / np.maximum(counts, 1), largest


def _minus(a: float | None, b: float | None) -> float:
    return math.nan if a is None or b is None else a - b


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
