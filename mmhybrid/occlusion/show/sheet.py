"""A table as data: what it says, knowing nothing of its medium."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.text import clean

from .numbers import MISSING, count, interval

if TYPE_CHECKING:
    from ..results import Comparison, Difference, OcclusionResult, StratumResult

# The order in which strata are shown, and what a section of them is called.
FAMILIES = {
    'all': 'All images', 'group': 'Groups', 'bin': 'Bins: no image is in two',
    'cumulative': 'Cumulative: each holds the ones after it',
    'instances': 'Instances: all others are ignore regions',
}  # fmt: skip


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
        is_size: How much stands behind the row, such as its images.
        drop: Where width is short, columns of the highest number first lose their details or, without any,
            go; those of 0 never do.
        alias: A stand-in for a title that is too long, explained under the table.
    """

    title: str
    values: tuple[str, ...]
    details: tuple[str, ...] = ()
    strong: tuple[bool, ...] = ()
    group: str = ''
    is_text: bool = False
    is_size: bool = False
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
        sections: Heading, None for none, and number of rows of each group of rows, in order.
        few: One flag a row: too few images or instances to conclude from.
        notes: Lines under the table.
    """

    title: str
    columns: tuple[Column, ...]
    sections: tuple[tuple[str | None, int], ...]
    few: tuple[bool, ...]
    notes: tuple[str, ...]

    def sizes_last(self) -> Sheet:
        """The same with the columns of sizes at the end, for media that may show the first columns alone."""
        return replace(self, columns=tuple(sorted(self.columns, key=lambda column: column.is_size)))


def by_kind(rows: Iterable) -> list:
    """Rows with a ``stratum``: all images, groups, bins, cumulative, instances."""
    return sorted(rows, key=lambda row: list(FAMILIES).index(row.stratum.kind))


def parts_of(result: OcclusionResult, min_images: int) -> list[StratumResult]:
    """The groups, else the bins, thresholds or strata of instances, of enough images (instances) and an instance."""
    family = result.groups or result.bins or result.cumulative or result.of_kind('instances')
    return [row for row in family if size_of(row) >= min_images and row.num_instances]


def unit_of(row: Any) -> str:
    """What a stratum's size is counted in: each stratum of instances is on all images, or nearly."""
    return 'instances' if row.stratum.kind == 'instances' else 'images'


def size_of(row: Any) -> int:
    """How many images, or instances, a stratum holds."""
    return getattr(row, f'num_{unit_of(row)}')


def sizes_of_all(results: Sequence[OcclusionResult]) -> OcclusionResult:
    """The first of some results on the same strata, each with the largest number of instances of any: by KAIST's
    protocol it hangs on the images with detections."""
    rows = zip(*(result.strata for result in results), strict=True)
    strata = (replace(own[0], num_instances=max(row.num_instances for row in own)) for own in rows)
    return replace(results[0], strata=tuple(strata))


def first_and_last(result: OcclusionResult, min_images: int) -> tuple[StratumResult, StratumResult] | None:
    """The lowest and the highest stratum of the measure that stand on enough images.

    Bins if two of them do; of the user's groups, or of strata of instances with so many, those of highest and of lowest
    AP; otherwise whatever strata leave images out.
    """
    fewer = [row for row in (*result.bins, *result.cumulative) if row.num_images < result.all.num_images]
    for rows in (result.bins, result.groups, result.of_kind('instances'), fewer):
        enough = [row for row in rows if size_of(row) >= min_images and not math.isnan(row.ap)]
        if len(enough) >= 2:
            if enough[0].stratum.kind in ('group', 'instances'):
                enough.sort(key=lambda row: -row.ap)
            else:
                enough.sort(key=lambda row: (row.stratum.lower, row.stratum.upper))
            return enough[0], enough[-1]
    return None


def differences(comparison: Comparison, metric: str = 'ap') -> list[Difference]:
    """Those in a metric that are known."""
    return [row for row in comparison.differences if row.metric == metric and not math.isnan(row.difference)]


def in_parts(comparison: Comparison, min_images: int) -> tuple[str, list[Difference]]:
    """The bins, or else groups or strata of instances, on enough images: what they are called, and at least two."""
    for kind, name in {'bin': 'bins', 'group': 'groups', 'instances': 'strata'}.items():
        rows = [row for row in differences(comparison) if row.stratum.kind == kind and size_of(row) >= min_images]
        if len(rows) >= 2:
            return name, rows
    return '', []


def few_strata(result: OcclusionResult, min_images: int, most: int = 5) -> list[StratumResult]:
    """At most so many of :func:`parts_of`, evenly spread."""
    rows = parts_of(result, min_images)
    return [rows[i] for i in np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)]


def column(
    title: str,
    rows: Sequence,
    value: str | Callable[[Any], Any],
    form: Callable[[Any], str] = count,
    drop: int = 0,
    details: Iterable[str] | None = None,
    **others: Any,
) -> Column:
    """A column of one value a row, '-' for a row that is None; beside it by default the field's intervals, if any."""
    get = attrgetter(value) if isinstance(value, str) else value
    values = tuple(MISSING if row is None else form(get(row)) for row in rows)
    if details is None:
        details = (interval(getattr(row, 'intervals', {}).get(value)) for row in rows)
    details = tuple(details)
    return Column(title, values, details if any(details) else (), drop=drop, **others)


def of_rows(
    title: str,
    first: Column,
    columns: Iterable[Column],
    notes: Iterable[str] = (),
    sizes: Sequence[int] = (),
    least: int = 0,
    unit: str = 'images',
    sections: Mapping[str, int] | None = None,
) -> Sheet:
    """A sheet whose rows of a size below ``least`` are marked; ``sections`` are headings and how many rows each has."""
    few = tuple(size < least for size in sizes) or (False,) * len(first.values)
    first = replace(first, values=tuple(value + ' *' * mark for value, mark in zip(first.values, few, strict=True)))
    if any(few):
        notes = [f'* fewer than {least} {unit}: too few to conclude from', *notes]
    parts = tuple((sections or {None: len(few)}).items())
    return Sheet(title, (first, *columns), parts, few, tuple(notes))


def of_strata(
    title: str, rows: Sequence, columns: Iterable[Column], notes: Iterable[str] = (), min_images: int = 0
) -> Sheet:
    """A sheet whose rows are strata, in the order of :func:`by_kind`."""
    first = column('stratum', rows, 'stratum.name', clean)
    kinds = Counter(row.stratum.kind for row in rows)
    sections = {FAMILIES[kind]: size for kind, size in kinds.items()} if len(kinds) > 1 else {}
    units = ' or '.join(sorted(set(map(unit_of, rows))))
    return of_rows(title, first, columns, notes, list(map(size_of, rows)), min_images, units, sections)
