"""Tables of what one IoU threshold says of each stratum: best F1, calibration, oLRP, confusions."""

from __future__ import annotations

import math
from collections import Counter

from mmhybrid.text import clean

from ..results import OcclusionResult
from .given import made_by
from .numbers import METRIC_LABELS, count, number, percent, share
from .sheet import Column, Sheet, by_kind, column, few_strata, of_rows, of_strata


def _score(value: float) -> str:
    return number(value) if math.isnan(value) else f'{value:.3g}'


# Title, field, how it is written, and when it gives way.
_SCORES = (
    ('best F1', 'f1', percent, 1), ('at score', 'f1_score', _score, 0),
    ('precision', 'f1_precision', percent, 5), ('recall', 'f1_recall', percent, 5),
    (METRIC_LABELS['ece'], 'ece', percent, 3), (METRIC_LABELS['olrp'], 'olrp', percent, 2),
    ('loc', 'olrp_loc', percent, 4), ('FP', 'olrp_fp', percent, 4), ('FN', 'olrp_fn', percent, 4),
)  # fmt: skip
_NOTE = (
    'F1, precision, recall: of all categories together, at the score of best F1; ECE: expected calibration error; loc, '
    'FP, FN: the parts of oLRP by localisation, false positives and missed instances. Of ECE and oLRP less is better'
)


def scores_sheet(result: OcclusionResult, min_images: int) -> Sheet:
    """Best F1 and where, calibration and oLRP with its parts."""
    rows = by_kind(result.strata)
    own = [row.quality for row in rows]
    columns = [column('images', rows, 'num_images', drop=6, is_size=True)]
    columns += [column(title, own, field, form, drop) for title, field, form, drop in _SCORES]
    title = f'{clean(result.name)}: {result.iou_type} scores in % at IoU {own[0].iou_thr:.2f}'
    return of_strata(
        f'{title}, by {clean(result.measure.label)}', rows, columns, [_NOTE, *made_by([result])], min_images
    )


def confusions_sheet(result: OcclusionResult, min_images: int, top: int = 10) -> Sheet | None:
    """The ``top`` pairs of an instance's class and another that it is detected as, on all images and on some strata.

    None if no class is taken for another. What background is taken for, or an instance lost in, the errors tell.
    """
    rows = [result.all, *few_strata(result, min_images)]
    names = dict(result.category_names)
    found = [{(truth, seen): times for truth, seen, times in row.quality.confusion} for row in rows]
    largest = sorted(
        (pair for pair in found[0] if None not in pair and pair[0] != pair[1]), key=lambda pair: -found[0][pair]
    )[:top]
    if not largest:
        return None
    columns = []
    for i, (row, pairs) in enumerate(zip(rows, found, strict=True)):
        sizes = Counter()
        for (truth, _), times in pairs.items():
            sizes[truth] += times
        times = [pairs.get(pair, 0) for pair in largest]
        parts = tuple(share(n / sizes[pair[0]]) if n else '' for n, pair in zip(times, largest, strict=True))
        columns.append(Column(clean(row.stratum.name), tuple(map(count, times)), parts, drop=i))
    first = Column('instance', tuple(clean(names[truth]) for truth, _ in largest))
    seen = Column('detected as', tuple(clean(names[seen]) for _, seen in largest), is_text=True)
    quality = result.all.quality
    title = (
        f'{clean(result.name)}: {result.iou_type} confusions, detections of score >= {quality.min_score:g} '
        f'at IoU {quality.iou_thr:.2f}'
    )
    return of_rows(title, first, [seen, *columns], ['%: share of the instances of that class in the stratum'])
