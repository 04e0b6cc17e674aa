"""How occluded is an image? Overlap ratios on boxes, exact in float64.

Let ``B_i`` be the instance boxes of one image and ``|.|`` area. The TBC article defines an image's occlusion ratio
as total overlap area over total instance area, without saying which overlaps. The definition here, ``covered``, is

    r = sum_i |B_i n union_{j != i} B_j| / sum_i |B_i|        (0 <= r <= 1)

the share of instance area that some other instance covers too. Two identical boxes give 1, two boxes that overlap by
half 0.5, a single instance or none 0. Other definitions (``multi``, ``pairwise``) would stand beside it here.
"""

from __future__ import annotations

import numpy as np

from mmhybrid.errors import InputError

DEFINITION = 'covered'
GEOMETRY = 'bbox'


def covered_fractions(boxes: np.ndarray) -> np.ndarray:
    """Share of each box that the other boxes cover.

    Args:
        boxes: ``(n, 4)`` boxes of one image as ``x, y, width, height`` in pixels, without crowd regions.

    Returns:
        ``(n,)`` float64 fractions in ``[0, 1]``; 0 for a box without area.

    Raises:
        InputError: ``boxes`` has another shape, a value that is not finite or a negative size.
    """
    covered, areas = _covered_areas(_checked(boxes))
    return np.divide(covered, areas, out=np.zeros_like(areas), where=areas > 0)


def covered_ratio(boxes: np.ndarray) -> float:
    """Occlusion ratio ``covered`` of one image: the area-weighted mean of :func:`covered_fractions`.

    Boxes without area contribute nothing. Arguments and errors are those of :func:`covered_fractions`.

    Returns:
        r in ``[0, 1]``; 0 for an image with one instance or none.
    """
    return _ratio(_checked(boxes))


def ratios_per_image(image_ids: np.ndarray, box_image_ids: np.ndarray, boxes: np.ndarray) -> dict[int, float]:
    """Occlusion ratio ``covered`` of every image of a data set.

    Args:
        image_ids: ``(I,)`` unique image ids.
        box_image_ids: ``(n,)`` the image id of each box.
        boxes: ``(n, 4)`` boxes as ``x, y, width, height``, already validated and without crowd regions.

    Returns:
        image id -> r, in the order of ``image_ids``.
    """
    order = np.argsort(box_image_ids, kind='stable')
    boxes, box_image_ids = boxes[order], box_image_ids[order]
    starts = np.searchsorted(box_image_ids, image_ids, side='left').tolist()
    stops = np.searchsorted(box_image_ids, image_ids, side='right').tolist()
    return {
        image_id: _ratio(boxes[start:stop])
        for image_id, start, stop in zip(image_ids.tolist(), starts, stops, strict=True)
    }


def _ratio(boxes: np.ndarray) -> float:
    if len(boxes) < 2:
        return 0.0
    covered, areas = _covered_areas(boxes)
    total = areas.sum()
    return min(float(covered.sum() / total), 1.0) if total > 0 else 0.0


def _covered_areas(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Area that the other boxes cover, and area, of each of ``(n, 4)`` boxes; two ``(n,)`` arrays.

    Coordinate compression: the boxes' own edges cut the plane into at most ``(2n - 1)**2`` cells, inside which the
    number of covering boxes is constant. Memory grows with the square of the boxes that overlap another one.
    """
    x1, y1 = boxes[:, 0], boxes[:, 1]
    # Far edges first, area from them: a width that vanishes beside a large x has no cell, so it must have no area.
    x2, y2 = x1 + boxes[:, 2], y1 + boxes[:, 3]
    areas = (x2 - x1) * (y2 - y1)
    covered = np.zeros(len(boxes))

    meets = (x1[:, None] < x2) & (x1 < x2[:, None]) & (y1[:, None] < y2) & (y1 < y2[:, None])
    kept = np.flatnonzero((meets.sum(axis=1) > 1) & (areas > 0))  # a box with area always meets itself
    if len(kept) < 2:
        return covered, areas

    xs, left, right = _compress(x1[kept], x2[kept])
    ys, top, bottom = _compress(y1[kept], y2[kept])
    step = np.zeros((len(xs), len(ys)), dtype=np.int32)  # difference array of the count per cell
    np.add.at(step, (left, top), 1)
    np.add.at(step, (right, bottom), 1)
    np.add.at(step, (left, bottom), -1)
    np.add.at(step, (right, top), -1)
    shared = step.cumsum(axis=0).cumsum(axis=1) > 1

    # Sums of positive cells rather than differences of a prefix sum: those lose small boxes beside large ones.
    dx, dy = np.diff(xs), np.diff(ys)
    for i, a, b, c, d in zip(kept, left.tolist(), right.tolist(), top.tolist(), bottom.tolist(), strict=True):
        covered[i] = dx[a:b] @ shared[a:b, c:d] @ dy[c:d]
    return np.minimum(covered, areas), areas


def _compress(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sorted distinct edges, and the position of each interval's two ends among them."""
    edges, position = np.unique(np.concatenate([low, high]), return_inverse=True)
    return edges, position[: len(low)], position[len(low) :]


def _checked(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f'boxes have the shape {boxes.shape}; give (n, 4) with x, y, width, height.')
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < 0).any():
        raise InputError('boxes hold a value that is not finite or a negative size; give x, y, width, height.')
    return boxes
