"""Surface patterns and colours, shared by objects and backgrounds.

A texture is a scalar field in [0, 1] over a patch, later mapped through a ramp between two colours. Every texture
is open to every category, so that nothing but the silhouette tells the categories apart.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

Field = np.ndarray


def _grid(height: int, width: int, rng: np.random.Generator, period: float) -> tuple[Field, Field]:
    """Coordinates in periods, turned by a random angle, each (height, width) float32."""
    angle, px, py = rng.uniform(0, 2 * np.pi), rng.uniform(), rng.uniform()
    y = (np.arange(height, dtype=np.float32) / np.float32(period))[:, None]
    x = (np.arange(width, dtype=np.float32) / np.float32(period))[None, :]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x + sin * y + np.float32(px), cos * y - sin * x + np.float32(py)


def _wave(phase: Field) -> Field:
    return np.sin(np.float32(2 * np.pi) * phase)


def _soft_step(field: Field, sharpness: float) -> Field:
    """0 or 1 by the sign of ``field``, with an edge wide enough not to alias."""
    return np.clip(np.float32(0.5) + np.float32(sharpness) * field, 0, 1)


def _plain(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    return np.full((height, width), 0.3, dtype=np.float32)


def _gradient(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    u, _ = _grid(height, width, rng, period)
    low, high = u.min(), u.max()
    return (u - low) / (high - low)


def _radial(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32(height * rng.uniform(0.3, 0.7))
    x = np.arange(width, dtype=np.float32)[None, :] - np.float32(width * rng.uniform(0.3, 0.7))
    return 0.5 + 0.5 * _wave(np.sqrt(x * x + y * y) / np.float32(2 * period))


def _stripes(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    u, _ = _grid(height, width, rng, period)
    return _soft_step(_wave(u), 1.5)


def _checks(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    u, v = _grid(height, width, rng, 1.4 * period)
    return _soft_step(_wave(u) * _wave(v), 3.0)


def _dots(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    u, v = _grid(height, width, rng, period)
    return _soft_step(_wave(u) + _wave(v) - 0.7, 1.5)


def _waves(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    u, v = _grid(height, width, rng, 1.3 * period)
    return 0.5 + 0.5 * _wave(u + 0.35 * _wave(0.6 * v))


def _noise(height: int, width: int, rng: np.random.Generator, period: float, cell: float = 1.0) -> Field:
    rows, cols = int(height / (cell * period)) + 3, int(width / (cell * period)) + 3
    coarse = Image.fromarray(rng.integers(0, 256, (rows, cols), dtype=np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32) / 255


def _grain(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    return _noise(height, width, rng, period, cell=0.25)


#: Texture name -> function of (height, width, rng, period in pixels) that gives the field, (height, width) float32.
TEXTURES: dict[str, Callable[..., Field]] = {
    'plain': _plain,
    'gradient': _gradient,
    'radial': _radial,
    'stripes': _stripes,
    'checks': _checks,
    'dots': _dots,
    'waves': _waves,
    'noise': _noise,
    'grain': _grain,
}
_TEXTURE_NAMES = tuple(TEXTURES)


def draw_texture(height: int, width: int, rng: np.random.Generator, period: float) -> Field:
    """A random texture's field in [0, 1], (height, width) float32; ``period`` is its typical length in pixels."""
    return TEXTURES[_TEXTURE_NAMES[rng.integers(len(_TEXTURE_NAMES))]](height, width, rng, period)


def colourise(field: Field, first: np.ndarray, second: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """Map a field through the ramp from ``first`` (at 0) to ``second`` (at 1): (h, w, 3) in 0..255."""
    ramp = np.linspace(first, second, 256).astype(dtype)
    return ramp.take((field * 255).astype(np.uint8), axis=0)


def _hsv_to_rgb(hsv: np.ndarray) -> np.ndarray:
    """(N, 3) in [0, 1] -> (N, 3) in 0..255."""
    hue, saturation, value = hsv.T
    offset = (hue[:, None] * 6 + np.array([5, 3, 1])) % 6
    dip = np.clip(np.minimum(offset, 4 - offset), 0, 1)
    return 255 * value[:, None] * (1 - saturation[:, None] * dip)


def colour_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Perceptually weighted RGB distance, 0..255, over the last axis."""
    return np.sqrt(((a - b) ** 2 * np.array([2, 4, 3]) / 9).sum(axis=-1))


def background_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two muted colours near each other, so that no background pattern competes with the objects' edges."""
    base = _hsv_to_rgb(rng.uniform((0, 0, 0.15), (1, 0.5, 0.95))[None])[0]
    return base, np.clip(base + rng.uniform(-38, 38, 3), 0, 255)


def object_colours(
    rng: np.random.Generator, background: list[np.ndarray], others: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Two colours for one object, clear of the background and of the other objects.

    The first of 24 draws whose both colours keep the wanted distance is taken, otherwise the one that comes
    nearest to it: an object never melts into what lies behind it.
    """
    first = _hsv_to_rgb(rng.uniform((0, 0.1, 0.2), (1, 1, 1), (24, 3)))
    # The pattern's second colour is clearly lighter or darker, with a slight shift of hue.
    shift = rng.choice([-1, 1], (24, 1)) * rng.uniform(35, 85, (24, 1)) + rng.uniform(-25, 25, (24, 3))
    second = np.clip(first + shift, 0, 255)
    wanted = np.array([70.0] * len(background) + [50.0] * len(others))
    distance = colour_distance(np.stack([first, second])[:, :, None], np.array([*background, *others]))
    margin = (distance / wanted).min(axis=(0, 2))
    chosen = int(np.argmax(margin >= 1)) if (margin >= 1).any() else int(np.argmax(margin))
    return first[chosen], second[chosen]
