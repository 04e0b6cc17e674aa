"""Column-wise checks on the records of a JSON file, with errors that name file, record and field.

Hundreds of thousands of detections are checked at once, by type sets and arrays; only once a check has failed is the
first offending record looked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

# Beyond this a coordinate is a mistake, and products of two would lose all precision.
MAX_VALUE = 1e9


@dataclass(frozen=True)
class Records:
    """A list of JSON objects and how to name them.

    Attributes:
        source: The file's name.
        label: What the list is called, e.g. ``'annotations'``.
        rows: The objects.
        has_id: Whether an error should give a record's id beside its index.
        offset: Index in the file of the first of ``rows``, where they are a part of it.
    """

    source: str
    label: str
    rows: Sequence[Any]
    has_id: bool = False
    offset: int = 0

    def fail(self, index: int, problem: str, remedy: str) -> NoReturn:
        """Raise an ``InputError`` about record ``index``."""
        name = f'{self.label}[{self.offset + index}]'
        if self.has_id and isinstance(self.rows[index], dict) and 'id' in self.rows[index]:
            name += f' (id {show(self.rows[index]["id"])})'
        raise InputError(f'{self.source}: {name}: {problem}; {remedy}.')

    def fail_where(self, bad: np.ndarray, problem: Callable[[int], str], remedy: str) -> None:
        """Raise about the first true entry of ``bad`` ``(n,)``, if there is one."""
        if bad.any():
            index = int(np.argmax(bad))
            self.fail(index, problem(index), remedy)

    def check_objects(self) -> None:
        """Every record is a JSON object."""
        if not all(issubclass(kind, dict) for kind in set(map(type, self.rows))):
            index = next(i for i, row in enumerate(self.rows) if not isinstance(row, dict))
            self.fail(index, f'{show(self.rows[index])} is not an object', 'give one JSON object a record')

    def column(self, field: str, remedy: str) -> list[Any]:
        """The field of every record, which must be there."""
        try:
            return [row[field] for row in self.rows]
        except KeyError:
            index = next(i for i, row in enumerate(self.rows) if field not in row)
            self.fail(index, f"field '{field}' is missing", remedy)

    def integers(self, field: str, remedy: str) -> np.ndarray:
        """The field as ``(n,)`` int64."""
        values = self.column(field, remedy)
        self._check_types(field, values, Integral, 'an integer', remedy)
        try:
            return np.array(values, dtype=np.int64)
        except OverflowError:
            index = next(i for i, value in enumerate(values) if not -(2**63) <= value < 2**63)
            self.fail(index, f"field '{field}' does not fit 64 bits", remedy)

    def unique_integers(self, field: str, remedy: str) -> np.ndarray:
        """The field as ``(n,)`` int64, no value twice."""
        values = self.integers(field, remedy)
        first = np.zeros(len(values), dtype=bool)
        first[np.unique(values, return_index=True)[1]] = True
        self.fail_where(~first, lambda i: f"field '{field}' repeats the value {values[i]}", remedy)
        return values

    def references(self, field: str, known: np.ndarray, what: str, remedy: str) -> np.ndarray:
        """The field as ``(n,)`` int64, every value one of ``known``."""
        values = self.integers(field, remedy)
        self.fail_where(
            ~np.isin(values, known), lambda i: f"field '{field}' is {values[i]}, which is no {what}", remedy
        )
        return values

    def numbers(self, field: str, remedy: str) -> np.ndarray:
        """The field as ``(n,)`` float64, every value finite."""
        values = self.column(field, remedy)
        self._check_types(field, values, Real, 'a number', remedy)
        array = to_float(values)
        bad = ~np.isfinite(array)
        self.fail_where(bad, lambda i: f"field '{field}' is {array[i]}, not a finite number", remedy)
        return array

    def flags(self, field: str) -> np.ndarray:
        """The field as ``(n,)`` bool; a record without it is false."""
        remedy = 'give 0 or 1'
        values = [row.get(field, 0) for row in self.rows]
        kinds = set(map(type, values))
        if not all(issubclass(kind, Real) for kind in kinds) or not set(values) <= {0, 1}:
            index = next(i for i, v in enumerate(values) if not isinstance(v, Real) or v not in (0, 1))
            self.fail(index, f"field '{field}' is {show(values[index])}, neither 0 nor 1", remedy)
        return np.array(values, dtype=bool)

    def boxes(self, remedy: str) -> np.ndarray:
        """The field ``bbox`` as ``(n, 4)`` float64 ``x, y, width, height``, finite and without negative size."""
        values = self.column('bbox', remedy)
        if not set(map(type, values)) <= {list} or not set(map(len, values)) <= {4}:
            for index, value in enumerate(values):
                if not _is_sequence(value) or len(value) != 4:
                    self.fail(index, f"field 'bbox' is {show(value)}, not four numbers", remedy)
        flat = list(chain.from_iterable(values))
        bad_kinds = _other_kinds(flat, Real)
        if bad_kinds:
            index = next(i for i, value in enumerate(flat) if type(value) in bad_kinds) // 4
            self.fail(index, f"field 'bbox' is {show(values[index])}, not four numbers", remedy)
        array = to_float(flat).reshape(-1, 4)

        def shown(problem: str) -> Callable[[int], str]:
            return lambda i: f"field 'bbox' is {show(values[i])}, {problem}"

        self.fail_where(~np.isfinite(array).all(axis=1), shown('with a value that is not finite'), remedy)
        self.fail_where((array[:, 2:] < 0).any(axis=1), shown('with a negative width or height'), remedy)
        self.fail_where((abs(array) > MAX_VALUE).any(axis=1), shown('with a value beyond 1e9'), remedy)
        return array

    def _check_types(self, field: str, values: list[Any], kind: type, noun: str, remedy: str) -> None:
        bad_kinds = _other_kinds(values, kind)
        if bad_kinds:
            index = next(i for i, value in enumerate(values) if type(value) in bad_kinds)
            self.fail(index, f"field '{field}' is {show(values[index])}, not {noun}", remedy)


def to_float(values: Sequence[Any]) -> np.ndarray:
    """Numbers as float64; an integer too large for it becomes infinite."""
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        return np.array([_float(value) for value in values])


def _is_sequence(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _other_kinds(values: Iterable[Any], kind: type) -> set[type]:
    """The types among ``values`` that are not ``kind``; a bool is no number here."""
    return {found for found in set(map(type, values)) if not issubclass(found, kind) or found is bool}
