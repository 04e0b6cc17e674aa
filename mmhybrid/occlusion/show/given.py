"""What a caller wants shown, checked: ``evaluate`` returns a dictionary, and tables are made of lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from mmhybrid.errors import InputError

from ..results import Comparison, OcclusionResult

_ADVICE = {OcclusionResult: 'evaluate(...).values()', Comparison: 'compare(...).comparisons'}
Row = TypeVar('Row', OcclusionResult, Comparison)


def listed(given: Any, kind: type[Row]) -> list[Row]:
    """The list of what was given.

    Raises:
        InputError: It is one alone, a dictionary or anything else that is no list of ``kind``.
    """
    is_many = isinstance(given, Iterable) and not isinstance(given, Mapping)
    rows = list(given) if is_many else []
    wrong = [f' with {type(row).__name__}' for row in rows if not isinstance(row, kind)]
    if wrong or not is_many:
        what = ''.join((type(given).__name__, *wrong[:1]))
        raise InputError(f'a {what} cannot be shown; give a list of {kind.__name__}, e.g. {_ADVICE[kind]}.')
    return rows
