"""Ground truth and detections as strata see them: those of images as they are, each of instances with the others as
ignore regions, and by a benchmark's protocol with its margins."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError

from ..instance_strata import InstanceStratum
from ..matching import Index, Settings
from ..read.shapes import any_sizes
from .crowdhuman import IOU_THR

if TYPE_CHECKING:
    from ..protocols import Protocol
    from ..read.detections import Detections
    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification

# Names of the category that these benchmarks are of.
PEOPLE = re.compile(r'person|pedestrian|people', re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class View:
    """What some strata have in common.

    Attributes:
        at: Positions of the strata.
        gt: The ground truth as they see it.
        heights: Detections from the first of these heights in pixels on, and below the second, are looked at.
        protocol: A benchmark's, if it is one of its strata.
    """

    at: list[int]
    gt: GroundTruth
    heights: tuple[float, float] = (-np.inf, np.inf)
    protocol: Protocol | None = None

    def see(self, dt: Detections, settings: Settings, by_script: bool = True) -> tuple[GroundTruth, Detections, Index]:
        """Ground truth, detections and their index, to be matched; not ``by_script``, without what a benchmark's script
        alone does: leave out images without detections, and choose the best detections before heights."""
        gt, protocol = self.gt, self.protocol
        if protocol is None:
            return gt, dt, Index.of(gt, dt, settings)
        if protocol.aspect_ratio is not None:
            gt = replace(gt, boxes=_reshaped(gt.boxes, protocol.aspect_ratio, ~gt.is_region))
            dt = replace(dt, boxes=_reshaped(dt.boxes, protocol.aspect_ratio))
        if protocol.height_margin is not None:
            rows = np.sort(Index.of(gt, dt, settings).dt_index) if by_script else np.arange(len(dt))
            heights = dt.boxes[rows, 3]
            rows = rows[(heights >= self.heights[0]) & (heights < self.heights[1])]
            columns = ('image_ids', 'category_ids', 'scores', 'boxes')
            dt = replace(dt, **{name: getattr(dt, name)[rows] for name in columns})
        index = Index.of(gt, dt, settings)
        if by_script and not protocol.counts_empty_images:
            is_empty = ~index.inside(index.dt_image)
            gt = replace(gt, is_ignored=gt.is_ignored | is_empty[index.gt_image])
            index = Index.of(gt, dt, settings)
        return gt, dt, index


def views(gt: GroundTruth, made: Stratification) -> list[View]:
    """The views of all strata: first the one of all strata of images."""
    found = [View([i for i, part in enumerate(made.strata) if not isinstance(part, InstanceStratum)], gt)]
    same: dict[bytes, View] = {}
    for i, part in enumerate(made.strata):
        if not isinstance(part, InstanceStratum):
            continue
        view = _of_instances(gt, part, made.holds[part], made.protocol)
        key = view.gt.is_ignored.tobytes() + repr(view.heights).encode()
        # The same instances on other images, by day and by night, are matched once.
        same.setdefault(key, view).at.append(i)
    return found + list(same.values())


def _of_instances(gt: GroundTruth, part: InstanceStratum, holds: np.ndarray, protocol: Protocol | None) -> View:
    heights = (-np.inf, np.inf)
    if protocol is not None and protocol.border is not None:
        start, end = gt.boxes[:, :2], gt.boxes[:, :2] + gt.boxes[:, 2:]
        holds = holds & (start >= protocol.border[:2]).all(axis=1) & (end <= protocol.border[2:]).all(axis=1)
    if protocol is not None and protocol.height_margin is not None:
        margin = protocol.height_margin
        heights = next((each.lower / margin, each.upper * margin) for each in part.ranges if each.attribute == 'height')
    return View([], replace(gt, is_ignored=gt.is_ignored | ~holds), heights, protocol)


def settings_of(protocol: Protocol | None, asked: Settings, gt: GroundTruth) -> Settings:
    """What is asked for, and the usual number of detections and category where none is, a protocol's or COCO's.

    Raises:
        InputError: IoU thresholds that the protocol has not, or several categories of which none is the protocol's.
    """
    if protocol is None:
        return asked.limited()
    asked = asked.limited(protocol.max_dets)
    if protocol.is_crowdhuman:
        if asked.iou_thrs not in (Settings.iou_thrs, (0.5,), (IOU_THR,)):
            raise InputError(f'the preset {protocol.name} evaluates at IoU 0.5 alone; leave IoU thresholds out.')
        asked = replace(asked, iou_thrs=(IOU_THR,))
    if asked.categories is None and not asked.class_agnostic:
        known = [category['id'] for category in gt.categories]
        if protocol.category not in known and len(known) > 1:
            raise InputError(
                f'{gt.source}: the preset {protocol.name} evaluates the category {protocol.category}, which is none of '
                f'{", ".join(map(str, known[:10]))}; name the one to evaluate (--categories).'
            )
        chosen = protocol.category if protocol.category in known else known[0]
        filled = np.unique(gt.category_ids[~gt.is_region]).tolist()
        if filled and chosen not in filled:
            raise InputError(
                f'{gt.source}: the preset {protocol.name} evaluates the category {chosen}, of which none counts; '
                'name the one to evaluate (--categories).'
            )
        asked = replace(asked, categories=(chosen,))
    return asked


def notes_of(protocol: Protocol | None, settings: Settings, gt: GroundTruth) -> Iterator[str]:
    """What does not fit a protocol: the name of its category, and the size of the images where there is a border."""
    if protocol is None or settings.categories is None:
        return
    names = {category['id']: str(category['name']) for category in gt.categories}
    name = names.get(settings.categories[0], '')
    others = [other for other in names.values() if PEOPLE.search(other) and other != name]
    if name and others and not PEOPLE.search(name):
        yield (
            f'{gt.source}: the preset {protocol.name} evaluates the category {settings.categories[0]}, {name!r}; if '
            f'{others[0]!r} is meant, name it (--categories)'
        )
    if protocol.border is None:
        return
    sizes = any_sizes(gt.images)
    wrong = ~np.isnan(sizes).any(axis=1) & (sizes != protocol.size).any(axis=1)
    if wrong.any():
        height, width = protocol.size
        yield (
            f'{gt.source}: {wrong.sum()} of {len(wrong)} images are not of {width}x{height} pixels, as those of '
            f'{protocol.name} are, whose rules on borders and heights are in pixels'
        )


def _reshaped(boxes: np.ndarray, ratio: float, which: np.ndarray | bool = True) -> np.ndarray:
    """Boxes of the width ``ratio`` times their height, around the same centre."""
    x, y, width, height = boxes.T
    wanted = np.where(which, ratio * height, width)
    return np.stack([x + (width - wanted) / 2, y, wanted, height], axis=1)
