"""What follows from the rows of a section: medians, ratios within a round, and how far to trust them."""

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from .modes import FORMATS

# A baseline whose quartiles are further apart than this share of its median was measured on a busy machine.
NOISY = 0.10

Row = dict[str, Any]


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """Distance of the quartiles as a share of the median."""
        return (self.high - self.low) / self.median


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of some numbers; the numbers themselves where there is one."""
    median = statistics.median(values)
    if len(values) == 1:
        return Spread(median, median, median)
    low, _, high = statistics.quantiles(values, n=4, method='inclusive')
    return Spread(median, low, high)


class Section:
    """The rows of a section, by name, mode and pass."""

    def __init__(self, content: dict[str, Any]):
        self.content = content
        self.rows: dict[tuple[str, str, str], Row] = {(r['name'], r['mode'], r['pass']): r for r in content['rows']}

    @property
    def names(self) -> list[str]:
        """Contestants in the order of the record."""
        return list(dict.fromkeys(name for name, _, _ in self.rows))

    def modes(self, name: str) -> list[str]:
        """Modes in which a pass was measured."""
        return list(dict.fromkeys(mode for _, mode, p in self.rows if p == name))

    def get(self, name: str, mode: str, pass_: str) -> Row | None:
        """A row."""
        return self.rows.get((name, mode, pass_))

    def best(self, name: str, pass_: str, modes: Sequence[str] = FORMATS) -> Row | None:
        """The row of the mode that is quickest by its median."""
        found = [row for mode in modes if (row := self.get(name, mode, pass_))]
        return min(found, key=lambda row: statistics.median(row['seconds']), default=None)

    def noisy(self) -> list[Row]:
        """Baselines with a spread that is too large to trust ratios to them."""
        return [
            row
            for row in self.rows.values()
            if row['name'] == row['baseline'] and spread(row['seconds']).relative > NOISY
        ]


def ratio(row: Row | None, other: Row | None, key: str = 'seconds') -> Spread | None:
    """Of two rows, the ratio in each round: its median and quartiles. None where one of them is missing."""
    if row is None or other is None or not row.get(key) or not other.get(key):
        return None
    if not isinstance(row[key], list):
        return spread([row[key] / other[key]])
    return spread([a / b for a, b in zip(row[key], other[key], strict=True)])
