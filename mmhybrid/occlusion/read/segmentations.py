"""Checks on COCO segmentations before they reach pycocotools.

pycocotools' C code trusts its input: a truncated run-length string is read beyond its end, a far coordinate allocates
memory without bound, and a mask of another size than the image silently matches nothing. The first two never reach it,
the last is an error.
"""

from __future__ import annotations

import ast
from collections.abc import Container, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from mmhybrid.text import show

from . import polygons
from .checks import Records, whole_numbers
from .runlengths import MAX_SIDE, Masks

RLE_REMEDY = "give run-length encoding {'size': [height, width], 'counts': ...} as pycocotools.mask.encode makes it"
SEGM_REMEDY = 'evaluating segm needs masks: give polygons or run-length encoding'
AMODAL_REMEDY = "occlusion by amodal masks needs every instance's amodal mask, and the visible one of those occluded"

# Fields of the amodal and the visible mask, as data sets in COCO format name them.
AMODAL_FIELDS = (
    ('amodal_segmentation', 'segmentation'),  # mmhybrid.datasets.occluded_shapes
    ('a_segm', 'i_segm'),  # KINS, version of 2020
    ('segmentation', 'inmodal_seg'),  # KINS, version of 2019
    ('segmentation', 'visible_mask'),  # D2SA and COCOA with COCO's categories
    ('amodal_segm', 'visible_segm'),  # AIStron's form of all of these
)
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


def load(
    annotations: Records, sizes: np.ndarray, needed: Container[str], counted: np.ndarray
) -> tuple[dict[str, Any], list[str]]:
    """Masks of ground truth in images of ``sizes`` ``(n, 2)``: the fields of ``GroundTruth`` that hold them, and notes.

    ``needed`` are ``'segm'`` for the field ``segmentation`` and ``'amodal'`` for whole and visible masks, which the
    annotations in ``counted`` ``(n,)`` bool must have.
    """
    fields: dict[str, Any] = {}
    notes: list[str] = []
    if 'segm' in needed:
        values, extents, is_missing, notes = check_ground_truth(annotations, sizes)
        fields |= {'segmentations': values, 'extents': extents}
        if count := int(is_missing.sum()):
            if count == len(values):
                annotations.fail(
                    0, "field 'segmentation' is missing, empty or of points and lines alone", SEGM_REMEDY, count
                )
            notes.append(
                f"{count} of {len(values)} annotations have no 'segmentation', or one of points and lines alone; as "
                'masks, nothing can match them'
            )
    if 'amodal' in needed:
        names = _amodal_fields(annotations, counted)
        whole, visible = (check_ground_truth(annotations, sizes, name) for name in names)
        annotations.fail_where(whole[2] & counted, lambda i: f"field '{names[0]}' is missing", AMODAL_REMEDY)
        parts = zip(annotations.rows, whole[0], visible[0], strict=True)
        fields['amodal_segmentations'] = whole[0]
        fields['visible_segmentations'] = [a if row.get(names[1]) is None else v for row, a, v in parts]
        notes += whole[3] + visible[3]
    return fields, [f'{annotations.source}: {note}' for note in dict.fromkeys(notes)]


def _amodal_fields(annotations: Records, counted: np.ndarray) -> tuple[str, str]:
    """Which of :data:`AMODAL_FIELDS` the file has: the first of which any annotation that counts has both."""
    rows = [annotations.rows[i] for i in np.flatnonzero(counted).tolist()]
    for pair in AMODAL_FIELDS:
        if not rows or any(all(field in row for field in pair) for row in rows):
            return pair
    names = ', '.join(f"'{amodal}' and '{visible}'" for amodal, visible in AMODAL_FIELDS)
    problem = f'has no amodal and visible mask, looked for as {names}'
    annotations.fail(int(np.argmax(counted)), problem, AMODAL_REMEDY, len(rows))


def check_ground_truth(
    annotations: Records, sizes: np.ndarray, field: str = 'segmentation'
) -> tuple[list[Any], np.ndarray, np.ndarray, list[str]]:
    """Segmentations of ground truth, polygons or run-length encoding in a field of n records.

    Returns:
        Polygons of three points or more, and run lengths as ``{'size': [height, width], 'counts': bytes}``; ``(n, 4)``
        float64 ``x1, y1, x2, y2`` in pixels that each stays within when it is drawn; ``(n,)`` bool, where there is no
        mask, but a field that is missing, null, or holds points and lines alone; and notes.
    """
    given = [row.get(field) for row in annotations.rows]
    values, drawn, points, notes = polygons.check(annotations, field, given, sizes)
    is_missing = np.array([value is None for value in values], dtype=bool)
    for i in np.flatnonzero(is_missing).tolist():
        values[i] = _empty(sizes[i])
    extents = np.empty((len(values), 4))
    extents[drawn] = points + DRAWING_MARGIN
    encoded = [i for i, value in enumerate(values) if isinstance(value, dict)]
    packed = _pack(annotations, field, encoded, [values[i] for i in encoded], sizes[encoded], polygons.REMEDY)
    extents[encoded, ::2] = packed.spans(np.arange(len(packed)))
    extents[encoded, 1::2] = np.stack([np.zeros(len(packed)), packed.sizes[:, 0]], axis=1)
    for index, rle in zip(encoded, packed.take(np.arange(len(packed))), strict=True):
        values[index] = rle
    return values, extents, is_missing, notes


def check_detections(results: Records, sizes: np.ndarray, notes: list[str] | None = None) -> Masks:
    """Field ``segmentation`` of n detections in images of ``sizes`` ``(n, 2)``: run lengths, as in COCO's format of
    results, or polygons, of which an empty list is a mask without pixels. ``notes`` is given what there is to tell."""
    remedy = 'evaluating segm needs masks: give the results file with masks, in mmdet *.segm.json'
    values = results.column('segmentation', remedy)
    if not set(map(type, values)) <= {dict}:
        results.fail_where((value is None for value in values), lambda i: "field 'segmentation' is None", remedy)
        values, _, _, found = polygons.check(results, 'segmentation', values, sizes)
        if empty := sum(value is None for value in values):
            found.append(
                f"{empty} of {len(values)} {results.label} have a 'segmentation' that is empty or of points and lines "
                'alone, which matches nothing'
            )
        if notes is not None:
            notes += [f'{results.source}: {note}' for note in found]
        values = [_empty(size) if value is None else value for value, size in zip(values, sizes, strict=True)]
        values = polygons.rasterise(values, sizes)
    return _pack(results, 'segmentation', range(len(values)), values, sizes, RLE_REMEDY)


def _empty(size: np.ndarray) -> dict[str, Any]:
    """A mask without pixels; pycocotools compresses its one run."""
    return {'size': size.tolist(), 'counts': [int(size.prod())]}


def _pack(
    records: Records, field: str, indices: Sequence[int], rles: Sequence[dict[str, Any]], sizes: np.ndarray, remedy: str
) -> Masks:
    """One buffer of the encodings in ``field`` of the records at ``indices``, checked."""
    texts = [_compressed(rle, size) for rle, size in zip(rles, sizes.tolist(), strict=True)]
    broken = {index: text for index, text in zip(indices, texts, strict=True) if isinstance(text, str)}
    if not broken:
        packed = Masks.measured(b''.join(texts), list(map(len, texts)), sizes)
        broken = {indices[i]: 'counts that do not fill its size' for i in np.flatnonzero(packed.areas < 0).tolist()}
    if broken:
        first = min(broken)
        records.fail(first, f"field '{field}' has {broken[first]}", remedy, len(broken))
    return packed


def _compressed(rle: dict[str, Any], size: list[int]) -> bytes | str:
    """Compressed counts, not yet decoded, of any form of encoding; or what is wrong with it."""
    given, counts = rle.get('size'), rle.get('counts')
    sides = list(given) if isinstance(given, list | tuple) else None
    if sides != size:
        swapped = ': width and height are swapped' if sides == size[::-1] else ''
        return f"the size {show(given)}, where the image's [height, width] is {size}{swapped}"
    if isinstance(counts, list):
        numbers, is_whole = whole_numbers(counts)
        if not is_whole.all() or numbers.min(initial=0) < 0 or sum(numbers.tolist()) != size[0] * size[1]:
            return 'counts that do not fill its size'
        from pycocotools import mask

        return mask.frPyObjects({'size': size, 'counts': numbers.tolist()}, *size)['counts']
    if isinstance(counts, str) and counts.startswith(("b'", 'b"')):  # bytes that Python printed
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            counts = ast.literal_eval(counts)
    if isinstance(counts, str) and counts.isascii():
        counts = counts.encode('ascii')
    if not isinstance(counts, bytes) or not counts:
        return f'the counts {show(counts)}, neither an ASCII string nor a list of integers'
    return counts
