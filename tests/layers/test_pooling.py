"""The weighted sum over pixels against sums by hand, in each memory format; norms of what is pooled."""

import copy
import math

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mmhybrid.layers.pooling import normalise_pooled, weighted_sum


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


def test_batch_norm_of_a_pooled_map_is_the_one_dimensional_one():
    norm, flat = nn.BatchNorm2d(5), nn.BatchNorm1d(5)
    z = torch.randn(4, 5)
    assert torch.allclose(normalise_pooled(norm, z[..., None, None]).flatten(1), flat(z), atol=1e-6)
    assert torch.equal(norm.running_var, flat.running_var)


@pytest.mark.parametrize('make', [nn.BatchNorm2d, lambda c: nn.GroupNorm(1, c), nn.Identity, nn.SyncBatchNorm])
@pytest.mark.parametrize(('n', 'training'), [(2, True), (0, True), (2, False), (1, False)])
def test_nothing_else_is_changed_to_the_bit(make, n, training):
    norm = make(5).train(training and make is not nn.SyncBatchNorm)  # which trains on GPUs only
    other, z = copy.deepcopy(norm), torch.randn(n, 5, 1, 1)
    assert torch.equal(normalise_pooled(norm, z), other(z))
    assert all(map(torch.equal, norm.buffers(), other.buffers()))


def test_without_running_statistics_there_is_nothing_to_normalise_one_value_by():
    with pytest.raises(ValueError, match='more than 1 value per channel'):
        normalise_pooled(nn.BatchNorm2d(5, track_running_stats=False), torch.randn(1, 5, 1, 1))


def test_synchronised_batch_norm_is_bypassed_in_a_single_process_only(monkeypatch):
    class Synchronised(nn.SyncBatchNorm):
        def forward(self, x):
            return 'normalised over all processes'

    z = torch.randn(1, 5, 1, 1)
    norm = Synchronised(5)
    assert torch.allclose(normalise_pooled(norm, z), z / math.sqrt(1 + norm.eps))
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda group: 2)
    assert normalise_pooled(norm, z) == 'normalised over all processes'
    assert torch.allclose(normalise_pooled(nn.BatchNorm2d(5), z), z / math.sqrt(1 + norm.eps))
