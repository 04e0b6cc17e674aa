"""Column-wise checks on the records of a JSON file, with errors that name file, record and field.

Hundreds of thousands of detections are checked at once, by type sets and arrays; only once a check has failed is each
record looked at, to count them and to name the first.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

# Beyond this a coordinate is a mistake, and products of two would lose all precision.
MAX_VALUE = 1e9
WHOLE = re.compile(r'(-?[0-9]{1,32})(\.0*)?')
FLAGS = {'': False, '0': False, 'false': False, '1': True, 'true': True}


@dataclass(frozen=True)
class Records:
    """A list of JSON objects and how to name them.

    Attributes:
        source: The file's name.
        label: What the list is called, e.g. ``'annotations'``.
        rows: The objects.
        has_id: Whether an error should give a record's id beside its index.
        offset: Index in the file of the first of ``rows``, where they are a part of it.
        is_part: Whether there are more behind them, so that a count of them is too low.
    """

    source: str
    label: str
    rows: Sequence[Any]
    has_id: bool = False
    offset: int = 0
    is_part: bool = False

    def fail(self, index: int, problem: str, remedy: str, count: int = 1) -> NoReturn:
        """Raise an ``InputError`` about record ``index``, the first of ``count``."""
        name = f'{self.label}[{self.offset + index}]'
        if self.has_id and isinstance(self.rows[index], dict) and 'id' in self.rows[index]:
            name += f' (id {show(self.rows[index]["id"])})'
        counted = f'{"at least " if self.is_part else ""}{count} records, the first is ' if count > 1 else ''
        raise InputError(f'{self.source}: {counted}{name}: {problem}; {remedy}.')

    def fail_where(self, bad: Iterable[Any], problem: Callable[[int], str], remedy: str) -> None:
        """Raise about the true entries of ``bad`` ``(n,)``, if there are any: their number and the first."""
        bad = np.fromiter(bad, dtype=bool) if not isinstance(bad, np.ndarray) else bad
        if bad.any():
            index = int(np.argmax(bad))
            self.fail(index, problem(index), remedy, int(bad.sum()))

    def check_objects(self) -> None:
        """Every record is a JSON object."""
        if not all(issubclass(kind, dict) for kind in set(map(type, self.rows))):
            self.fail_where(
                (not isinstance(row, dict) for row in self.rows),
                lambda i: f'{show(self.rows[i])} is not an object',
                'give one JSON object a record',
            )

    def column(self, field: str, remedy: str) -> list[Any]:
        """The field of every record, which must be there."""
        try:
            return [row[field] for row in self.rows]
        except KeyError:
            self.fail_where((field not in row for row in self.rows), lambda i: f"field '{field}' is missing", remedy)
            raise

    def integers(self, field: str, remedy: str) -> np.ndarray:
        """The field as ``(n,)`` int64, however :func:`whole_numbers` are written."""
        values = self.column(field, remedy)
        numbers, is_whole = whole_numbers(values)

        def problem(i: int) -> str:
            reason = 'not an integer' if _whole(values[i]) is None else 'which does not fit 64 bits'
            return f"field '{field}' is {show(values[i])}, {reason}"

        self.fail_where(~is_whole, problem, remedy)
        return numbers

    def numbers(self, field: str, remedy: str, may_miss: bool = False) -> np.ndarray:
        """The field as ``(n,)`` float64, every value finite; if it ``may_miss``, NaN where it is missing or null."""
        values = [row.get(field) for row in self.rows] if may_miss else self.column(field, remedy)
        missing = [i for i, value in enumerate(values) if value is None] if may_miss else []
        for i in missing:
            values[i] = 0.0
        if bad_kinds := _other_kinds(values, Real):
            self.fail_where(
                (type(value) in bad_kinds for value in values),
                lambda i: f"field '{field}' is {show(values[i])}, not a number",
                remedy,
            )
        array = to_float(values)
        self.fail_where(~np.isfinite(array), lambda i: f"field '{field}' is {array[i]}, not a finite number", remedy)
        array[missing] = np.nan
        return array

    def flags(self, field: str) -> np.ndarray:
        """The field as ``(n,)`` bool: 0 and 1 as numbers, booleans or text; a record without it is false."""
        values = [row.get(field, 0) for row in self.rows]
        if not set(map(type, values)) <= {int, bool} or not set(values) <= {0, 1}:
            values = [_flag(value) for value in values]
            self.fail_where(
                (value is None for value in values),
                lambda i: f"field '{field}' is {show(self.rows[i][field])}, neither 0 nor 1",
                'give 0 or 1',
            )
        return np.array(values, dtype=bool)

    def boxes(self, remedy: str) -> np.ndarray:
        """The field ``bbox`` as ``(n, 4)`` float64 ``x, y, width, height``, finite and without negative size."""
        values = self.column('bbox', remedy)

        def fail_where(bad: Iterable[Any], problem: str) -> None:
            self.fail_where(bad, lambda i: f"field 'bbox' is {show(values[i])}, {problem}", remedy)

        if not set(map(type, values)) <= {list} or not set(map(len, values)) <= {4}:
            fail_where((not _is_sequence(value) or len(value) != 4 for value in values), 'not four numbers')
        flat = list(chain.from_iterable(values))
        if bad_kinds := _other_kinds(flat, Real):
            fail_where((not bad_kinds.isdisjoint(map(type, value)) for value in values), 'not four numbers')
        array = to_float(flat).reshape(-1, 4)
        for bad, problem in box_faults(array):
            fail_where(bad.any(axis=1), f'with {problem}')
        return array


def box_faults(boxes: np.ndarray, smallest: np.ndarray | float = 0.0) -> Iterator[tuple[np.ndarray, str]]:
    """What may be wrong with boxes ``(n, 4)``: where, and what it is; ``smallest`` is what the last two may be."""
    yield ~np.isfinite(boxes), 'a value that is not finite'
    yield boxes[:, 2:] < smallest, 'a negative width or height'
    yield abs(boxes) > MAX_VALUE, 'a value beyond 1e9'


def whole_numbers(values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers as files write them: integers, integral floats, and either as text, with leading zeros or not.

    Returns:
        ``(n,)`` int64, 0 where a value is none of these or does not fit 64 bits; and ``(n,)`` bool, whether it does.
    """
    if (isinstance(values, np.ndarray) and values.dtype == np.int64) or set(map(type, values)) <= {int}:
        with suppress(OverflowError):
            return np.array(values, dtype=np.int64), np.ones(len(values), dtype=bool)
    numbers = [_whole(value) for value in values]
    fits = np.array([number is not None and -(2**63) <= number < 2**63 for number in numbers], dtype=bool)
    whole = [number if fit else 0 for number, fit in zip(numbers, fits.tolist(), strict=True)]
    return np.array(whole, dtype=np.int64), fits


def repeats(values: Sequence[Any]) -> np.ndarray:
    """``(n,)`` bool, whether a value has been there before."""
    is_first = np.zeros(len(values), dtype=bool)
    is_first[np.unique(values, return_index=True)[1]] = True
    return ~is_first


def to_float(values: Sequence[Any]) -> np.ndarray:
    """Numbers as float64; an integer too large for it becomes infinite."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return np.array([math.inf if abs(value) > sys.float_info.max else float(value) for value in values])


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        match = WHOLE.fullmatch(value)
        return int(match[1]) if match else None
    if isinstance(value, Real) and not isinstance(value, bool):
        is_whole = isinstance(value, Integral) or (math.isfinite(value) and value == int(value))
        return int(value) if is_whole else None
    return None


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return FLAGS.get(value.strip().lower())
    return bool(value) if value is None or (isinstance(value, Real | np.bool_) and value in (0, 1)) else None


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _other_kinds(values: Iterable[Any], kind: type) -> set[type]:
    """The types among ``values`` that are not ``kind``; a bool is no number here."""
    return {found for found in set(map(type, values)) if not issubclass(found, kind) or found is bool}
