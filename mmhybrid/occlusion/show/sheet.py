"""A table as data: what it says, knowing nothing of its medium."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from mmhybrid.text import clean

from ..results import Difference, StratumResult
from .numbers import MISSING

# The order in which strata are shown, and what a section of them is called.
FAMILIES = {
    'all': 'All images',
    'group': 'Groups',
    'bin': 'Bins: no image is in two',
    'cumulative': 'Cumulative: each holds the ones after it',
}


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        title: Header.
        values: One text a row.
        details: What stands beside each value (its interval, share or count), or nothing at all.
        strong: One flag a row: to be emphasised, by media that can. Empty for none.
        group: Heading above neighbouring columns of the same group.
        is_text: Words, not numbers; the first column always is.
        drop: Where width is short, columns of the highest number first lose their details or, without any, go; those
            of 0 never do.
        alias: A stand-in for a title or group that is too long, explained under the table.
    """

    title: str
    values: tuple[str, ...]
    details: tuple[str, ...] = ()
    strong: tuple[bool, ...] = ()
    group: str = ''
    is_text: bool = False
    drop: int = 0
    alias: str = ''

    @property
    def heading(self) -> str:
        """The title with its group, for media of one line of headers."""
        return f'{self.group} {self.title}'.strip()

    @property
    def texts(self) -> tuple[str, ...]:
        """Values with their details."""
        pairs = zip(self.values, self.details or [''] * len(self.values), strict=True)
        return tuple(f'{value} {detail}' if detail else value for value, detail in pairs)


@dataclass(frozen=True)
class Sheet:
    """One table; its first column names the rows.

    Attributes:
        title: One line.
        columns: From left to right.
        sections: Number of rows of each group of rows, in order.
        few: One flag a row: too few images or instances to conclude from.
        notes: Lines under the table.
        headings: One title a section, for media that have room; empty without any.
    """

    title: str
    columns: tuple[Column, ...]
    sections: tuple[int, ...]
    few: tuple[bool, ...]
    notes: tuple[str, ...]
    headings: tuple[str, ...] = ()


def by_kind(rows: Iterable) -> list:
    """Rows with a ``stratum``: all images, groups, bins, cumulative."""
    order = list(FAMILIES)
    return sorted(rows, key=lambda row: order.index(row.stratum.kind))


def is_few(row: StratumResult | Difference, min_images: int) -> bool:
    """Whether a stratum has too few images to conclude from."""
    return row.num_images < min_images


def column(
    title: str,
    rows: Sequence,
    value: Callable[[Any], str],
    detail: Callable[[Any], str] | None = None,
    drop: int = 0,
    is_text: bool = False,
) -> Column:
    """A column of one value a row, '-' for a row that is None; details only if there is one."""
    values = tuple(MISSING if row is None else value(row) for row in rows)
    details = tuple('' if row is None or detail is None else detail(row) for row in rows)
    return Column(title, values, details if any(details) else (), is_text=is_text, drop=drop)


def of_strata(title: str, rows: Sequence, columns: Iterable[Column], min_images: int, notes: Iterable[str]) -> Sheet:
    """A sheet whose rows are strata, in the order of :func:`by_kind`; those with few images are marked."""
    few = tuple(is_few(row, min_images) for row in rows)
    names = tuple(clean(row.stratum.name) + ' *' * mark for row, mark in zip(rows, few, strict=True))
    sections = {kind: len(list(same)) for kind, same in groupby(rows, key=lambda row: row.stratum.kind)}
    return Sheet(
        title,
        (Column('stratum', names), *columns),
        tuple(sections.values()),
        few,
        (*few_note(few, min_images), *notes),
        tuple(FAMILIES[kind] for kind in sections) if len(sections) > 1 else (),
    )


def few_note(few: Iterable[bool], least: int, unit: str = 'images') -> list[str]:
    """What the asterisk means, if there is one."""
    return [f'* fewer than {least} {unit}: too few to conclude from'] if any(few) else []
