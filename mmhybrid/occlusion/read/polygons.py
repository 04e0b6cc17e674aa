"""Polygons of segmentations: checked, and drawn as pycocotools draws them.

Its C code trusts its input: a far coordinate allocates memory without bound. None such reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from mmhybrid.text import show

from .checks import Records, to_float

REMEDY = 'give polygons or run-length encoding'
# Pixels along the outline of a polygon that is drawn although it leads far out of its image; pycocotools holds some
# forty bytes for each.
MAX_OUTLINE = 1e6


def rasterise(segmentations: Sequence[Any], sizes: np.ndarray) -> list[dict[str, Any]]:
    """Run-length encodings ``{'size': [height, width], 'counts': bytes}`` of n checked segmentations.

    Polygons are drawn by pycocotools, those of one instance united, in images of ``sizes`` ``(n, 2)`` height and width;
    encodings are given back.
    """
    from pycocotools import mask

    encoded = []
    for segmentation, (height, width) in zip(segmentations, sizes.tolist(), strict=True):
        if not isinstance(segmentation, dict):
            parts = mask.frPyObjects(segmentation, height, width)
            segmentation = parts[0] if len(parts) == 1 else mask.merge(parts)
        encoded.append(segmentation)
    return encoded


def check(
    records: Records, field: str, values: list[Any], sizes: np.ndarray
) -> tuple[list[Any], list[int], np.ndarray, list[str]]:
    """Check polygons, all at once; only if something is unusual, one by one.

    Returns:
        ``values`` with polygons that pycocotools draws as they are, run lengths as they were, and None without a mask;
        which are polygons; ``(m, 4)`` smallest x and y and largest x and y of their points; and notes.
    """
    notes, outside = [], 0
    drawn = [i for i, value in enumerate(values) if not isinstance(value, dict)]
    extents = _sound_extents([values[i] for i in drawn])
    reach = sizes[drawn].max(axis=1, keepdims=True)
    if extents is None or not ((extents[:, :2] >= -reach) & (extents[:, 2:] <= 2 * reach)).all():  # not so for NaN
        outcomes = {i: _drawable(values[i], sizes[i], records.rows[i].get('bbox')) for i in drawn}
        records.fail_where(
            (isinstance(outcomes.get(i), str) for i in range(len(values))),
            lambda i: f"field '{field}' {outcomes[i]}",
            REMEDY,
        )
        values = [outcomes[i][0] if i in outcomes else value for i, value in enumerate(values)]
        if stray := sum(is_stray for _, is_stray, _ in outcomes.values()):
            notes.append(
                f'{stray} of {len(values)} {records.label} have polygons with too few points or an odd '
                f"number of coordinates in '{field}'; what is too many was left out, as by pycocotools"
            )
        outside = sum(is_outside for _, _, is_outside in outcomes.values())
        drawn = [i for i in drawn if isinstance(values[i], list)]
        extents = _sound_extents([values[i] for i in drawn])
    if outside := outside + ((extents[:, :2] >= sizes[drawn, ::-1]) | (extents[:, 2:] <= 0)).any(axis=1).sum():
        notes.append(
            f"{outside} of {len(values)} {records.label} have a '{field}' of polygons outside of the image, where "
            'pycocotools draws nothing'
        )
    return values, drawn, extents, notes


def _sound_extents(values: list[Any]) -> np.ndarray | None:
    """``(n, 4)`` smallest x and y and largest x and y of each one's points; None if not all are polygons."""
    if not values:
        return np.empty((0, 4))
    if not set(map(type, values)) <= {list} or not all(values):
        return None
    polygons = list(chain.from_iterable(values))
    if not set(map(type, polygons)) <= {list}:
        return None
    lengths = np.array(list(map(len, polygons)))
    numbers = list(chain.from_iterable(polygons))
    if (lengths < 6).any() or (lengths % 2).any() or not set(map(type, numbers)) <= {int, float}:
        return None
    begin = np.append(0, np.cumsum(lengths))  # of each polygon
    first = np.cumsum([0, *map(len, values[:-1])])  # of each of the values: its first polygon
    points, starts = to_float(numbers).reshape(-1, 2), begin[first] // 2
    return np.concatenate([np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)], axis=1)


def _is_box(polygon: list[float], box: Any) -> bool:
    """Whether four numbers are those of ``bbox``, up to rounding, rather than a line's two points."""
    if len(polygon) != 4 or not isinstance(box, list) or len(box) != 4 or not set(map(type, box)) <= {int, float}:
        return False
    return bool((abs(to_float(polygon) - to_float(box)) <= 1).all())


def _drawable(value: Any, size: np.ndarray, box: Any) -> tuple[Any, bool, bool] | str:
    """What pycocotools makes of polygons: polygons, run lengths, or None without a mask; whether beside polygons there
    were points, lines or odd numbers; and whether all was far outside of the image. Or what is wrong.

    Points and lines have no pixel, and the last of an odd number of coordinates is not read; but what looks so may be a
    polygon of pairs, or the record's ``box``. What leads far out of the image is drawn here, since only here it is
    known to fit into memory.
    """
    if value is None:
        return None, False, False
    if not isinstance(value, list):
        return f'is {show(value)}, neither polygons nor run-length encoding'
    polygons = [value] if value and set(map(type, value)) <= {int, float} else value
    for polygon in polygons:
        if not isinstance(polygon, list) or not set(map(type, polygon)) <= {int, float}:
            return f'holds {show(polygon)}, not a list of numbers x, y, x, y, ...'
        if not np.isfinite(to_float(polygon)).all():
            return f'holds {show(polygon)}, in which a point is not finite'
    kept = [polygon[: len(polygon) // 2 * 2] for polygon in polygons if len(polygon) >= 6]
    if len(polygons) > 2 and set(map(len, polygons)) == {2}:
        return f'is {show(value)}, a polygon as pairs, where each is one list x, y, x, y, ...'
    if not kept and any(_is_box(polygon, box) for polygon in polygons):
        return f"is {show(value)}, the record's box, and no polygon"
    is_stray = bool(kept) and any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons)
    reach, is_far = int(size.max()), False
    for polygon in kept:
        points = to_float(polygon).reshape(-1, 2)
        if points.min() < -reach or points.max() > 2 * reach:
            is_far = True
            outline = abs(np.diff(points, axis=0, append=points[:1])).max(axis=1).sum()
            if max(outline, abs(points).max()) > MAX_OUTLINE:
                return f'holds {show(polygon)}, in which a point is far outside the image'
    if not is_far:
        return kept or None, is_stray, False
    from pycocotools import mask

    drawn = rasterise([kept], size[None])[0]
    return drawn, is_stray, mask.area(drawn) == 0
