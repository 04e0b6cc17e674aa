"""The tables, in words: the terminal, Markdown and the report show the same sheets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter

from mmhybrid.text import clean, plural

from ..matching.settings import Settings
from ..results import MIN_IMAGES, SAMPLED, Comparison, Difference, Errors, OcclusionResult, StratumResult
from .given import BRACKETS, intervals, listed, made_by
from .numbers import ERRORS, METRIC_LABELS, MISSING, count, interval, number, p_value, percent, points, share
from .quality import scores_sheet
from .sheet import Column, Sheet, by_kind, column, few_strata, of_rows, of_strata, size_of, sizes_of_all

# Title, field, and when it gives way.
_RECALLS = (('IoU .50', 'recall50', 3), ('IoU .75', 'recall75', 4), ('IoU .50:.95', 'recall', 2))
_ERRORS = (
    ('TP/img', 'true_positive', 3), ('FP/img', 'false_positives', 0), *((kind, kind, 0) for kind in Errors.KINDS),
    ('missed', 'missed', 1),
)  # fmt: skip


def result_sheets(results: Iterable[OcclusionResult], min_images: int) -> list[Sheet]:
    """The strata of each result and, where it has them, recall by instance, errors and scores; then models side by
    side."""
    results, sheets = listed(results, OcclusionResult), []
    for result in results:
        sheets.append(strata_sheet(result, min_images))
        if result.instances:
            sheets.append(instances_sheet(result, min_images=min_images))
        if result.all.errors:
            sheets.append(errors_sheet(result, min_images))
        if result.all.quality:
            sheets.append(scores_sheet(result, min_images))
    return sheets + [models_sheet(group, min_images) for group in side_by_side(results) if len(group) > 1]


def comparison_sheets(
    comparisons: Iterable[Comparison], min_images: int, metrics: Sequence[str] = tuple(METRIC_LABELS)
) -> list[Sheet]:
    """The paired differences of those ``metrics`` that were compared; the others are named."""
    sheets = []
    for comparison in listed(comparisons, Comparison):
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
    return [categories_sheet(each, min_images, top) for each in results if each.all.categories]


def strata_sheet(result: OcclusionResult, min_images: int) -> Sheet:
    """Metrics of one result on every stratum."""
    rows = by_kind(result.strata)
    columns = [
        column('images', rows, 'num_images', is_size=True),
        column('instances', rows, 'num_instances', drop=5, is_size=True),
        column('inst/img', rows, 'instances_per_image', number, 4, is_size=True),
        column('categories', rows, 'num_categories', drop=7, is_size=True),
        *_miss_rates(rows),
        column('AP', rows, 'ap', percent),
    ]
    notes = made_by([result])
    of_instances = (row.stratum for row in rows if row.stratum.kind == 'instances')
    notes = [*(f'{clean(each.name)}: {clean(each.condition)}' for each in of_instances), *notes]
    if result.is_crowdhuman:
        return _crowdhuman_sheet(result, rows, columns[:3], notes, min_images)
    # Strata of instances have none.
    has_common = {row.stratum.kind for row in rows} != {'all', 'instances'}
    if has_common and (common := result.num_common_categories) is not None:
        columns.append(column('common', rows, 'ap_common', percent))
        which = f'AP over the {plural(common, "category", "categories")} with' if common else 'no category has'
        notes.insert(0, f'common: {which} instances in every stratum of enough images')
    # Sizes go first: they are the noisiest where strata are small.
    drops = {'ap50': 1, 'ap75': 2, 'aps': 6, 'apm': 6, 'apl': 6, 'ar': 3}
    columns += [column(METRIC_LABELS[metric], rows, metric, percent, drop, ()) for metric, drop in drops.items()]
    what = 'MR^-2 (less is better), AP and AR' if _miss_rates(rows) else 'AP and AR'
    title = f'{clean(result.name)}: {result.iou_type} {what} in %, by {clean(result.measure.label)}'
    return of_strata(title, rows, columns, notes, min_images)


def _crowdhuman_sheet(
    result: OcclusionResult, rows: Sequence[StratumResult], sizes: Sequence[Column], notes: Sequence[str], least: int
) -> Sheet:
    """With the two digits that papers give."""
    form = partial(number, digits=2)
    keys = ('ap', 'mr') if math.isnan(result.all.ji) else ('ap', 'mr', 'ji')  # for which SciPy may be missing
    columns = [column(METRIC_LABELS[key], rows, key, lambda value: form(100 * value)) for key in keys]
    if 'ji' in keys:
        columns.append(column('at score >', rows, 'ji_score', number, 2))
    columns.append(column('recall', rows, 'ar', percent, 1, ()))
    notes = [
        "AP (by trapezoids), MR^-2 and JI are CrowdHuman's, at IoU above 0.5, of boxes clipped to their images",
        *notes,
    ]
    title = f'{clean(result.name)}: AP, MR^-2 (less is better) and JI in %, by {clean(result.measure.label)}'
    return of_strata(title, rows, [*sizes, *columns], notes, least)


def _miss_rates(rows: Sequence[StratumResult]) -> list[Column]:
    """The column of miss rates, if they were asked for."""
    asked = any(not math.isnan(row.mr) for row in rows)
    # With the two digits that papers give.
    return [column(METRIC_LABELS['mr'], rows, 'mr', lambda value: number(100 * value, 2))] if asked else []


def models_sheet(results: Sequence[OcclusionResult], min_images: int) -> Sheet:
    """AP of several models side by side, on the same strata and for one IoU type."""
    rows = by_kind(sizes_of_all(results).strata)
    columns = [column('images', rows, 'num_images', drop=1, is_size=True)]
    for index, result in enumerate(results, 1):
        own = by_kind(result.strata)
        columns.append(column(clean(result.name), own, 'ap', percent, drop=2, alias=f'({index})'))
    title = f'{results[0].iou_type} AP in %, by {clean(results[0].measure.label)}'
    return of_strata(title, rows, columns, made_by(results), min_images)


def instances_sheet(*results: OcclusionResult, min_images: int = MIN_IMAGES) -> Sheet:
    """Recall by the instances' own occlusion, of models on the same instances; ranges of few instances are marked."""
    rows = results[0].instances
    columns = [column('instances', rows, 'num_instances', drop=1, is_size=True)]
    for result in results:
        group = clean(result.name) if results[1:] else ''
        for title, field, drop in _RECALLS[:1] if result.is_crowdhuman else _RECALLS:
            if field == 'recall' and result.settings.iou_thrs != Settings.iou_thrs:
                title = 'mean'
            columns.append(column(title, result.instances, field, percent, drop, group=group))
    name = '' if results[1:] else f'{clean(results[0].name)}: '
    title = f"{name}{results[0].iou_type} recall in %, by the instance's own occlusion"
    first = column(clean(results[0].fraction) or 'instances', rows, 'name', str, alias='fraction')
    sizes = [row.num_instances for row in rows]
    return of_rows(title, first, columns, made_by(results), sizes, min_images, 'instances')


def errors_sheet(result: OcclusionResult, min_images: int) -> Sheet:
    """Detections by kind, an image and as a share of the false positives; the instances missed."""
    rows = by_kind(result.strata)
    columns = [column('images', rows, 'num_images', drop=2, is_size=True)]
    for title, kind, drop in _ERRORS:
        value, shares = partial(per_image, kind=kind), [_share(row.errors, kind) for row in rows]
        columns.append(column(title, rows, value, partial(number, digits=2), drop, shares))
    first = rows[0].errors
    title = (
        f'{clean(result.name)}: {result.iou_type} errors per image, detections of score >= {first.min_score:g} '
        f'at IoU {first.iou_thr:.2f}'
    )
    notes = ['%: share of the false positives (FP); for missed, of the instances']
    return of_strata(title, rows, columns, notes, min_images)


def categories_sheet(result: OcclusionResult, min_images: int, top: int = 20) -> Sheet:
    """AP of the ``top`` categories with most instances, on all images and on some strata, with their instances there.

    The strata are those of :func:`few_strata`.
    """
    chosen = few_strata(result, min_images)
    largest = sorted(result.all.categories, key=lambda category: (-category.num_instances, category.id))[:top]
    columns = []
    for row, drop in zip((result.all, *chosen), (0, *_ends_last(len(chosen))), strict=True):
        own = {category.id: category for category in row.categories}
        cells = [own.get(category.id) for category in largest]
        text = [f'{percent(cell.ap)} ({count(cell.num_instances)})' if cell else MISSING for cell in cells]
        columns.append(Column(clean(row.stratum.name), tuple(text), drop=drop))
    title = f'{clean(result.name)}: {result.iou_type} AP in % by category'
    rest = len(result.all.categories) - len(largest)
    notes = ['in brackets: instances'] + (
        [plural(rest, 'category with fewer instances is', 'categories with fewer instances are') + ' left out']
        if rest
        else []
    )
    return of_rows(title, column('category', largest, 'name', clean), columns, notes)


def every_category_sheet(results: Sequence[OcclusionResult]) -> Sheet:
    """Every category, a section a stratum: thousands of rows, for media in which one can search.

    The results are of one IoU type and the same strata; of several, a column names the model.
    """
    rows, sections = [], {}
    for parts in zip(*(by_kind(result.strata) for result in results), strict=True):
        own = [(each, result.name) for result, row in zip(results, parts, strict=True) for each in row.categories]
        if own:
            sections[clean(parts[0].stratum.name)] = len(own)
            rows += sorted(own, key=lambda entry: (entry[0].name.casefold(), entry[0].id))
    categories = [each for each, _ in rows]
    columns = [
        column('model', rows, itemgetter(1), clean, is_text=True),
        column('images', categories, 'num_images', is_size=True),
        column('instances', categories, 'num_instances', is_size=True),
        *(column(METRIC_LABELS[metric], categories, metric, percent) for metric in SAMPLED),
    ]
    title = f'{results[0].iou_type} metrics in % by category and stratum'
    first = column('category', categories, 'name', clean)
    return of_rows(title, first, columns[len(results) == 1 :], sections=sections)


def comparison_sheet(comparison: Comparison, metric: str | Sequence[str], min_images: int) -> Sheet:
    """Differences on every stratum, in a metric or, in groups of columns, several.

    Both models' values are given for the first metric alone, words (``better``, ``worse``) only if there is one.
    """
    metrics = [metric] if isinstance(metric, str) else list(metric)
    found = {key: by_kind(row for row in comparison.differences if row.metric == key) for key in metrics}
    first = found[metrics[0]]
    columns = [column('images', first, 'num_images', drop=1, is_size=True)]
    for key, rows in found.items():
        group = METRIC_LABELS[key] if metrics[1:] else ''
        if rows is first:
            columns += [column(title, rows, title, percent, group=group) for title in ('baseline', 'model')]
        spans = [interval(row.interval, points) for row in rows]
        strong = tuple(verdict(row, min_images) != '' for row in rows)
        columns += [
            column('difference', rows, 'difference', points, details=spans, group=group, strong=strong),
            column('p', rows, 'p_value', p_value, group=group),
        ]
    if not metrics[1:]:
        columns.append(column('', first, partial(verdict, min_images=min_images), str, is_text=True))
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
        f'{BRACKETS}: {intervals(boot, "paired ")}; {"bold" if metrics[1:] else "better, worse"}: it excludes 0',
        f'{plural(tested, "difference is", "differences are")} tested: '
        f'{number(tested * alpha)} would exclude 0 by chance alone; {advice}',
    ]
    return of_strata(title, first, columns, notes, min_images)


def verdict(row: Difference, min_images: int) -> str:
    """``'better'`` or ``'worse'`` where the interval excludes 0 and the images (instances) are not too few, else
    nothing."""
    if size_of(row) < min_images or math.isnan(row.difference):
        return ''
    low, high = row.interval.low, row.interval.high
    if row.metric in ERRORS:
        low, high = -high, -low
    return 'better' if low > 0 else 'worse' if high < 0 else ''


def compared_metrics(comparison: Comparison) -> list[str]:
    """Which metrics have differences, in their usual order."""
    return list(dict.fromkeys(row.metric for row in comparison.differences))


def side_by_side(results: Iterable[OcclusionResult]) -> list[list[OcclusionResult]]:
    """Results that one figure or table can hold together: of one IoU type and the same strata."""
    together: dict[tuple, list[OcclusionResult]] = {}
    for result in results:
        strata = tuple(row.stratum.name for row in result.strata)
        together.setdefault((result.iou_type, result.measure, strata), []).append(result)
    return list(together.values())


def per_image(row: StratumResult, kind: str) -> float:
    """Detections of a kind of error (or ``missed`` instances) an image; NaN without images."""
    return getattr(row.errors, kind) / (row.num_images or math.nan)


def _share(errors: Errors, kind: str) -> str:
    """A kind's part of the false positives; of the instances, for missed ones."""
    if kind == 'missed':
        return share(errors.missed / (errors.true_positive + errors.missed or math.nan))
    return share(errors.share(kind)) if kind in Errors.KINDS else ''


def _ends_last(count: int) -> list[int]:
    """Drop numbers: both ends stay longest, then the middle."""
    order = sorted(range(count), key=lambda i: (i not in (0, count - 1), abs(i - (count - 1) / 2)))
    return [order.index(i) + 1 for i in range(count)]
