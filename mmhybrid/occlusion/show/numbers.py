"""How numbers are written, everywhere: AP, AR and recall in percent, differences in percentage points, '-' for NaN."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..results import Interval

METRIC_LABELS = {
    'ap': 'AP', 'ap50': 'AP50', 'ap75': 'AP75', 'aps': 'APs', 'apm': 'APm', 'apl': 'APl', 'ar': 'AR',
    'mr': 'MR^-2', 'ji': 'JI', 'f1': 'F1', 'ece': 'ECE', 'olrp': 'oLRP', 'recall': 'recall',
}  # fmt: skip
MISSING = '-'
# Of these less is better.
ERRORS = ('mr', 'ece', 'olrp')


def count(value: int) -> str:
    """``5000`` -> ``'5,000'``."""
    return f'{value:,}'


def number(value: float, digits: int = 1) -> str:
    """Fixed decimals; ``'-'`` for NaN."""
    return MISSING if math.isnan(value) else f'{value:,.{digits}f}'


def percent(value: float) -> str:
    """A fraction as percent, without the sign: ``'42.1'``."""
    return number(100 * value)


def share(value: float) -> str:
    """A fraction as whole percent, with the sign: ``'42%'``; empty for NaN."""
    return '' if math.isnan(value) else f'{100 * value:.0f}%'


def points(value: float) -> str:
    """A difference of fractions in percentage points, with its sign: ``'+1.2'``."""
    return MISSING if math.isnan(value) else f'{100 * value:+,.1f}'


def interval(value: Interval | None, form: Callable[[float], str] = percent) -> str:
    """``'[40.3, 44.0]'``, or of differences, with ``points``; empty without one, and where a bound is no number."""
    return f'[{form(value.low)}, {form(value.high)}]' if is_interval(value) else ''


def is_interval(value: Interval | None) -> bool:
    """Whether there is an interval with two finite bounds."""
    return value is not None and math.isfinite(value.low) and math.isfinite(value.high)


def p_value(value: float) -> str:
    """Three decimals; ``'<0.001'`` below what they show."""
    return '<0.001' if value < 0.0005 else number(value, 3)
