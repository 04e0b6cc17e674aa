"""The tables, in words: the terminal, Markdown and the report show the same sheets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from mmhybrid.text import clean

from ..matching.settings import Settings
from ..results import MIN_IMAGES, Comparison, Difference, Errors, OcclusionResult, StratumResult
from .notes import settings_of
from .numbers import METRIC_LABELS, MISSING, count, interval, number, p_value, percent, plural, points, share
from .sheet import Column, Sheet, by_kind, column, few_note, is_few, of_strata

BRACKETS = '[low, high]'
# Fields of recall by instance: title, and when it gives way.
_RECALLS = {'recall50': ('IoU .50', 3), 'recall75': ('IoU .75', 4), 'recall': ('IoU .50:.95', 2)}


def result_sheets(results: Iterable[OcclusionResult], min_images: int) -> list[Sheet]:
    """The strata of each result and, where it has them, recall by instance and errors; then models side by side."""
    results, sheets = list(results), []
    for result in results:
        sheets.append(strata_sheet(result, min_images))
        if result.instances:
            sheets.append(instances_sheet(result, min_images=min_images))
        if any(row.errors for row in result.strata):
            sheets.append(errors_sheet(result, min_images))
    return sheets + [models_sheet(group, min_images) for group in side_by_side(results) if len(group) > 1]


def comparison_sheets(
    comparisons: Iterable[Comparison], min_images: int, metrics: Sequence[str] = tuple(METRIC_LABELS)
) -> list[Sheet]:
    """The paired differences of those ``metrics`` that were compared; the others are named."""
    sheets = []
    for comparison in comparisons:
        compared = compared_metrics(comparison)
        shown = [metric for metric in metrics if metric in compared]
        sheets += [comparison_sheet(comparison, metric, min_images) for metric in shown]
        others = [METRIC_LABELS[metric] for metric in compared if metric not in shown]
        if shown and others:
            note = f'also compared: {", ".join(others)} (in the JSON and CSV)'
            sheets[-1] = replace(sheets[-1], notes=(*sheets[-1].notes, note))
    return sheets


def category_sheets(results: Iterable[OcclusionResult], min_images: int, top: int = 20) -> list[Sheet]:
    """:func:`categories_sheet` of the results that have categories."""
    filled = [result for result in results if any(row.categories for row in result.strata)]
    return [categories_sheet(result, min_images, top) for result in filled]


def strata_sheet(result: OcclusionResult, min_images: int) -> Sheet:
    """Metrics of one result on every stratum."""
    rows = by_kind(result.strata)
    columns = [
        _images(rows),
        column('instances', rows, lambda row: count(row.num_instances), drop=5),
        column('inst/img', rows, lambda row: number(row.instances_per_image), drop=4),
        column('categories', rows, lambda row: count(row.num_categories), drop=7),
        _metric('ap', rows),
    ]
    if result.num_common_categories is not None:
        columns.append(column('common', rows, lambda row: percent(row.ap_common)))
    # Sizes go first: they are the noisiest where strata are small.
    drops = {'ap50': 1, 'ap75': 2, 'aps': 6, 'apm': 6, 'apl': 6, 'ar': 3}
    columns += [replace(_metric(metric, rows), details=(), drop=drop) for metric, drop in drops.items()]
    title = f'{clean(result.name)}: {result.iou_type} AP and AR in %, by {clean(result.measure.label)}'
    return of_strata(title, rows, columns, min_images, [*_common_note(result), *_notes([result])])


def models_sheet(results: Sequence[OcclusionResult], min_images: int) -> Sheet:
    """AP of several models side by side, for one IoU type."""
    rows = by_kind({row.stratum.name: row for result in results for row in result.strata}.values())
    columns = [_images(rows, drop=1)]
    for index, result in enumerate(results, 1):
        own = {row.stratum.name: row for row in result.strata}
        made = _metric('ap', [own.get(row.stratum.name) for row in rows])
        columns.append(replace(made, title=clean(result.name), drop=2, alias=f'({index})'))
    title = f'{results[0].iou_type} AP in %, by {clean(results[0].measure.label)}'
    return of_strata(title, rows, columns, min_images, _notes(results))


def instances_sheet(*results: OcclusionResult, min_images: int = MIN_IMAGES) -> Sheet:
    """Recall by the instances' own occlusion, of one model or of several on the same instances.

    Args:
        results: The models', of one IoU type.
        min_images: Ranges with fewer instances are marked.
    """
    rows = results[0].instances
    few = tuple(row.num_instances < min_images for row in rows)
    names = tuple(row.name + ' *' * mark for row, mark in zip(rows, few, strict=True))
    columns = [
        Column(clean(results[0].fraction) or 'instances', names, alias='fraction'),
        column('instances', rows, lambda row: count(row.num_instances), drop=1),
    ]
    for result in results:
        group = clean(result.name) if results[1:] else ''
        for field, (title, drop) in _RECALLS.items():
            if field == 'recall' and result.settings.iou_thrs != Settings.iou_thrs:
                title = 'mean'
            columns.append(replace(_metric(field, result.instances), title=title, drop=drop, group=group))
    name = '' if results[1:] else f'{clean(results[0].name)}: '
    title = f"{name}{results[0].iou_type} recall in %, by the instance's own occlusion"
    notes = (*few_note(few, min_images, 'instances'), *_notes(results))
    return Sheet(title, tuple(columns), (len(rows),), few, notes)


def errors_sheet(result: OcclusionResult, min_images: int) -> Sheet:
    """Detections by kind, an image and as a share of the false positives; the instances missed."""
    rows = [row for row in by_kind(result.strata) if row.errors is not None]
    first = rows[0].errors

    def an_image(title: str, field: str, part: Callable[[Errors], float] | None = None, drop: int = 0) -> Column:
        detail = part and (lambda row: share(part(row.errors)))
        return column(title, rows, lambda row: number(per_image(row, field), 2), detail, drop)

    columns = [
        _images(rows, drop=2),
        an_image('TP/img', 'true_positive', drop=3),
        an_image('FP/img', 'false_positives'),
        *(an_image(kind, kind, lambda errors, kind=kind: errors.share(kind)) for kind in Errors.KINDS),
        an_image('missed', 'missed', _missed_share, drop=1),
    ]
    title = (
        f'{clean(result.name)}: {result.iou_type} errors an image, detections of score >= {first.min_score:g} '
        f'at IoU {first.iou_thr:.2f}'
    )
    notes = ['%: share of the false positives (FP); for missed, of the instances']
    return of_strata(title, rows, columns, min_images, notes)


def categories_sheet(result: OcclusionResult, min_images: int, top: int = 20) -> Sheet:
    """AP of the ``top`` categories with most instances, on all images and on some strata, with their instances there.

    The strata are five at most of the groups, else the bins, evenly spread over those of enough images.
    """
    family = result.groups or result.bins or result.cumulative
    chosen = _spread([row for row in family if row.categories and not is_few(row, min_images)], 5)
    largest = sorted(result.all.categories, key=lambda category: (-category.num_instances, category.id))[:top]
    columns = [Column('category', tuple(clean(category.name) for category in largest))]
    for row, drop in zip((result.all, *chosen), (0, *_ends_last(len(chosen))), strict=True):
        own = {category.id: category for category in row.categories}
        cells = [own.get(category.id) for category in largest]
        texts = tuple(f'{percent(cell.ap)} ({count(cell.num_instances)})' if cell else MISSING for cell in cells)
        columns.append(Column(clean(row.stratum.name), texts, drop=drop))
    title = f'{clean(result.name)}: {result.iou_type} AP in % by category'
    rest = len(result.all.categories) - len(largest)
    notes = ['in brackets: instances'] + ([f'{rest} categories with fewer instances are left out'] if rest else [])
    return Sheet(title, tuple(columns), (len(largest),), (False,) * len(largest), tuple(notes))


def every_category_sheet(results: Sequence[OcclusionResult]) -> Sheet:
    """Metrics of every category, a section a stratum: thousands of rows, for media in which one can search.

    Args:
        results: Of one IoU type and the same strata; with several, a column names the model.
    """
    rows, sections = [], {}
    for parts in zip(*(by_kind(result.strata) for result in results), strict=True):
        models = zip(results, parts, strict=True)
        own = [(each, clean(result.name)) for result, row in models for each in row.categories]
        if own:
            sections[clean(parts[0].stratum.name)] = len(own)
            rows += sorted(own, key=lambda entry: (entry[0].name.casefold(), entry[0].id))
    columns = [
        column('category', rows, lambda row: clean(row[0].name), is_text=True),
        column('model', rows, lambda row: row[1], is_text=True),
        column('images', rows, lambda row: count(row[0].num_images)),
        column('instances', rows, lambda row: count(row[0].num_instances)),
        *(_metric(metric, [row[0] for row in rows]) for metric in ('ap', 'ap50', 'ap75', 'ar')),
    ]
    if len(results) == 1:
        del columns[1]
    title = f'{results[0].iou_type} metrics in % by category and stratum'
    return Sheet(title, tuple(columns), tuple(sections.values()), (False,) * len(rows), (), tuple(sections))


def comparison_sheet(comparison: Comparison, metric: str | Sequence[str], min_images: int) -> Sheet:
    """Differences on every stratum.

    Args:
        comparison: Of two models.
        metric: One metric or, in groups of columns, several. Both models' values are given for the first one alone,
            and words (``better``, ``worse``) only if there is one.
        min_images: Strata with fewer images are marked.
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    found = {key: by_kind(row for row in comparison.differences if row.metric == key) for key in metrics}
    first = found[metrics[0]]
    columns = [_images(first, drop=1)]
    for key, rows in found.items():
        made = [
            column('baseline', rows, lambda row: percent(row.baseline)),
            column('model', rows, lambda row: percent(row.model)),
            column('difference', rows, lambda row: points(row.difference), lambda row: interval(row.interval, points)),
            column('p', rows, lambda row: p_value(row.p_value)),
        ]
        made[2] = replace(made[2], strong=tuple(verdict(row, min_images) != '' for row in rows))
        group = METRIC_LABELS[key] if metrics[1:] else ''
        columns += [replace(each, group=group) for each in (made if rows is first else made[2:])]
    if not metrics[1:]:
        columns.append(column('', first, lambda row: verdict(row, min_images), is_text=True))
    label = ', '.join(METRIC_LABELS[key] for key in metrics)
    title = f'{clean(comparison.model)} minus {clean(comparison.baseline)}: {comparison.iou_type} {label} in %'
    boot = comparison.bootstrap
    # 'all' and 'r >= 0' are the same images: one test.
    tested = len({
        (key, row.num_images, row.baseline, row.model, row.p_value)
        for key, rows in found.items() for row in rows if not math.isnan(row.p_value)
    })  # fmt: skip
    alpha = 1 - boot.confidence
    needed = math.ceil(2 * max(tested, 1) / alpha)
    advice = f'for a single one ask p < {alpha / max(tested, 1):.2g}'
    if boot.resamples < needed:
        advice += f', which takes more than {count(needed)} resamples (--bootstrap)'
    notes = [
        f'{BRACKETS}: {boot.confidence * 100:g}% paired bootstrap interval, {count(boot.resamples)} resamples of the '
        f'images; {"bold" if metrics[1:] else "better, worse"}: it excludes 0',
        f'{count(tested)} differences are tested: {number(tested * alpha)} would exclude 0 by chance alone; {advice}',
    ]
    return of_strata(title, first, columns, min_images, notes)


def verdict(row: Difference, min_images: int) -> str:
    """``'better'`` or ``'worse'`` where the interval excludes 0 and the images are not too few, else nothing."""
    if is_few(row, min_images) or math.isnan(row.difference):
        return ''
    return 'better' if row.interval.low > 0 else 'worse' if row.interval.high < 0 else ''


def compared_metrics(comparison: Comparison) -> list[str]:
    """Which metrics have differences, in their usual order."""
    metrics = {row.metric for row in comparison.differences}
    return [metric for metric in METRIC_LABELS if metric in metrics]


def side_by_side(results: Iterable[OcclusionResult]) -> list[list[OcclusionResult]]:
    """Results that one figure or table can hold together: of one IoU type and measure, in order of appearance."""
    together: dict[tuple, list[OcclusionResult]] = {}
    for result in results:
        together.setdefault((result.iou_type, result.measure), []).append(result)
    return list(together.values())


def per_image(row: StratumResult, kind: str) -> float:
    """Detections of a kind of error (or ``missed`` instances) an image; NaN without images."""
    return getattr(row.errors, kind) / row.num_images if row.errors and row.num_images else math.nan


def _images(rows: Sequence, drop: int = 0) -> Column:
    return column('images', rows, lambda row: count(row.num_images), drop=drop)


def _metric(metric: str, rows: Sequence) -> Column:
    """A metric in percent, with its interval where there is one."""

    def span(row: Any) -> str:
        return interval(getattr(row, 'intervals', {}).get(metric))

    return column(METRIC_LABELS.get(metric, metric), rows, lambda row: percent(getattr(row, metric)), span)


def _notes(results: Sequence[OcclusionResult]) -> list[str]:
    """How the results were made."""
    boots = dict.fromkeys(result.bootstrap for result in results if result.bootstrap is not None)
    notes = [
        f'{BRACKETS}: {boot.confidence * 100:g}% bootstrap interval, {count(boot.resamples)} resamples of the images'
        for boot in boots
    ]
    return notes + [f'not as COCO: {made}' for made in dict.fromkeys(map(settings_of, results)) if made]


def _common_note(result: OcclusionResult) -> list[str]:
    number = result.num_common_categories
    if number is None:
        return []
    which = f'AP over the {plural(number, "category", "categories")} with' if number else 'no category has'
    return [f'common: {which} instances in every stratum of enough images']


def _missed_share(errors: Errors) -> float:
    instances = errors.true_positive + errors.missed
    return errors.missed / instances if instances else math.nan


def _spread(rows: list[StratumResult], most: int) -> list[StratumResult]:
    """Some of the rows, evenly, both ends among them."""
    return rows if len(rows) <= most else [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def _ends_last(count: int) -> list[int]:
    """Drop numbers: both ends stay longest, then the middle."""
    order = sorted(range(count), key=lambda i: (i not in (0, count - 1), abs(i - (count - 1) / 2)))
    return [order.index(i) + 1 for i in range(count)]
