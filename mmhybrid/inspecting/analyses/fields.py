"""Receptive fields of the feature in the middle of a map: which pixels reach it, and how much each counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .activation_maps import unpadded_cells
from .backward import Reachability

SHARES = (0.5, 0.95)  # of the gradient, whose squares are measured


@dataclass(frozen=True)
class Field:
    """Receptive field of one level.

    Attributes:
        level: Such as ``'neck.0'``.
        stride: Pixels from one feature to the next.
        magnitude: (H, W) float64, root of the mean square of the gradient with respect to each pixel of the picture,
            without what pads it.
        reached: (H, W) bool, pixels that can change the feature at all.
    """

    level: str
    stride: int
    magnitude: np.ndarray
    reached: np.ndarray

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Least x0, y0, x1, y1 around the pixels that are reached, the last two exclusive; zeros without any."""
        if not self.reached.any():
            return 0, 0, 0, 0
        (y0, y1), (x0, x1) = (np.flatnonzero(self.reached.any(axis))[[0, -1]] for axis in (1, 0))
        return int(x0), int(y0), int(x1) + 1, int(y1) + 1

    @property
    def clipped(self) -> bool:
        """Whether the theoretical field touches the border of the image, and so may go on."""
        x0, y0, x1, y1 = self.box
        height, width = self.reached.shape
        return x1 > x0 and (x0 == 0 or y0 == 0 or x1 == width or y1 == height)

    @property
    def theoretical(self) -> float:
        """Side of a square with the area of :attr:`box`, in pixels."""
        x0, y0, x1, y1 = self.box
        return float(np.sqrt((x1 - x0) * (y1 - y0)))

    @property
    def centre(self) -> tuple[float, float]:
        """Mean x and y of the gradient's magnitude, in pixels; NaN without a gradient."""
        return _moments(self.magnitude)[:2]

    @property
    def sigmas(self) -> tuple[float, float]:
        """Standard deviations of the gradient's magnitude along x and y, in pixels; NaN without a gradient."""
        return _moments(self.magnitude)[2:]

    def square(self, share: float) -> tuple[float, float, float, float]:
        """Least square around :attr:`centre` that holds a share of the magnitude: x0, y0, x1, y1, NaN without any.

        Only what of it lies within :attr:`box`, since outside nothing is held, and in a flat picture there is nothing.
        """
        half = square_side(self.magnitude, share) / 2
        x, y = self.centre
        x0, y0, x1, y1 = self.box
        if not np.isfinite(half):
            return (float('nan'),) * 4
        x, y = x + 0.5, y + 0.5  # a pixel's middle is half a pixel from its upper left
        (left, right), (upper, lower) = np.clip((x - half, x + half), x0, x1), np.clip((y - half, y + half), y0, y1)
        return float(left), float(upper), float(right), float(lower)

    def side(self, share: float) -> float:
        """Side in pixels of a square with the area of :meth:`square`; NaN without a gradient."""
        x0, y0, x1, y1 = self.square(share)
        return float(np.sqrt((x1 - x0) * (y1 - y0)))


def middle_of(cells: Sequence[int], padded: Sequence[int], shape: Sequence[int] | None = None) -> tuple[int, int]:
    """Row and column of the feature in the middle of those that see the picture.

    Args:
        cells: Height and width of the level.
        padded: Those of the input, in pixels.
        shape: Those of the picture, at the input's top left; the whole input if None.
    """
    row, column = (each // 2 for each in unpadded_cells(tuple(cells), tuple(padded), tuple(shape or padded)))
    return row, column


def reached_pixels(level: Tensor, inputs: Tensor, at: tuple[int, int] | None = None) -> Tensor:
    """Which pixels reach the feature in the middle of a map, through any channel: the theoretical receptive field.

    It is no formula of kernels and strides but a backward pass that :class:`Reachability` rules, so that gates,
    attention and whatever else a network does counts too.

    Args:
        level: Map (1, C, H', W') that was computed of ``inputs``; its graph is kept.
        inputs: (1, 3, H, W), whose gradient can be computed.
        at: Row and column of another feature.

    Returns:
        (H, W) bool.
    """
    start = _at(level, 1.0, at)
    with Reachability():
        (grad,) = torch.autograd.grad(level, inputs, start, retain_graph=True, allow_unused=True)
    return torch.zeros_like(inputs[0, 0]).bool() if grad is None else (grad[0] != 0).any(0)


def squared_gradient(level: Tensor, inputs: Tensor, signs: Tensor, at: tuple[int, int] | None = None) -> Tensor:
    """Square of the gradient of s_1 F_1 + ... + s_C F_C with respect to each pixel, summed over colours and images.

    F are the channels of the feature in the middle of the map. With signs drawn at random the expected square is the
    sum over all channels of the squares of their gradients; in the plain sum of channels some cancel out.

    Args:
        level: Map (N, C, H', W') that was computed of ``inputs``; its graph is kept.
        inputs: (N, 3, H, W), whose gradient can be computed.
        signs: (N, C) of -1 and 1.
        at: Row and column of another feature.

    Returns:
        (H, W) float64.
    """
    start = _at(level, signs.to(level), at)
    (grad,) = torch.autograd.grad(level, inputs, start, retain_graph=True, allow_unused=True)
    if grad is None:
        return torch.zeros(inputs.shape[-2:], dtype=torch.float64, device=inputs.device)
    return grad.double().square().sum((0, 1))


def random_signs(channels: int, seed: int, image: int, place: int) -> Tensor:
    """(C,) of -1 and 1, drawn by the seed, the number of the image and the level's place."""
    drawn = np.random.default_rng([seed, image, place]).integers(0, 2, channels)
    return torch.from_numpy(2.0 * drawn - 1.0)


def square_side(magnitude: np.ndarray, share: float) -> float:
    """Side of the least square around the centre of mass of ``magnitude`` (H, W) that holds a share of its sum.

    A square holds the pixels whose middles it holds; one around the middle of a single pixel has side 1.
    """
    if not magnitude.sum() > 0:
        return float('nan')
    x, y, *_ = _moments(magnitude)
    rows, columns = np.indices(magnitude.shape)
    distance = np.maximum(np.abs(rows - y), np.abs(columns - x)).ravel()
    order = np.argsort(distance, kind='stable')
    held = np.cumsum(magnitude.ravel()[order])
    at = int(np.searchsorted(held, share * held[-1] * (1 - 1e-12)))
    return float(2 * distance[order[min(at, len(order) - 1)]] + 1)


def middle_crop(image: Tensor, size: Sequence[int]) -> Tensor:
    """The middle (3, h, w) of an image (3, H, W), which is at least so large."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[-2:], size, strict=True))
    return image[..., top : top + size[0], left : left + size[1]]


def common_size(sizes: Sequence[Sequence[int]], most: int) -> tuple[int, int]:
    """Height and width that fit into all ``sizes`` and ``most``; multiples of 32 where they are above it."""
    least = [min(most, *each) for each in zip(*sizes, strict=True)]
    height, width = (each // 32 * 32 if each >= 32 else each for each in least)
    return height, width


def limiting(shapes: Sequence[Sequence[Sequence[int]]], most: int) -> int | None:
    """Index of the image with the least crop, if all images' common crop has at most half the area of another's own.

    Args:
        shapes: For each image heights and widths, one of each model.
        most: As of :func:`common_size`.
    """
    own = [math.prod(common_size(each, most)) for each in shapes]
    common = math.prod(common_size([shape for each in shapes for shape in each], most))
    return own.index(min(own)) if 2 * common <= max(own) else None


def _at(level: Tensor, value: Tensor | float, at: tuple[int, int] | None) -> Tensor:
    row, column = at or (level.shape[2] // 2, level.shape[3] // 2)
    start = torch.zeros_like(level)
    start[:, :, row, column] = value
    return start


def _moments(magnitude: np.ndarray) -> tuple[float, float, float, float]:
    total = magnitude.sum()
    if not total > 0:
        return (float('nan'),) * 4
    rows, columns = np.indices(magnitude.shape)
    x, y = ((magnitude * at).sum() / total for at in (columns, rows))
    spread = [np.sqrt((magnitude * (at - mean) ** 2).sum() / total) for at, mean in ((columns, x), (rows, y))]
    return float(x), float(y), float(spread[0]), float(spread[1])
