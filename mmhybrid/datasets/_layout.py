"""Where objects stand, and which covers which, so that the image's occlusion ratio is the one asked for.

The ratio is the `covered` ratio on the boxes of the visible parts: the area of each box that other boxes also
cover, summed over the boxes, over the sum of their areas. Objects are first spread so that no boxes touch, then drawn
together towards one or two centres by a factor that bisection finds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmhybrid.datasets._silhouettes import SILHOUETTES, rasterise
from mmhybrid.occlusion.ratios import covered_ratio

MIN_OBJECTS, MAX_OBJECTS = 3, 7
MIN_VISIBLE_FRACTION = 0.15
MIN_VISIBLE_PIXELS = 40
#: Sides of the objects' boxes as fractions of the image: 32 to 110 pixels at 256.
MIN_EXTENT, MAX_EXTENT = 0.125, 0.43

_FILL = 0.42  # most box area, as a fraction of the image, that can still be spread without touching
_GAP = 2  # pixels between spread boxes
_TOLERANCE = 0.012  # a layout this near to its target is taken at once
_LAYOUTS_PER_DRAW = 12  # layouts tried before other objects are drawn
_DRAWS = 12
_CATEGORIES = tuple(SILHOUETTES)


@dataclass(frozen=True)
class Stamp:
    """One object before it is placed: its category and its coverage, uint8 (h, w) with a one-pixel margin."""

    category: str
    alpha: np.ndarray
    solid: np.ndarray  # bool (h - 2, w - 2): the amodal mask in its tight box


@dataclass(frozen=True)
class Layout:
    """Placed objects from the furthest to the nearest.

    ``corners`` (n, 2) int holds the x, y of each solid mask's upper left pixel, ``boxes`` (n, 4) the visible boxes
    x, y, width, height, ``visible`` (n,) the visible pixels, ``labels`` (size, size) int8 the index of the
    nearest object at each pixel or -1, ``ratio`` the image's occlusion ratio.
    """

    stamps: tuple[Stamp, ...]
    corners: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray
    labels: np.ndarray
    ratio: float


def draw_stamps(rng: np.random.Generator, size: int) -> list[Stamp]:
    """Draw the objects of one image.

    The draw knows nothing of the target ratio, so numbers, categories and sizes follow the same distribution at every
    ratio, but for what the rejection of unreachable layouts does. Sizes within an image are alike (a common scale times
    0.77 to 1.3): among very unequal boxes no arrangement reaches a high ratio.
    """
    number = int(rng.integers(MIN_OBJECTS, MAX_OBJECTS + 1))
    largest = min(0.38, np.sqrt(_FILL / number))
    scale = np.exp(rng.uniform(np.log(1.4 * MIN_EXTENT), np.log(largest)))
    stamps = []
    for _ in range(number):
        category = _CATEGORIES[rng.integers(len(_CATEGORIES))]
        extent = size * np.clip(scale * np.exp(rng.uniform(-0.26, 0.26)), MIN_EXTENT, MAX_EXTENT)
        alpha = rasterise(category, extent, rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.2))
        stamps.append(Stamp(category, alpha, alpha[1:-1, 1:-1] >= 128))
    return stamps


def _sides(stamps: list[Stamp]) -> np.ndarray:
    return np.array([stamp.solid.shape[::-1] for stamp in stamps], dtype=float)


def _spread(rng: np.random.Generator, sides: np.ndarray, size: int) -> np.ndarray | None:
    """Upper left corners (n, 2) of boxes that keep `_GAP` pixels between them, or None when the draw gets stuck."""
    corners = np.zeros_like(sides)
    placed: list[int] = []
    for i in np.argsort(-sides.prod(axis=1), kind='stable'):
        tries = np.floor(rng.uniform(0, 1, (60, 2)) * (size - sides[i] + 1))
        free = np.ones(60, dtype=bool)
        for j in placed:
            apart = (tries >= corners[j] + sides[j] + _GAP) | (corners[j] >= tries + sides[i] + _GAP)
            free &= apart.any(axis=1)
        if not free.any():
            return None
        corners[i] = tries[np.argmax(free)]
        placed.append(int(i))
    return corners


def _goals(rng: np.random.Generator, middles: np.ndarray, size: int) -> np.ndarray:
    """The point (n, 2) that each object is drawn towards: one for all, or one for each half of four or more.

    A goal lies off the objects' mean by up to 0.3 of the image, so that heaps stand anywhere, not just mid-image.
    """
    second = np.zeros(len(middles), dtype=bool)
    if len(middles) >= 4 and rng.uniform() < 0.5:
        angle = rng.uniform(0, np.pi)
        along = middles @ (np.cos(angle), np.sin(angle))
        second = along > np.median(along)
    goals = np.empty_like(middles)
    for group in (second, ~second):
        if group.any():
            mean = middles[group].mean(axis=0)
            goals[group] = np.clip(mean + rng.uniform(-0.3, 0.3, 2) * size, 0.15 * size, 0.85 * size)
    return goals


def _paint(stamps: list[Stamp], corners: np.ndarray, size: int) -> Layout | None:
    """Stack the objects and measure what stays visible; None when one is hidden altogether."""
    labels = np.full((size, size), -1, dtype=np.int8)
    windows = []
    for index, (stamp, (x, y)) in enumerate(zip(stamps, corners.tolist(), strict=True)):
        height, width = stamp.solid.shape
        window = labels[y : y + height, x : x + width]
        np.putmask(window, stamp.solid, index)
        windows.append(window)
    boxes, visible = np.empty((len(stamps), 4), dtype=np.int64), np.empty(len(stamps), dtype=np.int64)
    for index, window in enumerate(windows):
        seen = window == index
        columns, rows = np.flatnonzero(seen.any(axis=0)), np.flatnonzero(seen.any(axis=1))
        if not len(rows):
            return None
        x, y = corners[index]
        width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
        boxes[index] = x + columns[0], y + rows[0], width, height
        visible[index] = np.count_nonzero(seen)
    return Layout(tuple(stamps), corners, boxes, visible, labels, covered_ratio(boxes))


def _is_visible(layout: Layout | None) -> bool:
    if layout is None:
        return False
    amodal = np.array([np.count_nonzero(stamp.solid) for stamp in layout.stamps])
    return bool((layout.visible >= np.maximum(MIN_VISIBLE_PIXELS, MIN_VISIBLE_FRACTION * amodal)).all())


def _contract(
    rng: np.random.Generator, stamps: list[Stamp], corners: np.ndarray, target: float, size: int
) -> Layout | None:
    """Draw spread objects together until the ratio meets ``target``; the nearest valid layout, or None."""
    sides = _sides(stamps)
    middles = corners + sides / 2
    goals = _goals(rng, middles, size)

    def place(factor: float) -> np.ndarray:
        moved = np.rint(goals + factor * (middles - goals) - sides / 2)
        return np.clip(moved, 0, size - sides).astype(np.int64)

    # The amodal boxes are cheap and bring the factor near; the visible boxes then decide.
    low, high = 0.0, 1.0
    for _ in range(6):
        factor = (low + high) / 2
        if covered_ratio(np.concatenate([place(factor), sides], axis=1)) > target:
            low = factor
        else:
            high = factor
    low, high = max(0.0, high - 0.12), min(1.0, high + 0.12)
    best = None
    for _ in range(9):
        factor = (low + high) / 2
        layout = _paint(stamps, place(factor), size)
        valid = _is_visible(layout)
        if valid and (best is None or abs(layout.ratio - target) < abs(best.ratio - target)):
            best = layout
            if abs(best.ratio - target) <= _TOLERANCE / 2:
                break
        if layout is None or layout.ratio > target:
            low = factor
        else:
            high = factor
            if not valid:
                break  # closer still would only hide more
    return best


def find_layout(rng: np.random.Generator, target: float, size: int) -> Layout:
    """Draw objects and arrange them at an occlusion ratio.

    Args:
        rng: source of every draw.
        target: occlusion ratio in [0, 0.9]; 0 gives boxes that do not touch.
        size: image side in pixels.

    Returns:
        The layout nearest to the target; the first one within 0.012 of it ends the search. In every layout each
        object keeps `MIN_VISIBLE_FRACTION` of its pixels and at least `MIN_VISIBLE_PIXELS`.
    """
    best, tried = None, 0
    while True:
        stamps = draw_stamps(rng, size)
        for _ in range(_LAYOUTS_PER_DRAW):
            tried += 1
            # Large objects tend to stand behind small ones, at every ratio, since the reverse would hide the small.
            depth = -np.log(_sides(stamps).prod(axis=1)) + rng.normal(0, 0.5, len(stamps))
            stamps = [stamps[i] for i in np.argsort(depth, kind='stable')]
            corners = _spread(rng, _sides(stamps), size)
            if corners is None:
                continue
            if target == 0:
                return _paint(stamps, corners.astype(np.int64), size)
            layout = _contract(rng, stamps, corners, target, size)
            if layout is not None and (best is None or abs(layout.ratio - target) < abs(best.ratio - target)):
                best = layout
            if best is not None and abs(best.ratio - target) <= _TOLERANCE:
                return best
        if best is not None and tried >= _DRAWS * _LAYOUTS_PER_DRAW:
            return best
