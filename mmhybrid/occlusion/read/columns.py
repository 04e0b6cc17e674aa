"""Equally long columns: block by block, and row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from .runlengths import Masks

# Equally long columns by name: arrays, values of any kind, and masks.
Block: TypeAlias = dict[str, np.ndarray | list[Any] | Masks]


def join(blocks: Sequence[Block]) -> Block:
    """Blocks of the same columns as one; a column is a list where one of its parts is. The blocks are emptied."""
    joined: Block = {}
    for name in list(blocks[0]):
        parts = [block.pop(name) for block in blocks]
        if isinstance(parts[0], Masks):
            joined[name] = Masks.joined(parts)
        elif any(isinstance(part, list) for part in parts):
            joined[name] = list(chain.from_iterable(parts))
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
