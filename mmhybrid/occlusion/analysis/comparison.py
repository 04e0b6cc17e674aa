"""Models compared by paired bootstrap: both on the same resampled images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.text import clean

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
        judged: Of each stratum the rows of the instances that count, where these hang on the detections; else empty.
    """

    result: OcclusionResult
    detections: Detections | None = None
    matches: Matches | None = None
    kinds: np.ndarray | None = None
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    judged: Sequence[np.ndarray] = ()


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
        results = []
        for each in (each for group in by_type.values() for each in group):
            own = (pair for pair in pairs if any(each is one for one in pair))
            notes = (note for pair in own for note in _apart_note(*pair))
            results.append(replace(each.result, notes=(*each.result.notes, *notes)))
        return cls(tuple(results), tuple(_compare(*pair) for pair in pairs if all(each.samples for each in pair)))


def _apart(baseline: Evaluated, model: Evaluated) -> list[int]:
    """Positions of the strata in which the instances that count for one model are not those of the other."""
    both = zip(baseline.judged, model.judged, strict=True)
    return [i for i, pair in enumerate(both) if not np.array_equal(*pair)]


def _apart_note(baseline: Evaluated, model: Evaluated) -> Iterator[str]:
    """One line on these."""
    if apart := _apart(baseline, model):
        names = f'{clean(baseline.result.name)} and {clean(model.result.name)}'
        parts = ', '.join(
            f'{clean(baseline.result.strata[i].stratum.name)}: {len(baseline.judged[i]):,} and {len(model.judged[i]):,}'
            for i in apart
        )
        yield (
            f'{names} are judged on different instances ({parts}), since the script of '
            f'{baseline.result.measure.name} leaves out images without detections; their differences there say nothing'
        )


def _compare(baseline: Evaluated, model: Evaluated) -> Comparison:
    a, b = baseline.result, model.result
    differences, apart = [], _apart(baseline, model)
    for i, (row_a, row_b) in enumerate(zip(a.strata, b.strata, strict=True)):
        sizes = row_a.num_images, min(row_a.num_instances, row_b.num_instances)
        for key in baseline.samples:
            # Those of Quality have their values and intervals there.
            parts = [row if key in row.intervals else row.quality for row in (row_a, row_b)]
            values = [getattr(part, key) for part in parts]
            gap = values[1] - values[0]
            low = high = p_value = NAN
            if i not in apart and not any(math.isnan(part.intervals[key].low) for part in parts):
                low, high, p_value = bootstrap.paired(
                    baseline.samples[key][:, i], model.samples[key][:, i], gap, a.bootstrap.confidence
                )
            differences.append(Difference(row_a.stratum, *sizes, key, *values, gap, Interval(low, high), p_value))
    return Comparison(a.name, b.name, a.iou_type, a.bootstrap, tuple(differences))
