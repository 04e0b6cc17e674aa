"""Notes: what a reader of the numbers should know about the files, one line each.

A note says what, how many, and what to do. It never changes a number, and what is as usual gets none: boxes of COCO and
LVIS leave their images by up to a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Pixels, and share of an image's side, that a box may leave its image by.
TOLERANCE = 2.0, 0.02
# Share of the boxes that may do so nevertheless, as predicted boxes that are not clipped do.
FEW = 0.05
BEYOND = 'leave their images'
# Boxes that are looked at together: what is made of them stays in the processor's cache.
CHUNK = 2**14


def box_notes(boxes: np.ndarray, sizes: np.ndarray, what: str) -> list[str]:
    """A note where boxes ``(n, 4)`` look as if they were not ``x, y, width, height`` in pixels, in images of ``sizes``
    ``(n, 2)``, NaN or 0 where unknown; ``what`` says whose they are, e.g. ``'gt.json: annotations'``."""
    if not len(boxes):
        return []
    total = len(boxes)
    parts = (_counts(boxes[i : i + CHUNK], sizes[i : i + CHUNK]) for i in range(0, total, CHUNK))
    shares, beyond, fits = map(sum, zip(*parts, strict=True))
    if shares == total > 1 and boxes.any():
        return [f'{what}: all numbers of boxes lie within 0 and 1; if they are shares of the image, give pixels']
    told = f'{what}: {beyond} of {total} boxes {BEYOND}'
    if beyond and total > 3 and fits / total > 0.99:
        return [f'{told}, while all would fit as corners; if they are x1, y1, x2, y2, give x, y, width, height']
    if beyond / total > FEW:
        return [f'{told}; see whether they are x, y, width, height in pixels of these images']
    return []


def _counts(boxes: np.ndarray, sizes: np.ndarray) -> tuple[int, int, int]:
    """How many boxes have numbers within 0 and 1, where the image is larger; leave their images; fit as corners."""
    is_share = ((boxes <= 1.01) & (boxes >= -0.01)).all(axis=1) & ~(sizes.max(axis=1) <= 2)
    limits = np.where(sizes > 0, sizes, np.nan)[:, ::-1]
    allowed = np.maximum(TOLERANCE[0], TOLERANCE[1] * limits)
    beyond = ((boxes[:, :2] + boxes[:, 2:] - limits > allowed) | (-boxes[:, :2] > allowed)).any(axis=1)
    fits = ((boxes[:, 2:] >= boxes[:, :2]) & ~(boxes[:, 2:] - limits > allowed)).all(axis=1)
    return int(is_share.sum()), int(beyond.sum()), int(fits.sum())


def federated_note(images: Sequence[Mapping[str, Any]], source: str) -> list[str]:
    """A note where image records have the fields by which LVIS leaves categories out of an image's evaluation."""
    fields = 'neg_category_ids', 'not_exhaustive_category_ids'
    count = sum(any(field in image for field in fields) for image in images)
    note = (
        f"{source}: {count} of {len(images)} images have LVIS's '{fields[0]}' or '{fields[1]}', which are not applied; "
        'every category counts in every image, so that AP is not that of LVIS'
    )
    return [note] if count else []
