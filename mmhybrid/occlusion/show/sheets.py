"""What the tables hold, as text: the terminal and Markdown show the same sheets.

A sheet knows nothing of its medium. Its columns say in which order they may go where there is too little width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from mmhybrid.text import clean

from ..results import Comparison, Difference, Errors, OcclusionResult, StratumResult
from .labels import METRIC_LABELS, MISSING, is_few, number, p_value, percent, signed

BRACKETS = '[low, high]'
KIND_ORDER = ('all', 'group', 'bin', 'cumulative')


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: Header.
        values: One text a row.
        drop: Columns of the highest number give way first where width is short; those of 0 never do.
        short: What the values become instead of the column being left out, e.g. without their intervals.
        alias: A stand-in for a title that is too long, explained under the table.
    """

    title: str
    values: tuple[str, ...]
    drop: int = 0
    short: tuple[str, ...] | None = None
    alias: str = ''


@dataclass(frozen=True)
class Sheet:
    """One table; its first column names the rows.

    Attributes:
        title: One line.
        columns: From left to right.
        sections: Number of rows of each group of rows, in order.
        few: One flag a row: from fewer than ``min_images`` images.
        notes: Lines under the table.
    """

    title: str
    columns: tuple[Column, ...]
    sections: tuple[int, ...]
    few: tuple[bool, ...]
    notes: tuple[str, ...]


def strata_sheet(result: OcclusionResult, min_images: int) -> Sheet:
    """Metrics of one result on every stratum."""
    rows = by_kind(result.strata)
    columns = [
        Column('images', tuple(str(row.num_images) for row in rows)),
        Column('instances', tuple(str(row.num_instances) for row in rows), drop=5),
        Column('inst/img', tuple(number(row.instances_per_image) for row in rows), drop=4),
        Column('AP', tuple(percent(row.ap, row.intervals.get('ap')) for row in rows)),
    ]
    # Sizes go first: they are the noisiest where strata are small.
    drops = {'ap50': 1, 'ap75': 2, 'aps': 6, 'apm': 6, 'apl': 6, 'ar': 3}
    for metric, drop in drops.items():
        columns.append(Column(METRIC_LABELS[metric], tuple(percent(getattr(row, metric)) for row in rows), drop))
    if result.num_common_categories is not None:
        columns.insert(4, Column('common', tuple(percent(row.ap_common) for row in rows)))
    title = f'{clean(result.name)}: {result.iou_type} AP and AR in %, by {clean(result.measure.label)}'
    notes = [*_common_note(result), *_interval_note([result])]
    return _sheet(title, rows, columns, min_images, notes)


def models_sheet(results: Sequence[OcclusionResult], min_images: int) -> Sheet:
    """AP of several models side by side, for one IoU type."""
    rows = by_kind({row.stratum.name: row for result in results for row in result.strata}.values())
    columns = [Column('images', tuple(str(row.num_images) for row in rows), drop=1)]
    for index, result in enumerate(results, 1):
        cells = {row.stratum.name: row for row in result.strata}
        found = [cells.get(row.stratum.name) for row in rows]
        values = tuple(percent(row.ap, row.intervals.get('ap')) if row else MISSING for row in found)
        short = tuple(percent(row.ap) if row else MISSING for row in found)
        columns.append(
            Column(clean(result.name), values, drop=2, short=short if short != values else None, alias=f'({index})')
        )
    title = f'{results[0].iou_type} AP in %, by {clean(results[0].measure.label)}'
    return _sheet(title, rows, columns, min_images, _interval_note(results))


def instances_sheet(result: OcclusionResult) -> Sheet:
    """Recall by the instances' own occlusion."""
    rows = result.instances
    columns = [
        Column(clean(result.fraction) or 'instances', tuple(row.name for row in rows), alias='fraction'),
        Column('instances', tuple(str(row.num_instances) for row in rows), drop=1),
    ]
    fields = (('recall50', 'IoU .50', 3), ('recall75', 'IoU .75', 4), ('recall', 'IoU .50:.95', 2))
    for field, title, drop in fields:
        values = tuple(percent(getattr(row, field), row.intervals.get(field)) for row in rows)
        short = tuple(percent(getattr(row, field)) for row in rows)
        columns.append(Column(title, values, drop, short if short != values else None))
    title = f"{clean(result.name)}: {result.iou_type} recall in %, by the instance's own occlusion"
    notes = _interval_note([result]) if any(row.intervals for row in rows) else []
    return Sheet(title, tuple(columns), (len(rows),), (False,) * len(rows), tuple(notes))


def errors_sheet(result: OcclusionResult, min_images: int) -> Sheet:
    """False positives by kind, an image and as a share; the instances missed."""
    rows = [row for row in by_kind(result.strata) if row.errors is not None]
    first = rows[0].errors

    def each(count: str) -> tuple[str, ...]:
        return tuple(number(getattr(row.errors, count) / row.num_images if row.num_images else math.nan, 2)
                     for row in rows)  # fmt: skip

    columns = [
        Column('images', tuple(str(row.num_images) for row in rows), drop=2),
        Column('FP/img', each('false_positives')),
    ]
    for kind in Errors.KINDS:
        pairs = zip(each(kind), rows, strict=True)
        columns.append(Column(kind, tuple(_with_share(text, row.errors.share(kind)) for text, row in pairs)))
    pairs = zip(each('missed'), rows, strict=True)
    columns.append(Column('missed', tuple(_with_share(text, _missed_share(row.errors)) for text, row in pairs), drop=1))
    title = (
        f'{clean(result.name)}: {result.iou_type} errors an image, detections of score >= {first.min_score:g} '
        f'at IoU {first.iou_thr:.2f}'
    )
    notes = ['%: share of the false positives (FP); for missed, of the instances']
    return _sheet(title, rows, columns, min_images, notes)


def categories_sheet(
    result: OcclusionResult, min_images: int, top: int = 20, names: Sequence[str] | None = None
) -> Sheet:
    """AP of the ``top`` categories with most instances on all images and on some strata, with their instances there.

    Args:
        result: Its strata have categories.
        min_images: Strata with fewer images are passed over, unless named.
        top: Number of categories.
        names: Strata to show; by default five at most of the groups, else the bins, evenly spread.
    """
    filled = [row for row in result.strata if row.categories]
    chosen = [row for row in filled if row.stratum.name in names] if names is not None else []
    if names is None:
        family = result.groups or result.bins or result.cumulative
        chosen = _spread([row for row in family if row.categories and not is_few(row, min_images)], 5)
    largest = sorted(result.all.categories, key=lambda category: (-category.num_instances, category.id))[:top]
    columns = [
        Column('category', tuple(clean(category.name) for category in largest)),
        Column('all', tuple(f'{percent(category.ap)} ({category.num_instances})' for category in largest)),
    ]
    for row, drop in zip(chosen, _ends_last(len(chosen)), strict=True):
        cells = {category.id: category for category in row.categories}
        found = [cells.get(category.id) for category in largest]
        values = tuple(f'{percent(cell.ap)} ({cell.num_instances})' if cell else MISSING for cell in found)
        columns.append(Column(clean(row.stratum.name), values, drop))
    title = f'{clean(result.name)}: {result.iou_type} AP in % by category'
    rest = len(result.all.categories) - len(largest)
    notes = ['in brackets: instances'] + ([f'{rest} categories with fewer instances are left out'] if rest else [])
    return Sheet(title, tuple(columns), (len(largest),), (False,) * len(largest), tuple(notes))


def comparison_sheet(comparison: Comparison, metric: str, min_images: int) -> Sheet:
    """Differences of one metric on every stratum."""
    rows = by_kind(row for row in comparison.differences if row.metric == metric)
    label = METRIC_LABELS[metric]
    columns = [
        Column('images', tuple(str(row.num_images) for row in rows), drop=1),
        Column('baseline', tuple(percent(row.baseline) for row in rows)),
        Column('model', tuple(percent(row.model) for row in rows)),
        Column('difference', tuple(signed(row.difference, row.interval) for row in rows)),
        Column('p', tuple(p_value(row.p_value) for row in rows)),
        Column('', tuple(verdict(row, min_images) for row in rows)),
    ]
    title = f'{clean(comparison.model)} minus {clean(comparison.baseline)}: {comparison.iou_type} {label} in %'
    boot = comparison.bootstrap
    # 'all' and 'r >= 0' are the same images: one test.
    tested = len(
        {(row.num_images, row.baseline, row.model, row.p_value) for row in rows if not math.isnan(row.p_value)}
    )
    alpha = 1 - boot.confidence
    needed = math.ceil(2 * max(tested, 1) / alpha)
    advice = f'for a single stratum ask p < {alpha / max(tested, 1):.2g}'
    if boot.resamples < needed:
        advice += f', which takes more than {needed} resamples (--bootstrap)'
    notes = [
        f'{BRACKETS}: {boot.confidence * 100:g}% paired bootstrap interval, {boot.resamples} resamples of the images; '
        'better, worse: it excludes 0',
        f'{tested} strata are tested: {tested * alpha:.1f} would exclude 0 by chance alone; {advice}',
    ]
    return _sheet(title, rows, columns, min_images, notes)


def verdict(row: Difference, min_images: int) -> str:
    """``'better'`` or ``'worse'`` where the interval excludes 0 and the images are not too few, else nothing."""
    if row.num_images < min_images:
        return ''
    return 'better' if row.interval.low > 0 else 'worse' if row.interval.high < 0 else ''


def side_by_side(results: Iterable[OcclusionResult]) -> list[list[OcclusionResult]]:
    """Results that one figure or table can hold together: of one IoU type and measure, in order of appearance."""
    together: dict[tuple, list[OcclusionResult]] = {}
    for result in results:
        together.setdefault((result.iou_type, result.measure), []).append(result)
    return list(together.values())


def by_kind(rows: Iterable) -> list:
    """Rows with a ``stratum``: all images, groups, bins, cumulative."""
    return sorted(rows, key=lambda row: KIND_ORDER.index(row.stratum.kind))


def _sheet(title: str, rows: Sequence, columns: list[Column], min_images: int, notes: Sequence[str]) -> Sheet:
    """A sheet whose rows are strata."""
    few = tuple(is_few(row, min_images) for row in rows)
    names = tuple(clean(row.stratum.name) + (' *' if mark else '') for row, mark in zip(rows, few, strict=True))
    sections = tuple(len(list(same)) for _, same in groupby(rows, key=lambda row: row.stratum.kind))
    if any(few):
        notes = [f'* fewer than {min_images} images: too few to conclude from', *notes]
    return Sheet(title, (Column('stratum', names), *columns), sections, few, tuple(notes))


def _interval_note(results: Sequence[OcclusionResult]) -> list[str]:
    boots = dict.fromkeys(result.bootstrap for result in results if result.bootstrap is not None)
    return [
        f'{BRACKETS}: {boot.confidence * 100:g}% bootstrap interval, {boot.resamples} resamples of the images'
        for boot in boots
    ]


def _common_note(result: OcclusionResult) -> list[str]:
    count = result.num_common_categories
    if count is None:
        return []
    if count == 0:
        return ['common: no category has instances in every stratum of enough images']
    plural = 'y' if count == 1 else 'ies'
    return [f'common: AP over the {count} categor{plural} with instances in every stratum of enough images']


def _with_share(text: str, share: float) -> str:
    return text if math.isnan(share) else f'{text} {100 * share:.0f}%'


def _missed_share(errors: Errors) -> float:
    instances = errors.true_positive + errors.missed
    return errors.missed / instances if instances else math.nan


def _spread(rows: list[StratumResult], most: int) -> list[StratumResult]:
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def _ends_last(count: int) -> list[int]:
    """Drop numbers: both ends stay longest, then the middle."""
    order = sorted(range(count), key=lambda i: (i not in (0, count - 1), abs(i - (count - 1) / 2)))
    return [order.index(i) + 1 for i in range(count)]
