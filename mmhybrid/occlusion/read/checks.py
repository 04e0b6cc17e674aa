"""Column-wise checks on the records of a JSON file, with errors that name file, record and field.

A column is read whole, its faults are found by arrays, and an error counts them and names the first.
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
REPEATED = "which repeats another record's"
WHOLE = re.compile(r'(-?[0-9]{1,32})(\.0*)?')
FLAGS = {None: False, 0: False, 1: True, '': False, '0': False, 'false': False, '1': True, 'true': True}
BOX_REMEDY = 'give [x, y, width, height] in pixels'


@dataclass(frozen=True)
class Records:
    """A list of JSON objects and how to name them.

    Attributes:
        source: The file's name.
        label: What the list is called, e.g. ``'annotations'``.
        rows: The objects.
        offset: Index in the file of the first of ``rows``, where they are a part of it.
        is_part: Whether there are more behind them, so that a count of them is too low.
    """

    source: str
    label: str
    rows: Sequence[Any]
    offset: int = 0
    is_part: bool = False

    def fail(self, index: int, problem: str, remedy: str, count: int = 1) -> NoReturn:
        """Raise an ``InputError`` about record ``index``, the first of ``count``."""
        name = f'{self.label}[{self.offset + index}]'
        row = self.rows[index] if index < len(self.rows) else None
        name += f' (id {show(row["id"])})' if isinstance(row, dict) and 'id' in row else ''
        counted = f'{"at least " if self.is_part else ""}{count} records, the first is ' if count > 1 else ''
        raise InputError(f'{self.source}: {counted}{name}: {problem}; {remedy}.')

    def fail_where(self, bad: Iterable[Any], problem: Callable[[int], str], remedy: str) -> None:
        """Raise about the true entries of ``bad`` ``(n,)``, if there are any: their number and the first."""
        bad = np.fromiter(bad, dtype=bool) if not isinstance(bad, np.ndarray) else bad
        if bad.any():
            index = int(np.argmax(bad))
            self.fail(index, problem(index), remedy, int(bad.sum()))

    def refuse(self, field: str, values: Sequence[Any], bad: Iterable[Any], fault: str, remedy: str) -> None:
        """:meth:`fail_where` about a field with ``values`` ``(n,)``."""

        def problem(i: int) -> str:
            value = values[i].item() if isinstance(values[i], np.generic) else values[i]
            return f"field '{field}' is {show(value)}, {fault}"

        self.fail_where(bad, problem, remedy)

    def check_objects(self) -> None:
        """Every record is a JSON object."""
        self.fail_where(
            (not isinstance(row, dict) for row in self.rows),
            lambda i: f'{show(self.rows[i])} is not an object',
            'give one JSON object a record',
        )

    def column(self, field: str, remedy: str) -> list[Any]:
        """The field of every record, which must be there."""
        self.fail_where((field not in row for row in self.rows), lambda i: f"field '{field}' is missing", remedy)
        return [row[field] for row in self.rows]

    def integers(self, field: str, remedy: str) -> np.ndarray:
        """The field as ``(n,)`` int64, however :func:`whole_numbers` are written."""
        values = self.column(field, remedy)
        numbers, is_whole = whole_numbers(values)
        self.refuse(field, values, ~is_whole, 'not an integer of 64 bits', remedy)
        return numbers

    def numbers(self, field: str, remedy: str, may_miss: bool = False) -> np.ndarray:
        """The field as ``(n,)`` float64, every value finite; if it ``may_miss``, NaN where it is missing or null."""
        values = [row.get(field) for row in self.rows] if may_miss else self.column(field, remedy)
        numbers = to_numbers(values)
        is_given = np.array([value is not None for value in values], dtype=bool) if may_miss else True
        self.refuse(field, values, is_given & ~np.isfinite(numbers), 'not a finite number', remedy)
        return numbers

    def flags(self, field: str) -> np.ndarray:
        """The field as ``(n,)`` bool: 0 and 1 as numbers, booleans or text; a record without it is false."""
        values = [row.get(field) for row in self.rows]
        flags: list[bool | None] = [None]
        with suppress(TypeError):  # lists are no keys
            flags = list(map(FLAGS.get, values))  # hardly ever anything else
        if None in flags:
            flags = list(map(_flag, values))
        self.refuse(field, values, (flag is None for flag in flags), 'neither 0 nor 1', 'give 0 or 1')
        return np.array(flags, dtype=bool)

    def boxes(self, field: str = 'bbox') -> np.ndarray:
        """The field as ``(n, 4)`` float64 ``x, y, width, height``, finite and without negative size."""
        values = self.column(field, BOX_REMEDY)
        are_four = (len(box) == 4 if isinstance(box, list | tuple) else np.shape(box) == (4,) for box in values)
        self.refuse(field, values, (not each for each in are_four), 'not four numbers', BOX_REMEDY)
        boxes = to_numbers(list(chain.from_iterable(values))).reshape(-1, 4)
        for bad, fault in box_faults(boxes):
            self.refuse(field, values, bad.any(axis=1), f'with {fault}', BOX_REMEDY)
        return boxes


def box_faults(boxes: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    """What may be wrong with boxes ``(n, 4)``: where, and what it is."""
    yield ~np.isfinite(boxes), 'a value that is no finite number'
    yield boxes[:, 2:] < 0, 'a negative width or height'
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


def to_numbers(values: Sequence[Any]) -> np.ndarray:
    """``(n,)`` float64, NaN for what is no number, as text or a boolean is none."""
    bad = {kind for kind in set(map(type, values)) if not issubclass(kind, Real) or kind is bool}
    return to_float([math.nan if type(value) in bad else value for value in values] if bad else values)


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        match = WHOLE.fullmatch(value)
        return int(match[1]) if match else None
    if isinstance(value, Real) and not isinstance(value, bool):
        is_whole = isinstance(value, Integral) or (math.isfinite(value) and value == int(value))
        return int(value) if is_whole else None
    return None


def _flag(value: Any) -> bool | None:
    with suppress(TypeError):  # lists are no keys
        return FLAGS.get(value.strip().lower() if isinstance(value, str) else value)
    return None
