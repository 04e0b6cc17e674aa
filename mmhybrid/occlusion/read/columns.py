"""Columns that grow block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .runlengths import Masks

# Equally long columns by name: arrays, values of any kind, and masks.
Block: TypeAlias = dict[str, np.ndarray | list[Any] | Masks]


class Columns:
    """Blocks of rows, put one after the other, in little more memory than they take."""

    def __init__(self) -> None:
        self.count = 0
        self._parts: dict[str, list[Any]] = {}
        self._text = bytearray()  # grows in place: of large sets of masks there is no room for two copies

    def add(self, block: Block) -> None:
        """Append rows; all blocks have the same names."""
        for name, column in block.items():
            if isinstance(column, Masks):
                self._text += column.text
                column = column.sizes, np.diff(column.offsets), column.areas, column.margins
            self._parts.setdefault(name, []).append(column)
        self.count += len(block['scores'])

    def joined(self) -> Block:
        """All rows; a column is a list where one of its blocks was. To be asked for once: the blocks are forgotten."""
        joined: Block = {}
        for name in list(self._parts):
            parts = self._parts.pop(name)
            if isinstance(parts[0], tuple):
                sizes, lengths, areas, margins = map(np.concatenate, zip(*parts, strict=True))
                joined[name] = Masks(sizes, self._text, np.append(0, np.cumsum(lengths)), areas, margins)
            elif any(isinstance(part, list) for part in parts):
                joined[name] = [value for part in parts for value in part]
            else:
                joined[name] = np.concatenate(parts)
            del parts  # freed before the next column is joined
        return joined


def positions(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Position in ``known`` (unique) of each of ``values``, all of which are in it."""
    order = np.argsort(known)
    return order[np.searchsorted(known, values, sorter=order)]


def to_rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Equally long columns as one dictionary a row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
