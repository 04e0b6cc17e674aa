"""Results as marks of charts: what an axis shows together, its labels, and points and bars with their titles."""

from __future__ import annotations

import math

from ...results import Errors, InstanceRecall, OcclusionResult, StratumResult
from ..labels import is_few
from .charts import Bar, Point
from .numbers import amount, count, fraction_name, interval, percent, short_name, stratum_name
from .wording import KIND_NAMES, per_image

Strata = list[int]  # positions in OcclusionResult.strata


def families(result: OcclusionResult) -> list[tuple[str, Strata]]:
    """Strata by what an axis can show together: bins, cumulative ones, and the rest, whose points are not joined."""
    positions = {
        kind: [i for i, row in enumerate(result.strata) if row.stratum.kind == kind]
        for kind in ('bin', 'cumulative', 'group')
    }
    found = []
    rest = positions['group']
    for kind in ('bin', 'cumulative'):
        if len(positions[kind]) >= 2:
            found.append((kind, sorted(positions[kind], key=lambda i: result.strata[i].stratum.lower)))
        else:
            rest = rest + positions[kind]
    return [*found, ('group', sorted(rest))] if rest else found


def family_words(family: str, result: OcclusionResult) -> tuple[str, str]:
    """Heading and axis label."""
    measure = result.measure
    if family == 'bin':
        return 'On disjoint bins', f'bin of the {measure.label}' if measure.definition != 'user' else measure.name
    if family == 'cumulative':
        return f'On the images with {measure.name} ≥ t', f't, images with {measure.name} ≥ t'
    return 'By stratum', measure.label


def ticks_of(result: OcclusionResult, rows: Strata, numeric: bool) -> list[tuple[float, str]]:
    """Positions and labels on the axis: by the strata's lower bounds where these are numbers, else one by one."""
    strata = [result.strata[i].stratum for i in rows]
    if numeric:
        return [(stratum.lower, f'{stratum.lower:g}') for stratum in strata]
    return [(float(x), short_name(s.lower, s.upper, stratum_name(s))) for x, s in enumerate(strata)]


def sparse(ticks: list[tuple[float, str]], least: float = 0.04) -> list[tuple[float, str]]:
    """Without the labels of ticks that are closer to the one before than a share of the axis; ends always stay."""
    if len(ticks) < 3:
        return ticks
    room = least * (ticks[-1][0] - ticks[0][0])
    kept = [ticks[0]]
    for tick in ticks[1:-1]:
        if tick[0] - kept[-1][0] >= room and ticks[-1][0] - tick[0] >= room:
            kept.append(tick)
    return [*kept, ticks[-1]]


def ap_point(row: StratumResult, name: str, x: float, min_images: int) -> Point:
    """AP on a stratum with its interval."""
    span = row.intervals.get('ap')
    low, high = (100 * span.low, 100 * span.high) if span else (math.nan, math.nan)
    told = f' ({interval(span)})' if interval(span) else ''
    title = f'{name}, {stratum_name(row.stratum)}: AP {percent(row.ap)}{told}, {count(row.num_images)} images'
    return Point(x, 100 * row.ap, title, low, high, is_few(row, min_images))


def recall_point(part: InstanceRecall, name: str, x: int, key: str, min_images: int) -> Point:
    """Recall of some instances by one of its fields, with its interval."""
    span = part.intervals.get(key)
    low, high = (100 * span.low, 100 * span.high) if span else (math.nan, math.nan)
    told = f' ({interval(span)})' if interval(span) else ''
    value = getattr(part, key)
    title = f'{name}, {fraction_name(part.name)}: {percent(value)}{told}, {count(part.num_instances)} instances'
    return Point(x, 100 * value, title, low, high, part.num_instances < min_images)


def errors_bar(row: StratumResult, min_images: int, is_share: bool = False) -> Bar:
    """False positives on a stratum by kind: how many an image, or shares in percent."""
    where = f'{stratum_name(row.stratum)}, {count(row.num_images)} images'
    parts = []
    for kind in Errors.KINDS:
        value = per_image(row, kind)
        words = f'{amount(value, 2)} an image'
        if is_share:
            value = 100 * row.errors.share(kind) if row.errors else math.nan
            words = f'{amount(value)}%'
        parts.append((kind, value, f'{where}: {KIND_NAMES[kind]} {words}'))
    return Bar(parts, is_few(row, min_images))
