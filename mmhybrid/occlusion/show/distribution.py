"""How a data set's images and instances are spread over the strata, before any model is evaluated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.text import clean

from ..analysis.recall import DEFAULT_EDGES
from ..strata import bins
from .labels import number, percent
from .sheets import KIND_ORDER, Column, Sheet

if TYPE_CHECKING:
    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification


def instances_per_image(gt: GroundTruth) -> np.ndarray:
    """``(I,)`` number of instances on each image of ``gt``, without crowd regions."""
    order = np.argsort(gt.image_ids, kind='stable')
    where = np.searchsorted(gt.image_ids[order], gt.annotation_image_ids[~gt.is_crowd])
    return np.bincount(order[where], minlength=len(gt.image_ids))


def images_sheet(stratification: Stratification, gt: GroundTruth) -> Sheet:
    """Images and instances in each stratum."""
    members = sorted(stratification.members().items(), key=lambda item: KIND_ORDER.index(item[0].kind))
    per_image = dict(zip(gt.image_ids.tolist(), instances_per_image(gt).tolist(), strict=True))
    sizes = [len(ids) for _, ids in members]
    instances = [sum(per_image[image_id] for image_id in ids) for _, ids in members]
    kinds = [stratum.kind for stratum, _ in members]
    return Sheet(
        f'images of {clean(gt.source)}, by {clean(stratification.measure.label)}',
        (
            Column('stratum', tuple(clean(stratum.name) for stratum, _ in members)),
            *_counts('images', sizes, len(gt.image_ids)),
            *_counts('instances', instances, sum(per_image.values())),
            Column('inst/img', tuple(number(_part(a, b)) for a, b in zip(instances, sizes, strict=True))),
        ),
        tuple(kinds.count(kind) for kind in dict.fromkeys(kinds)),
        (False,) * len(members),
        ('%: of all images, of all instances; crowd regions are not counted',),
    )


def fractions_sheet(stratification: Stratification, gt: GroundTruth) -> Sheet:
    """Instances by their own covered or invisible fraction, in the ranges that recall by instance has."""
    fractions = stratification.fractions[~gt.is_crowd]
    fractions = fractions[~np.isnan(fractions)]
    ranges = bins(DEFAULT_EDGES, 'f')
    counts = [sum(map(part.contains, fractions.tolist())) for part in ranges]
    return Sheet(
        f'instances of {clean(gt.source)}',
        (
            Column(clean(stratification.fraction), tuple(part.name for part in ranges), alias='fraction'),
            *_counts('instances', counts, len(fractions)),
        ),
        (len(ranges),),
        (False,) * len(ranges),
        (),
    )


def _counts(title: str, counts: Sequence[int], whole: int) -> tuple[Column, Column]:
    shares = tuple(percent(_part(count, whole)) for count in counts)
    return Column(title, tuple(map(str, counts))), Column('%', shares)


def _part(count: int, whole: int) -> float:
    return count / whole if whole else math.nan
