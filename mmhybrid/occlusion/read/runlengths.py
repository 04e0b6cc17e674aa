"""Compressed run lengths of many masks: one buffer that holds them, and the check that they are sound.

The format is that of ``rleToString`` in cocoapi's ``maskApi.c``: characters from 48 carry five bits each and a sixth
that says another follows; from the fourth run on, the difference to the run two before is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

# Characters decoded at a time: many, for what is done once a time, yet few enough for the processor's cache.
CHUNK = 2**19
# Of an image, in pixels: areas fit 32 bits.
MAX_SIDE = 2**16 - 1
# Seven digits carry 35 bits, more than any image needs; pycocotools shifts without a limit.
MAX_DIGITS = 7
# Up to here, sums of two runs and of a run and a stored difference of six digits fit 32 bits.
SMALL = 2**29


@dataclass(frozen=True)
class Encodings:
    """What may be run-length encodings of n masks: ``text`` and ``sizes`` of :class:`Masks`, and each one's length."""

    text: bytes
    lengths: np.ndarray
    sizes: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Encodings]) -> Encodings:
        """One part after the other."""
        lengths = np.concatenate([np.zeros(0, dtype=np.int64), *(part.lengths for part in parts)])
        sizes = np.concatenate([np.zeros((0, 2), dtype=np.int64), *(part.sizes for part in parts)])
        return cls(b''.join(part.text for part in parts), lengths, sizes)

    def measured(self) -> Masks:
        """With areas, -1 where an encoding is not sound."""
        return Masks.measured(self.text, self.lengths, self.sizes)

    def rows(self) -> list[dict[str, Any]]:
        """As records of results have them."""
        text, ends = self.text.decode('ascii'), np.cumsum(self.lengths)
        return [
            {'segmentation': {'size': size, 'counts': text[end - length : end]}}
            for size, end, length in zip(self.sizes.tolist(), ends.tolist(), self.lengths.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Masks:
    """Sound run-length encodings of n masks, in a fifth of the memory that objects take.

    Attributes:
        sizes: ``(n, 2)`` int32 height and width.
        text: The compressed counts of all masks, one after the other.
        offsets: ``(n + 1,)`` int64, where each mask's counts begin in ``text``.
        areas: ``(n,)`` int64, pixels inside of each mask.
        margins: ``(n, 2)`` uint32, pixels of the image before the mask's first and after its last, column by column;
            never too many, but too few where the text has runs of no pixels.
    """

    sizes: np.ndarray
    text: bytes | bytearray
    offsets: np.ndarray
    areas: np.ndarray
    margins: np.ndarray

    @classmethod
    def measured(cls, text: bytes, lengths: Sequence[int] | np.ndarray, sizes: np.ndarray) -> Masks:
        """Of compressed counts, the length of each mask's, and ``(n, 2)`` sizes; areas as by :func:`measure`."""
        offsets = np.cumsum([0, *lengths], dtype=np.int64)
        return cls(sizes.astype(np.int32), text, offsets, *measure(text, offsets, sizes.prod(axis=1)))

    @classmethod
    def joined(cls, parts: Sequence[Masks]) -> Masks:
        """One part after the other."""
        lengths = np.concatenate([np.diff(part.offsets) for part in parts])
        sizes, areas, margins = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ('sizes', 'areas', 'margins')
        )
        return cls(sizes, b''.join(part.text for part in parts), np.append(0, np.cumsum(lengths)), areas, margins)

    def __len__(self) -> int:
        return len(self.sizes)

    def spans(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """``(b, 2)`` int64, the image columns from which on and up to which (exclusive) masks at ``rows`` may reach."""
        heights, widths = self.sizes[rows].astype(np.int64).T
        before, after = self.margins[rows].T // heights
        return np.stack([before, widths - after], axis=1)

    def take(self, rows: np.ndarray | slice = slice(None)) -> list[dict[str, Any]]:
        """Masks at ``rows`` ``(b,)``, by default all, each ``{'size': [height, width], 'counts': bytes}``."""
        text = memoryview(self.text)
        edges = self.offsets[:-1][rows].tolist(), self.offsets[1:][rows].tolist()
        return [
            {'size': size, 'counts': bytes(text[begin:end])}
            for size, begin, end in zip(self.sizes[rows].tolist(), *edges, strict=True)
        ]


def measure(text: bytes, offsets: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area and margins of masks whose compressed run lengths decode to non-negative runs that fill their images.

    Args:
        text: n encodings, one after the other, none of them empty.
        offsets: ``(n + 1,)`` where each begins; the last is the length of ``text``.
        sizes: ``(n,)`` height times width of each mask, below 2**32.

    Returns:
        ``areas`` and ``margins`` of :class:`Masks`; the area is -1 where the text is not sound.
    """
    sizes = np.asarray(sizes, dtype=np.int64)
    areas, margins = np.full(len(sizes), -1, dtype=np.int64), np.zeros((len(sizes), 2), dtype=np.uint32)
    codes = np.frombuffer(text, dtype=np.uint8)
    starts, start = [], 0
    while start < len(sizes):
        starts.append(start)
        start = max(int(np.searchsorted(offsets, offsets[start] + CHUNK, side='right')) - 1, start + 1)

    def take(start: int, stop: int) -> None:
        edges = offsets[start : stop + 1]
        part = _of_chunk(codes[edges[0] : edges[-1]] - 48, edges - edges[0], sizes[start:stop])
        areas[start:stop], margins[start:stop] = part

    with ThreadPoolExecutor(2) as pool:  # they seldom need Python's lock
        list(pool.map(take, starts, [*starts[1:], len(sizes)]))
    return areas, margins


def intervals(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs inside of masks with these sound compressed counts: start, stop (first pixel behind) and mask's index of
    each, ``(R,)`` int64; runs without pixels left out."""
    edges = np.cumsum([0, *map(len, texts)])
    codes = np.frombuffer(b''.join(texts), dtype=np.uint8) - np.uint8(48)
    outside, inside, first = (each.view(np.int64) for each in _decode(codes, edges, 2**32)[:3])
    stop = np.cumsum(outside + inside)
    pairs = np.diff(first, append=len(stop))
    stop -= np.repeat(_before(stop, first), pairs)
    kept = inside > 0
    return (stop - inside)[kept], stop[kept], np.repeat(np.arange(len(texts)), pairs)[kept]


def _of_chunk(codes: np.ndarray, edges: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """:func:`measure` of ``codes`` ``(m,)`` uint8, the characters less 48 (those below wrap around)."""
    whole = codes[edges[1:] - 1] < 32  # the last character ends a number
    if codes.max() > 63 or not whole.all():
        # Such a text would glue its last number to the next text's first: look at the others alone.
        sound = whole & (np.maximum.reduceat(codes, edges[:-1]) < 64)
        areas, margins = np.full(len(sizes), -1, dtype=np.int64), np.zeros((len(sizes), 2), dtype=np.uint32)
        if sound.any():
            lengths = np.diff(edges)
            kept = np.append(0, np.cumsum(lengths[sound]))
            areas[sound], margins[sound] = _of_chunk(codes[np.repeat(sound, lengths)], kept, sizes[sound])
        return areas, margins

    largest = int(sizes.max())
    outside, inside, first, runs, bad = _decode(codes, edges, largest)
    # Sums wrap around too, but not below this modulus.
    modular = outside.dtype.type if int(runs.max()) * largest < 2**32 else np.uint64
    for counts in outside, inside:
        bad[np.searchsorted(first, np.flatnonzero(counts > largest), side='right') - 1] = True  # or negative
    areas, rest = (np.add.reduceat(counts, first, dtype=modular) for counts in (inside, outside))
    sound = ~bad & (areas + rest == sizes)
    # Runs alternate, from outside of the mask on: an even number of them ends inside.
    after = np.where(runs % 2 == 1, outside[first + (runs - 1) // 2], 0)
    margins = np.where(sound[:, None], np.stack([outside[first], after], axis=1), 0)
    return np.where(sound, areas.astype(np.int64), -1), margins.astype(np.uint32)


def _decode(
    codes: np.ndarray, edges: np.ndarray, largest: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs of n masks.

    Args:
        codes: ``(m,)`` uint8, the characters less 48, all below 64; each mask's last one ends a number.
        edges: ``(n + 1,)`` where each mask begins in ``codes``.
        largest: Pixels of the largest mask.

    Returns:
        Runs outside of and inside of the masks by turns, ``(P,)`` unsigned each, a mask's last run inside being 0 where
        it ends outside; ``(n,)`` where each mask begins in them; its number of runs; and whether it has numbers of more
        digits than any image needs. The runs of a mask that is not sound may have wrapped around.
    """
    more = np.flatnonzero(codes > 31)  # the few characters, one in ten, after which their number goes on
    heads = edges[:-1] - np.searchsorted(more, edges[:-1])  # of every mask: its first number
    of = more - np.arange(len(more))  # of each of these characters: its number
    first = np.flatnonzero(np.diff(of, prepend=-1))  # of the longer numbers: the first of these characters
    digits = np.diff(first, append=len(more))  # and how many there are
    bad = np.zeros(len(heads), dtype=bool)
    bad[np.searchsorted(heads, of[first[digits >= MAX_DIGITS]], side='right') - 1] = True
    # 32-bit integers take half the time. They wrap around silently, yet decide rightly: a mask's first run that is
    # negative or larger than the image comes from runs that are neither, so it cannot have wrapped.
    small = largest <= SMALL and int(digits.max(initial=0)) < 6
    # The last character is the most significant digit, of which bit 4 is the sign.
    values = ((codes[codes < 32] ^ 16).view(np.int8) - 16).astype(np.int32 if small else np.int64)
    values[of[first]] = _longer(values[of[first]], codes[more], first, np.minimum(digits, MAX_DIGITS - 1))

    runs = np.diff(heads, append=len(values))
    pairs = (runs + 1) // 2
    begin = np.cumsum(pairs) - pairs
    lone = np.flatnonzero(runs % 2 == 1)
    both = np.insert(values, heads[lone] + runs[lone], 0).view(np.uint32 if small else np.uint64)
    outside, inside = both[0::2].copy(), both[1::2].copy()
    # Run 0 stands for itself, and the odd and the even runs from 1 and 2 on are cumulative sums: those over all masks,
    # less the sum before the mask's own began.
    zeroth = outside[begin]
    outside[begin] = 0
    for counts in outside, inside:
        np.cumsum(counts, dtype=counts.dtype, out=counts)
        counts -= np.repeat(_before(counts, begin), pairs)
    outside[begin] = zeroth
    inside[begin[lone] + pairs[lone] - 1] = 0
    return outside, inside, begin, runs, bad


def _before(sums: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Cumulative sums before each of ``first`` ``(n,)``, of which the first is 0."""
    return np.append(np.zeros(1, sums.dtype), sums[first[1:] - 1])[: len(first)]


def _longer(values: np.ndarray, codes: np.ndarray, first: np.ndarray, digits: np.ndarray) -> np.ndarray:
    """Numbers of more than one character: ``(k,)`` most significant digits, and the characters before these, number
    after number, the least significant first, of which each number has so many ``digits`` from ``first`` on."""
    values = values << (5 * digits).astype(values.dtype)
    numbers = np.arange(len(values))
    for place in range(int(digits.max(initial=0))):
        values[numbers] |= (codes[first[numbers] + place] & 31).astype(values.dtype) << 5 * place
        numbers = numbers[digits[numbers] > place + 1]
    return values
