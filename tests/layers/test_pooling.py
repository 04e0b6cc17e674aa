"""The weighted sum over pixels against sums by hand, in each memory format."""

import pytest
import torch

from mmhybrid.layers.pooling import weighted_sum


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('size', [(2, 5, 3, 4), (1, 5, 3, 4), (3, 1, 2, 2), (2, 5, 1, 1)])
def test_is_its_sum_and_keeps_the_format(size, memory_format):
    x = torch.randn(size, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    weights = torch.rand(size[0], 1, size[2] * size[3], dtype=torch.float64, requires_grad=True)
    z, expected = weighted_sum(x, weights), torch.einsum('ncp,nop->nco', x.flatten(2), weights)
    assert torch.allclose(z, expected, atol=1e-12)
    seed = torch.randn_like(z)
    grads = torch.autograd.grad(z, (x, weights), seed)
    assert all(map(torch.allclose, grads, torch.autograd.grad(expected, (x, weights), seed)))
    assert grads[0].is_contiguous(memory_format=memory_format)
