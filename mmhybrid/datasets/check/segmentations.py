"""Checks on the field ``segmentation``: polygons, and run lengths of masks.

pycocotools' C code, which MMDetection draws masks with, trusts its input, so nothing malformed may reach it here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from mmhybrid.occlusion.read.checks import to_float
from mmhybrid.occlusion.read.runlengths import MAX_SIDE, measure
from mmhybrid.text import show

from .contents import Contents
from .findings import ERROR, WARNING, Finding

# Annotations whose points are held at a time.
CHUNK = 16384
# Pixels that a point may leave its image by without a word.
TOLERANCE = 1
KINDS = ('mask-malformed', 'mask-size', 'mask-few-points', 'mask-empty', 'mask-outside')


def missing(contents: Contents, kept: np.ndarray) -> np.ndarray:
    """``(n,)`` bool, which of the annotations ``kept`` ``(n,)`` bool have no segmentation."""
    # Looked at as CocoDataset does: an empty one is none.
    return kept & np.array([not row.get('segmentation') for row in contents.rows], dtype=bool)


def check_missing(contents: Contents, kept: np.ndarray, needed: bool) -> list[Finding]:
    """Annotations without a segmentation among those kept ``(n,)`` bool; none of them has one in a data set of boxes.

    Args:
        contents: The annotation file.
        kept: Which annotations are learned from.
        needed: Whether masks are, which makes it an error.
    """
    bad = missing(contents, kept)
    if not needed and bad.sum() == kept.sum():
        return []
    found = contents.found('mask-missing', bad)
    return [replace(each, severity=ERROR if needed else WARNING) for each in found]


def check_segmentations(contents: Contents) -> list[Finding]:
    """Segmentations of annotations on listed images, where there are any."""
    bad = {kind: np.zeros(len(contents.rows), dtype=bool) for kind in KINDS}
    with np.errstate(over='ignore', invalid='ignore'):  # of absurd numbers
        whole = contents.sizes[contents.image_at].round() if len(contents.rows) else np.empty((0, 2))
    present = (contents.image_at >= 0) & (whole <= MAX_SIDE).all(axis=1) & ~missing(contents, contents.image_at >= 0)
    polygons, encoded = [], []
    for i in np.flatnonzero(present).tolist():
        value = contents.rows[i]['segmentation']
        if isinstance(value, list):
            polygons.append(i)
        elif isinstance(value, dict):
            encoded.append(i)
        else:
            bad['mask-malformed'][i] = True
    for start in range(0, len(polygons), CHUNK):
        _check_polygons(contents, polygons[start : start + CHUNK], whole, bad)
    for start in range(0, len(encoded), CHUNK):
        _check_encoded(contents, encoded[start : start + CHUNK], whole, bad)

    def segmentation(i: int) -> str:
        return show(contents.rows[i]['segmentation'])

    def size(i: int) -> str:
        width, height = whole[i]
        return f'{show(contents.rows[i]["segmentation"].get("size"))} on [{height:g}, {width:g}]'

    details = {'mask-malformed': segmentation, 'mask-size': size, 'mask-few-points': segmentation}
    return [each for kind in KINDS for each in contents.found(kind, bad[kind], details.get(kind))]


def _check_polygons(contents: Contents, indices: list[int], sizes: np.ndarray, bad: dict[str, np.ndarray]) -> None:
    values = [contents.rows[i]['segmentation'] for i in indices]
    if not _all_numbers(values):
        sound = [_all_numbers([value]) for value in values]
        bad['mask-malformed'][[i for i, good in zip(indices, sound, strict=True) if not good]] = True
        indices = [i for i, good in zip(indices, sound, strict=True) if good]
        values = [contents.rows[i]['segmentation'] for i in indices]
    # What MMDetection leaves over; an instance without any is ignored.
    drawn = [[polygon for polygon in value if len(polygon) >= 6 and len(polygon) % 2 == 0] for value in values]
    short = [len(left) < len(value) for left, value in zip(drawn, values, strict=True)]
    bad['mask-few-points'][[i for i, few in zip(indices, short, strict=True) if few]] = True
    pairs = [(i, left) for i, left in zip(indices, drawn, strict=True) if left]
    if not pairs:
        return
    rows = np.array([i for i, _ in pairs])
    low, high, area = _extents([left for _, left in pairs])
    limit = sizes[rows]
    finite = np.isfinite(low).all(axis=1) & np.isfinite(high).all(axis=1)
    bad['mask-malformed'][rows[~finite]] = True
    outside = finite & ((low < -TOLERANCE) | (high > limit + TOLERANCE)).any(axis=1)
    bad['mask-outside'][rows[outside]] = True
    gone = finite & ((high < 0) | (low > limit)).any(axis=1)
    # Only what is thin or cut off can be empty; drawn where the points are near enough not to cost memory without end.
    near = ((low >= -limit) & (high <= 2 * limit)).all(axis=1)
    thin = area < 2 * (high - low).max(axis=1)
    for position in np.flatnonzero(finite & ~gone & near & (thin | outside)).tolist():
        gone[position] = _is_empty(pairs[position][1], limit[position])
    bad['mask-empty'][rows[gone]] = True


def _all_numbers(values: list[Any]) -> bool:
    """Whether all are lists of lists of numbers."""
    if not set(map(type, chain.from_iterable(values))) <= {list}:
        return False
    return set(map(type, chain.from_iterable(chain.from_iterable(values)))) <= {int, float}


def _extents(values: list[list[list[float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(m, 2)`` smallest and largest x, y of each one's points, and ``(m,)`` the summed area of its polygons."""
    polygons = list(chain.from_iterable(values))
    points = to_float(list(chain.from_iterable(polygons))).reshape(-1, 2)
    lengths = np.array(list(map(len, polygons))) // 2
    begin = np.cumsum(lengths) - lengths  # of each polygon
    first = np.cumsum([0, *map(len, values[:-1])])  # polygon of each value
    following = np.arange(1, len(points) + 1)
    following[begin + lengths - 1] = begin
    x, y = points.T
    with np.errstate(invalid='ignore', over='ignore'):
        area = abs(np.add.reduceat(x * y[following] - x[following] * y, begin)) / 2
    starts = begin[first]
    return np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts), np.add.reduceat(area, first)


def _is_empty(polygons: list[list[float]], size: np.ndarray) -> bool:
    from pycocotools import mask

    width, height = map(int, size)
    rles = mask.frPyObjects([[float(value) for value in polygon] for polygon in polygons], height, width)
    return int(mask.area(mask.merge(rles))) == 0


def _check_encoded(contents: Contents, indices: list[int], sizes: np.ndarray, bad: dict[str, np.ndarray]) -> None:
    texts, rows = [], []
    for i in indices:
        value = contents.rows[i]['segmentation']
        size, counts = value.get('size'), value.get('counts')
        area = int(sizes[i].prod())
        if not isinstance(size, list) or len(size) != 2 or not _all_numbers([[size]]):
            bad['mask-malformed'][i] = True
        elif size != sizes[i, ::-1].tolist():
            bad['mask-size'][i] = True
        elif isinstance(counts, list):
            if not set(map(type, counts)) <= {int} or min(counts, default=-1) < 0 or sum(counts) != area:
                bad['mask-malformed'][i] = True
            elif not sum(counts[1::2]):
                bad['mask-empty'][i] = True
        elif isinstance(counts, str) and counts and counts.isascii():
            texts.append(counts)
            rows.append(i)
        else:
            bad['mask-malformed'][i] = True
    if rows:
        areas = _areas(texts, sizes[rows].prod(axis=1).astype(np.int64))
        bad['mask-malformed'][np.array(rows)[areas < 0]] = True
        bad['mask-empty'][np.array(rows)[areas == 0]] = True


def _areas(texts: Iterable[str], sizes: np.ndarray) -> np.ndarray:
    """``(m,)`` pixels of each mask in compressed run lengths; -1 where they do not fill its ``sizes`` ``(m,)``."""
    texts = [text.encode('ascii') for text in texts]
    offsets = np.append(0, np.cumsum(list(map(len, texts)), dtype=np.int64))
    return measure(b''.join(texts), offsets, sizes)[0]
