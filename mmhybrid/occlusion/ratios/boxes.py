"""Overlap of boxes, exact in float64: the boxes' own edges are the grid, and nothing is rasterised."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from mmhybrid.errors import InputError

# Images of more boxes are measured one by one, which takes memory for one and leaves out boxes that overlap none.
CROWDED = 32
# Cells of a grid that are counted at a time.
CELLS = 2**17


def covered_fractions(boxes: np.ndarray) -> np.ndarray:
    """Share ``(n,)`` of each box that the other boxes cover, in ``[0, 1]``; 0 for a box without area.

    Args:
        boxes: ``(n, 4)`` boxes of one image as ``x, y, width, height`` in pixels, without crowd regions.

    Raises:
        InputError: ``boxes`` has another shape, a value that is not finite or a negative size.
    """
    return _Overlaps(_checked(boxes)).fractions


# The following take the same and raise the same; 0 for an image with one instance or none.


def covered_ratio(boxes: np.ndarray) -> float:
    """Ratio ``covered`` of one image, in ``[0, 1]``: the area-weighted mean of :func:`covered_fractions`."""
    return RATIOS['covered'](_Overlaps(_checked(boxes)))


def multi_ratio(boxes: np.ndarray) -> float:
    """Ratio ``multi`` of one image, in ``[0, 1]``: of the area under any box, the share under two or more."""
    return RATIOS['multi'](_Overlaps(_checked(boxes)))


def pairwise_ratio(boxes: np.ndarray) -> float:
    """Ratio ``pairwise`` of one image, in ``[0, (n - 1) / 2]``: intersections summed over pairs, over summed areas."""
    return RATIOS['pairwise'](_Overlaps(_checked(boxes)))


def max_iou(boxes: np.ndarray) -> float:
    """Largest IoU of any two boxes of one image, in ``[0, 1]``."""
    return RATIOS['max-iou'](_Overlaps(_checked(boxes)))


def measure(boxes: np.ndarray, counts: np.ndarray, definition: str) -> tuple[np.ndarray, np.ndarray]:
    """``(I,)`` ratios of images and ``(n,)`` covered fractions of ``(n, 4)`` checked boxes, those of an image side by
    side, ``counts`` ``(I,)`` of each; ``definition`` is a key of ``RATIOS``."""
    ratios, fractions = np.zeros(len(counts)), np.zeros(len(boxes))
    stops = np.cumsum(counts)
    one_by_one = counts > (CROWDED if definition == 'covered' else 1)
    for i in np.flatnonzero(one_by_one).tolist():
        part = slice(stops[i] - counts[i], stops[i])
        overlaps = _Overlaps(boxes[part])
        ratios[i] = RATIOS[definition](overlaps)
        fractions[part] = overlaps.fractions
    for count in np.unique(counts[~one_by_one & (counts > 1)]).tolist():
        alike = np.flatnonzero(counts == count)
        step = max(CELLS // (2 * count) ** 2, 1)
        for images in np.split(alike, range(step, len(alike), step)):
            rows = (stops - counts)[images, None] + np.arange(count)
            areas, covered = _areas_and_covered(boxes[rows])
            ratios[images] = np.minimum(divide(covered.sum(axis=1), areas.sum(axis=1)), 1)
            fractions[rows] = divide(covered, areas)
    return ratios, fractions


def _areas_and_covered(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(I, k)`` area of each box ``(I, k, 4)``, and the part that other boxes of its image cover."""
    low = boxes[..., :2]
    high = low + boxes[..., 2:]
    areas = (high - low).prod(axis=-1)
    # The boxes' edges cut an image into columns and rows; those between equal edges have no width.
    edges = np.sort(np.concatenate([low, high], axis=1), axis=1)
    sides = np.diff(edges, axis=1)
    starts = edges[:, None, :-1]
    inside = (low[:, :, None] <= starts) & (starts < high[:, :, None])
    columns, rows = inside[..., 0], inside[..., 1]  # (I, k, 2k - 1)
    depth = columns.transpose(0, 2, 1).astype(np.float32) @ rows.astype(np.float32)  # boxes over each cell
    shared = (depth > 1).astype(np.float64)
    # Sums of positive cells, as in `_Overlaps`.
    covered = ((columns * sides[:, None, :, 0]) @ shared * (rows * sides[:, None, :, 1])).sum(axis=-1)
    return areas, np.minimum(covered, areas)


class _Overlaps:
    """Overlap areas of ``(n, 4)`` checked boxes of one image, in memory that grows with the square of n."""

    def __init__(self, boxes: np.ndarray) -> None:
        # Far edges first, area from them: a width that vanishes beside a large x has no cell, so it must have no area.
        low = boxes[:, :2].T
        high = low + boxes[:, 2:].T
        self.areas = np.multiply(*(high - low))
        meets = np.logical_and(*((low[:, :, None] < high[:, None]) & (low[:, None] < high[:, :, None])))
        # The boxes that overlap another one; a box with area always meets itself.
        self._kept = np.flatnonzero((meets.sum(axis=1) > 1) & (self.areas > 0))
        self._low, self._high = low[:, self._kept], high[:, self._kept]  # (2, k): x, y

    @cached_property
    def covered(self) -> np.ndarray:
        """``(n,)`` area of each box that other boxes cover."""
        covered = np.zeros(len(self.areas))
        if not len(self._kept):
            return covered
        dx, dy, depth, spans = self._cells
        shared = depth > 1
        # Sums of positive cells rather than differences of a prefix sum: those lose small boxes beside large ones.
        for i, (left, right, top, bottom) in zip(self._kept, spans.T.tolist(), strict=True):
            covered[i] = dx[left:right] @ shared[left:right, top:bottom] @ dy[top:bottom]
        return np.minimum(covered, self.areas)

    @property
    def fractions(self) -> np.ndarray:
        """``(n,)`` share of each box that other boxes cover; 0 without area."""
        return divide(self.covered, self.areas)

    def shared_and_union(self) -> tuple[float, float]:
        """Area under two or more boxes, and under any."""
        dx, dy, depth, _ = self._cells
        alone = np.delete(self.areas, self._kept).sum()
        return float(dx @ (depth > 1) @ dy), float(dx @ (depth > 0) @ dy + alone)

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Areas of the intersection and of the union of every two of the boxes that overlap another one."""
        i, j = np.triu_indices(len(self._kept), 1)
        sides = np.minimum(self._high[:, i], self._high[:, j]) - np.maximum(self._low[:, i], self._low[:, j])
        intersections = np.multiply(*np.maximum(sides, 0))
        areas = self.areas[self._kept]
        return intersections, areas[i] + areas[j] - intersections

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Coordinate compression of k boxes: in a cell between the boxes' own edges the number of boxes is constant.

        Width of the columns, height of the rows, boxes over each cell, and each box's left, right, top, bottom as
        indices of columns and rows ``(4, k)``.
        """
        (xs, columns), (ys, rows) = (
            np.unique(ends, return_inverse=True) for ends in np.hstack([self._low, self._high])
        )
        left, right, top, bottom = spans = np.concatenate([columns, rows]).reshape(4, -1)
        step = np.zeros((len(xs), len(ys)), dtype=np.int32)  # difference array of the count per cell
        for x, y, change in (left, top, 1), (right, bottom, 1), (left, bottom, -1), (right, top, -1):
            np.add.at(step, (x, y), change)
        depth = step.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]
        return np.diff(xs), np.diff(ys), depth, spans


def _share(part: float, total: float, limit: float = 1.0) -> float:
    return min(float(part / total), limit) if total > 0 else 0.0


# r of one image.
RATIOS: dict[str, Callable[[_Overlaps], float]] = {
    'covered': lambda overlaps: _share(overlaps.covered.sum(), overlaps.areas.sum()),
    'multi': lambda overlaps: _share(*overlaps.shared_and_union()),
    'pairwise': lambda overlaps: _share(overlaps.pairs[0].sum(), overlaps.areas.sum(), np.inf),
    # Boxes without area were left out.
    'max-iou': lambda overlaps: float((overlaps.pairs[0] / overlaps.pairs[1]).max(initial=0.0)),
}


def divide(part: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Quotients; 0 where the total is 0."""
    return np.divide(part, total, out=np.zeros(total.shape), where=total > 0)


def _checked(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise InputError(f'boxes have the shape {boxes.shape}; give (n, 4) with x, y, width, height.')
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < 0).any():
        raise InputError('boxes hold a value that is not finite or a negative size; give x, y, width, height.')
    return boxes
