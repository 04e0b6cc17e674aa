"""Checks on COCO segmentations before they reach pycocotools.

pycocotools' C code trusts its input: a truncated run-length string is read beyond its end, a far coordinate allocates
memory without bound, and a mask of another size than the image silently matches nothing. All are errors here.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

from .records import Records, show, to_float

# Masks decoded at a time: few enough for the processor's cache, which halves the time.
CHUNK = 256
RLE_REMEDY = "give run-length encoding {'size': [height, width], 'counts': ...} as pycocotools.mask.encode makes it"
MASK_REMEDY = 'give polygons or run-length encoding'


def image_sizes(images: Records) -> np.ndarray:
    """``(I, 2)`` int64 height and width of every image, which masks need."""
    remedy = "masks need the image's 'height' and 'width' in pixels"
    sizes = np.stack([images.integers(field, remedy) for field in ('height', 'width')], axis=1)
    limit = 2**16
    bad = ((sizes < 1) | (sizes >= limit)).any(axis=1)
    images.fail_where(bad, lambda i: f'height and width are {sizes[i].tolist()}, not from 1 to {limit - 1}', remedy)
    return sizes


def check_ground_truth(annotations: Records, sizes: np.ndarray) -> list[Any]:
    """Segmentations of ground truth: polygons or run-length encoding.

    Args:
        annotations: The records, with the field ``segmentation``.
        sizes: ``(n, 2)`` height and width of each record's image.

    Returns:
        The segmentations: polygons as they are, run lengths as ``{'size': [height, width], 'counts': bytes}``.
    """
    remedy = "evaluating segm needs every instance's mask: give polygons or run-length encoding"
    values = annotations.column('segmentation', remedy)
    encoded = [i for i, value in enumerate(values) if isinstance(value, dict)]
    _check_rles(annotations, encoded, values, sizes, MASK_REMEDY)
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            _check_polygons(annotations, index, value, sizes[index])
    return [_compressed(value) if isinstance(value, dict) else value for value in values]


def check_detections(results: Records, sizes: np.ndarray) -> list[dict[str, Any]]:
    """Segmentations of detections: run-length encoding only, as in the COCO results format.

    Args:
        results: The records, with the field ``segmentation``.
        sizes: ``(n, 2)`` height and width of each record's image.

    Returns:
        The masks as ``{'size': [height, width], 'counts': bytes}``.
    """
    remedy = 'evaluating segm needs masks: give the results file with masks, in mmdet *.segm.json'
    values = results.column('segmentation', remedy)
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            results.fail(index, f"field 'segmentation' is {show(value)}, not run-length encoding", RLE_REMEDY)
    _check_rles(results, range(len(values)), values, sizes, RLE_REMEDY)
    return [_compressed(value) for value in values]


def _check_polygons(records: Records, index: int, value: Any, size: np.ndarray) -> None:
    def fail(problem: str) -> None:
        records.fail(index, f"field 'segmentation' {problem}", MASK_REMEDY)

    if not isinstance(value, list) or not value:
        fail(f'is {show(value)}, neither polygons nor run-length encoding')
    reach = float(size.max())
    for polygon in value:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            fail(f'holds {show(polygon)}, not a list of three or more x, y pairs')
        if not set(map(type, polygon)) <= {int, float}:
            fail(f'holds {show(polygon)}, in which not all are numbers')
        points = to_float(polygon)
        if not (np.isfinite(points).all() and points.min() >= -reach and points.max() <= 2 * reach):
            fail(f'holds {show(polygon)}, in which a point is not finite or far outside the image')


def _check_rles(
    records: Records, indices: Sequence[int], values: Sequence[Any], sizes: np.ndarray, remedy: str
) -> None:
    compressed, texts = [], []
    for index in indices:
        problem = _form_problem(values[index], sizes[index].tolist())
        if problem:
            records.fail(index, f"field 'segmentation' {problem}", remedy)
        if not isinstance(values[index]['counts'], list):
            compressed.append(index)
            texts.append(_bytes(values[index]['counts']))
    for start in range(0, len(compressed), CHUNK):
        chunk = compressed[start : start + CHUNK]
        bad = ~valid_counts(texts[start : start + CHUNK], sizes[chunk].prod(axis=1))
        if bad.any():
            index = chunk[int(np.argmax(bad))]
            records.fail(index, "field 'segmentation' has counts that do not fill its size", remedy)


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


def valid_counts(texts: Sequence[bytes], areas: np.ndarray) -> np.ndarray:
    """Whether compressed run lengths decode to non-negative runs that fill their masks.

    The format is that of ``rleToString`` in cocoapi's ``maskApi.c``: characters from 48 carry five bits each and a
    sixth that says another follows; from the fourth run on, the difference to the run two before is stored.

    Args:
        texts: Non-empty strings of one encoding each.
        areas: ``(n,)`` height times width of each.

    Returns:
        ``(n,)`` bool.
    """
    lengths = np.array([len(text) for text in texts])
    owner = np.repeat(np.arange(len(texts)), lengths)
    codes = np.frombuffer(b''.join(texts), dtype=np.uint8).astype(np.int64) - 48
    stops = codes & 32 == 0
    ok = np.bincount(owner, (codes < 0) | (codes > 63), len(texts)) == 0
    ok &= stops[np.cumsum(lengths) - 1]
    # A text that fails here would glue its last number to the next text's first: look at the others alone.
    codes, owner, stops = codes[ok[owner]], owner[ok[owner]], stops[ok[owner]]
    if not len(codes):
        return ok
    first = np.concatenate([[0], np.flatnonzero(stops)[:-1] + 1])
    digits = np.diff(np.append(first, len(codes)))
    place = np.arange(len(codes)) - np.repeat(first, digits)
    owner_of_run = owner[first]
    too_long = np.bincount(owner_of_run, digits > 7, len(texts)) > 0
    values = np.add.reduceat((codes & 31) << (5 * np.minimum(place, 7)), first)
    last = codes[first + digits - 1]
    values -= np.where(last & 16, 1 << (5 * np.minimum(digits, 8)), 0)

    runs = np.bincount(owner_of_run, minlength=len(texts))
    heads = np.cumsum(runs) - runs
    head = np.repeat(heads, runs)  # of each run: the first run of its mask
    run = np.arange(len(first)) - head
    # Undo the differences: odd runs chain from run 1, even ones from run 2. Cumulative sums over all masks at once,
    # less the sum before the mask's own chain began.
    counts = values.copy()
    for start in (1, 2):
        chain = (run >= start) & (run % 2 == start % 2)
        chained = np.where(chain, values, 0)
        sums = np.cumsum(chained)
        before = sums[head] - chained[head]
        counts = np.where(chain, sums - before, counts)
    negative = np.bincount(owner_of_run, counts < 0, len(texts)) > 0
    total = np.zeros(len(texts), dtype=np.int64)
    total[runs > 0] = np.add.reduceat(counts, heads[runs > 0])
    return ok & ~too_long & ~negative & (total == areas)


def _bytes(counts: str | bytes) -> bytes:
    return counts.encode() if isinstance(counts, str) else counts


def _compressed(rle: dict[str, Any]) -> dict[str, Any]:
    size, counts = [int(side) for side in rle['size']], rle['counts']
    if not isinstance(counts, list):
        return {'size': size, 'counts': _bytes(counts)}
    from pycocotools import mask

    return mask.frPyObjects({'size': size, 'counts': counts}, *size)
