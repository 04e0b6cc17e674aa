"""Recall of listed instances as tables and as flat records; numbers look as in the other tables."""

from __future__ import annotations

import math

from mmhybrid.text import clean

from ..analysis.listed_recall import ListedResult
from .given import BRACKETS, intervals
from .numbers import interval, number
from .records import Record
from .sheet import Sheet, column, of_rows
from .tables import comparison_sheet


def listed_sheets(result: ListedResult, min_images: int) -> list[Sheet]:
    """Recall on every list, model by model; then each model against the first."""
    rows, models = result.recalls, {row.model for row in result.recalls}
    columns = [
        column('model', rows, 'model', clean, is_text=True),
        column('images', rows, 'num_images', drop=2),
        column('listed', rows, 'num_listed', drop=1),
        column('found', rows, 'num_found'),
        # Two decimals, as published; the interval is far wider than the second.
        column(
            'recall', rows, 'recall', lambda value: number(100 * value, 2), details=[interval(r.interval) for r in rows]
        ),
    ]
    notes = [
        f'found: a detection of the class of score >= {result.score_thr:g} has mask IoU >= {result.iou_thr:g} with it'
    ]
    if result.bootstrap:
        notes.append(f'{BRACKETS}: {intervals(result.bootstrap)}')
    title, sections = 'segm recall in % of the instances listed', None
    if len(models) == 1:
        title, columns = f'{clean(rows[0].model)}: {title}', columns[1:]
    else:
        sections = {row.list: len(models) for row in rows}
    first, sizes = column('list', rows, 'list', clean), [row.num_images for row in rows]
    sheet = of_rows(title, first, columns, notes, sizes, min_images, sections=sections)
    return [sheet, *(comparison_sheet(each, 'recall', min_images) for each in result.comparisons)]


def recall_records(result: ListedResult) -> list[Record]:
    """One record a list and model."""
    origin = {'score_thr': result.score_thr, 'iou_thr': result.iou_thr, 'ground_truth': result.ground_truth}
    origin |= {key: getattr(result.bootstrap, key, math.nan) for key in ('resamples', 'seed', 'confidence')}
    return [
        {key: value for key, value in vars(row).items() if key != 'interval'}
        | {'recall_low': row.interval.low, 'recall_high': row.interval.high, **origin}
        for row in result.recalls
    ]
