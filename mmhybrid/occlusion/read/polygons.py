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

REMEDY = (
    "give polygons, or run-length encoding {'size': [height, width], 'counts': ...} as pycocotools.mask.encode makes it"
)
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


def check(records: Records, field: str, sizes: np.ndarray) -> tuple[list[Any], np.ndarray, np.ndarray, list[str]]:
    """Check polygons in a field of n records, all at once; only if something is unusual, one by one.

    Points and lines have no pixel, and the last of an odd number of coordinates is not read. What leads far out of the
    image is drawn here, since only here it is known to fit into memory.

    Returns:
        The field's values: polygons that pycocotools draws as they are, run lengths, unchecked where they were given;
        ``(n, 4)`` smallest x and y and largest x and y of the polygons' points, NaN of run lengths; ``(n,)`` bool,
        where there was no mask, which is made one without pixels; and notes.
    """
    values, notes = [row.get(field) for row in records.rows], []
    told = f'of {len(values)} {records.label} have'
    drawn = [i for i, value in enumerate(values) if not isinstance(value, dict)]
    points, is_missing = _extents([values[i] for i in drawn]), np.zeros(len(values), dtype=bool)
    if points is None:
        outcomes = {i: _polygons(values[i], records.rows[i].get('bbox')) for i in drawn}
        is_wrong = [isinstance(outcomes.get(i), str) for i in range(len(values))]
        records.fail_where(is_wrong, lambda i: f"field '{field}' {outcomes[i]}", REMEDY)
        if stray := sum(is_stray for _, is_stray in outcomes.values()):
            notes.append(
                f"{stray} {told} polygons with too few points or an odd number of coordinates in '{field}'; what is "
                'too many was left out, as by pycocotools'
            )
        for i, (polygons, _) in outcomes.items():
            is_missing[i] = not polygons
            values[i] = polygons or {'size': sizes[i].tolist(), 'counts': [int(sizes[i].prod())]}
        drawn = [i for i in drawn if not is_missing[i]]
        points = _extents([values[i] for i in drawn])
    extents = np.full((len(values), 4), np.nan)
    extents[drawn] = points
    low, high, reach = extents[:, :2], extents[:, 2:], sizes.max(axis=1, keepdims=True)
    if outside := ((low >= sizes[:, ::-1]) | (high <= 0)).any(axis=1).sum():
        notes.append(f"{outside} {told} a '{field}' of polygons outside of the image, where pycocotools draws nothing")
    far = np.flatnonzero(((low < -reach) | (high > 2 * reach)).any(axis=1)).tolist()
    if too_far := [i for i in far if any(map(_is_too_far, values[i]))]:
        problem = f"field '{field}' is {show(values[too_far[0]])}, with a point far outside the image"
        records.fail(too_far[0], problem, REMEDY, len(too_far))
    for i in far:
        values[i], extents[i] = rasterise([values[i]], sizes[[i]])[0], np.nan
    return values, extents, is_missing, notes


def _extents(values: list[Any]) -> np.ndarray | None:
    """``(m, 4)`` smallest x and y and largest x and y of each one's points; None if not all are sound polygons."""
    if not values:
        return np.empty((0, 4))
    if not set(map(type, values)) <= {list} or not all(values):
        return None
    polygons = list(chain.from_iterable(values))
    if not set(map(type, polygons)) <= {list}:
        return None
    lengths = np.array(list(map(len, polygons)))
    numbers = list(chain.from_iterable(polygons))
    if (lengths < 6).any() or (lengths % 2).any() or not _are_plain(numbers):
        return None
    begin = np.append(0, np.cumsum(lengths))  # of each polygon
    first = np.cumsum([0, *map(len, values[:-1])])  # of each of the values: its first polygon
    points, starts = to_float(numbers).reshape(-1, 2), begin[first] // 2
    if not np.isfinite(points).all():
        return None
    return np.concatenate([np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)], axis=1)


def _are_plain(values: Any) -> bool:
    return isinstance(values, list) and set(map(type, values)) <= {int, float}


def _polygons(value: Any, box: Any) -> tuple[list[Any], bool] | str:
    """Polygons of three points or more in a value, and whether beside them there were points, lines or odd numbers; or
    what is wrong. What has too few points may be meant as pairs, or be the record's ``box``, up to rounding."""
    if value is None:
        return [], False
    if not isinstance(value, list):
        return f'is {show(value)}, neither polygons nor run-length encoding'
    polygons = [value] if value and _are_plain(value) else value
    for polygon in polygons:
        if not _are_plain(polygon) or not np.isfinite(to_float(polygon)).all():
            return f'holds {show(polygon)}, not a list of finite numbers x, y, x, y, ...'
        is_box = len(polygon) == 4 and _are_plain(box) and len(box) == 4
        if is_box and len(polygons) == 1 and (abs(to_float(polygon) - to_float(box)) <= 1).all():
            return f"is {show(value)}, the record's box, and no polygon"
    if len(polygons) > 2 and set(map(len, polygons)) == {2}:
        return f'is {show(value)}, a polygon as pairs, where each is one list x, y, x, y, ...'
    kept = [polygon[: len(polygon) // 2 * 2] for polygon in polygons if len(polygon) >= 6]
    return kept, bool(kept) and kept != polygons


def _is_too_far(polygon: list[float]) -> bool:
    """Whether pycocotools would need too much memory to draw it."""
    points = to_float(polygon).reshape(-1, 2)
    outline = abs(np.diff(points, axis=0, append=points[:1])).max(axis=1).sum()
    return bool(max(outline, abs(points).max()) > MAX_OUTLINE)
