"""What an occlusion-stratified evaluation returns, and its JSON form.

AP and AR are fractions in [0, 1], as pycocotools gives them. A stratum without ground truth has NaN, never
pycocotools' -1; JSON writes NaN, and a bound that is infinite, as null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from .strata import Stratum

SCHEMA = 'mmhybrid.occlusion'
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class StratumResult:
    """COCO metrics (at most 100 detections an image, all areas) on the images of one stratum.

    Attributes:
        stratum: Which images.
        num_images: Number of images in the stratum.
        num_instances: Number of ground-truth instances on them that AP counts, i.e. without crowd regions.
        num_categories: Number of categories with such an instance; AP is the mean over these.
        instances_per_image: ``num_instances / num_images``; density goes with occlusion and confounds it.
        ap: AP averaged over IoU 0.50:0.95.
        ap50: AP at IoU 0.50.
        ap75: AP at IoU 0.75.
        ar: AR averaged over IoU 0.50:0.95.
    """

    stratum: Stratum
    num_images: int
    num_instances: int
    num_categories: int
    instances_per_image: float
    ap: float
    ap50: float
    ap75: float
    ar: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the stratum's fields first; NaN and infinite numbers are None."""
        fields = asdict(self)
        fields = fields.pop('stratum') | fields
        return {key: None if _no_number(value) else value for key, value in fields.items()}


@dataclass(frozen=True)
class OcclusionResult:
    """One model's metrics on every stratum, for one IoU type.

    Attributes:
        name: What the result is called in tables and figures.
        iou_type: ``'bbox'`` or ``'segm'``: how detections are matched.
        ratio: Definition of the occlusion ratio, ``'covered'``.
        geometry: What the ratio is measured on, ``'bbox'``.
        engine: What matched and accumulated, ``'pycocotools'``.
        ground_truth: The ground-truth file as given.
        detections: The results file as given.
        strata: One result a stratum, in the order asked for.
    """

    name: str
    iou_type: str
    ratio: str
    geometry: str
    engine: str
    ground_truth: str
    detections: str
    strata: tuple[StratumResult, ...]

    @property
    def all(self) -> StratumResult:
        """The result on all images, equal to plain COCO evaluation."""
        return next(result for result in self.strata if result.stratum.kind == 'all')

    @property
    def bins(self) -> tuple[StratumResult, ...]:
        """The results on the disjoint bins of r."""
        return tuple(result for result in self.strata if result.stratum.kind == 'bin')

    @property
    def cumulative(self) -> tuple[StratumResult, ...]:
        """The results on the strata r >= t."""
        return tuple(result for result in self.strata if result.stratum.kind == 'cumulative')

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, with ``schema_version``."""
        fields = {key: getattr(self, key) for key in self.__dataclass_fields__ if key != 'strata'}
        strata = [result.to_dict() for result in self.strata]
        return {'schema': SCHEMA, 'schema_version': SCHEMA_VERSION, **fields, 'strata': strata}

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + '\n'


def to_json(results: Iterable[OcclusionResult]) -> str:
    """Several results (IoU types, models) as one JSON document: ``schema``, ``schema_version``, ``results``."""
    document = {
        'schema': SCHEMA,
        'schema_version': SCHEMA_VERSION,
        'results': [result.to_dict() for result in results],
    }
    return json.dumps(document, indent=2, allow_nan=False) + '\n'


def _no_number(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
