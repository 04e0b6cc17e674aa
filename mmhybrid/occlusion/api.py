"""The calls most users need: :func:`evaluate`, :func:`compare` and :func:`image_ratios`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import ratios
from .analysis.comparison import Compared
from .analysis.details import Details
from .analysis.study import ModelResults, PathOr, Progress, Study, silent
from .matching import Settings
from .read.ground_truth import GroundTruth, load_ground_truth
from .results import OcclusionResult
from .selection import Selection

if TYPE_CHECKING:
    from .strata import Stratum

# p is never below 2 / (resamples + 1), and many strata are tested.
COMPARE_RESAMPLES = 1000
# What a results file's name ends with.
SUFFIX = re.compile(r'(\.(jsonl?|pkl|pickle|pth))?(\.(gz|bz2|xz|lzma|zst|zip))?$')


def image_ratios(
    gt: PathOr | dict[str, Any] | GroundTruth,
    definition: str = 'covered',
    geometry: str = 'bbox',
    ignore: str = 'region',
) -> dict[int | str, float]:
    """Occlusion ratio of every image (see :mod:`mmhybrid.occlusion.ratios`).

    Crowd regions are left out: they cover instances without being one.

    Args:
        gt: COCO ground truth: a path, the loaded dictionary or the checked form.
        definition: One of ``ratios.DEFINITIONS``.
        geometry: One of ``ratios.GEOMETRIES``.
        ignore: As in :func:`evaluate`, where ``gt`` is not checked yet.

    Returns:
        image id, as the file has it, -> r, in the order of the file's images; 0 with one instance or none.

    Raises:
        InputError: The ground truth cannot be used.
    """
    if not isinstance(gt, GroundTruth):
        gt = load_ground_truth(gt, (geometry,), (), ignore)
    found = ratios.measure(gt, definition, geometry).ratios
    return dict(zip(gt.ids.names if gt.ids else found, found.values(), strict=True))


def evaluate(
    gt: PathOr | dict[str, Any],
    dt: ModelResults,
    iou_types: Sequence[str] = ('bbox',),
    by: Selection | Iterable[Stratum] | None = None,
    name: str | None = None,
    engine: str | None = None,
    details: Details | None = None,
    progress: Progress = silent,
    settings: Settings | None = None,
    ignore: str = 'region',
    masks: str | None = None,
) -> dict[str, OcclusionResult]:
    """COCO AP and AR by how occluded the images are.

    Args:
        gt: COCO ground truth: a path, plain or packed, or the loaded dictionary.
        dt: Results of any framework: a path, several paths that are read as one model's, or the loaded list.
        iou_types: ``'bbox'``, ``'segm'`` or both.
        by: What puts images into strata, or the strata of the ratio ``covered`` themselves; by default the preset
            ``tbc``. The stratum ``all`` is put first if missing.
        name: What to call the result; by default the results file's name.
        engine: ``'pycocotools'`` or ``'hotcoco'``, by default the quicker one that is installed and may be used (see
            :mod:`mmhybrid.occlusion.matching`): the numbers are equal.
        details: Categories, recall by instance, errors and intervals; by default none of them.
        progress: Called with a few words before each long step.
        settings: IoU thresholds, limit of detections, categories; by default COCO's. Strata are by all instances,
            whatever categories are evaluated: what hides an instance may be of another.
        ignore: What instances marked ``ignore`` are: ``'region'``, like crowd regions, on which a detection is neither
            right nor wrong, or ``'as-instances'``, as plain pycocotools has it.
        masks: Which masks detections are matched with, where the ground truth has two of an instance, as KINS, COCOA,
            D2SA and the synthetic set have: ``'amodal'``, hidden parts included, or ``'visible'``. Areas and boxes are
            then of these too (``docs/amodal.md``). None for the fields ``segmentation`` and ``bbox`` as they are.

    Returns:
        One result for each IoU type, in the order asked for.

    Raises:
        InputError: A file, a record or an argument cannot be used.
    """
    name = default_name(dt) if name is None else name
    study = Study(gt, iou_types, by, settings, engine, details, progress, ignore, masks)
    return {each.result.iou_type: each.result for each in study.run({name: dt})}


def compare(
    gt: PathOr | dict[str, Any],
    models: Mapping[str, ModelResults],
    iou_types: Sequence[str] = ('bbox',),
    by: Selection | Iterable[Stratum] | None = None,
    engine: str | None = None,
    details: Details | None = None,
    progress: Progress = silent,
    settings: Settings | None = None,
    ignore: str = 'region',
    masks: str | None = None,
) -> Compared:
    """Evaluate several models and compare each with the first by paired bootstrap.

    Arguments and errors are those of :func:`evaluate`, but:

    Args:
        models: Name -> results, of two models at least; the first is the baseline.
        details: With bootstrap resamples; by default ``COMPARE_RESAMPLES`` and nothing else.
    """
    if not isinstance(models, Mapping) or len(models) < 2:
        given = show(list(models)) if isinstance(models, Mapping) else f'of the type {type(models).__name__}'
        raise InputError(f'the models are {given}; give a dictionary of at least two names and their results.')
    details = Details(resamples=COMPARE_RESAMPLES) if details is None else details
    if isinstance(details, Details) and not details.resamples:
        raise InputError(f'a comparison needs bootstrap resamples; give Details(resamples={COMPARE_RESAMPLES}, ...).')
    return Compared.of(Study(gt, iou_types, by, settings, engine, details, progress, ignore, masks).run(models))


def default_name(results: ModelResults) -> str:
    """A results file's name without folder and suffixes; ``results`` for a loaded list.

    Of several files what their names have in common: ``dt_rank0.json`` and ``dt_rank1.json`` are ``dt_rank``.
    """
    paths = results if isinstance(results, list | tuple) else [results]
    if not paths or not all(isinstance(path, str | PathLike) for path in paths):
        return 'results'
    names = [SUFFIX.sub('', Path(path).name, count=1) for path in paths]
    shared = os.path.commonprefix(names).rstrip('._- ')  # noqa: RUF071 names, not paths
    return shared if len(names) > 1 and shared else names[0]
