"""Batch norms apart from their statistics, so that several layers can normalise the same channels by one measurement.

Our choices: the batch statistics of a channel do not depend on the layer that asks; measuring them reads the map once
more than normalising needs, and costs a CPU more than that.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Statistics(NamedTuple):
    """Mean and variance of a map's channels over its batch and pixels.

    Attributes:
        mean: (C,).
        var: Biased variance, (C,).
        count: Number of values of a channel.
    """

    mean: Tensor
    var: Tensor
    count: int


@torch.no_grad()
def measure(x: Tensor) -> Statistics:
    """Statistics of ``x`` (N, C, H, W), in float32 or wider whatever its type."""
    ones = torch.ones(x.shape[1], device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))
    # The kernels of batch normalisation, since torch.var_mean is ten times slower on a CPU.
    eps = 1e-5
    if x.is_cuda:
        mean, invstd = torch.batch_norm_stats(x, eps)
    else:
        _, mean, invstd = torch.native_batch_norm(x, ones, None, None, None, True, 0.0, eps)
    return Statistics(mean, (invstd**-2 - eps).clamp_(min=0), x.numel() // x.shape[1])


def joined(statistics: Sequence[Statistics]) -> Statistics:
    """Statistics of the concatenation of maps, from theirs."""
    means, variances, counts = zip(*statistics, strict=True)
    return Statistics(torch.cat(means), torch.cat(variances), counts[0])


def can_share(*norms: nn.Module) -> bool:
    """Whether all of some norms normalise by the statistics of this process's batch, whatever the layer.

    Compilers and tracers take the plain layers: they find what to fuse and what to compute again themselves.
    """
    return not _is_compiling() and all(
        type(norm) is nn.BatchNorm2d and norm.training and not is_hooked(norm) for norm in norms
    )


def is_fixed(norm: nn.Module) -> bool:
    """Whether a norm scales and shifts by its running statistics, whatever the map."""
    known = type(norm) in (nn.BatchNorm2d, nn.SyncBatchNorm) and not norm.training and norm.track_running_stats
    return known and not _is_compiling() and not is_hooked(norm)


def _is_compiling() -> bool:
    compiler = getattr(torch, 'compiler', None)  # since PyTorch 2.1
    return torch.jit.is_tracing() or (compiler is not None and compiler.is_compiling())


def is_hooked(module: nn.Module) -> bool:
    """Whether somebody hooked a layer, and so wants it to be called."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


@torch.no_grad()
def track(norm: nn.BatchNorm2d, statistics: Statistics) -> None:
    """Move the running statistics as ``norm`` itself would."""
    if not norm.track_running_stats:
        return
    norm.num_batches_tracked.add_(1)
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    unbiased = statistics.var * (statistics.count / max(statistics.count - 1, 1))
    norm.running_mean.lerp_(statistics.mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), momentum)
