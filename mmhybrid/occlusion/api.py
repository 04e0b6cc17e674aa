"""The two calls most users need: :func:`evaluate` and :func:`image_ratios`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from mmhybrid.errors import InputError

from . import ratio
from .engine import ENGINES, Matched
from .io import IOU_TYPES, GroundTruth, load_detections, load_ground_truth
from .results import OcclusionResult, StratumResult
from .strata import Stratum, all_images, tbc

PathOr = str | PathLike[str]


def image_ratios(gt: PathOr | dict[str, Any] | GroundTruth) -> dict[int, float]:
    """Occlusion ratio ``covered`` of every image (see :mod:`mmhybrid.occlusion.ratio`).

    Instances with ``iscrowd`` or ``ignore`` set are left out: a crowd region covers instances without being one.

    Args:
        gt: COCO ground truth: a path, the loaded dictionary or the checked form.

    Returns:
        image id -> r in ``[0, 1]``, in the order of the file's images; 0 with one instance or none.

    Raises:
        InputError: The ground truth cannot be used.
    """
    if not isinstance(gt, GroundTruth):
        gt = load_ground_truth(gt)
    counted = ~(gt.is_crowd | gt.is_ignored)
    return ratio.ratios_per_image(gt.image_ids, gt.annotation_image_ids[counted], gt.boxes[counted])


def evaluate(
    gt: PathOr | dict[str, Any],
    dt: PathOr | list[dict[str, Any]],
    iou_types: Sequence[str] = ('bbox',),
    strata: Iterable[Stratum] | None = None,
    name: str | None = None,
    engine: str = 'pycocotools',
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, OcclusionResult]:
    """COCO AP and AR by how occluded the images are.

    Args:
        gt: COCO ground truth: a path (``.json``, ``.json.gz``) or the loaded dictionary.
        dt: COCO results of any framework: a path or the loaded list.
        iou_types: ``'bbox'``, ``'segm'`` or both.
        strata: Which image strata; by default :func:`mmhybrid.occlusion.strata.tbc`. ``all`` is put first if missing.
        name: What to call the result; by default the results file's name.
        engine: Which engine matches and accumulates.
        progress: Called with a few words before each long step.

    Returns:
        One result for each IoU type, in the order asked for.

    Raises:
        InputError: A file, a record or an argument cannot be used.
    """
    iou_types = _checked_iou_types(iou_types)
    strata = _checked_strata(strata)
    if engine not in ENGINES:
        raise InputError(f'unknown engine {engine!r}; choose from {", ".join(ENGINES)}.')
    progress('reading ground truth')
    checked_gt = load_ground_truth(gt, with_masks='segm' in iou_types)
    progress('reading results')
    checked_dt = load_detections(dt, checked_gt, iou_types)
    progress('measuring occlusion')
    ratios = image_ratios(checked_gt)
    members = {stratum: stratum.members(ratios) for stratum in strata}
    results = {}
    for iou_type in iou_types:
        progress(f'matching {iou_type}: {len(checked_dt.scores):,} detections, {len(checked_gt.images):,} images')
        matched = ENGINES[engine](checked_gt, checked_dt, iou_type)
        progress(f'accumulating {iou_type}: {len(strata)} strata')
        results[iou_type] = OcclusionResult(
            name=name if name is not None else default_name(checked_dt.source),
            iou_type=iou_type,
            ratio=ratio.DEFINITION,
            geometry=ratio.GEOMETRY,
            engine=engine,
            ground_truth=checked_gt.source,
            detections=checked_dt.source,
            strata=tuple(_on_stratum(s, ids, checked_gt, matched) for s, ids in members.items()),
        )
    return results


def default_name(results: PathOr) -> str:
    """A results file's name without folder and ``.json`` or ``.json.gz``."""
    return Path(results).name.removesuffix('.gz').removesuffix('.json')


def _on_stratum(stratum: Stratum, image_ids: list[int], gt: GroundTruth, matched: Matched) -> StratumResult:
    metrics = matched.accumulate(image_ids)
    counted = np.isin(gt.annotation_image_ids, np.array(image_ids, dtype=np.int64)) & ~gt.is_crowd
    num_instances = int(counted.sum())
    return StratumResult(
        stratum=stratum,
        num_images=len(image_ids),
        num_instances=num_instances,
        num_categories=len(np.unique(gt.category_ids[counted])),
        instances_per_image=num_instances / len(image_ids) if image_ids else float('nan'),
        ap=metrics.ap,
        ap50=metrics.ap50,
        ap75=metrics.ap75,
        ar=metrics.ar,
    )


def _checked_iou_types(iou_types: Sequence[str]) -> tuple[str, ...]:
    iou_types = (iou_types,) if isinstance(iou_types, str) else tuple(dict.fromkeys(iou_types))
    unknown = [iou_type for iou_type in iou_types if iou_type not in IOU_TYPES]
    if unknown or not iou_types:
        raise InputError(f'IoU types {list(iou_types)} cannot be evaluated; choose from {", ".join(IOU_TYPES)}.')
    return iou_types


def _checked_strata(strata: Iterable[Stratum] | None) -> tuple[Stratum, ...]:
    strata = tbc() if strata is None else tuple(dict.fromkeys(strata))
    if not any(stratum.kind == 'all' for stratum in strata):
        strata = (all_images(), *strata)
    names = [stratum.name for stratum in strata]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f'strata share the name {repeated[0]!r}; give every stratum its own name.')
    return strata
