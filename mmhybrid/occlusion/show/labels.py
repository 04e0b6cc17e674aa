"""How numbers and names are written in tables, Markdown and figures."""

from __future__ import annotations

import math

from ..results import Interval, StratumResult

METRIC_LABELS = {
    'ap': 'AP', 'ap50': 'AP50', 'ap75': 'AP75', 'aps': 'APs', 'apm': 'APm', 'apl': 'APl', 'ar': 'AR',
}  # fmt: skip
MISSING = '-'


def percent(value: float, interval: Interval | None = None, sign: str = '') -> str:
    """``'41.2'``, or ``'41.2 [39.8, 42.9]'`` with an interval whose bounds are numbers; ``'-'`` for NaN."""
    if math.isnan(value):
        return MISSING
    text = f'{100 * value:{sign}.1f}'
    if interval is None or math.isnan(interval.low) or math.isnan(interval.high):
        return text
    return f'{text} [{100 * interval.low:{sign}.1f}, {100 * interval.high:{sign}.1f}]'


def signed(value: float, interval: Interval | None = None) -> str:
    """Percentage points with their sign: ``'+1.2 [+0.1, +2.3]'``; ``'-'`` for NaN."""
    return percent(value, interval, '+')


def number(value: float, digits: int = 1) -> str:
    """Fixed decimals; ``'-'`` for NaN."""
    return MISSING if math.isnan(value) else f'{value:.{digits}f}'


def p_value(value: float) -> str:
    """Three decimals; ``'<0.001'`` below what they show; ``'-'`` for NaN."""
    if math.isnan(value):
        return MISSING
    return '<0.001' if value < 0.0005 else f'{value:.3f}'


def is_few(row: StratumResult, min_images: int) -> bool:
    """Whether a stratum has too few images to conclude from."""
    return row.num_images < min_images
