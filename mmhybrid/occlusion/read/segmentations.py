"""Checks on COCO segmentations before they reach pycocotools.

pycocotools' C code trusts its input: a truncated run-length string is read beyond its end, a far coordinate allocates
memory without bound, and a mask of another size than the image silently matches nothing. All are errors here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from numbers import Integral
from typing import Any

import numpy as np

from mmhybrid.text import show

from .checks import Records, to_float
from .runlengths import MAX_SIDE, Masks, measure

RLE_REMEDY = "give run-length encoding {'size': [height, width], 'counts': ...} as pycocotools.mask.encode makes it"
MASK_REMEDY = 'give polygons or run-length encoding'
SEGM_REMEDY = "evaluating segm needs every instance's mask: give polygons or run-length encoding"
AMODAL_REMEDY = "occlusion by amodal masks needs every instance's amodal and visible mask"

# Fields of the amodal and the visible mask, as data sets in COCO format name them.
AMODAL_FIELDS = (
    ('amodal_segmentation', 'segmentation'),  # mmhybrid.datasets.occluded_shapes
    ('a_segm', 'i_segm'),  # KINS, version of 2020
    ('segmentation', 'inmodal_seg'),  # KINS, version of 2019
    ('segmentation', 'visible_mask'),  # D2SA and COCOA with COCO's categories
    ('amodal_segm', 'visible_segm'),  # AIStron's form of all of these
)
# Of a chunk of encodings, both of its characters and of the objects that hold them.
CHUNK = 16384
# Pixels that a drawn polygon stays within around its points: pycocotools draws at five times the resolution, and a
# pixel belongs to the mask that reaches half of it.
DRAWING_MARGIN = np.array([-1, -1, 1, 1])


def image_sizes(images: Records) -> np.ndarray:
    """``(I, 2)`` int64 height and width of every image, which masks need."""
    remedy = "masks need the image's 'height' and 'width' in pixels"
    sizes = np.stack([images.integers(field, remedy) for field in ('height', 'width')], axis=1)
    bad = ((sizes < 1) | (sizes > MAX_SIDE)).any(axis=1)
    images.fail_where(bad, lambda i: f'height and width are {sizes[i].tolist()}, not from 1 to {MAX_SIDE}', remedy)
    return sizes


def amodal_fields(annotations: Records, counted: np.ndarray) -> tuple[str, str]:
    """Which of :data:`AMODAL_FIELDS` the first annotation that counts has.

    Args:
        annotations: The records.
        counted: ``(n,)`` bool, whether each counts.
    """
    index = int(np.argmax(counted))
    for pair in AMODAL_FIELDS:
        if all(field in annotations.rows[index] for field in pair):
            return pair
    names = ', '.join(f"'{amodal}' and '{visible}'" for amodal, visible in AMODAL_FIELDS)
    annotations.fail(index, f'has no amodal and visible mask, looked for as {names}', AMODAL_REMEDY)


def check_ground_truth(
    annotations: Records, sizes: np.ndarray, field: str = 'segmentation', remedy: str = SEGM_REMEDY
) -> tuple[list[Any], np.ndarray]:
    """Segmentations of ground truth: polygons or run-length encoding.

    Args:
        annotations: The records.
        sizes: ``(n, 2)`` height and width of each record's image.
        field: The records' field that holds the segmentation.
        remedy: What to tell where it is missing.

    Returns:
        The segmentations: polygons as they are, run lengths as ``{'size': [height, width], 'counts': bytes}``; and
        ``(n, 4)`` float64 ``x1, y1, x2, y2`` in pixels that each stays within when it is drawn.
    """
    values = annotations.column(field, remedy)
    checked, extents = list(values), np.empty((len(values), 4))
    drawn = [i for i, value in enumerate(values) if not isinstance(value, dict)]
    extents[drawn] = _check_polygons(annotations, field, drawn, values, sizes)
    encoded = [i for i, value in enumerate(values) if isinstance(value, dict)]
    packed = _pack(annotations, field, encoded, [values[i] for i in encoded], sizes[encoded], MASK_REMEDY)
    extents[encoded, ::2] = packed.spans(np.arange(len(packed)))
    extents[encoded, 1::2] = np.stack([np.zeros(len(packed)), packed.sizes[:, 0]], axis=1)
    for start in range(0, len(encoded), CHUNK):
        part = encoded[start : start + CHUNK]
        for index, rle in zip(part, packed.rles(start, start + len(part)), strict=True):
            checked[index] = rle
    return checked, extents


def check_detections(results: Records, sizes: np.ndarray) -> Masks:
    """Segmentations of detections: run-length encoding only, as in the COCO results format.

    Args:
        results: The records, with the field ``segmentation``.
        sizes: ``(n, 2)`` height and width of each record's image.
    """
    remedy = 'evaluating segm needs masks: give the results file with masks, in mmdet *.segm.json'
    values = results.column('segmentation', remedy)
    if not set(map(type, values)) <= {dict}:
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                results.fail(index, f"field 'segmentation' is {show(value)}, not run-length encoding", RLE_REMEDY)
    return _pack(results, 'segmentation', range(len(values)), values, sizes, RLE_REMEDY)


def _check_polygons(
    records: Records, field: str, indices: Sequence[int], values: Sequence[Any], sizes: np.ndarray
) -> np.ndarray:
    """Extents of all at once; only if something is wrong, look for it one by one."""
    extents = _sound_extents([values[index] for index in indices])
    reach = sizes[indices].max(axis=1, keepdims=True)
    # Not so for NaN.
    if extents is None or not ((extents[:, :2] >= -reach) & (extents[:, 2:] <= 2 * reach)).all():
        for index in indices:
            _check_polygons_of(records, field, index, values[index], float(sizes[index].max()))
    return extents + DRAWING_MARGIN


def _sound_extents(values: list[Any]) -> np.ndarray | None:
    """``(n, 4)`` smallest x and y and largest x and y of each one's points; None if not all are polygons."""
    if not set(map(type, values)) <= {list} or not all(values):
        return None
    polygons = list(chain.from_iterable(values))
    if not set(map(type, polygons)) <= {list}:
        return None
    lengths = np.array(list(map(len, polygons)), dtype=np.int64)
    if (lengths < 6).any() or (lengths % 2).any():
        return None
    numbers = list(chain.from_iterable(polygons))
    if not set(map(type, numbers)) <= {int, float}:
        return None
    if not values:
        return np.empty((0, 4))
    begin = np.append(0, np.cumsum(lengths))  # of each polygon
    first = np.cumsum([0, *map(len, values[:-1])])  # of each of the values: its first polygon
    points, starts = to_float(numbers).reshape(-1, 2), begin[first] // 2
    return np.concatenate([np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)], axis=1)


def _check_polygons_of(records: Records, field: str, index: int, value: Any, reach: float) -> None:
    def fail(problem: str) -> None:
        records.fail(index, f"field '{field}' {problem}", MASK_REMEDY)

    if not isinstance(value, list) or not value:
        fail(f'is {show(value)}, neither polygons nor run-length encoding')
    for polygon in value:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            fail(f'holds {show(polygon)}, not a list of three or more x, y pairs')
        if not set(map(type, polygon)) <= {int, float}:
            fail(f'holds {show(polygon)}, in which not all are numbers')
        points = to_float(polygon)
        if not (np.isfinite(points).all() and points.min() >= -reach and points.max() <= 2 * reach):
            fail(f'holds {show(polygon)}, in which a point is not finite or far outside the image')


def _pack(
    records: Records, field: str, indices: Sequence[int], rles: Sequence[dict[str, Any]], sizes: np.ndarray, remedy: str
) -> Masks:
    """Check encodings and put them into one buffer.

    Args:
        records: Where they come from.
        field: In which field.
        indices: Of n records.
        rles: Their n encodings.
        sizes: ``(n, 2)`` height and width of their images.
        remedy: What to tell if one is wrong.
    """
    packed = _join_plain(rles, sizes)
    if packed is None:
        for index, rle, size in zip(indices, rles, sizes.tolist(), strict=True):
            problem = _form_problem(rle, size)
            if problem:
                records.fail(index, f"field '{field}' {problem}", remedy)
        counts = [_compressed(rle) for rle in rles]
        packed = b''.join(counts), list(map(len, counts))
    text, lengths = packed
    offsets = np.append(0, np.cumsum(np.array(lengths, dtype=np.int64)))
    areas, margins = measure(text, offsets, sizes.prod(axis=1))
    bad = areas < 0
    if bad.any():
        records.fail(indices[int(np.argmax(bad))], f"field '{field}' has counts that do not fill its size", remedy)
    return Masks(sizes.astype(np.int32), text, offsets, areas, margins)


def _join_plain(rles: Sequence[dict[str, Any]], sizes: np.ndarray) -> tuple[bytes, list[int]] | None:
    """Counts of encodings that are as usual in every way, and the lengths; None where one has to be looked at."""
    try:
        given = [rle['size'] for rle in rles]
        counts = [rle['counts'] for rle in rles]
    except KeyError:
        return None
    if not set(map(type, given)) <= {list} or not set(map(len, given)) <= {2}:
        return None
    sides = list(chain.from_iterable(given))
    if not set(map(type, sides)) <= {int} or sides != sizes.ravel().tolist():
        return None
    kinds = set(map(type, counts))
    if kinds not in ({str}, {bytes}) or not all(counts):
        return None
    try:
        text = ''.join(counts).encode('ascii') if kinds == {str} else b''.join(counts)
    except UnicodeEncodeError:
        return None
    return text, list(map(len, counts))


def _form_problem(rle: dict[str, Any], size: list[int]) -> str:
    """What is wrong with an encoding's fields, apart from the content of compressed counts."""
    given, counts = rle.get('size'), rle.get('counts')
    whole = isinstance(given, list | tuple) and all(isinstance(side, Integral) for side in given)
    if not whole or list(given) != size:
        return f"has the size {show(given)}, where the image's [height, width] is {size}"
    if isinstance(counts, list):
        if not set(map(type, counts)) <= {int} or min(counts, default=0) < 0 or sum(counts) != size[0] * size[1]:
            return 'has counts that do not fill its size'
    elif not isinstance(counts, str | bytes) or not counts or (isinstance(counts, str) and not counts.isascii()):
        return f'has the counts {show(counts)}, neither an ASCII string nor a list of integers'
    return ''


def _compressed(rle: dict[str, Any]) -> bytes:
    counts = rle['counts']
    if isinstance(counts, str):
        return counts.encode('ascii')
    if isinstance(counts, bytes):
        return counts
    from pycocotools import mask

    size = [int(side) for side in rle['size']]
    return mask.frPyObjects({'size': size, 'counts': counts}, *size)['counts']
