"""How a data set's images and instances are spread over the strata, before any model is evaluated."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.text import clean

from ..analysis.recall import FRACTION_EDGES
from ..analysis.views import views
from ..instance_strata import InstanceStratum
from ..strata import bins
from .numbers import number, percent
from .sheet import Column, Sheet, by_kind, column, of_rows, of_strata

if TYPE_CHECKING:
    from ..protocols import Protocol
    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification


def instances_per_image(gt: GroundTruth, protocol: Protocol | None = None) -> Counter[int]:
    """Image id -> number of instances on it, without crowd and ignored regions, and of a protocol's category alone."""
    counted = ~gt.is_region
    if protocol is not None and any(category['id'] == protocol.category for category in gt.categories):
        counted &= gt.category_ids == protocol.category
    return Counter(gt.annotation_image_ids[counted].tolist())


def distribution_sheets(stratification: Stratification, gt: GroundTruth) -> list[Sheet]:
    """How images and instances are spread: by stratum, and by the instances' own covered or invisible fraction."""
    parts, protocol = stratification.strata, stratification.protocol
    seen = {parts[i]: view.gt for view in views(gt, stratification) for i in view.at}
    counts = {each: instances_per_image(each, protocol) for each in {gt, *seen.values()}}
    per_image = counts[gt]
    rows = by_kind(
        SimpleNamespace(
            stratum=stratum, num_images=len(ids), num_instances=sum(counts[seen[stratum]][each] for each in ids)
        )
        for stratum, ids in stratification.members().items()
    )
    columns = (
        *_counts('images', [row.num_images for row in rows], len(gt.image_ids)),
        *_counts('instances', [row.num_instances for row in rows], sum(per_image.values())),
        column('inst/img', rows, lambda row: row.num_instances / (row.num_images or math.nan), number),
    )
    title = f'images of {clean(gt.source)}, by {clean(stratification.measure.label)}'
    notes = [f'{clean(part.name)}: {clean(part.condition)}' for part in parts if isinstance(part, InstanceStratum)]
    notes.append('%: of all images, of all instances; crowd and ignored regions are not counted')
    images = of_strata(title, rows, columns, notes)

    fractions = stratification.fractions[~gt.is_region]
    fractions = fractions[~np.isnan(fractions)].tolist()
    ranges = bins(FRACTION_EDGES, 'f')  # those that recall by instance has
    names = Column(clean(stratification.fraction), tuple(part.name for part in ranges), alias='fraction')
    counts = _counts('instances', [sum(map(part.contains, fractions)) for part in ranges], len(fractions))
    return [images, of_rows(f'instances of {clean(gt.source)}', names, counts)]


def _counts(title: str, counts: Sequence[int], whole: int) -> tuple[Column, Column]:
    return column(title, counts, int), column('%', counts, lambda value: value / (whole or math.nan), percent)
