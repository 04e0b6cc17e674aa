"""Checks on COCO segmentations before they reach pycocotools.

pycocotools' C code trusts its input: a truncated run-length string is read beyond its end, a far coordinate allocates
memory without bound, and a mask of another size than the image silently matches nothing. The first two never reach it,
the last is an error.
"""

from __future__ import annotations

import ast
from collections.abc import Container
from contextlib import suppress
from typing import Any

import numpy as np

from mmhybrid.text import show

from . import polygons
from .checks import Records, whole_numbers
from .runlengths import MAX_SIDE, Masks

UNSOUND = 'counts that do not fill its size'
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
        values, fields['extents'], is_missing, notes = check_ground_truth(annotations, sizes)
        if values and is_missing.all():
            problem = "field 'segmentation' is missing, empty or of points and lines alone"
            annotations.fail(0, problem, SEGM_REMEDY, len(values))
        fields['segmentations'] = values
        notes += _without_mask(annotations, is_missing)
    if 'amodal' in needed:
        names = amodal_fields(annotations, counted)
        whole, visible = (check_ground_truth(annotations, sizes, name) for name in names)
        annotations.fail_where(whole[2] & counted, lambda i: f"field '{names[0]}' is missing", AMODAL_REMEDY)
        parts = zip(annotations.rows, whole[0], visible[0], strict=True)
        fields['amodal_segmentations'] = whole[0]
        fields['visible_segmentations'] = [a if row.get(names[1]) is None else v for row, a, v in parts]
        notes += whole[3] + visible[3]
    return fields, [f'{annotations.source}: {note}' for note in dict.fromkeys(notes)]


def amodal_fields(annotations: Records, counted: np.ndarray, remedy: str = AMODAL_REMEDY) -> tuple[str, str]:
    """Which of :data:`AMODAL_FIELDS` the file has: the first of which any annotation that counts has both."""
    rows = [annotations.rows[i] for i in np.flatnonzero(counted).tolist()]
    for pair in AMODAL_FIELDS:
        if not rows or any(all(field in row for field in pair) for row in rows):
            return pair
    names = ', '.join(f"'{amodal}' and '{visible}'" for amodal, visible in AMODAL_FIELDS)
    problem = f'has no amodal and visible mask, looked for as {names}'
    annotations.fail(int(np.argmax(counted)), problem, remedy, len(rows))


def check_ground_truth(
    annotations: Records, sizes: np.ndarray, field: str = 'segmentation'
) -> tuple[list[Any], np.ndarray, np.ndarray, list[str]]:
    """Segmentations of ground truth, polygons or run-length encoding in a field of n records.

    Returns:
        Polygons of three points or more, and run lengths as ``{'size': [height, width], 'counts': bytes}``; ``(n, 4)``
        float64 ``x1, y1, x2, y2`` in pixels that each stays within when it is drawn; ``(n,)`` bool, where there is no
        mask, but a field that is missing, null, or holds points and lines alone; and notes.
    """
    values, extents, is_missing, notes = polygons.check(annotations, field, sizes)
    encoded, masks = _pack(annotations, field, values, sizes)
    for index, rle in zip(encoded, masks.take(), strict=True):
        values[index] = rle
    extents += DRAWING_MARGIN
    left, right = masks.spans().T
    extents[encoded] = np.stack([left, 0 * left, right, masks.sizes[:, 0]], axis=1)
    return values, extents, is_missing, notes


def check_detections(results: Records, sizes: np.ndarray) -> tuple[Masks, list[str]]:
    """Field ``segmentation`` of n detections in images of ``sizes`` ``(n, 2)``, and notes: run lengths, as in COCO's
    format of results, or polygons, of which an empty list is a mask without pixels."""
    remedy = 'evaluating segm needs masks: give the results file with masks, in mmdet *.segm.json'
    given = results.column('segmentation', remedy)
    results.refuse('segmentation', given, (value is None for value in given), 'no mask', remedy)
    values, _, is_missing, notes = polygons.check(results, 'segmentation', sizes)
    notes += _without_mask(results, is_missing)
    _, masks = _pack(results, 'segmentation', polygons.rasterise(values, sizes), sizes)
    return masks, [f'{results.source}: {note}' for note in notes]


def _without_mask(records: Records, is_missing: np.ndarray) -> list[str]:
    note = (
        f"{is_missing.sum()} of {len(is_missing)} {records.label} have no 'segmentation', or one that is empty or of "
        'points and lines alone, which matches nothing'
    )
    return [note] if is_missing.any() else []


def _pack(records: Records, field: str, values: list[Any], sizes: np.ndarray) -> tuple[list[int], Masks]:
    """Which values of a field are encodings, and one buffer of these, checked."""
    encoded = [i for i, value in enumerate(values) if isinstance(value, dict)]
    texts = [_compressed(values[i], size) for i, size in zip(encoded, sizes[encoded].tolist(), strict=True)]
    broken = {i: text for i, text in zip(encoded, texts, strict=True) if isinstance(text, str)}
    if not broken:
        masks = Masks.measured(b''.join(texts), list(map(len, texts)), sizes[encoded])
        broken = {encoded[i]: UNSOUND for i in np.flatnonzero(masks.areas < 0).tolist()}
    if broken:
        first = min(broken)
        records.fail(first, f"field '{field}' has {broken[first]}", polygons.REMEDY, len(broken))
    return encoded, masks


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
            return UNSOUND
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
