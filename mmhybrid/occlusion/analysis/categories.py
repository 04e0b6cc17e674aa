"""Metrics by category, and AP over the categories that all strata have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..results import NAN, SAMPLED, CategoryResult, OcclusionResult
from . import accumulate

if TYPE_CHECKING:
    from ..matching.index import Matches


def with_categories(
    result: OcclusionResult,
    matches: Matches,
    positions: Sequence[np.ndarray],
    categories: Sequence[Mapping[str, Any]],
    min_images: int,
) -> OcclusionResult:
    """The result with each stratum's categories and ``ap_common``.

    Args:
        result: S strata.
        matches: What they were accumulated from.
        positions: S arrays of positions in ``matches.image_ids``.
        categories: The records of the ground truth.
        min_images: Strata with fewer images have no say in which categories are common.
    """
    names = {row['id']: str(row.get('name', row['id'])) for row in categories}
    category_ids = matches.category_ids.tolist()
    values = accumulate.by_category(matches, positions)
    counted = [matches.instances_of(part) for part in positions]
    filled = [
        each > 0
        for row, each in zip(result.strata, counted, strict=True)
        if each.any() and row.num_images >= min_images
    ]
    common = np.all(filled, axis=0) if filled else np.zeros(len(category_ids), dtype=bool)
    strata = []
    for i, (row, part, instances) in enumerate(zip(result.strata, positions, counted, strict=True)):
        images = _images_of(matches, part)
        made = tuple(
            CategoryResult(
                category_ids[k],
                names[category_ids[k]],
                int(images[k]),
                int(instances[k]),
                **{key: float(values[key][i, k]) for key in SAMPLED},
            )
            for k in np.flatnonzero(instances)
        )
        ap = values['ap'][i, common]
        ap_common = float(np.mean(ap)) if len(ap) and instances.any() else NAN
        strata.append(replace(row, categories=made, ap_common=ap_common))
    return replace(result, strata=tuple(strata), num_common_categories=int(common.sum()))


def _images_of(matches: Matches, positions: np.ndarray) -> np.ndarray:
    """``(K,)`` images with instances of each category among these."""
    kept, size = matches.counted_in(positions), len(matches.category_ids)
    pairs = np.unique(matches.gt_image[kept].astype(np.int64) * size + matches.gt_category[kept])
    return np.bincount(pairs % size, minlength=size)
