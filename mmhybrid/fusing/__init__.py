"""Batch norms folded into the convolutions before them, for inference.

The function is ``mmhybrid.fuse``; a module of that name would take its place. This module imports no torch until it is
called. ``rules.py`` says which norm follows which convolution, ``folding.py`` computes.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from mmhybrid.errors import InputError

if TYPE_CHECKING:
    from torch import nn

__all__ = ['fuse', 'fuse_in_place']


def fuse(model: nn.Module) -> nn.Module:
    """Fold the batch norms of a backbone or a detector into its convolutions, for inference.

    In evaluation a batch norm is a scale and a shift of each channel, which the weight and bias of the convolution
    before it can take over; DSNet's shortcuts take over the norms of their sources. Outputs are the same up to
    rounding: in float64 within 1e-10, and in float32 within 1e-5, of each map's largest value, unless means are many
    times larger than deviations.

    Folded are norms with running statistics, BN and SyncBN, where the class that holds them is known to apply them to
    the result of a convolution and of nothing else: the blocks of all backbones of this package and of MMDetection's
    ResNet, ResNeXt, Res2Net and ResNeSt, mmcv's ``ConvModule`` and ``nn.Sequential``. A tied convolution becomes a
    grouped one with its filter repeated, since each block of channels has another scale; a deformable one is scaled
    like any other. Every other norm stays as it is, among them GN and LN, norms before a convolution or on
    concatenations (half of HCGNet's), those of a convolution that several norms share, and those after a deformable
    convolution that has no bias (DCN v1) or is tied.

    What stands in an ``nn.Sequential`` is taken to be applied in its order, and used nowhere else.

    Args:
        model: Any module; it is not changed.

    Returns:
        A copy in evaluation mode, without batch norms where they were folded and with a state dict of its own. It
        cannot be trained: none of its parameters needs a gradient, so a backward pass raises an error.

    Raises:
        InputError: If the model is wrapped for several processes.
    """
    from mmengine.model import is_model_wrapper

    if is_model_wrapper(model):
        raise InputError(f'A model inside {type(model).__name__} cannot be fused; give its .module.')
    fused = copy.deepcopy(model)
    fuse_in_place(fused)
    return fused


def fuse_in_place(model: nn.Module) -> tuple[int, int]:
    """As :func:`fuse`, but the model itself is changed, for a caller that others have given it to.

    Returns:
        The number of batch norms folded, and the number that remain.
    """
    from .folding import Folding, batch_norms
    from .rules import apply_rules

    before = len(batch_norms(model))
    apply_rules(Folding(model), model)
    model.eval()  # returns nothing in MMDetection's ResNet
    model.requires_grad_(False)
    remaining = len(batch_norms(model))
    return before - remaining, remaining
