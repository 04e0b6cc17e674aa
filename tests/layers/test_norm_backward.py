"""The backward pass of batch norms apart from their statistics, and what a CUDA kernel needs of its arguments."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmhybrid.layers.dense_shortcut import DenseShortcut
from mmhybrid.layers.preact import PreActConv2d
from mmhybrid.layers.statistics import norm_backward


class Calls(TorchDispatchMode):
    """Arguments of each call of an operator."""

    def __init__(self, operator):
        super().__init__()
        self.operator, self.found = operator, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket is self.operator:
            self.found.append(args)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('fixed', [True, False])
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_batch_norm(fixed, memory_format):
    torch.manual_seed(0)
    x, grad = (torch.randn(3, 4, 5, 6, dtype=torch.float64).contiguous(memory_format=memory_format) for _ in range(2))
    weight, bias = torch.rand(2, 4, dtype=torch.float64)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    mean, var = (mean + 1, var * 2) if fixed else (mean, var)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    running = (mean, var) if fixed else (None, None)
    F.batch_norm(leaves[0], *running, *leaves[1:], training=not fixed, eps=1e-3).backward(grad)
    found = norm_backward(grad, x, weight, mean, var, 1e-3, fixed, [True, True, True])
    for got, leaf in zip(found, leaves, strict=True):
        torch.testing.assert_close(got, leaf.grad)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('kind', ['convolution', 'shortcut'])
def test_cuda_kernels_find_batch_statistics_also_where_they_are_fixed(kind, training):
    # On a GPU, a channels_last map or one that needs no gradient ended training with fixed statistics by
    # 'save_mean should always be defined'; a CPU's kernel does not look.
    operator = torch.ops.aten.native_batch_norm_backward
    x = torch.randn(2, 4, 6, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    if kind == 'convolution':
        out = PreActConv2d(4, 3, kernel_size=1).train(training)(x)
    else:
        shortcut = DenseShortcut(4, 2, lambda c: nn.BatchNorm2d(c, affine=False)).train(training)
        out = shortcut([x, 2 * x])
    with Calls(operator) as calls:
        out.sum().backward()
    assert len(calls.found) == (1 if kind == 'convolution' else 2)
    for _, _, _, _, _, save_mean, save_invstd, train, *_ in calls.found:
        assert train == training
        assert save_mean is not None and save_invstd is not None
