"""What a figure of AP shows, as its title: no more than intervals and numbers of images bear out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mmhybrid.figure_style import NO_BREAK, wrap

from ...results import MIN_IMAGES, Comparison, OcclusionResult, StratumResult
from ..numbers import is_interval, percent
from ..sheet import differences, first_and_last, in_parts
from ..tables import verdict
from .panels import named

_KINDS = {'bbox': 'box AP', 'segm': 'mask AP'}
_UNDEFINED = 'is not defined: the images hold no instances'
_MOST = 4  # comparisons in a title


def finding(
    results: Sequence[OcclusionResult], comparisons: Sequence[Comparison] = (), min_images: int = MIN_IMAGES
) -> str:
    """One line on the results of one model, or of several and their comparisons.

    One model's AP *falls* or *rises* where the bootstrap intervals of the first and the last bin of at least
    ``min_images`` images lie apart; without intervals, or where they meet, it *is* so much at both. Of groups and
    strata of instances the least and the greatest AP are told. Models are better or worse where
    :func:`~mmhybrid.occlusion.show.tables.verdict` says so.
    """
    if len({result.name for result in results}) == 1:
        told = _of_one(results, min_images)
    elif 0 < len(comparisons) <= _MOST:
        told = '; '.join(_of_two(each, min_images) for each in comparisons)
    else:
        told = f'AP of {len({result.name for result in results})} models by {results[0].measure.label}'
    return told[:1].upper() + told[1:]


def _of_one(results: Sequence[OcclusionResult], min_images: int) -> str:
    clauses, before = [], None
    for result in results:
        kind, ends = _KINDS[result.iou_type], first_and_last(result, min_images)
        if ends is None:
            ap = result.all.ap
            clauses.append(f'{kind} {_UNDEFINED if math.isnan(ap) else f"{percent(ap)} on all images"}')
            before = None
            continue
        if ends[0].stratum.kind in ('group', 'instances'):  # from the least AP to the greatest
            ends = ends[::-1]
        low, high = (percent(row.ap) for row in ends)
        first, last = map(_place, ends)
        word = _change(*ends)
        start, middle = ('', 'and') if word == 'is' else ('from ', 'to')
        if before == (word, first, last):  # said of the kind before, too
            clauses.append(f'{kind} {start}{low} {middle} {high}')
        else:
            clauses.append(f'{kind} {word} {start}{low} {first} {middle} {high} {last}')
        before = word, first, last
    return '; '.join(clauses)


def _change(first: StratumResult, last: StratumResult) -> str:
    """``'falls'`` or ``'rises'`` where intervals of two disjoint bins lie apart, ``'goes'`` for a plain range."""
    a, b = first.intervals.get('ap'), last.intervals.get('ap')
    if first.stratum.kind in ('group', 'instances'):  # chosen for their AP
        return 'goes'
    # Cumulative strata hold one another: their intervals are not apart by chance alone.
    if first.stratum.kind != 'bin' or not (is_interval(a) and is_interval(b)):
        return 'is'
    return 'falls' if b.high < a.low else 'rises' if b.low > a.high else 'is'


def _place(row: StratumResult) -> str:
    name = named(row.stratum.name).replace(' ', NO_BREAK)
    return f'at {name}' if row.stratum.kind in ('bin', 'cumulative') else f'on “{name}”'


def _of_two(comparison: Comparison, min_images: int) -> str:
    model, baseline = (wrap(name, 24, 1) for name in (comparison.model, comparison.baseline))
    kind, tested = _KINDS[comparison.iou_type], differences(comparison)
    if not tested:
        return f'{kind} {_UNDEFINED}'
    what, rows = in_parts(comparison, min_images)
    if not rows:
        word = next((verdict(row, min_images) for row in tested if row.stratum.kind == 'all'), '')
        return f'{kind} of {model} is {word or "not told apart"} {"than" if word else "from"} {baseline} on all images'
    told = [verdict(row, min_images) for row in rows]
    counts = [f'{word} on {told.count(word)}' for word in ('better', 'worse') if word in told]
    if not counts:
        return f'{kind} of {model} and {baseline} is told apart on none of {len(rows)} {what}'
    return f'{kind} of {model} against {baseline}: {", ".join(counts)} of {len(rows)} {what}'
