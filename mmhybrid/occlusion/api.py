"""The calls most users need: :func:`evaluate`, :func:`compare` and :func:`image_ratios`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhybrid.errors import InputError

from . import ratios
from .analysis import study
from .analysis.study import Details, Evaluated, Study
from .read.detections import IOU_TYPES, Reader, load_detections
from .read.ground_truth import GroundTruth, load_ground_truth
from .results import Comparison, OcclusionResult
from .selection import Selection

if TYPE_CHECKING:
    from .read.detections import Detections
    from .strata import Stratum

# p is never below 2 / (resamples + 1), and many strata are tested.
COMPARE_RESAMPLES = 1000

PathOr = str | PathLike[str]
Results = PathOr | list[dict[str, Any]]
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Compared:
    """Several models on one ground truth.

    Attributes:
        results: Of each IoU type, of each model, in the order given.
        comparisons: Of each IoU type, each model but the first against the first.
    """

    results: tuple[OcclusionResult, ...]
    comparisons: tuple[Comparison, ...]


def image_ratios(
    gt: PathOr | dict[str, Any] | GroundTruth, definition: str = 'covered', geometry: str = 'bbox'
) -> dict[int, float]:
    """Occlusion ratio of every image (see :mod:`mmhybrid.occlusion.ratios`).

    Instances with ``iscrowd`` or ``ignore`` set are left out: a crowd region covers instances without being one.

    Args:
        gt: COCO ground truth: a path, the loaded dictionary or the checked form.
        definition: One of ``ratios.DEFINITIONS``.
        geometry: One of ``ratios.GEOMETRIES``.

    Returns:
        image id -> r, in the order of the file's images; 0 with one instance or none.

    Raises:
        InputError: The ground truth cannot be used.
    """
    if not isinstance(gt, GroundTruth):
        gt = load_ground_truth(gt, (geometry,))
    return ratios.measure(gt, definition, geometry).ratios


def evaluate(
    gt: PathOr | dict[str, Any],
    dt: Results,
    iou_types: Sequence[str] = ('bbox',),
    by: Selection | Iterable[Stratum] | None = None,
    name: str | None = None,
    engine: str | None = None,
    details: Details | None = None,
    progress: Progress = lambda message: None,
) -> dict[str, OcclusionResult]:
    """COCO AP and AR by how occluded the images are.

    Args:
        gt: COCO ground truth: a path (``.json``, ``.json.gz``) or the loaded dictionary.
        dt: Results of any framework: a path (COCO JSON, plain or gzip, or MMDetection's ``.pkl``) or the loaded list.
        iou_types: ``'bbox'``, ``'segm'`` or both.
        by: What puts images into strata, or the strata of the ratio ``covered`` themselves; by default the preset
            ``tbc``. The stratum ``all`` is put first if missing.
        name: What to call the result; by default the results file's name.
        engine: ``'pycocotools'`` or ``'hotcoco'``, by default the quicker one that is installed: the numbers are equal.
            A process forked after hotcoco was loaded has pycocotools only (see :mod:`mmhybrid.occlusion.matching`).
        details: Categories, recall by instance, errors and intervals; by default none of them.
        progress: Called with a few words before each long step.

    Returns:
        One result for each IoU type, in the order asked for.

    Raises:
        InputError: A file, a record or an argument cannot be used.
    """
    models = {default_name(dt) if name is None else name: dt}
    with reading_begun(models, iou_types) as begun:
        opened = open_study(gt, iou_types, by, engine, details, progress)
        return {each.result.iou_type: each.result for each, _ in evaluations(opened, begun, iou_types, progress)}


def compare(
    gt: PathOr | dict[str, Any],
    models: Mapping[str, Results],
    iou_types: Sequence[str] = ('bbox',),
    by: Selection | Iterable[Stratum] | None = None,
    engine: str | None = None,
    details: Details | None = None,
    progress: Progress = lambda message: None,
) -> Compared:
    """Evaluate several models and compare each with the first by paired bootstrap.

    Arguments and errors are those of :func:`evaluate`, but:

    Args:
        models: Name -> results; the first is the baseline.
        details: By default ``COMPARE_RESAMPLES`` bootstrap resamples and nothing else.
    """
    details = Details(resamples=COMPARE_RESAMPLES) if details is None else details
    with reading_begun(models, iou_types) as begun:
        opened = open_study(gt, iou_types, by, engine, details, progress)
        return collect([each for each, _ in evaluations(opened, begun, iou_types, progress)])


@contextmanager
def reading_begun(models: Mapping[str, Results], iou_types: Sequence[str]) -> Iterator[dict[str, Results | Reader]]:
    """The models for :func:`evaluations`, by the same IoU types, while other processes begin to read the first one's
    results: the ground truth can be read meanwhile."""
    (name, first), *others = models.items()
    with Reader(first, checked_iou_types(iou_types)) as reader:
        yield {name: reader, **dict(others)}


def open_study(
    gt: PathOr | dict[str, Any],
    iou_types: Sequence[str] = ('bbox',),
    by: Selection | Iterable[Stratum] | None = None,
    engine: str | None = None,
    details: Details | None = None,
    progress: Progress = lambda message: None,
) -> Study:
    """Read ground truth and put its images into strata; arguments and errors are those of :func:`evaluate`."""
    iou_types = checked_iou_types(iou_types)
    if by is not None and not isinstance(by, Selection):
        by = Selection(parts=tuple(by))
    by = Selection() if by is None else by
    progress('reading ground truth')
    checked = load_ground_truth(gt, tuple(dict.fromkeys((*iou_types, *by.geometries()))))
    progress('measuring occlusion')
    return Study(checked, by.apply(checked), engine, details, progress)


def evaluations(
    opened: Study,
    models: Mapping[str, Results | Reader],
    iou_types: Sequence[str],
    progress: Progress = lambda message: None,
) -> Iterator[tuple[Evaluated, Detections]]:
    """Evaluate model after model, so that one model's detections are in memory at a time.

    Args:
        opened: The study.
        models: Name -> results, or a reader of them for the same IoU types.
        iou_types: As the study was opened with.
        progress: Called with a few words before each long step.

    Yields:
        Each model by each IoU type, with its detections.

    Raises:
        InputError: Results that cannot be used.
    """
    iou_types = checked_iou_types(iou_types)
    for name, results in models.items():
        progress(f'{name}: reading results')
        dt = results.load(opened.gt) if isinstance(results, Reader) else load_detections(results, opened.gt, iou_types)
        for iou_type in iou_types:
            yield opened.evaluate(dt, name, iou_type), dt


def collect(evaluated: Sequence[Evaluated]) -> Compared:
    """Results by IoU type, and each model's comparison with the first of the type if they were resampled."""
    kinds = list(dict.fromkeys(each.result.iou_type for each in evaluated))
    by_type = [[each for each in evaluated if each.result.iou_type == kind] for kind in kinds]
    comparisons = [
        study.compare(first, other) for first, *others in by_type for other in others if first.samples and other.samples
    ]
    return Compared(tuple(each.result for group in by_type for each in group), tuple(comparisons))


def default_name(results: Results) -> str:
    """A results file's name without folder and ``.json``, ``.json.gz`` or ``.pkl``; ``results`` for a loaded list."""
    if not isinstance(results, str | PathLike):
        return 'results'
    name = Path(results).name.removesuffix('.gz')
    return next((name.removesuffix(end) for end in ('.json', '.pkl', '.pickle') if name.endswith(end)), name)


def checked_iou_types(iou_types: Sequence[str]) -> tuple[str, ...]:
    """The IoU types, each once.

    Raises:
        InputError: None is given, or one is unknown.
    """
    iou_types = (iou_types,) if isinstance(iou_types, str) else tuple(dict.fromkeys(iou_types))
    unknown = [iou_type for iou_type in iou_types if iou_type not in IOU_TYPES]
    if unknown or not iou_types:
        raise InputError(f'IoU types {list(iou_types)} cannot be evaluated; choose from {", ".join(IOU_TYPES)}.')
    return iou_types
