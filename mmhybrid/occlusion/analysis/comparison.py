"""Models compared by paired bootstrap: both on the same resampled images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ..results import NAN, Comparison, Difference, Interval, OcclusionResult
from . import bootstrap

if TYPE_CHECKING:
    from ..matching import Matches
    from ..read.detections import Detections


@dataclass(frozen=True)
class Evaluated:
    """One model by one IoU type, with what comparisons and galleries go on from.

    Attributes:
        matches: If any detail was asked for.
        kinds: Error kind of each detection of ``matches``, if asked for.
        samples: Metric name -> ``(R, S)`` values of each resample and stratum, if asked for.
    """

    result: OcclusionResult
    detections: Detections | None = None
    matches: Matches | None = None
    kinds: np.ndarray | None = None
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Compared:
    """Several models on one ground truth.

    Attributes:
        results: Of each IoU type, of each model, in the order given.
        comparisons: Of each IoU type, each model but the first against the first, if they were resampled.
    """

    results: tuple[OcclusionResult, ...]
    comparisons: tuple[Comparison, ...]

    @classmethod
    def of(cls, evaluated: Iterable[Evaluated]) -> Compared:
        """What a study's run gives, model after model."""
        by_type: dict[str, list[Evaluated]] = {}
        for each in evaluated:
            # What is large, a comparison does not need.
            small = replace(each, detections=None, matches=None, kinds=None)
            by_type.setdefault(each.result.iou_type, []).append(small)
        pairs = [(first, other) for first, *others in by_type.values() for other in others]
        return cls(
            tuple(each.result for group in by_type.values() for each in group),
            tuple(_compare(*pair) for pair in pairs if all(each.samples for each in pair)),
        )


def _compare(baseline: Evaluated, model: Evaluated) -> Comparison:
    a, b = baseline.result, model.result
    differences = []
    for i, (row_a, row_b) in enumerate(zip(a.strata, b.strata, strict=True)):
        for key in baseline.samples:
            # Those of Quality have their values and intervals there.
            parts = [row if key in row.intervals else row.quality for row in (row_a, row_b)]
            values = [getattr(part, key) for part in parts]
            gap = values[1] - values[0]
            low = high = p_value = NAN
            if not any(math.isnan(part.intervals[key].low) for part in parts):
                low, high, p_value = bootstrap.paired(
                    baseline.samples[key][:, i], model.samples[key][:, i], gap, a.bootstrap.confidence
                )
            differences.append(
                Difference(row_a.stratum, row_a.num_images, key, *values, gap, Interval(low, high), p_value)
            )
    return Comparison(a.name, b.name, a.iou_type, a.bootstrap, tuple(differences))
