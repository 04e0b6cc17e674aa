"""Results as flat records, one dictionary a row, for CSV files and pandas.

Every record of one kind has the same keys, whatever was asked for: what is missing is NaN. Metrics stay fractions in
[0, 1] at full precision.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from mmhybrid.text import escaped

from ..results import METRICS, NAN, SAMPLED, Bootstrap, Comparison, Errors, Interval, OcclusionResult
from ..strata import Measure, Stratum
from .distribution import instances_per_image

if TYPE_CHECKING:
    from pandas import DataFrame

    from ..read.ground_truth import GroundTruth
    from ..selection import Stratification

Record = dict[str, Any]
RECALLS = ('recall50', 'recall75', 'recall')
# A spreadsheet takes a cell that starts with one of these, in either width, for a formula and runs it.
FORMULA = tuple('=+-@＝＋－＠')


def strata_records(results: Iterable[OcclusionResult]) -> list[Record]:
    """One record a stratum: where it comes from, its bounds, sizes, metrics, intervals (``ap_low``) and errors."""
    return [
        _origin(result)
        | _stratum(row.stratum)
        | _values(row, 'num_images', 'num_instances', 'num_categories', 'instances_per_image', *METRICS, 'ap_common')
        | {'num_common_categories': NAN if result.num_common_categories is None else result.num_common_categories}
        | _bounds(row.intervals, SAMPLED)
        | _bootstrap(result.bootstrap)
        | {f'errors_{each.name}': getattr(row.errors, each.name, NAN) for each in fields(Errors)}
        for result in results
        for row in result.strata
    ]


def category_records(results: Iterable[OcclusionResult]) -> list[Record]:
    """One record a stratum and category with instances in it."""
    return [
        _origin(result)
        | _stratum(row.stratum)
        | {'category_id': category.id, 'category': category.name}
        | _values(category, 'num_images', 'num_instances', *SAMPLED)
        for result in results
        for row in result.strata
        for category in row.categories
    ]


def instance_records(results: Iterable[OcclusionResult]) -> list[Record]:
    """One record a range of the instances' own occlusion."""
    return [
        _origin(result)
        | {'fraction': result.fraction, 'range': row.name}
        | _values(row, 'lower', 'upper', 'num_instances', *RECALLS)
        | _bounds(row.intervals, RECALLS)
        | _bootstrap(result.bootstrap)
        for result in results
        for row in result.instances
    ]


def difference_records(comparisons: Iterable[Comparison]) -> list[Record]:
    """One record a pair of models, stratum and metric; ``difference`` is model minus ``baseline``."""
    return [
        _values(comparison, 'baseline', 'model', 'iou_type')
        | _stratum(row.stratum)
        | _values(row, 'num_images', 'metric')
        | {'baseline_value': row.baseline, 'model_value': row.model, 'difference': row.difference}
        | _bounds({'difference': row.interval}, ('difference',))
        | _values(row, 'p_value')
        | _bootstrap(comparison.bootstrap)
        for comparison in comparisons
        for row in comparison.differences
    ]


def image_records(gt: GroundTruth, stratification: Stratification) -> list[Record]:
    """One record an image, in the order of ``gt``: ``value`` is its ratio, number or label."""
    rows = zip(gt.image_ids.tolist(), gt.image_names, gt.images, instances_per_image(gt).tolist(), strict=True)
    return [
        {'image_id': name, 'file_name': image.get('file_name', ''), 'num_instances': count}
        | _measure(stratification.measure)
        | {'value': stratification.values[image_id]}
        for image_id, name, image, count in rows
    ]


def annotation_records(gt: GroundTruth, stratification: Stratification) -> list[Record]:
    """One record an annotation: its ``value`` is its covered or invisible fraction, NaN where it does not count."""
    names = {category['id']: category.get('name', '') for category in gt.categories}
    images = dict(zip(gt.image_ids.tolist(), gt.image_names, strict=True))
    columns = (
        gt.annotation_ids, gt.annotation_image_ids, gt.category_ids, gt.is_crowd.astype(int), stratification.fractions,
    )  # fmt: skip
    return [
        {'annotation_id': annotation_id, 'image_id': images[image_id], 'category_id': category_id}
        | {'category': names[category_id], 'iscrowd': is_crowd, 'fraction': stratification.fraction, 'value': value}
        for annotation_id, image_id, category_id, is_crowd, value in zip(*(c.tolist() for c in columns), strict=True)
    ]


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Records as CSV with a header: RFC 4180 quoting, lines that end in ``\\n``.

    Numbers keep every digit, so reading them back gives the same floats; NaN is an empty cell and an infinite bound
    ``inf``. Text that a spreadsheet would run as a formula, which starts with ``=``, ``+``, ``-`` or ``@``, after white
    space or not, and is no number, gets a leading apostrophe; so does text that has one already. To read such a name
    back, take one leading apostrophe off. What would steer a terminal or break a line (control characters, ends of
    lines, marks that turn the direction of writing, lone surrogates) is written as a Python escape like ``\\x1b`` or
    ``\\n``; JSON has such names exactly.

    Args:
        records: Dictionaries; the columns are all their keys in order of first appearance. Empty gives ``''``.
    """
    header = list(dict.fromkeys(key for record in records for key in record))
    if not header:
        return ''
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(header)
    writer.writerows([_cell(record.get(key)) for key in header] for record in records)
    return text.getvalue()


def strata_frame(results: Iterable[OcclusionResult]) -> DataFrame:
    """:func:`strata_records` as a ``pandas.DataFrame``; ImportError without pandas, as for every frame here."""
    return _frame(strata_records(results))


def category_frame(results: Iterable[OcclusionResult]) -> DataFrame:
    """:func:`category_records` as a ``pandas.DataFrame``."""
    return _frame(category_records(results))


def instance_frame(results: Iterable[OcclusionResult]) -> DataFrame:
    """:func:`instance_records` as a ``pandas.DataFrame``."""
    return _frame(instance_records(results))


def difference_frame(comparisons: Iterable[Comparison]) -> DataFrame:
    """:func:`difference_records` as a ``pandas.DataFrame``."""
    return _frame(difference_records(comparisons))


def _frame(records: list[Record]) -> DataFrame:
    try:
        import pandas
    except ImportError:
        raise ImportError('data frames need pandas, which is not installed: pip install pandas') from None
    return pandas.DataFrame.from_records(records)


def _origin(result: OcclusionResult) -> Record:
    return (
        {'model': result.name, 'iou_type': result.iou_type}
        | _measure(result.measure)
        | _values(result, 'engine', 'ground_truth', 'detections')
    )


def _measure(measure: Measure) -> Record:
    return {'measure': measure.name} | _values(measure, 'definition', 'geometry')


def _stratum(stratum: Stratum) -> Record:
    return {'stratum': stratum.name} | _values(stratum, 'kind', 'lower', 'upper')


def _values(row: Any, *names: str) -> Record:
    return {name: getattr(row, name) for name in names}


def _bounds(intervals: Mapping[str, Interval], metrics: Sequence[str]) -> Record:
    return {
        f'{metric}_{end}': getattr(intervals.get(metric), end, NAN) for metric in metrics for end in ('low', 'high')
    }


def _bootstrap(bootstrap: Bootstrap | None) -> Record:
    return {each.name: getattr(bootstrap, each.name, NAN) for each in fields(Bootstrap)}


def _cell(value: Any) -> str:
    if value is None:
        return ''
    if not isinstance(value, Real):  # a name, which in a user's file may be anything
        value = escaped(str(value))
        is_formula = value.lstrip().startswith(FORMULA) and not _is_number(value)
        return "'" + value if is_formula or value.startswith("'") else value
    if isinstance(value, Integral):
        return str(int(value))
    # float() first: NumPy's own floats have another repr.
    return '' if math.isnan(value) else repr(float(value))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
