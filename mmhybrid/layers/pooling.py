"""Pooling of a map by weights of its pixels, as global context blocks and HCGNet's gates do it."""

import torch
from torch import Tensor


def weighted_sum(x: Tensor, weights: Tensor) -> Tensor:
    r"""Sum of a map over its pixels p, weighted: :math:`z_c = \sum_p w_p\, x_{c,p}`.

    A matrix product: the weighted map, as large as x, is never stored.

    Args:
        x: (N, C, H, W).
        weights: (N, 1, HW).

    Returns:
        (N, C, 1).
    """
    pixels = x.flatten(2)
    if x.is_contiguous():
        return torch.bmm(pixels, weights.transpose(1, 2))
    # The rows of a channels_last map are its pixels. Taken so, the product is ten times and more as quick on a CPU, and
    # the gradient of x comes in the format of x.
    return torch.bmm(weights, pixels.transpose(1, 2)).transpose(1, 2)
