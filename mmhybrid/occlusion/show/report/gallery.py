"""The report's gallery: the images that cost each stratum most AP, drawn where they are at hand."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.errors import InputError

from ...analysis.costs import ImageCost, costliest
from ...analysis.errors import KINDS, NOT_COUNTED
from .pictures import GalleryGroup, GalleryImage, draw_gallery_image

if TYPE_CHECKING:
    from ...analysis.comparison import Evaluated
    from ...analysis.study import Study
    from ...read.detections import Detections


def make_gallery(
    study: Study, evaluated: Evaluated, dt: Detections, folder: str | PathLike[str] | None, count: int
) -> list[GalleryGroup]:
    """One group for each disjoint stratum with instances, and one for all images.

    Args:
        study: What was evaluated on.
        evaluated: One model by one IoU type, with error kinds.
        dt: Its detections.
        folder: Of the images, also those that links lead to; None draws nothing.
        count: Images a group.

    Returns:
        The groups in the order of the strata; cumulative strata would only show the same images again.
    """
    result, matches, details = evaluated.result, evaluated.matches, study.details
    groups = []
    for row, members in zip(result.strata, study.positions(matches), strict=True):
        if row.stratum.kind == 'cumulative' or not row.num_instances:
            continue
        costs = costliest(matches, evaluated.kinds, members, count, details.iou_thr, details.min_score)
        images = [_image(study, evaluated, dt, folder, cost) for cost in costs]
        groups.append(GalleryGroup(row.stratum.name, images, result.name, result.iou_type))
    return groups


def _image(
    study: Study, evaluated: Evaluated, dt: Detections, folder: str | PathLike[str] | None, cost: ImageCost
) -> GalleryImage:
    gt, matches = study.gt, evaluated.matches
    at = int(np.flatnonzero(gt.image_ids == cost.image_id)[0])
    file_name = str(gt.images[at].get('file_name', ''))
    errors = cost.errors
    counts = {
        'instances': errors.true_positive + errors.missed,
        'found': errors.true_positive,
        'missed': errors.missed,
        **{kind: getattr(errors, kind) for kind in errors.KINDS},
    }
    path, outside = _find(folder, file_name)
    position = int(np.searchsorted(matches.image_ids, cost.image_id))
    picture = None if path is None else _draw(study, evaluated, dt, path, position)
    return GalleryImage(gt.image_names[at], file_name, cost.cost, picture, counts, outside)


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


def _draw(study: Study, evaluated: Evaluated, dt: Detections, path: Path, position: int) -> bytes | None:
    gt, matches, kinds = study.gt, evaluated.matches, evaluated.kinds
    names = {row['id']: str(row.get('name', row['id'])) for row in gt.categories}
    threshold = int(np.argmin(abs(matches.iou_thrs - study.details.iou_thr)))
    rows = np.flatnonzero((matches.gt_image == position) & matches.gt_counted)
    shown = np.flatnonzero((matches.dt_image == position) & (kinds != NOT_COUNTED))
    taken = matches.dt_gt[threshold, shown]
    index = matches.dt_index[shown]
    masks = [dt.masks.rles(i, i + 1)[0] for i in index.tolist()] if matches.iou_type == 'segm' else None
    try:
        return draw_gallery_image(
            path,
            gt.boxes[rows],
            [names[i] for i in gt.category_ids[rows].tolist()],
            _boxes(dt, index, masks),
            [names[i] for i in dt.category_ids[index].tolist()],
            matches.dt_score[shown].tolist(),
            [KINDS[kind] for kind in kinds[shown].tolist()],
            (~np.isin(rows, taken)).tolist(),
            masks,
        )
    except InputError:  # a broken image is as good as one that is not there
        return None


def _boxes(dt: Detections, index: np.ndarray, masks: list | None) -> np.ndarray:
    if masks is None:
        return dt.boxes[index]
    from pycocotools import mask

    return mask.toBbox(masks).reshape(-1, 4) if masks else np.zeros((0, 4))
