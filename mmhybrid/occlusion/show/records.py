"""Results as flat records, one dictionary a row, for CSV files and pandas.

Every record of one kind has the same keys, whatever was asked for: what is missing is NaN. Metrics stay fractions in
[0, 1] at full precision.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from numbers import Integral, Real
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mmhybrid.text import escaped

from ..read.ids import file_name
from ..results import (
    METRICS,
    NAN,
    SAMPLED,
    Bootstrap,
    Comparison,
    Errors,
    Interval,
    OcclusionResult,
    Quality,
    StratumResult,
)  # fmt: skip
from .distribution import instances_per_image
from .given import listed

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification

Record = dict[str, Any]
RECALLS = ('recall50', 'recall75', 'recall')
# Column -> field.
_MEASURE = {'measure': 'measure.name', 'definition': 'measure.definition', 'geometry': 'measure.geometry'}
_FILES = {'engine': 'engine', 'ground_truth': 'ground_truth', 'detections': 'detections'}
_ORIGIN = {'model': 'name', 'iou_type': 'iou_type', **_MEASURE, **_FILES}
_STRATUM = {'stratum': 'stratum.name', 'kind': 'stratum.kind', 'lower': 'stratum.lower', 'upper': 'stratum.upper'}
# A spreadsheet takes a cell that starts with one of these, in either width, for a formula and runs it. An apostrophe is
# marked so that nobody takes it for a mark.
MARKED = tuple("=+-@＝＋－＠'")


def strata_records(results: Iterable[OcclusionResult]) -> list[Record]:
    """One record a stratum: where it comes from, its bounds, sizes, metrics, intervals (``ap_low``) and errors."""
    return [
        _values(result, **_ORIGIN)
        | _values(row, **_STRATUM)
        | _values(row, 'num_images', 'num_instances', 'num_categories', 'instances_per_image', *METRICS, 'ap_common')
        | {'num_common_categories': NAN if result.num_common_categories is None else result.num_common_categories}
        | _bounds(row.intervals, SAMPLED)
        | _miss_rate(row)
        | (_values(row, 'ji', 'ji_score') | _bounds(row.intervals, ('ji',)) if result.is_crowdhuman else {})
        | _fields(Bootstrap, result.bootstrap)
        | {f'errors_{name}': value for name, value in _fields(Errors, row.errors).items()}
        for result in listed(results, OcclusionResult)
        for row in result.strata
    ]


def _miss_rate(row: StratumResult) -> Record:
    """Its columns, where it was asked for: it is not of COCO's metrics."""
    return {} if math.isnan(row.mr) and not row.miss_curve else {'mr': row.mr} | _bounds(row.intervals, ('mr',))


def category_records(results: Iterable[OcclusionResult]) -> list[Record]:
    """One record a stratum and category with instances in it."""
    return [
        _values(result, **_ORIGIN)
        | _values(row, **_STRATUM)
        | {'category_id': category.id, 'category': category.name}
        | _values(category, 'num_images', 'num_instances', *SAMPLED)
        for result in listed(results, OcclusionResult)
        for row in result.strata
        for category in row.categories
    ]


def instance_records(results: Iterable[OcclusionResult]) -> list[Record]:
    """One record a range of the instances' own occlusion."""
    return [
        _values(result, **_ORIGIN)
        | {'fraction': result.fraction, 'range': row.name}
        | _values(row, 'lower', 'upper', 'num_instances', *RECALLS)
        | _bounds(row.intervals, RECALLS)
        | _fields(Bootstrap, result.bootstrap)
        for result in listed(results, OcclusionResult)
        for row in result.instances
    ]


def quality_records(results: Iterable[OcclusionResult]) -> list[Record]:
    """One record a stratum with its scores at one IoU threshold; curves and confusions are in the JSON."""
    names = 'iou_thr', 'f1', 'f1_score', 'f1_precision', 'f1_recall', 'ece', 'olrp', 'olrp_loc', 'olrp_fp', 'olrp_fn'
    return [
        _values(result, **_ORIGIN)
        | _values(row, **_STRATUM)
        | _values(row, 'num_images', 'num_instances')
        | _values(row.quality, *names)
        | _bounds(row.quality.intervals, Quality.SAMPLED)
        | _fields(Bootstrap, result.bootstrap)
        for result in listed(results, OcclusionResult)
        for row in result.strata
        if row.quality
    ]


def difference_records(comparisons: Iterable[Comparison]) -> list[Record]:
    """One record a pair of models, stratum and metric; ``difference`` is model minus ``baseline``."""
    return [
        _values(comparison, 'baseline', 'model', 'iou_type')
        | _values(row, **_STRATUM)
        | _values(row, 'num_images', 'num_instances', 'metric', baseline_value='baseline', model_value='model')
        | {'difference': row.difference}
        | _bounds({'difference': row.interval}, ('difference',))
        | {'p_value': row.p_value}
        | _fields(Bootstrap, comparison.bootstrap)
        for comparison in listed(comparisons, Comparison)
        for row in comparison.differences
    ]


def image_records(gt: GroundTruth, stratification: Stratification) -> list[Record]:
    """One record an image, in the order of ``gt``: ``value`` is its ratio, number or label."""
    num_instances, measure = instances_per_image(gt), stratification.measure_of_values or stratification.measure
    origin = _values(replace(stratification, measure=measure), **_MEASURE)
    return [
        {'image_id': name, 'file_name': file_name(image), 'num_instances': num_instances[number]}
        | origin
        | {'value': stratification.values[number]}
        for number, name, image in zip(gt.image_ids.tolist(), gt.image_names, gt.images, strict=True)
    ]


def annotation_records(gt: GroundTruth, stratification: Stratification) -> list[Record]:
    """One record an annotation: its ``value`` is its covered or invisible fraction, NaN where it does not count."""
    names = {category['id']: category.get('name', '') for category in gt.categories}
    images = dict(zip(gt.image_ids.tolist(), gt.image_names, strict=True))
    categories = gt.category_ids.tolist()
    columns = {
        'annotation_id': gt.annotation_ids.tolist(),
        'image_id': [images[number] for number in gt.annotation_image_ids.tolist()],
        'category_id': categories,
        'category': [names[number] for number in categories],
        'iscrowd': gt.is_crowd.astype(int).tolist(),
        'ignore': gt.is_ignored.astype(int).tolist(),
        'fraction': [stratification.fraction] * len(categories),
        'value': stratification.fractions.tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Records as CSV with a header: RFC 4180 quoting, lines that end in ``\\n``; no records give ``''``.

    The columns are all their keys. Numbers keep every digit, NaN is an empty cell and an infinite bound ``inf``. Text
    that a spreadsheet would run as a formula, which starts with ``=``, ``+``, ``-`` or ``@``, after white space or not,
    and is no number, gets a leading apostrophe; so does text that has one already: to read such a name back, take one
    off. What would steer a terminal or break a line (control characters, ends of lines, marks that turn the direction
    of writing, lone surrogates) is written as a Python escape like ``\\x1b``; JSON has such names exactly.
    """
    header = list(dict.fromkeys(key for record in records for key in record))
    if not header:
        return ''
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows([_cell(record.get(key)) for key in header] for record in records)
    return text.getvalue()


def _as_frame(records: Callable[[Iterable[Any]], list[Record]]) -> Callable[[Iterable[Any]], DataFrame]:
    def frame(rows: Iterable[Any]) -> DataFrame:
        try:
            import pandas
        except ImportError:
            raise ImportError('data frames need pandas, which is not installed: pip install pandas') from None
        return pandas.DataFrame.from_records(records(rows))

    frame.__doc__ = f':func:`{records.__name__}` as a ``pandas.DataFrame``; ImportError without pandas.'
    return frame


strata_frame, category_frame = _as_frame(strata_records), _as_frame(category_records)
instance_frame, difference_frame = _as_frame(instance_records), _as_frame(difference_records)
quality_frame = _as_frame(quality_records)


def _values(row: Any, *names: str, **paths: str) -> Record:
    """Fields of a row, and others under a name of their own."""
    return {name: attrgetter(path)(row) for name, path in (dict(zip(names, names, strict=True)) | paths).items()}


def _fields(kind: type, row: Any) -> Record:
    """All fields of a dataclass, NaN if there is none."""
    return {each.name: getattr(row, each.name, NAN) for each in fields(kind)}


def _bounds(intervals: Mapping[str, Interval], metrics: Sequence[str]) -> Record:
    pairs = [(metric, end) for metric in metrics for end in ('low', 'high')]
    return {f'{metric}_{end}': getattr(intervals.get(metric), end, NAN) for metric, end in pairs}


def _cell(value: Any) -> str:
    if value is None:
        return ''
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        # float() first: NumPy's own floats have another repr.
        return '' if math.isnan(value) else repr(float(value))
    value = escaped(str(value))  # a name, which in a user's file may be anything
    if not value.lstrip().startswith(MARKED):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}"
