"""Class activation maps of feature maps and gradients, and where they have their mass.

Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017.
HiResCAM: Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
networks", 2020. Eigen-CAM: Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", 2020.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM, equations 1 and 2: ``relu(sum_c alpha_c A_c)``, where ``alpha_c`` is the mean gradient of channel c.

    Args:
        activations: A, (C, h, w).
        gradients: Of a score with respect to A, (C, h, w).

    Returns:
        (h, w), from 0 on. A score's factor is the map's factor.
    """
    return torch.einsum('c,chw->hw', gradients.mean((1, 2)), activations).relu()


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """HiResCAM, equation 3: ``relu(sum_c dA_c * A_c)``, position by position; arguments as of :func:`grad_cam`."""
    return (gradients * activations).sum(0).relu()


def eigen_cam(activations: Tensor) -> tuple[Tensor, float]:
    """Eigen-CAM: each position's part along the first principal component of all positions, where it is positive.

    Channels are centred first, which the article leaves open. A component has no sign: this one has that with which
    the map grows, over positions, with the length of the vector of activations (a covariance from 0 on).

    Args:
        activations: (C, h, w).

    Returns:
        The map (h, w), from 0 on, and the component's share of the variance; 0 of activations that do not vary.
    """
    positions = activations.flatten(1).T.double()
    centred = positions - positions.mean(0)
    # Of the smaller of the two Gram matrices, whose eigenvectors are the singular vectors.
    tall = centred.shape[0] >= centred.shape[1]
    values, vectors = torch.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
    along = centred @ vectors[:, -1] if tall else vectors[:, -1] * values[-1].clamp(min=0).sqrt()
    lengths = positions.norm(dim=1)
    if torch.dot(along, lengths - lengths.mean()) < 0:
        along = -along
    total = float(centred.square().sum())
    share = float(values[-1]) / total if total > 0 else 0.0
    return along.relu().view(activations.shape[1:]).to(activations.dtype), share


def contribution(activations: Tensor, gradients: Tensor) -> float:
    """``sum |dA * A|`` of a level: how much of a score, to first order and with regions held, rests on it.

    A level may be scaled, and what follows scaled back, without a change; the sum of gradients alone would change.
    """
    return float((gradients * activations).abs().sum())


def stride_of(cells: tuple[int, int], padded: tuple[int, int]) -> tuple[float, float]:
    """Pixels from one cell to the next: a power of two where that fits both sides, as of convolutions that pad.

    Sides that no stride divides have a last cell that sticks out: 13 cells of stride 64 on 800 pixels.
    """
    stride = 2 ** max(math.ceil(math.log2(max(side / n for n, side in zip(cells, padded, strict=True)))), 0)
    if all(n == math.ceil(side / stride) for n, side in zip(cells, padded, strict=True)):
        return stride, stride
    return padded[0] / cells[0], padded[1] / cells[1]


def unpadded_cells(cells: tuple[int, int], padded: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """How many rows and columns of cells see a part of the image, which lies at the top left of the padded input."""
    strides = stride_of(cells, padded)
    return tuple(min(math.ceil(side / s), n) for side, s, n in zip(shape, strides, cells, strict=True))


def place(values: Tensor, padded: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """A map (h, w) of a padded input at the pixels of the image, bilinear.

    A cell's centre is at ``stride * (i + 1/2)`` pixels, as RoIAlign has it.

    Args:
        values: (h, w).
        padded: Height and width of the input.
        shape: (H, W) of the image within it, at the top left.

    Returns:
        (H, W).
    """
    strides = stride_of(tuple(values.shape), padded)
    size = [round(n * s) for n, s in zip(values.shape, strides, strict=True)]
    placed = F.interpolate(values[None, None], size=size, mode='bilinear', align_corners=False)
    return placed[0, 0, : shape[0], : shape[1]]


def share_in_box(values: Tensor, box: Tensor) -> float:
    """Share of a map's mass within a box: the energy-based pointing game of Score-CAM (Wang et al., CVPRW 2020).

    Args:
        values: (H, W), from 0 on.
        box: x0 y0 x1 y1 in pixels; a pixel is within where its centre is.

    Returns:
        From 0 to 1; NaN of a map of zeros.
    """
    total = values.double().sum()
    return float(values[_within(values, box)].double().sum() / total) if total > 0 else math.nan


def area_share(shape: tuple[int, int], box: Tensor) -> float:
    """Share of an image (H, W) that a box covers, which is what :func:`share_in_box` gives of an even map."""
    return share_in_box(torch.ones(shape, device=box.device), box)


def _within(values: Tensor, box: Tensor) -> tuple[slice, slice]:
    limits = [max(math.ceil(float(side) - 0.5), 0) for side in box]
    return slice(limits[1], limits[3]), slice(limits[0], limits[2])
