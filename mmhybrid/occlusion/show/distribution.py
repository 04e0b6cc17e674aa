"""How a data set's images and instances are spread over the strata, before any model is evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.text import clean

from ..analysis.recall import DEFAULT_EDGES
from ..strata import bins
from .numbers import count, number, percent
from .sheet import Column, Sheet, by_kind, column, of_strata

if TYPE_CHECKING:
    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification


def instances_per_image(gt: GroundTruth) -> np.ndarray:
    """``(I,)`` number of instances on each image of ``gt``, without crowd and ignored regions."""
    order = np.argsort(gt.image_ids, kind='stable')
    where = np.searchsorted(gt.image_ids[order], gt.annotation_image_ids[~gt.is_region])
    return np.bincount(order[where], minlength=len(gt.image_ids))


def distribution_sheets(stratification: Stratification, gt: GroundTruth) -> list[Sheet]:
    """How images and instances are spread: by stratum, and by the instances' own fraction."""
    return [images_sheet(stratification, gt), fractions_sheet(stratification, gt)]


def images_sheet(stratification: Stratification, gt: GroundTruth) -> Sheet:
    """Images and instances in each stratum."""
    per_image = dict(zip(gt.image_ids.tolist(), instances_per_image(gt).tolist(), strict=True))
    rows = by_kind(
        SimpleNamespace(stratum=stratum, num_images=len(ids), num_instances=sum(map(per_image.get, ids)))
        for stratum, ids in stratification.members().items()
    )
    columns = (
        *_counts('images', [row.num_images for row in rows], len(gt.image_ids)),
        *_counts('instances', [row.num_instances for row in rows], sum(per_image.values())),
        column('inst/img', rows, lambda row: number(_part(row.num_instances, row.num_images))),
    )
    title = f'images of {clean(gt.source)}, by {clean(stratification.measure.label)}'
    return of_strata(
        title, rows, columns, 0, ['%: of all images, of all instances; crowd and ignored regions are not counted']
    )


def fractions_sheet(stratification: Stratification, gt: GroundTruth) -> Sheet:
    """Instances by their own covered or invisible fraction, in the ranges that recall by instance has."""
    fractions = stratification.fractions[~gt.is_region]
    fractions = fractions[~np.isnan(fractions)].tolist()
    ranges = bins(DEFAULT_EDGES, 'f')
    columns = (
        Column(clean(stratification.fraction), tuple(part.name for part in ranges), alias='fraction'),
        *_counts('instances', [sum(map(part.contains, fractions)) for part in ranges], len(fractions)),
    )
    return Sheet(f'instances of {clean(gt.source)}', columns, (len(ranges),), (False,) * len(ranges), ())


def _counts(title: str, counts: Sequence[int], whole: int) -> tuple[Column, Column]:
    return column(title, counts, count), column('%', counts, lambda value: percent(_part(value, whole)))


def _part(count: int, whole: int) -> float:
    return count / whole if whole else math.nan
