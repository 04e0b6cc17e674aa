"""Whole and visible masks of the same instances: which of them detections are matched with, and what goes with them.

``docs/amodal.md`` says how the fields of KINS, COCOA, D2SA and the synthetic set are read.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, NamedTuple

import numpy as np

from .checks import Records
from .polygons import rasterise
from .segmentations import AMODAL_FIELDS, amodal_fields
from .shapes import pixels_of

MASKS = ('amodal', 'visible')
REMEDY = "give every instance's amodal mask, and the visible one of those occluded, or leave masks out (--masks)"
# Fields of the boxes around the whole and the visible mask, where it is said which they are. D2SA and COCOA have one
# `bbox`, of which it is not; AIStron gives COCOA's visible masks the same box as the whole ones.
BOX_FIELDS = {
    ('amodal_segmentation', 'segmentation'): ('amodal_bbox', 'bbox'),
    ('a_segm', 'i_segm'): ('a_bbox', 'i_bbox'),
    ('segmentation', 'inmodal_seg'): ('bbox', 'inmodal_bbox'),
}


class Chosen(NamedTuple):
    """Of n annotations the whole or the visible masks: compressed run lengths, ``(n, 4)`` float64 corners of the pixels
    of each, ``(n, 4)`` boxes ``x, y, width, height``, ``(n,)`` areas in pixels; and notes."""

    segmentations: list[dict[str, Any]]
    extents: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    notes: tuple[str, ...]


def check(annotations: Records, counted: np.ndarray, masks: str | None, needed: Container[str]) -> None:
    """That there is a pair of fields with such masks; or where none of these was chosen, that they are not all there is
    of what is ``needed``. Other arguments and errors are those of :func:`choose`."""
    if masks is not None:
        amodal_fields(annotations, counted, REMEDY)
        return
    first = annotations.rows[0] if annotations.rows else {}
    fields = [field for kind, field in (('bbox', 'bbox'), ('segm', 'segmentation')) if kind in needed]
    lacks = [field for field in fields if field not in first]
    if lacks and any(first.keys() >= set(pair) for pair in AMODAL_FIELDS):
        problem = f"field '{lacks[0]}' is missing, but there are whole and visible masks"
        annotations.fail(0, problem, 'say which to evaluate, with their boxes (--masks amodal or visible)')


def choose(
    annotations: Records, loaded: Mapping[str, list[Any]], masks: str, sizes: np.ndarray, counted: np.ndarray
) -> Chosen:
    """The masks that detections are matched with, one of ``MASKS``.

    An instance without the field of the visible mask is fully visible; a region without that of the whole one is as its
    visible mask. Boxes are those of the file around the same masks, or else around their pixels.

    Args:
        annotations: n annotations.
        loaded: ``amodal_segmentations`` and ``visible_segmentations`` of these.
        masks: One of ``MASKS``.
        sizes: ``(n, 2)`` height and width of their images.
        counted: ``(n,)`` bool, those that are no region.

    Raises:
        InputError: There is no pair of fields with such masks, or a box cannot be used.
    """
    from pycocotools import mask

    names = amodal_fields(annotations, counted)
    own, other = names if masks == 'amodal' else names[::-1]
    lacks = np.array([row.get(own) is None for row in annotations.rows], dtype=bool)
    chosen = loaded[f'{masks}_segmentations']
    if masks == 'amodal':
        chosen = [
            visible if lack else whole
            for lack, whole, visible in zip(lacks, chosen, loaded['visible_segmentations'], strict=True)
        ]
    encoded = rasterise(chosen, sizes)
    areas = pixels_of(encoded, sizes)
    around = mask.toBbox(encoded).reshape(-1, 4)
    boxes, of_boxes = _boxes(annotations, names, masks, lacks, around)

    source = annotations.source
    instead = f" ('{other}' where it is missing, of {lacks.sum()} of {len(lacks)})" if lacks.any() else ''
    notes = [
        f"{source}: detections are matched with the {masks} masks, field '{own}'{instead}; APs, APm and APl go by "
        f'their pixels, boxes are {of_boxes}'
    ]
    if empty := int(((areas == 0) & counted).sum()):
        told = f'{source}: {empty} of {counted.sum()} instances have a mask without any pixel'
        notes.append(f"{told} in '{own}', which no detection matches")
    extents = np.concatenate([around[:, :2], around[:, :2] + around[:, 2:]], axis=1)
    return Chosen(encoded, extents, boxes, areas, tuple(notes))


def _boxes(
    annotations: Records, names: tuple[str, str], masks: str, lacks: np.ndarray, around: np.ndarray
) -> tuple[np.ndarray, str]:
    """Boxes of the file, or those ``around`` the masks where it has none; and what they are, in a few words."""
    fields = BOX_FIELDS.get(names, ())
    boxes, used, left = around.copy(), [], np.ones(len(around), dtype=bool)
    for field, where in zip(fields if masks == 'amodal' else fields[::-1], (~lacks, lacks), strict=False):
        has = where & np.array([row.get(field) is not None for row in annotations.rows], dtype=bool)
        if has.any():
            rows = [
                row if here else row | {field: [0, 0, 0, 0]} for row, here in zip(annotations.rows, has, strict=True)
            ]
            boxes[has] = Records(annotations.source, annotations.label, rows).boxes(field)[has]
            used.append(f"'{field}'")
            left &= ~has
    return boxes, ' and '.join([*used, *(['those around these masks'] if left.any() or not used else [])])
