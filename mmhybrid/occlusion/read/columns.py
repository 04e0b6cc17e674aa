"""Columns that grow block by block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .runlengths import Masks

# Equally long columns by name: arrays, and masks.
Block: TypeAlias = dict[str, np.ndarray | Masks]


def join(blocks: Iterable[Block]) -> Block | None:
    """All blocks as one; None without any. They have the same names, at least one row and one order of names."""
    parts: dict[str, list[np.ndarray]] = {}
    text = bytearray()  # grows in place: of large sets of masks there is no room for two copies
    for block in blocks:
        for name, column in block.items():
            if isinstance(column, Masks):
                parts.setdefault('sizes', []).append(column.sizes)
                parts.setdefault('lengths', []).append(np.diff(column.offsets))
                parts.setdefault('areas', []).append(column.areas)
                parts.setdefault('margins', []).append(column.margins)
                text += column.text
            else:
                parts.setdefault(name, []).append(column)
    if not parts:
        return None
    columns: Block = {}
    for name in list(parts):
        pieces = parts.pop(name)
        columns[name] = np.concatenate(pieces)
        del pieces  # freed before the next column is joined
    if 'lengths' in columns:
        offsets = np.append(0, np.cumsum(columns.pop('lengths')))
        sizes, areas, margins = (columns.pop(name) for name in ('sizes', 'areas', 'margins'))
        columns['masks'] = Masks(sizes, text, offsets, areas, margins)
    return columns


def positions(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Position in ``known`` (unique) of each of ``values``, all of which are in it."""
    order = np.argsort(known)
    return order[np.searchsorted(known, values, sorter=order)]


def to_rows(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Equally long columns as one dictionary a row."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
