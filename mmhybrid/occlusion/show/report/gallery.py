"""The report's gallery: the images that cost each stratum most AP, drawn where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError

from ...analysis.costs import ImageCost, costliest
from ...analysis.errors import KINDS, NOT_COUNTED
from ...read.ids import file_name
from .pictures import Picture, Shown, draw_picture

if TYPE_CHECKING:
    from ...analysis.comparison import Evaluated
    from ...analysis.study import Study


@dataclass(frozen=True)
class GalleryImage:
    """One image of the gallery."""

    image_id: int | str
    file_name: str
    cost: float  # AP of the stratum without the image less AP with it, a fraction like AP itself
    picture: Picture | None = None  # None if the image is not at hand
    counts: Mapping[str, int] = field(default_factory=dict)  # to say below it: {'instances': 12, 'missed': 3}
    outside: str = ''  # where its file would be, if that is outside of the images' folder, so that it was not opened


@dataclass(frozen=True)
class GalleryGroup:
    """The images shown for one stratum, of one model by one IoU type."""

    stratum: str
    images: Sequence[GalleryImage]
    model: str = ''
    iou_type: str = ''
    kind: str = ''  # of the stratum


def make_gallery(
    study: Study, evaluated: Evaluated, folder: str | PathLike[str] | None, count: int
) -> list[GalleryGroup]:
    """The costliest images, ``count`` for each disjoint stratum with instances and for all images.

    They are taken from ``folder``, links that lead out of it left alone; None draws nothing. ``evaluated`` must have
    error kinds. Cumulative strata are left out: they would only show the same images again. So are strata of instances,
    whose matches are others, and all of CrowdHuman's, whose AP has no such cost.
    """
    result, matches, details = evaluated.result, evaluated.matches, study.details
    groups = []
    for row, members in zip(result.strata, study.members, strict=True):
        if row.stratum.kind in ('cumulative', 'instances') or not row.num_instances or result.is_crowdhuman:
            continue
        costs = costliest(matches, evaluated.kinds, members, count, details.iou_thr, details.min_score)
        images = [_image(study, evaluated, folder, cost) for cost in costs]
        groups.append(GalleryGroup(row.stratum.name, images, result.name, result.iou_type, row.stratum.kind))
    return groups


def _image(study: Study, evaluated: Evaluated, folder: str | PathLike[str] | None, cost: ImageCost) -> GalleryImage:
    gt, errors = study.gt, cost.errors
    at = int(np.flatnonzero(gt.image_ids == cost.image_id)[0])
    name = file_name(gt.images[at])
    counts = {
        'instances': errors.true_positive + errors.missed,
        'found': errors.true_positive,
        'missed': errors.missed,
        **{kind: getattr(errors, kind) for kind in errors.KINDS},
    }
    path, outside = _find(folder, name)
    picture = None if path is None else _draw(study, evaluated, path, cost.image_id)
    return GalleryImage(gt.image_names[at], name, cost.cost, picture, counts, outside)


def _find(folder: str | PathLike[str] | None, file_name: str) -> tuple[Path | None, str]:
    """The file of an image, or None and, if it would be outside of the folder, where.

    Reports are passed on, so nothing goes into one but what the user gave: a name in a file from elsewhere may be
    absolute or climb up, and a link may lead anywhere. What is outside is not even looked at.
    """
    outside = ''
    # Some data sets give the name with folders that the user's copy does not have.
    for name in (file_name, Path(file_name).name) if folder is not None and file_name else ():
        try:
            path = Path(os.path.realpath(Path(folder, name)))
            if not path.is_relative_to(os.path.realpath(folder)):
                outside = outside or str(path)
            elif path.is_file():
                return path, ''
        except (OSError, ValueError):  # no file can have this name
            continue
    return None, outside


def _draw(study: Study, evaluated: Evaluated, path: Path, image_id: int) -> Picture | None:
    gt, dt, matches, kinds = study.gt, evaluated.detections, evaluated.matches, evaluated.kinds
    names = {row['id']: str(row.get('name', row['id'])) for row in gt.categories}
    position = np.searchsorted(matches.image_ids, image_id)
    threshold = np.argmin(abs(matches.iou_thrs - study.details.iou_thr))
    rows = np.flatnonzero((matches.gt_image == position) & matches.gt_counted)
    shown = np.flatnonzero((matches.dt_image == position) & (kinds != NOT_COUNTED))
    index = matches.dt_index[shown]
    taken = matches.dt_gt[threshold, shown]
    if matches.iou_type == 'segm' and len(index):
        from pycocotools.mask import toBbox

        masks = dt.masks.take(index)
        boxes = toBbox(masks)
    else:
        masks = [None] * len(index)
        boxes = dt.boxes[index]
    truths = zip(gt.boxes[rows], gt.category_ids[rows].tolist(), np.isin(rows, taken).tolist(), strict=True)
    fields = dt.category_ids[index], kinds[shown], matches.dt_score[shown]
    detections = zip(boxes, *(values.tolist() for values in fields), masks, strict=True)
    try:
        return draw_picture(
            path,
            [
                *(Shown(box, names[i], 'found' if found else 'missed') for box, i, found in truths),
                *(Shown(box, names[i], KINDS[kind], score, mask) for box, i, kind, score, mask in detections),
            ],
        )
    except InputError:  # a broken image is as good as one that is not there
        return None
