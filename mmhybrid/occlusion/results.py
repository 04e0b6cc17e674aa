"""What an occlusion-stratified evaluation returns, and its JSON form.

AP, AR and recall are fractions in [0, 1], as pycocotools gives them. A stratum without ground truth has NaN, never
pycocotools' -1; JSON writes NaN, and a bound that is infinite, as null. ``docs/occlusion.md`` documents the JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from typing import Any

from .matching.settings import COCO, NAN, Metrics, Settings
from .parts import CategoryResult, Errors, InstanceRecall, Interval, Quality
from .strata import Measure, Stratum

SCHEMA = 'mmhybrid.occlusion'
# 2: sizes, intervals, errors, categories and recall by instance; `ratio` and `geometry` moved into `measure`.
# 3: notes, settings and `ignore`, by which instances marked so are no longer counted.
SCHEMA_VERSION = 3
HEAD = {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION}
METRICS = tuple(each.name for each in fields(Metrics))
# What is resampled and given by category; sizes are not.
SAMPLED = ('ap', 'ap50', 'ap75', 'ar')
# Strata under this many images are marked wherever results are shown.
MIN_IMAGES = 10
# Errors are told of detections that score at least this, at this IoU threshold, if not said otherwise.
MIN_SCORE, ERROR_IOU = 0.3, 0.5


@dataclass(frozen=True, kw_only=True)
class StratumResult(Metrics):
    """COCO metrics on the images of one stratum.

    By the preset ``crowdhuman``, ``ap`` is CrowdHuman's own AP at IoU above 0.5, ``ar`` the recall there, and the other
    metrics of COCO are NaN (see :mod:`mmhybrid.occlusion.analysis.crowdhuman`).

    Attributes:
        num_instances: Number of ground-truth instances on them that AP counts, i.e. without crowd and ignore regions.
        num_categories: Number of categories with such an instance; AP is the mean over these.
        instances_per_image: Density goes with occlusion and confounds it.
        ap_common: Mean AP over the categories that have instances in every filled stratum of enough images; NaN if not
            asked for, if there is no such category, or where one of them has no instance.
        mr: Log-average miss rate MR^-2 at IoU 0.5, lower is better; NaN if not asked for.
        miss_curve: Pairs of false positives an image and the miss rate there, at IoU 0.5; empty if not asked for.
        ji: CrowdHuman's JI by its preset, else NaN.
        ji_score: The score above which detections make it, the best of 0, 0.1, ..., 0.9.
        intervals: Bootstrap intervals of ``ap``, ``ap50``, ``ap75``, ``ar`` and, if asked for, ``mr`` and ``ji``; empty
            if none were asked for.
        errors: Error anatomy; None if not asked for.
        quality: Curves, best F1, calibration, oLRP and confusions; None if not asked for.
        categories: Per category, those with instances in the stratum; empty if not asked for.
    """

    stratum: Stratum
    num_images: int
    num_instances: int
    num_categories: int
    instances_per_image: float
    ap_common: float = NAN
    mr: float = NAN
    miss_curve: tuple[tuple[float, float], ...] = ()
    ji: float = NAN
    ji_score: float = NAN
    intervals: dict[str, Interval] = field(default_factory=dict)
    errors: Errors | None = None
    quality: Quality | None = None
    categories: tuple[CategoryResult, ...] = ()


@dataclass(frozen=True)
class Bootstrap:
    """How the intervals were made: images resampled with replacement, the same draws for every stratum and model."""

    resamples: int
    seed: int
    confidence: float = 0.95


@dataclass(frozen=True)
class OcclusionResult:
    """One model's metrics on every stratum, for one IoU type.

    Attributes:
        name: What the result is called in tables and figures.
        iou_type: ``'bbox'`` or ``'segm'``: how detections are matched.
        measure: What the strata are made by.
        engine: What matched and accumulated, ``'pycocotools'`` or ``'hotcoco'``.
        ground_truth: The file as given.
        detections: Likewise.
        strata: One result a stratum, in the order asked for.
        settings: How detections were matched.
        ignore: What instances marked ``ignore`` are: ``'region'``, as crowd regions, or ``'as-instances'``.
        masks: Which of two masks of an instance are matched, ``'amodal'`` or ``'visible'``; empty if it was not said.
        notes: What a reader should know before trusting the numbers, one line each.
        instances: Recall by the instances' own occlusion; empty if not asked for.
        fraction: What ``instances`` go by, e.g. ``'covered fraction f (bbox)'``; empty without them.
        category_names: Id and name of each category that was evaluated; empty without ``quality``.
        num_common_categories: How many categories ``ap_common`` is the mean of; None if not asked for.
        bootstrap: How intervals were made; None without any.
    """

    name: str
    iou_type: str
    measure: Measure
    engine: str
    ground_truth: str
    detections: str
    strata: tuple[StratumResult, ...]
    settings: Settings = COCO
    ignore: str = 'region'
    masks: str = ''
    notes: tuple[str, ...] = ()
    instances: tuple[InstanceRecall, ...] = ()
    fraction: str = ''
    category_names: tuple[tuple[int, str], ...] = ()
    num_common_categories: int | None = None
    bootstrap: Bootstrap | None = None

    @property
    def is_crowdhuman(self) -> bool:
        """Whether metrics are CrowdHuman's."""
        return self.measure == Measure('crowdhuman', 'instances', '')

    @property
    def all(self) -> StratumResult:
        """The result on all images, equal to plain COCO evaluation, or CrowdHuman's."""
        return next(result for result in self.strata if result.stratum.kind == 'all')

    @property
    def bins(self) -> tuple[StratumResult, ...]:
        """The results on the disjoint bins of the measure."""
        return self.of_kind('bin')

    @property
    def cumulative(self) -> tuple[StratumResult, ...]:
        """The results on the strata r >= t."""
        return self.of_kind('cumulative')

    @property
    def groups(self) -> tuple[StratumResult, ...]:
        """The results on the groups of the user's own labels."""
        return self.of_kind('group')

    def of_kind(self, kind: str) -> tuple[StratumResult, ...]:
        """The results on the strata of one kind, in order."""
        return tuple(result for result in self.strata if result.stratum.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``schema_version``."""
        return HEAD | plain(self)

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON text."""
        return _dumped(self.to_dict())


@dataclass(frozen=True)
class Difference:
    """Model minus baseline on one stratum, by paired bootstrap: both on the same resampled images.

    Attributes:
        num_instances: With the model on whose images fewer count; a benchmark may leave out those without detections.
        metric: ``'ap'``, ``'ap50'``, ``'ap75'``, ``'ar'``, ``'mr'``, ``'ji'``, ``'f1'``, ``'ece'`` or ``'olrp'``, whose
            values ``baseline`` and ``model`` are.
        difference: ``model - baseline``.
        interval: Bootstrap interval of the difference.
        p_value: Two-sided: how often resamples, shifted to the difference as their median, lie on the other side of 0,
            doubled; never 0.
    """

    stratum: Stratum
    num_images: int
    num_instances: int
    metric: str
    baseline: float
    model: float
    difference: float
    interval: Interval
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Paired differences between two models, named by ``model`` and ``baseline``, stratum by stratum."""

    baseline: str
    model: str
    iou_type: str
    bootstrap: Bootstrap
    differences: tuple[Difference, ...]


def to_json(results: Iterable[OcclusionResult], comparisons: Iterable[Comparison] = ()) -> str:
    """Several results (IoU types, models) and their comparisons as one JSON document."""
    found = [result.to_dict() for result in results]
    return _dumped(HEAD | {'results': found, 'comparisons': plain(list(comparisons))})


def _dumped(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, allow_nan=False) + '\n'


def plain(value: Any) -> Any:
    """For JSON: dataclasses as dictionaries, a stratum's fields before the others; NaN and infinite numbers as None."""
    if is_dataclass(value):
        value = dict(vars(value))
        value = vars(value.pop('stratum')) | value if 'stratum' in value else value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Real) and not isinstance(value, bool):
        number = int(value) if isinstance(value, Integral) else float(value)
        return number if math.isfinite(number) else None
    return value
