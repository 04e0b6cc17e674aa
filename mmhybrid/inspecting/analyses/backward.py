"""Backward passes by other rules than the gradient's, without a change of the model.

A :class:`~torch.utils._python_dispatch.TorchDispatchMode` around ``torch.autograd.grad`` sees each operation of the
backward pass. So a rule holds for every ReLU and every convolution, be it a module, shared, in place, a function or a
part of another autograd function, and nothing has to be put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# Elementwise activations; the gradient is their first argument.
_ACTIVATIONS = {
    f'{name}_backward'
    for name in (
        'threshold', 'sigmoid', 'tanh', 'silu', 'gelu', 'mish', 'elu', 'leaky_relu', 'hardtanh', 'hardswish',
        'hardsigmoid', 'softplus',
    )
}  # fmt: skip
_BATCH_NORMS = {
    'native_batch_norm_backward', 'cudnn_batch_norm_backward', 'miopen_batch_norm_backward', 'batch_norm_backward',
}  # fmt: skip


class Guided(TorchDispatchMode):
    """Guided back-propagation: through a ReLU go positive gradients alone, where its input was positive.

    J. T. Springenberg et al., "Striving for Simplicity: The All Convolutional Net", arXiv 1412.6806, section 3.4. Other
    activations, such as the sigmoid of a gate, keep their gradients.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one operation of the backward pass."""
        # What the gradient of a ReLU is computed by; F.threshold with another threshold is no ReLU.
        if _name(func) == 'threshold_backward' and args[2] == 0:
            args = (args[0].clamp(min=0), *args[1:])
        return func(*args, **(kwargs or {}))


class Reachability(TorchDispatchMode):
    """Backward pass that tells which values reach an output, whatever the weights and the activations are.

    A convolution passes 1 to all that its kernel covers, a pooling by maxima to its whole window, an activation and a
    norm by fixed statistics to the same position; a softmax and a norm that measures its input reach all that they sum
    over. The rest, sums, resizings, linear layers and products of gates, keeps its gradient, of which all that counts
    is whether it is 0. Not zero therefore means reached; start with ones.

    Deformable convolutions are no operation of PyTorch: through them goes their gradient.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run one operation of the backward pass."""
        name = _name(func)
        if name in _ACTIVATIONS:
            return args[0].clone()
        if name == 'convolution_backward':
            grad, inputs, weight, _, *options, mask = args
            wanted = [mask[0], False, False]
            passed = func(_reached(grad), inputs, torch.ones_like(weight), None, *options, wanted)[0]
            # Whole numbers, so what is below one half is rounding; and small ones, so nothing overflows with depth.
            passed = None if passed is None else (passed > 0.5).to(grad.dtype)
            return passed, None, None  # of parameters nothing is asked, see fixed_weights
        if name == 'max_pool2d_with_indices_backward':
            return _pool_backward(*args[:7])
        out = func(*args, **(kwargs or {}))
        if name in _BATCH_NORMS and out[0] is not None:
            grad, training = args[0], next(arg for arg in args[5:] if isinstance(arg, bool))
            return _everywhere(grad, (0, 2, 3)[: 1 + max(grad.dim() - 2, 0)]) if training else grad.clone(), *out[1:]
        if name == 'native_layer_norm_backward':
            return _everywhere(args[0], tuple(range(-len(args[2]), 0))), *out[1:]
        if name == 'native_group_norm_backward':
            groups = args[0].reshape(args[5], args[8], -1)
            return _everywhere(groups, (-1,)).reshape(args[0].shape), *out[1:]
        if name in ('_softmax_backward_data', '_log_softmax_backward_data'):
            return _everywhere(args[0], (args[2],))
        return out


@contextmanager
def fixed_weights(model: nn.Module) -> Iterator[None]:
    """As a context: gradients are on, but of no parameter, and nothing is recomputed; all is as before when it ends."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        with without_checkpointing(model), torch.enable_grad():
            yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


@contextmanager
def without_checkpointing(model: nn.Module) -> Iterator[None]:
    """As a context: blocks keep their activations, also those that ``with_cp`` lets compute them anew.

    What is computed anew knows no ``torch.autograd.grad``, nor the rules of this module.
    """
    recomputed = [module for module in model.modules() if getattr(module, 'with_cp', False) is True]
    try:
        for module in recomputed:
            module.with_cp = False
        yield
    finally:
        for module in recomputed:
            module.with_cp = True


def _name(func: Any) -> str:
    return func._schema.name.rpartition('::')[2]


def _reached(grad: Tensor) -> Tensor:
    return (grad != 0).to(grad.dtype)


def _everywhere(grad: Tensor, dims: tuple[int, ...]) -> Tensor:
    return _reached(grad).amax(dims, keepdim=True).expand_as(grad).clone()


def _pool_backward(
    grad: Tensor, x: Tensor, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int], ceil: bool
) -> Tensor:
    """1 wherever a window reaches that a gradient is for; all windows of the map, also what ``ceil`` adds."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (_pair(each) for each in (kernel, stride or kernel, padding, dilation))
    (h, w), (out_h, out_w) = x.shape[-2:], grad.shape[-2:]
    wide = grad.new_zeros(
        *grad.shape[:-2], max(h + 2 * ph, (out_h - 1) * sh + (kh - 1) * dh + 1) + ceil,
        max(w + 2 * pw, (out_w - 1) * sw + (kw - 1) * dw + 1) + ceil,
    )  # fmt: skip
    reached = _reached(grad)
    for i in range(0, kh * dh, dh):
        for j in range(0, kw * dw, dw):
            wide[..., i : i + (out_h - 1) * sh + 1 : sh, j : j + (out_w - 1) * sw + 1 : sw] += reached
    return _reached(wide[..., ph : ph + h, pw : pw + w])


def _pair(value: list[int]) -> tuple[int, int]:
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])
