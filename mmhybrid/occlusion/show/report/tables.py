"""The report's tables. Every table scrolls inside its own region, so that no page is wider than its window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby

from ...results import Comparison, Difference, Errors, OcclusionResult, StratumResult
from ...strata import Stratum
from ..labels import METRIC_LABELS, is_few
from .markup import Markup, join, tag
from .numbers import (
    NONE,
    amount,
    count,
    fraction_name,
    interval,
    is_interval,
    p_value,
    percent,
    points,
    points_interval,
    stratum_name,
)
from .wording import KIND_NAMES, per_image

FAMILIES = {
    'all': 'All images',
    'bin': 'Bins: no image is in two',
    'cumulative': 'Cumulative: each holds the ones after it',
    'group': 'Groups',
}
Body = tuple[str | None, Sequence[Markup]]


def strata_table(result: OcclusionResult, min_images: int, identity: str) -> Markup:
    """COCO metrics of one model, one row a stratum."""
    metrics = ('ap50', 'ap75', 'aps', 'apm', 'apl', 'ar')
    with_common = result.num_common_categories is not None
    head = ['stratum', 'images', 'instances', 'inst/img', 'categories', 'AP']
    with_intervals = any(each.intervals for each in result.strata)
    head += [_interval_name(result)] if with_intervals else []
    head += [METRIC_LABELS[key] for key in metrics]
    head += ['AP common'] if with_common else []

    def row(each: StratumResult) -> Markup:
        cells = [
            count(each.num_images),
            count(each.num_instances),
            amount(each.instances_per_image),
            count(each.num_categories),
            percent(each.ap),
        ]
        cells += [interval(each.intervals.get('ap')) or NONE] if with_intervals else []
        cells += [percent(getattr(each, key)) for key in metrics]
        cells += [percent(each.ap_common)] if with_common else []
        return _row(_name(each.stratum, is_few(each, min_images)), cells, is_few(each, min_images))

    caption = f'{result.name}, {result.iou_type}: AP and AR in %'
    table = _table(caption, _head(head), _bodies(result.strata, lambda each: each.stratum, row), len(head), identity)
    return join([table, few_note([each.num_images for each in result.strata], min_images)])


def comparison_table(comparison: Comparison, min_images: int, identity: str) -> Markup:
    """Paired differences, one row a stratum, one group of columns a metric."""
    metrics = list(dict.fromkeys(each.metric for each in comparison.differences))
    by_stratum = [list(rows) for _, rows in groupby(comparison.differences, key=lambda each: each.stratum)]
    upper = [tag('th', 'stratum', scope='col', rowspan=2), tag('th', 'images', scope='col', rowspan=2)]
    # Both models' values are in the tables of strata; here only those of the first metric keep them company.
    names = [('baseline', 'model', 'difference', 'p') if i == 0 else ('difference', 'p') for i in range(len(metrics))]
    upper += [
        tag('th', METRIC_LABELS.get(metric, metric), scope='colgroup', colspan=len(own))
        for metric, own in zip(metrics, names, strict=True)
    ]
    lower = [tag('th', name, scope='col') for own in names for name in own]

    def row(each: Sequence[Difference]) -> Markup:
        found = {difference.metric: difference for difference in each}
        cells: list[object] = [count(each[0].num_images)]
        few = each[0].num_images < min_images
        for metric, own in zip(metrics, names, strict=True):
            cells += _difference_cells(found[metric], few)[-len(own) :] if metric in found else [''] * len(own)
        return _row(_name(each[0].stratum, few), cells, few)

    caption = (
        f'{comparison.model} (model) minus {comparison.baseline} (baseline), {comparison.iou_type}: metrics in %, '
        f'differences in percentage points with {100 * comparison.bootstrap.confidence:g}% intervals; bold where the '
        'interval leaves out 0'
    )
    head = join([tag('tr', *upper), tag('tr', *lower)])
    columns = 2 + len(lower)
    table = _table(caption, head, _bodies(by_stratum, lambda each: each[0].stratum, row), columns, identity)
    return join([table, few_note([each[0].num_images for each in by_stratum], min_images)])


def recall_table(results: Sequence[OcclusionResult], min_images: int, identity: str) -> Markup:
    """Recall by the instances' own occlusion, one group of columns a model."""
    fields = {'recall50': 'IoU 0.50', 'recall75': 'IoU 0.75', 'recall': '0.50:0.95'}
    upper = [tag('th', name, scope='col', rowspan=2) for name in ('fraction', 'instances')]
    upper += [tag('th', result.name, scope='colgroup', colspan=3, class_='long') for result in results]
    lower = [tag('th', title, scope='col') for _ in results for title in fields.values()]
    rows = []
    for parts in zip(*(result.instances for result in results), strict=True):
        few = parts[0].num_instances < min_images
        cells = [count(parts[0].num_instances)]
        cells += [
            _with_interval(percent(getattr(part, key)), interval(part.intervals.get(key)))
            for part in parts
            for key in fields
        ]
        rows.append(_row(_starred(fraction_name(parts[0].name), few), cells, few))
    caption = f'Share of the instances found, in %, by {results[0].fraction or "their own occlusion f"}'
    head = join([tag('tr', *upper), tag('tr', *lower)])
    table = _table(caption, head, [(None, rows)], 2 + 3 * len(results), identity)
    return join([table, few_note([part.num_instances for part in results[0].instances], min_images, 'instances')])


def errors_table(result: OcclusionResult, min_images: int, identity: str) -> Markup:
    """Kinds of detections an image, one row a stratum that has error anatomy."""
    rows = [row for row in result.strata if row.errors is not None]
    setting = rows[0].errors
    head = ['stratum', 'images', 'right', *(KIND_NAMES[kind] for kind in Errors.KINDS), 'all wrong', 'missed']

    def row(each: StratumResult) -> Markup:
        found = each.errors
        cells = [count(each.num_images), amount(per_image(each, 'true_positive'), 2)]
        for kind in Errors.KINDS:
            share = found.share(kind)
            cells.append(
                _with_share(amount(per_image(each, kind), 2), '' if math.isnan(share) else f'{100 * share:.0f}%')
            )
        cells.append(amount(per_image(each, 'false_positives'), 2))
        instances = found.true_positive + found.missed
        missed_share = f'{100 * found.missed / instances:.0f}%' if instances else ''
        cells.append(_with_share(amount(per_image(each, 'missed'), 2), missed_share))
        return _row(_name(each.stratum, is_few(each, min_images)), cells, is_few(each, min_images))

    caption = (
        f'{result.name}, {result.iou_type}: detections an image by kind at IoU {setting.iou_thr:g}, score at least '
        f'{setting.min_score:g}; beside each kind its share of the wrong ones, beside the missed their share of the '
        'instances'
    )
    table = _table(caption, _head(head), _bodies(rows, lambda each: each.stratum, row), len(head), identity)
    return join([table, few_note([each.num_images for each in rows], min_images)])


def category_table(results: Sequence[OcclusionResult], identity: str) -> tuple[Markup, list[str]]:
    """Metrics per category, one table body a stratum, and the strata's names in the same order.

    Only strata and categories with instances have rows. With several models a column names the model.
    """
    several = len(results) > 1
    left = ['category', 'model'] if several else ['category']
    numeric = ['images', 'instances', 'AP', 'AP50', 'AP75', 'AR']
    cells = [tag('th', name, scope='col', class_='left', data_text=True) for name in left]
    head = tag('tr', *cells, *(tag('th', name, scope='col') for name in numeric))
    bodies: list[Body] = []
    for row, *others in zip(*(result.strata for result in results), strict=True):
        rows = []
        for result, own in zip(results, (row, *others), strict=True):
            for each in own.categories:
                values = (count(each.num_images), count(each.num_instances))
                values += tuple(percent(value) for value in (each.ap, each.ap50, each.ap75, each.ar))
                model = [tag('td', result.name, class_='left', data_text=True)] if several else []
                # Thousands of rows: no attribute that is not needed.
                name = tag('th', each.name, scope='row')
                rows.append(
                    (each.name.casefold(), each.id, tag('tr', name, *model, *(tag('td', value) for value in values)))
                )
        if rows:
            rows.sort(key=lambda entry: entry[:2])
            bodies.append((stratum_name(row.stratum), [entry[2] for entry in rows]))
    table = _table('Metrics per category in %, by stratum', head, bodies, len(left) + len(numeric), identity)
    return table, [str(title) for title, _ in bodies]


def few_note(counts: Sequence[int], least: int, unit: str = 'images') -> Markup | None:
    """What the asterisk means, if there is one."""
    if all(each >= least for each in counts):
        return None
    return tag('p', f'* fewer than {least} {unit}: too few to conclude from', class_='note')


def _table(caption: str, head: Markup, bodies: Sequence[Body], columns: int, identity: str) -> Markup:
    parts = []
    for title, rows in bodies:
        heading = None
        if title is not None:
            name = tag('th', tag('span', title), scope='rowgroup', colspan=columns)
            heading = tag('tr', name)
        parts.append(tag('tbody', heading, '\n', join(rows, '\n')))
    table = tag('table', tag('caption', tag('span', caption), id=identity), tag('thead', head), *parts)
    return tag('div', table, class_='scroll', role='region', aria_labelledby=identity, tabindex=0)


def _bodies(rows: Sequence, stratum_of: Callable[..., Stratum], row: Callable[..., Markup]) -> list[Body]:
    """Rows by the family of their stratum, in the order given."""
    kinds = dict.fromkeys(stratum_of(each).kind for each in rows)
    families = {kind: [row(each) for each in rows if stratum_of(each).kind == kind] for kind in kinds}
    return [(FAMILIES[kind] if len(families) > 1 else None, made) for kind, made in families.items()]


def _head(names: Sequence[str]) -> Markup:
    return tag('tr', *(tag('th', name, scope='col') for name in names))


def _row(name: str, cells: Sequence[object], few: bool = False) -> Markup:
    return tag('tr', tag('th', name, scope='row'), *(tag('td', cell) for cell in cells), class_='few' if few else None)


def _name(stratum: Stratum, few: bool) -> str:
    return _starred(stratum_name(stratum), few)


def _starred(name: str, few: bool) -> str:
    return f'{name} *' if few else name


def _with_interval(value: str, below: str) -> object:
    return join([value, ' ', tag('span', below, class_='interval')]) if below else value


def _with_share(value: str, share: str) -> object:
    return join([value, ' ', tag('span', share, class_='share')]) if share else value


def _interval_name(result: OcclusionResult) -> str:
    return f'{100 * result.bootstrap.confidence:g}% interval' if result.bootstrap else 'interval'


def _difference_cells(row: Difference, few: bool) -> list[object]:
    value: object = points(row.difference)
    leaves_out_0 = is_interval(row.interval) and (row.interval.low > 0 or row.interval.high < 0)
    if leaves_out_0 and not few and not math.isnan(row.difference):
        value = tag('strong', value)
    span = points_interval(row.interval)
    shown = join([value, ' ', tag('span', span, class_='interval')]) if span else value
    return [percent(row.baseline), percent(row.model), shown, p_value(row.p_value)]
