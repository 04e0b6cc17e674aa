"""Strata of instances as data: which instances are evaluated together, by what was annotated of each.

All other instances become ignore regions, on which a detection is neither right nor wrong: so the benchmarks of
pedestrians define it (Dollar et al., Pedestrian Detection: An Evaluation of the State of the Art, PAMI 2012).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .strata import Stratum, to_floats

# What strata may be made by, and how it is written.
SYMBOLS = {'visibility': 'v', 'level': 'level', 'height': 'h', 'area': 'area'}
_NAMES = {symbol: name for name, symbol in SYMBOLS.items()} | {name: name for name in SYMBOLS}
_NUMBER = r'([-+.\w]+)'
_CONDITION = re.compile(rf'(?:{_NUMBER}\s*(<=?)\s*)?([a-z]+)\s*(?:(>=|<=|>|<|==?)\s*{_NUMBER})?', re.ASCII)
FORM = "write e.g. 'heavy: h >= 50, v <= 0.65', of v (visibility), level, h (height in pixels) and area"


@dataclass(frozen=True)
class Range:
    """Instances by one number of theirs; those of which it is not known are in no range.

    Attributes:
        attribute: ``'visibility'`` (v, the visible share of an instance, from 0 to 1), ``'level'`` (of occlusion, as
            the data set counts them), ``'height'`` (h, of the box, in pixels) or ``'area'`` (in square pixels).
        lower: Lower bound.
        upper: Upper bound.
        includes: Whether each of the bounds is in the range.

    Raises:
        InputError: An unknown attribute, bounds that are no numbers, or no number lies between them.
    """

    attribute: str
    lower: float = -math.inf
    upper: float = math.inf
    includes: tuple[bool, bool] = (True, True)

    def __post_init__(self) -> None:
        if self.attribute not in list(SYMBOLS):  # what is unhashable too
            raise InputError(f'unknown attribute {show(self.attribute)}; choose from {", ".join(SYMBOLS)}.')
        bounds, includes = (self.lower, self.upper), self.includes
        if not all(isinstance(each, Real) and each == each for each in bounds):
            raise InputError(f'bounds of {self.attribute} are {show(bounds)}; give two numbers, which may be infinite.')
        if not isinstance(includes, list | tuple) or len(includes) != 2:
            raise InputError(f"'includes' of {self.attribute} is {show(includes)}; give two booleans, one a bound.")
        object.__setattr__(self, 'includes', tuple(map(bool, includes)))
        if self.lower > self.upper or (self.lower == self.upper and not all(includes)):
            raise InputError(
                f'no {self.attribute} is in the range {show(bounds)}; give a lower bound below the upper one.'
            )

    def contains(self, values: np.ndarray) -> np.ndarray:
        """``(n,)`` bool of ``(n,)`` numbers, compared as they are, without a tolerance."""
        above = values >= self.lower if self.includes[0] else values > self.lower
        return above & (values <= self.upper if self.includes[1] else values < self.upper)

    def __str__(self) -> str:
        symbol, (low, high) = SYMBOLS[self.attribute], self.includes
        if self.lower == self.upper:
            return f'{symbol} = {self.lower:g}'
        if math.isinf(self.upper):
            return f'{symbol} {">=" if low else ">"} {self.lower:g}'
        below = f'{symbol} {"<=" if high else "<"} {self.upper:g}'
        return below if math.isinf(self.lower) else f'{self.lower:g} {"<=" if low else "<"} {below}'


@dataclass(frozen=True, eq=False)
class InstanceStratum(Stratum):
    """Instances in all of some ranges, on all images or on those of some names.

    Attributes:
        name: Unique label.
        lower: NaN, as of a group.
        upper: NaN, as of a group.
        kind: ``'instances'``.
        ranges: What the instances have in common.
        prefixes: What file names of its images, or one of the folders in them, begin with; empty if it is on all
            images.

    Raises:
        InputError: No name, or ranges and prefixes that are none.
    """

    lower: float = math.nan
    upper: float = math.nan
    kind: str = 'instances'
    ranges: tuple[Range, ...] = ()
    prefixes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise InputError(f'a stratum is named {show(self.name)}; give it a name.')
        for field, kind in ('ranges', Range), ('prefixes', str):
            value = getattr(self, field)
            if not isinstance(value, list | tuple) or not all(isinstance(each, kind) for each in value):
                raise InputError(
                    f'stratum {show(self.name)}: {field} are {show(value)}; give a list of {kind.__name__}.'
                )
            object.__setattr__(self, field, tuple(value))

    def holds(self, attributes: Mapping[str, np.ndarray]) -> np.ndarray:
        """``(n,)`` bool of instances with these attributes, ``(n,)`` each."""
        return np.logical_and.reduce([each.contains(attributes[each.attribute]) for each in self.ranges])

    def is_on(self, file_name: Any) -> bool:
        """Whether an image of this name, or path, is one of its images, in whatever folder the path begins."""
        if not self.prefixes or not isinstance(file_name, str):
            return not self.prefixes
        parts = file_name.replace('\\', '/').split('/')
        return any('/'.join(parts[i:]).startswith(self.prefixes) for i in range(len(parts)))

    @property
    def condition(self) -> str:
        """The ranges in words, e.g. ``'h >= 50, 0.2 <= v <= 0.65'``."""
        images = f'; images {", ".join(f"{prefix}*" for prefix in self.prefixes)}' if self.prefixes else ''
        return ', '.join(map(str, self.ranges)) + images

    @classmethod
    def parse(cls, text: str) -> InstanceStratum:
        """What ``'name: h >= 50, v <= 0.65'`` says; without a name, the condition is the name.

        Raises:
            InputError: It cannot be understood, or no number lies in one of the ranges.
        """
        if not isinstance(text, str):
            raise InputError(f'a stratum is {show(text)}; {FORM}.')
        name, colon, conditions = text.rpartition(':')
        bounds: dict[str, list[tuple[str, float]]] = {}
        for condition in conditions.split(','):
            match = _CONDITION.fullmatch(condition.strip())
            try:
                below, less, attribute, sign, above = match.groups()
                # 0.2 < v is v > 0.2.
                given = [(less.replace('<', '>'), float(below))] if less else []
                given += [(sign, float(above))] if sign else []
                bounds.setdefault(_NAMES[attribute], []).extend(given)
                if not given or any(math.isnan(number) for _, number in given):
                    raise ValueError
            except (AttributeError, KeyError, ValueError):
                raise InputError(f'stratum {show(text)}: {show(condition.strip())} is no condition; {FORM}.') from None
        ranges = tuple(_range(attribute, given, text) for attribute, given in bounds.items())
        if colon and not name.strip():
            raise InputError(f'stratum {show(text)}: there is nothing before the colon; {FORM}.')
        return cls(name.strip() or ', '.join(map(str, ranges)), ranges=ranges)


def instance_bins(attribute: str, edges: Sequence[float]) -> tuple[InstanceStratum, ...]:
    """Disjoint ranges ``(edges[i], edges[i + 1]]``, of which the first has its lower edge too.

    Raises:
        InputError: An unknown attribute, fewer than two edges, or edges that do not increase.
    """
    edges = to_floats(edges, 'edges')
    if len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
        raise InputError(f'edges of {show(attribute)} {edges} do not increase; give at least two increasing numbers.')
    ranges = [Range(attribute, low, high, (i == 0, True)) for i, (low, high) in enumerate(pairwise(edges))]
    return tuple(InstanceStratum(str(each), ranges=(each,)) for each in ranges)


def _range(attribute: str, given: Iterable[tuple[str, float]], text: str) -> Range:
    """The range in which all conditions on an attribute hold."""
    lower, upper, includes = -math.inf, math.inf, [True, True]
    for sign, number in given:
        if '<' not in sign and (number > lower or (number == lower and sign == '>')):
            lower, includes[0] = number, sign != '>'
        if '>' not in sign and (number < upper or (number == upper and sign == '<')):
            upper, includes[1] = number, sign != '<'
    if attribute == 'visibility' and any(not 0 <= number <= 1 for _, number in given):
        raise InputError(f'stratum {show(text)}: v is a share, from 0 to 1; {FORM}.')
    try:
        return Range(attribute, lower, upper, (includes[0], includes[1]))
    except InputError:
        raise InputError(f'stratum {show(text)}: no {attribute} is in this range; {FORM}.') from None
