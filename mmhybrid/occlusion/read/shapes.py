"""Boxes and areas of annotations, sizes and ids of images: from their fields, or else from what stands for these."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import writable

from .checks import Records, to_numbers
from .columns import to_rows
from .ids import ImageIds
from .polygons import rasterise
from .runlengths import Masks


def boxes_of(annotations: Records, masks: list[Any] | None, sizes: np.ndarray | None) -> np.ndarray:
    """Boxes that nothing was asked of: the field, or around the masks, or none."""
    with suppress(InputError):
        return annotations.boxes()
    if masks is None:
        return np.zeros((len(annotations.rows), 4))
    from pycocotools import mask

    return mask.toBbox(rasterise(masks, sizes)).reshape(-1, 4)


def areas_of(
    annotations: Records, boxes: np.ndarray, masks: list[Any] | None, sizes: np.ndarray | None
) -> tuple[np.ndarray, list[str]]:
    """The field ``area``; where it is missing, pixels of masks if there are any, else width times height of boxes."""
    given = annotations.numbers('area', "give the instance's area in square pixels", may_miss=True)
    annotations.refuse('area', given, given < 0, 'negative', 'give square pixels')
    is_missing = np.isnan(given)
    if not is_missing.any():
        return given, []
    found, used = boxes[:, 2:].prod(axis=1), 'width times height of the box was'
    if masks is not None:
        found, used = pixels_of(rasterise(masks, sizes), sizes), "the mask's pixels were"
    told = f"{annotations.source}: {is_missing.sum()} of {len(given)} annotations have no 'area'"
    return np.where(is_missing, found, given), [f'{told}; {used} used for APs, APm and APl']


def pixels_of(encoded: Sequence[dict[str, Any]], sizes: np.ndarray) -> np.ndarray:
    """``(n,)`` float64 pixels of run lengths; pycocotools' ``area`` fails under numpy 2 from 256 masks on."""
    texts = [rle['counts'] for rle in encoded]
    return Masks.measured(b''.join(texts), list(map(len, texts)), sizes).areas.astype(np.float64)


def any_sizes(images: Sequence[dict[str, Any]]) -> np.ndarray:
    """``(I, 2)`` float64 height and width of the images; NaN where they are not known."""
    return np.stack([to_numbers([image.get(field) for image in images]) for field in ('height', 'width')], axis=1)


def image_records(rows: Sequence[dict[str, Any]], ids: ImageIds, sizes: np.ndarray | None) -> list[dict[str, Any]]:
    """The image records, with ids and sizes as numbers, and names that can be written."""
    known: dict[str, Any] = {'id': ids.numbers.tolist()}
    if sizes is not None:
        known |= {'height': sizes[:, 0].tolist(), 'width': sizes[:, 1].tolist()}
    images = [row | values for row, values in zip(rows, to_rows(known), strict=True)]
    for image in images:
        if isinstance(image.get('file_name'), str):
            image['file_name'] = writable(image['file_name'])
    return images
