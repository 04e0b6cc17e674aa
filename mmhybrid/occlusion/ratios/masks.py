"""Overlap of masks in whole pixels, by the arithmetic of run lengths.

A mask in COCO's run-length encoding is a set of intervals on one number line, the pixels column by column. All masks of
an image are such sets on the same line: sorted run ends cut it into segments over which the number of masks is
constant. Images are laid on the line one behind the other, so that one sort serves hundreds of them. No mask is decoded
to an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..read.runlengths import intervals
from .boxes import divide

# Masks swept at a time: few enough for the processor's cache, which halves the time.
CHUNK = 512


class Overlaps(NamedTuple):
    """Pixels, int64, of n masks in I images: of each mask ``(n,)``, and of these what another mask of its image covers;
    of each image ``(I,)`` what is in two or more masks, in any, and intersections summed over pairs of masks."""

    areas: np.ndarray
    covered: np.ndarray
    shared: np.ndarray
    union: np.ndarray
    pairs: np.ndarray


def measure(
    masks: list[dict[str, Any]], sizes: np.ndarray, counts: np.ndarray, definition: str
) -> tuple[np.ndarray, np.ndarray]:
    """``(I,)`` ratios of images and ``(n,)`` covered fractions of compressed run lengths of ``(n, 2)`` sizes, those of
    an image side by side, ``counts`` ``(I,)`` of each; by any definition but ``'invisible'``."""
    found = overlaps(masks, sizes, counts)
    if definition == 'max-iou':
        stops = np.cumsum(counts).tolist()
        of_image = (masks[stop - count : stop] for stop, count in zip(stops, counts.tolist(), strict=True))
        ratios = np.array([max_iou(group) for group in of_image])
    elif definition == 'multi':
        ratios = divide(found.shared, found.union)
    else:
        part = found.pairs if definition == 'pairwise' else _sums(found.covered, counts)
        ratios = divide(part, _sums(found.areas, counts))
    return ratios, divide(found.covered, found.areas)


def invisible(
    amodal: list[dict[str, Any]], visible: list[dict[str, Any]], sizes: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Share of the amodal masks that is not visible, as :func:`measure`; what is visible outside does not count."""
    # An instance takes the part of an image here: it holds two masks.
    both = [mask for pair in zip(amodal, visible, strict=True) for mask in pair]
    found = overlaps(both, np.repeat(sizes, 2, axis=0), np.full(len(amodal), 2))
    areas = found.areas[::2]
    hidden = areas - found.shared
    return divide(_sums(hidden, counts), _sums(areas, counts)), divide(hidden, areas)


def max_iou(masks: list[dict[str, Any]]) -> float:
    """Largest IoU of any two masks of one image, by pycocotools; 0 with fewer than two."""
    from pycocotools import mask

    if len(masks) < 2:
        return 0.0
    iou = mask.iou(masks, masks, [0] * len(masks))
    return float(iou[np.triu_indices(len(masks), 1)].max())


def overlaps(masks: Sequence[dict[str, Any]], sizes: np.ndarray, counts: np.ndarray) -> Overlaps:
    """Pixel counts of overlap; arguments are those of :func:`measure`."""
    texts, pixels = [mask['counts'] for mask in masks], sizes.prod(axis=1)
    stops = np.append(0, np.cumsum(counts))
    parts, begin = [_sweep([], pixels[:0], counts[:0])], 0
    while begin < len(counts):  # whole images, about CHUNK masks
        end = max(int(np.searchsorted(stops, stops[begin] + CHUNK, side='right')) - 1, begin + 1)
        part = slice(stops[begin], stops[end])
        parts.append(_sweep(texts[part], pixels[part], counts[begin:end]))
        begin = end
    return Overlaps(*map(np.concatenate, zip(*parts, strict=True)))


def _sweep(texts: Sequence[bytes], pixels: np.ndarray, counts: np.ndarray) -> Overlaps:
    """:func:`overlaps` of one chunk; ``pixels`` ``(n,)`` is each mask's height times width."""
    n = len(texts)
    start, stop, owner = intervals(texts)
    areas = _sums_by(owner, stop - start, n)
    image = np.repeat(np.arange(len(counts)), counts)
    room = np.zeros(len(counts), dtype=np.int64)
    room[image] = pixels
    borders = np.concatenate([[0], np.cumsum(room)])  # of the images on the common line
    shift = borders[image[owner]]
    start, stop = start + shift, stop + shift

    # The low bit tells starts from stops, so that a plain sort does.
    ends = np.sort(np.concatenate([2 * start + 1, 2 * stop]))
    depth = np.cumsum(2 * (ends & 1) - 1)[:-1]  # masks over the segment behind each run end
    ends >>= 1
    length = np.diff(ends)

    def before(weight: np.ndarray) -> np.ndarray:
        """Weighted length of the segments up to each run end, and one entry for a border behind all."""
        sums = np.zeros(len(ends) + 1, dtype=np.int64)
        np.cumsum(length * weight, out=sums[1 : len(length) + 1])
        sums[len(length) + 1 :] = sums[len(length)]
        return sums

    shared = before(depth > 1)
    covered = shared[np.searchsorted(ends, stop)] - shared[np.searchsorted(ends, start)]
    at = np.searchsorted(ends, borders)
    return Overlaps(
        areas=areas,
        covered=_sums_by(owner, covered, n),
        shared=np.diff(shared[at]),
        union=np.diff(before(depth > 0)[at]),
        pairs=np.diff(before(depth * (depth - 1) // 2)[at]),
    )


def _sums(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of ``values`` over the consecutive blocks of these lengths."""
    sums = np.concatenate([[0], np.cumsum(values)])
    stops = np.cumsum(counts)
    return sums[stops] - sums[stops - counts]


def _sums_by(owner: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    # bincount adds in float64, in which pixel counts of an image (below 2**32) are exact.
    return np.bincount(owner, values, n).astype(np.int64)
