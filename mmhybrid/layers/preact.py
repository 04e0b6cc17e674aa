"""Pre-activation convolutions, Y = W * ReLU(BN(X)), that keep little for the backward pass and share statistics.

Paper: K. He et al., "Identity Mappings in Deep Residual Networks", arXiv 1603.05027 (the order); G. Pleiss et al.,
"Memory-Efficient Implementation of DenseNets", arXiv 1707.06990 (recomputing what normalisation makes).
Deviations: none; the numbers are those of the three layers one after the other.
Our choices: only X is kept for the backward pass, and ReLU(BN(X)) is computed again there: it is as large as X, and
computing it is one pass over memory. Statistics that are known already are not measured again.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .statistics import Statistics, can_share, is_fixed, is_untouched, measure, norm_backward, track

MakeNorm = Callable[[int], nn.Module]


def norm_relu(norm: nn.Module, x: Tensor, statistics: Statistics | None = None) -> Tensor:
    """Return ReLU(norm(X)).

    Args:
        norm: Normalisation layer of C channels.
        x: X (N, C, H, W); so is the output.
        statistics: Those of X where they are known; used where :func:`can_share` holds.
    """
    if statistics is None or not can_share(x, norm):
        # In place only on what a batch norm made, of which nobody else knows.
        fresh = type(norm) in (nn.BatchNorm2d, nn.SyncBatchNorm) and is_untouched(norm)
        return F.relu(norm(x), inplace=fresh and not torch.is_grad_enabled())
    track(norm, statistics)
    return _NormRelu.apply(x, norm.weight, norm.bias, statistics.mean, statistics.var, norm.eps)


class PreActConv2d(nn.Module):
    r"""Pre-activation convolution, :math:`Y = W * \mathrm{ReLU}(BN(X))`, without a bias and with "same" padding.

    A gradient of its gradient is refused, as of any function that recomputes.

    Args:
        in_channels: Channels of the input, C_i.
        out_channels: Channels of the output, C_o.
        kernel_size: Size of the kernel, odd.
        stride, dilation, groups: As of ``nn.Conv2d``.
        make_norm: Builds the normalisation layer (BN above) for a number of channels.

    Shape:
        - input: (N, C_i, H, W), output: (N, C_o, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        make_norm: MakeNorm = nn.BatchNorm2d,
    ):
        super().__init__()
        padding = dilation * (kernel_size // 2)
        self.norm = make_norm(in_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=False)

    def activate(self, x: Tensor) -> Tensor:
        """Return ReLU(BN(X)), of the shape of ``x`` (N, C_i, H, W)."""
        return norm_relu(self.norm, x)

    def forward(self, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Convolve ``x`` (N, C_i, H, W); ``statistics`` are those of x, if known."""
        norm, conv = self.norm, self.conv
        if not torch.is_grad_enabled() or not _is_plain(conv):
            return conv(norm_relu(norm, x, statistics))
        fixed = is_fixed(x, norm)
        if not fixed and not can_share(x, norm):
            return conv(norm_relu(norm, x, statistics))
        if fixed:
            mean, var = norm.running_mean, norm.running_var
        else:
            mean, var, _ = statistics = measure(x) if statistics is None else statistics
            track(norm, statistics)
        options = (conv.stride, conv.padding, conv.dilation, conv.groups)
        return _NormReluConv.apply(x, norm.weight, norm.bias, conv.weight, mean, var, norm.eps, fixed, options)


def _is_plain(conv: nn.Module) -> bool:
    """Whether a convolution is still what :class:`PreActConv2d` made, not quantised, adapted or given a bias."""
    made = type(conv) is nn.Conv2d and is_untouched(conv) and conv.bias is None
    return made and conv.padding_mode == 'zeros' and not isinstance(conv.padding, str)


def _apply_norm_relu(x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    # Batch normalisation by given statistics is what its evaluation mode computes.
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps).relu_()


def _norm_relu_backward(
    grad: Tensor,
    out: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    fixed: bool,
    wanted: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of x, the weight and the bias; ``out`` is ReLU(BN(x)), by fixed statistics or by those of x."""
    grad = torch.ops.aten.threshold_backward(grad, out, 0)
    return norm_backward(grad, x, weight, mean, var, eps, fixed, wanted)


def _autocast_dtype(device: str) -> torch.dtype | None:
    """The type in which autocast convolves on a device, or None where it is off."""
    if hasattr(torch, 'get_autocast_dtype'):  # since PyTorch 2.4
        on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if on else None
    if device == 'cuda':
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None
    return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None


class _NormRelu(torch.autograd.Function):
    """ReLU(BN(x)) by the batch statistics, which are given, since they depend on x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
        out = _apply_norm_relu(x, weight, bias, mean, var, eps)
        ctx.save_for_backward(x, weight, mean, var, out)
        ctx.eps = eps
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, out = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:3])
        return *_norm_relu_backward(grad, out, x, weight, mean, var, ctx.eps, False, wanted), None, None, None


class _NormReluConv(torch.autograd.Function):
    """ReLU(BN(x)), convolved, by fixed statistics or by given ones of x; of the maps only x is kept."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        kernel: Tensor,
        mean: Tensor,
        var: Tensor,
        eps: float,
        fixed: bool,
        options: tuple,
    ) -> Tensor:
        activated = _apply_norm_relu(x, weight, bias, mean, var, eps)
        # Autocast is on here and off in the backward pass, which has to compute in the same type. It spares float64.
        ctx.dtype = x.dtype if x.dtype == torch.float64 else _autocast_dtype(x.device.type) or x.dtype
        out = F.conv2d(activated.to(ctx.dtype), kernel.to(ctx.dtype), None, *options)
        ctx.save_for_backward(x, weight, bias, kernel, mean, var)
        ctx.eps, ctx.fixed, ctx.options = eps, fixed, options
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, kernel, mean, var = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.options
        needs = ctx.needs_input_grad
        activated = _apply_norm_relu(x, weight, bias, mean, var, ctx.eps)
        grad, grad_kernel, _ = torch.ops.aten.convolution_backward(
            grad,
            activated.to(ctx.dtype),
            kernel.to(ctx.dtype),
            None,
            stride,
            padding,
            dilation,
            False,
            (0, 0),
            groups,
            (any(needs[:3]), needs[3], False),
        )
        grads = (None, None, None)
        if grad is not None:
            grad = grad.to(activated.dtype)
            wanted = list(needs[:3])
            grads = _norm_relu_backward(grad, activated, x, weight, mean, var, ctx.eps, ctx.fixed, wanted)
        grad_kernel = None if grad_kernel is None else grad_kernel.to(kernel.dtype)
        return *grads, grad_kernel, None, None, None, None, None
