"""The outlines of the object categories and their anti-aliased rasterisation.

A silhouette is one closed outer polygon and any number of holes, in arbitrary units around the origin; only its
form matters, because `rasterise` rescales it to the size asked for. The silhouette alone decides an object's category:
colours and textures are drawn from the same distributions for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SUPERSAMPLE = 4  # polygons are drawn this many times larger and averaged down, which gives soft edges


class Silhouette(NamedTuple):
    """An outer polygon (N, 2) and its holes, each (M, 2)."""

    outer: np.ndarray
    holes: tuple[np.ndarray, ...] = ()


def _arc(radius: float, start: float, stop: float, points: int, centre: tuple[float, float] = (0, 0)):
    angle = np.linspace(start, stop, points)
    return np.stack([centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=1)


def _polar(radii: list[float], turn: float = 0.0) -> np.ndarray:
    """A polygon with its corners at equal angles and the given radii."""
    angle = turn + np.arange(len(radii)) * (2 * np.pi / len(radii))
    return np.array(radii)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _circle(radius: float) -> np.ndarray:
    return _arc(radius, 0, 2 * np.pi, 49)[:-1]


def _disk() -> Silhouette:
    return Silhouette(_circle(1.0))


def _ring() -> Silhouette:
    return Silhouette(_circle(1.0), (_circle(0.55),))


def _square() -> Silhouette:
    return Silhouette(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float))


def _triangle() -> Silhouette:
    return Silhouette(_polar([1.0] * 3))


def _star() -> Silhouette:
    return Silhouette(_polar([1.0, 0.42] * 5))


def _cross() -> Silhouette:
    a, b = 1.0, 0.34
    corners = [(b, b), (b, a), (-b, a), (-b, b), (-a, b), (-a, -b), (-b, -b), (-b, -a), (b, -a), (b, -b), (a, -b)]
    return Silhouette(np.array([*corners, (a, b)]))


def _crescent() -> Silhouette:
    # A unit disk less a disk of radius 0.8 around (0.48, 0): both arcs run between the circles' two crossings.
    radius, shift = 0.8, 0.48
    x = (1 - radius**2 + shift**2) / (2 * shift)
    y = np.sqrt(1 - x**2)
    outer, inner = np.arctan2(y, x), np.arctan2(y, x - shift)
    return Silhouette(
        np.concatenate(
            [
                _arc(1.0, outer, 2 * np.pi - outer, 40),
                _arc(radius, 2 * np.pi - inner, inner, 32, (shift, 0))[1:-1],
            ]
        )
    )


def _heart() -> Silhouette:
    t = np.linspace(0, 2 * np.pi, 61)[:-1]
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return Silhouette(np.stack([x, -y], axis=1))


def _arrow() -> Silhouette:
    corners = [(1, 0), (0.1, 0.85), (0.1, 0.32), (-1, 0.32), (-1, -0.32), (0.1, -0.32), (0.1, -0.85)]
    return Silhouette(np.array(corners))


def _gear() -> Silhouette:
    teeth, root = 8, 0.7
    return Silhouette(_polar([1.0, 1.0, root, root] * teeth), (_circle(0.27),))


#: Category name -> builder. The order gives the COCO category ids, which start at 1.
SILHOUETTES: dict[str, Callable[[], Silhouette]] = {
    'disk': _disk,
    'ring': _ring,
    'square': _square,
    'triangle': _triangle,
    'star': _star,
    'cross': _cross,
    'crescent': _crescent,
    'heart': _heart,
    'arrow': _arrow,
    'gear': _gear,
}


def rasterise(category: str, extent: float, angle: float, aspect: float) -> np.ndarray:
    """Draw a silhouette as coverage.

    Args:
        category: a key of `SILHOUETTES`.
        extent: the longer side of the drawn shape's bounding box, in pixels.
        angle: rotation in radians.
        aspect: stretch along the shape's own x axis before the rotation.

    Returns:
        uint8 array (h, w), 255 inside and 0 outside, cropped to the pixels that are at least half covered (a margin of
        one pixel keeps the soft edge).
    """
    shape = SILHOUETTES[category]()
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos * aspect, -sin], [sin * aspect, cos]])
    rings = [shape.outer @ turn.T, *(h @ turn.T for h in shape.holes)]
    low, high = rings[0].min(axis=0), rings[0].max(axis=0)
    scale = extent / (high - low).max()
    # Two pixels of margin: one for the soft edge, one for rounding.
    width, height = (np.ceil((high - low) * scale).astype(int) + 4).tolist()
    canvas = Image.new('L', (width * SUPERSAMPLE, height * SUPERSAMPLE))
    draw = ImageDraw.Draw(canvas)
    for ring, fill in zip(rings, [255] + [0] * (len(rings) - 1), strict=True):
        points = ((ring - low) * scale + 2) * SUPERSAMPLE
        draw.polygon([tuple(p) for p in points.tolist()], fill=fill)
    alpha = np.asarray(canvas.reduce(SUPERSAMPLE))
    solid = alpha >= 128
    ys, xs = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    return alpha[ys[0] - 1 : ys[-1] + 2, xs[0] - 1 : xs[-1] + 2]
