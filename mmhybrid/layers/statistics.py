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
    eps = 1e-30  # far below any norm's own, to which the variance is added again
    if x.is_cuda:
        mean, invstd = torch.batch_norm_stats(x, eps)
    else:
        _, mean, invstd = torch.native_batch_norm(x, ones, None, None, None, True, 0.0, eps)
    return Statistics(mean, (invstd**-2 - eps).clamp_(min=0), x.numel() // x.shape[1])


def joined(statistics: Sequence[Statistics]) -> Statistics:
    """Statistics of the concatenation of maps, from theirs."""
    means, variances, counts = zip(*statistics, strict=True)
    return Statistics(torch.cat(means), torch.cat(variances), counts[0])


def can_share(x: Tensor, *norms: nn.Module) -> bool:
    """Whether all of some norms normalise ``x`` by the statistics of this process's batch, whatever the layer."""
    return _is_ordinary(x) and x.numel() > x.shape[1] and all(_is_plain(norm) and norm.training for norm in norms)


def is_fixed(x: Tensor, norm: nn.Module) -> bool:
    """Whether a norm scales and shifts ``x`` by its running statistics, whatever the map."""
    if not _is_ordinary(x) or norm.training:  # first, since in a symbolic trace nobody may look into the norm
        return False
    return _is_plain(norm, nn.BatchNorm2d, nn.SyncBatchNorm) and norm.track_running_stats


def _is_ordinary(x: Tensor) -> bool:
    """Whether a map is one that functions of autograd may see, with values in it.

    Compilers and tracers take the plain layers: they find what to fuse and what to compute again themselves. So do
    functorch's transforms and forward-mode differentiation.
    """
    if not isinstance(x, Tensor) or _is_compiling() or not x.numel():
        return False
    transformed = getattr(torch._C, '_are_functorch_transforms_active', bool)()
    return not transformed and torch.autograd.forward_ad._current_level < 0


def _is_plain(norm: nn.Module, *types: type) -> bool:
    """Whether a norm computes what its class does, with parameters in which its statistics can be."""
    if type(norm) not in (types or (nn.BatchNorm2d,)) or not is_untouched(norm) or not norm.eps > 0:
        return False
    tracked = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    if any(t is None for t in tracked) == norm.track_running_stats:
        return False
    wide = (torch.float32, torch.float64)
    return all(t is None or t.dtype in wide for t in (norm.weight, norm.running_mean))


def _is_compiling() -> bool:
    compiling = getattr(getattr(torch, 'compiler', None), 'is_compiling', None)  # since PyTorch 2.3
    return torch.jit.is_tracing() or (compiling or torch._dynamo.is_compiling)()


_GLOBAL_HOOKS = ('_global_forward_hooks', '_global_forward_pre_hooks', '_global_backward_hooks')


def is_untouched(module: nn.Module) -> bool:
    """Whether nobody hooked a layer or gave it another ``forward``, and so wants it to be called."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
        *(getattr(nn.modules.module, name) for name in _GLOBAL_HOOKS),
    )
    return not any(hooks) and 'forward' not in vars(module)


@torch.no_grad()
def track(norm: nn.BatchNorm2d, statistics: Statistics) -> None:
    """Move the running statistics as ``norm`` itself would."""
    if not norm.track_running_stats:
        return
    norm.num_batches_tracked.add_(1)
    momentum = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
    unbiased = statistics.var * (statistics.count / (statistics.count - 1))
    # Through .data, as silent as the norm's own kernel: a call of the norm may have saved them for its backward pass.
    norm.running_mean.data.lerp_(statistics.mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.data.lerp_(unbiased.to(norm.running_var.dtype), momentum)


def norm_backward(
    grad: Tensor, x: Tensor, weight: Tensor, mean: Tensor, var: Tensor, eps: float, fixed: bool, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of x, of the weight and of the bias of a batch norm, those that are wanted.

    Args:
        grad: Gradient of the normalised map, (N, C, H, W).
        x: The map, of the same shape.
        weight: (C,).
        mean: (C,), by which x was normalised.
        var: (C,), likewise.
        eps: Added to ``var``.
        fixed: Whether mean and variance are constants, not those of x.
        wanted: Which of the three gradients.
    """
    # Both as running and as batch statistics: a CUDA kernel for channels_last reads the latter in either case.
    batch = (mean, (var + eps).rsqrt())
    return torch.ops.aten.native_batch_norm_backward(grad, x, weight, mean, var, *batch, not fixed, eps, wanted)
