"""Rendering of one scene: textured background, objects stacked in depth, exact visible and amodal masks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from mmhybrid.datasets._layout import Layout, Stamp, find_layout
from mmhybrid.datasets._textures import background_colours, colourise, draw_texture, object_colours
from mmhybrid.errors import InputError

MIN_SIZE, MAX_SIZE = 96, 2048
MAX_RATIO = 0.95


@dataclass(frozen=True)
class Instance:
    """One object of a scene.

    Attributes:
        category: a key of `SILHOUETTES`.
        depth_order: position in the stack, 0 for the furthest; an object covers every object of lower order.
        amodal_mask: bool (size, size), the whole silhouette as if nothing stood before it. Objects lie wholly inside
            the image, so the border cuts nothing off.
        visible_mask: bool (size, size), the amodal mask less everything nearer.
        amodal_box: x, y, width, height in pixels, tight around the amodal mask.
        visible_box: the same around the visible mask.
    """

    category: str
    depth_order: int
    amodal_mask: np.ndarray
    visible_mask: np.ndarray
    amodal_box: tuple[int, int, int, int]
    visible_box: tuple[int, int, int, int]

    @property
    def visible_fraction(self) -> float:
        """Visible pixels over amodal pixels, in (0, 1]."""
        return float(np.count_nonzero(self.visible_mask) / np.count_nonzero(self.amodal_mask))


@dataclass(frozen=True)
class Scene:
    """An image, uint8 (size, size, 3) RGB, its instances from furthest to nearest, and its occlusion ratio."""

    image: np.ndarray
    instances: tuple[Instance, ...]
    target: float
    ratio: float


def render_scene(rng: np.random.Generator, target: float, size: int = 256) -> Scene:
    """Draw a scene at an occlusion ratio. A pure function of the generator's state and the arguments.

    Args:
        rng: source of every draw.
        target: wanted `covered` ratio of the visible boxes, 0 to 0.95. Exactly 0 gives boxes that do not touch.
        size: image side in pixels, 96 to 2048. Objects scale with it.

    Returns:
        The scene. It holds 3 to 7 objects, each with at least 15% of its pixels and at least 40 pixels visible; every
        object drawn is listed.

    Raises:
        InputError: ``target`` or ``size`` is out of range.
    """
    if not 0 <= target <= MAX_RATIO:
        raise InputError(f'the occlusion ratio must lie in 0 to {MAX_RATIO}, not {target}.')
    check_size(size)
    layout = find_layout(rng, target, size)
    return Scene(_render(rng, layout, size), _instances(layout, size), float(target), layout.ratio)


def check_size(size: int) -> None:
    """Raise `InputError` unless ``size`` is an image side that scenes can be drawn at."""
    if not (isinstance(size, int | np.integer) and MIN_SIZE <= size <= MAX_SIZE):
        raise InputError(f'the image size must be a whole number from {MIN_SIZE} to {MAX_SIZE}, not {size}.')


def _instances(layout: Layout, size: int) -> tuple[Instance, ...]:
    instances = []
    for index, (stamp, (x, y), box) in enumerate(
        zip(layout.stamps, layout.corners.tolist(), layout.boxes.tolist(), strict=True)
    ):
        height, width = stamp.solid.shape
        amodal = np.zeros((size, size), dtype=bool)
        amodal[y : y + height, x : x + width] = stamp.solid
        whole = (x, y, width, height)
        instances.append(Instance(stamp.category, index, amodal, layout.labels == index, whole, tuple(box)))
    return tuple(instances)


def _render(rng: np.random.Generator, layout: Layout, size: int) -> np.ndarray:
    unit = size / 256  # lengths below are meant at 256 pixels
    background = background_colours(rng)
    # A border all round takes the soft edges and shadows that reach beyond the image.
    border = int(np.ceil(8 * unit)) + 1
    field = draw_texture(size + 2 * border, size + 2 * border, rng, period=unit * rng.uniform(10, 36))
    canvas = colourise(field, *background, dtype=np.uint8)
    light = rng.uniform(0, 2 * np.pi)
    painted: list[np.ndarray] = []
    for stamp, corner in zip(layout.stamps, layout.corners + border, strict=True):
        colours = object_colours(rng, list(background), painted)
        painted.extend(colours)
        _paint_object(rng, canvas, stamp, corner, colours, light, unit)
    return np.ascontiguousarray(canvas[border:-border, border:-border])


def _paint_object(
    rng: np.random.Generator,
    canvas: np.ndarray,
    stamp: Stamp,
    corner: np.ndarray,
    colours: tuple[np.ndarray, np.ndarray],
    light: float,
    unit: float,
) -> None:
    """Add a shadow, the textured and shaded surface and an outline to ``canvas``, in place."""
    alpha = stamp.alpha
    height, width = alpha.shape
    x, y = (corner - 1).tolist()  # coverage has a one-pixel margin around the solid mask
    _cast_shadow(canvas, alpha, x, y, light, unit)

    surface = colourise(draw_texture(height, width, rng, period=unit * rng.uniform(6, 16)), *colours)
    ramp_y = np.linspace(-0.14, 0.14, height, dtype=np.float32)[:, None] * np.float32(np.sin(light))
    ramp_x = np.linspace(-0.14, 0.14, width, dtype=np.float32)[None, :] * np.float32(np.cos(light))
    surface *= (1 - ramp_y - ramp_x)[..., None]
    # The outline is darker or lighter than the surface, whichever differs more from it.
    mean = (colours[0] + colours[1]) / 2
    outline = (0.25 * mean if mean.mean() > 110 else 255 - 0.35 * (255 - mean)).astype(np.float32)
    rim = alpha - _erode(alpha, max(1, round(1.5 * unit)))
    strength = np.float32(rng.uniform(0.55, 0.95) / 255)
    surface += (rim * strength)[..., None] * (outline - surface)

    window = canvas[y : y + height, x : x + width]
    surface -= window
    surface *= (alpha * np.float32(1 / 255))[..., None]
    surface += window
    window[...] = np.clip(surface + np.float32(0.5), 0, 255)


def _erode(alpha: np.ndarray, radius: int) -> np.ndarray:
    """Shrink coverage by ``radius`` pixels: the minimum over growing crosses and squares in turn, near a disk."""
    for step in range(radius):
        wide = np.pad(alpha, 1)
        inner = np.minimum(np.minimum(wide[:-2, 1:-1], wide[2:, 1:-1]), np.minimum(wide[1:-1, :-2], wide[1:-1, 2:]))
        if step % 2:
            corners = np.minimum(np.minimum(wide[:-2, :-2], wide[2:, 2:]), np.minimum(wide[:-2, 2:], wide[2:, :-2]))
            inner = np.minimum(inner, corners)
        alpha = np.minimum(alpha, inner)
    return alpha


def _cast_shadow(canvas: np.ndarray, alpha: np.ndarray, x: int, y: int, light: float, unit: float) -> None:
    """Darken what lies behind an object, on the side away from the light, as a cue to depth."""
    reach = max(1, round(3 * unit))
    soft = Image.fromarray(np.pad(alpha, reach)).filter(ImageFilter.BoxBlur(reach / 2))
    shade = 1 - np.asarray(soft, dtype=np.float32) * np.float32(0.35 / 255)
    left = x - reach + round(2.5 * unit * np.cos(light))
    top = y - reach + round(2.5 * unit * np.sin(light))
    window = canvas[top : top + shade.shape[0], left : left + shade.shape[1]]
    window[...] = window * shade[..., None]
