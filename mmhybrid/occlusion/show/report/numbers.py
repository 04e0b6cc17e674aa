"""Numbers as the report prints them: AP, AR and recall in percent, differences in percentage points."""

from __future__ import annotations

import math

from ...results import Interval
from ...strata import Stratum
from .. import labels

NONE = '–'
MINUS = '\N{MINUS SIGN}'


def count(value: int) -> str:
    """``5000`` -> ``'5,000'``."""
    return f'{value:,}'


def amount(value: float, digits: int = 1) -> str:
    """A plain number, a dash for NaN."""
    return NONE if math.isnan(value) else f'{value:,.{digits}f}'


def percent(value: float) -> str:
    """A fraction as percent without the sign, e.g. ``'42.1'``; a dash for NaN."""
    return amount(100 * value)


def points(value: float) -> str:
    """A difference of fractions in percentage points, always with its sign, e.g. ``'+1.2'``; a dash for NaN."""
    if math.isnan(value):
        return NONE
    shown = f'{100 * abs(value):.1f}'
    sign = '±' if float(shown) == 0 else '+' if value > 0 else MINUS
    return sign + shown


def interval(value: Interval | None) -> str:
    """``'40.3 to 44.0'`` in percent; empty if there is none."""
    return '' if not is_interval(value) else f'{percent(value.low)} to {percent(value.high)}'


def points_interval(value: Interval | None) -> str:
    """:func:`interval` of a difference."""
    return '' if not is_interval(value) else f'{points(value.low)} to {points(value.high)}'


def is_interval(value: Interval | None) -> bool:
    """Whether there is an interval with two finite bounds."""
    return value is not None and math.isfinite(value.low) and math.isfinite(value.high)


def p_value(value: float) -> str:
    """Three decimals, ``'<0.001'`` below them; a dash for NaN."""
    return NONE if math.isnan(value) else labels.p_value(value)


def stratum_name(stratum: Stratum) -> str:
    """A stratum's name with signs as one writes them; the user's own labels stay as they are."""
    if stratum.kind == 'all':
        return 'all images'
    return stratum.name if stratum.kind == 'group' else fraction_name(stratum.name)


def fraction_name(name: str) -> str:
    """``'0.2 < f <= 0.4'`` -> ``'0.2 < f ≤ 0.4'``."""
    return name.replace('<=', '≤').replace('>=', '≥')


def short_name(low: float, high: float, name: str, length: int = 14) -> str:
    """A label below an axis: the bounds of a bin, else the name, cut."""
    if math.isfinite(low) and low == high:
        return f'{low:g}'
    if math.isfinite(low) and math.isfinite(high):
        return f'{low:g}–{high:g}'
    return name if len(name) <= length else name[: length - 1] + '…'
