"""The SMG module's cells and gates against their equations, written out with explicit sums."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmhybrid.layers.smg import (
    SMG,
    ExcitationCell,
    ForgetGate,
    GlobalAttentionPool,
    PreActConv2d,
    SqueezeCell,
    UpdateGate,
)


def double(module, seed=0):
    """The module in double precision, with random values also where the initial ones are zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double()
    for p in [*module.parameters(), *module.buffers()]:
        if p.is_floating_point():
            p.data = torch.rand(p.shape, generator=generator, dtype=p.dtype) + 0.5
            if p.dim() > 1:
                p.data -= 1
    return module


def maps(*size, seed=1):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch_norm(norm, x):
    """BN of its training mode, the statistics by hand; of its evaluation mode, those that it holds."""
    dims = [0, *range(2, x.dim())]
    mean, var = norm.running_mean, norm.running_var
    if norm.training:
        mean, var = x.mean(dims), x.var(dims, unbiased=False)
    shape = (1, -1) + (1,) * (x.dim() - 2)
    mean, var, weight, bias = (t.reshape(shape) for t in (mean, var, norm.weight, norm.bias))
    return (x - mean) / (var + norm.eps).sqrt() * weight + bias


def pool(attention, x):
    """z_c, pixel by pixel."""
    n, c, height, width = x.shape
    w, b = attention.score.weight.detach().flatten(), attention.score.bias.detach()
    z = torch.zeros(n, c, dtype=x.dtype)
    for i in range(n):
        pixels = [(y, u) for y in range(height) for u in range(width)]
        weights = [math.exp((w @ x[i, :, y, u] + b).item()) for y, u in pixels]
        for (y, u), weight in zip(pixels, weights, strict=True):
            z[i] += x[i, :, y, u] * weight / sum(weights)
    return z


def linear(conv, z):
    return z @ conv.weight.flatten(1).T + conv.bias


def update(gate, x3x3, x5x5):
    """v (N, C)."""
    z3x3, z5x5 = pool(gate.pool3x3, x3x3), pool(gate.pool5x5, x5x5)
    h = torch.tanh(batch_norm(gate.norm, linear(gate.fc, torch.cat((z3x3, z5x5), 1))))
    e3x3, e5x5 = linear(gate.fc3x3, h).exp(), linear(gate.fc5x5, h).exp()
    return e3x3 / (e3x3 + e5x5) * z3x3 + e5x5 / (e3x3 + e5x5) * z5x5


def forget(gate, x):
    """f (N, C)."""
    h = torch.tanh(batch_norm(gate.norm, linear(gate.fc1, pool(gate.pool, x))))
    return 1 / (1 + (-linear(gate.fc2, h)).exp())


def squeeze(cell, x):
    """X', the group convolution as one convolution per group."""
    a = F.relu(batch_norm(cell.conv1x1.norm, x))
    y = torch.einsum('oi,nihw->nohw', cell.conv1x1.conv.weight.flatten(1), a)
    y = F.relu(batch_norm(cell.conv3x3.norm, y))
    conv = cell.conv3x3.conv
    parts = zip(y.chunk(conv.groups, 1), conv.weight.chunk(conv.groups, 0), strict=True)
    return torch.cat([F.conv2d(part, weight, stride=conv.stride, padding=1) for part, weight in parts], 1)


def excite(cell, x):
    """X^{3x3} and X^{5x5}, channel by channel; the 5x5 kernel has zeros between its nine values."""
    outs = []
    for branch, kernel, step in ((cell.conv3x3, 3, 1), (cell.conv5x5, 5, 2)):
        a = F.relu(batch_norm(branch.norm, x))
        weight = torch.zeros(x.shape[1], 1, kernel, kernel, dtype=x.dtype)
        weight[:, :, ::step, ::step] = branch.conv.weight
        channels = [F.conv2d(a[:, c : c + 1], weight[c : c + 1], padding=kernel // 2) for c in range(x.shape[1])]
        outs.append(torch.cat(channels, 1))
    return outs


SIZES = [(3, 7, 5), (2, 4, 9), (2, 1, 1)]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(('n', 'h', 'w'), SIZES)
def test_the_pool_and_the_gates_are_their_equations(n, h, w, training):
    x, y = maps(n, 8, h, w), maps(n, 8, h, w, seed=2)
    attention, u, f = double(GlobalAttentionPool(8)), double(UpdateGate(8, 4)), double(ForgetGate(8, 2))
    for module in (u, f):
        module.train(training)
    assert torch.allclose(attention(x), pool(attention, x)[..., None, None], atol=1e-10)
    assert torch.allclose(u(x, y), update(u, x, y)[..., None, None], atol=1e-10)
    assert torch.allclose(f(x), forget(f, x)[..., None, None], atol=1e-10)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize(('n', 'h', 'w'), SIZES)
def test_the_module_is_its_equation(n, h, w, stride, training):
    smg = double(SMG(12, 8, 16, groups=4, stride=stride, reduction=2)).train(training)
    x = maps(n, 12, h, w)
    squeezed = squeeze(smg.squeeze, x)
    assert torch.allclose(smg.squeeze(x), squeezed, atol=1e-10)
    branches = excite(smg.excite, squeezed)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(smg.excite(squeezed), branches, strict=True))
    f, v = forget(smg.forget, squeezed), update(smg.update, *branches)
    expected = f[..., None, None] * squeezed + v[..., None, None]
    assert expected.shape == (n, 8, -(-h // stride), -(-w // stride))
    assert torch.allclose(smg(x), expected, atol=1e-10)
    assert torch.allclose(smg.transform(smg.activate(x)), smg(x), atol=1e-12)


def test_gradients():
    smg = double(SMG(6, 4, 8, groups=2)).eval()
    x = maps(2, 6, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: smg(x), (x, *smg.parameters()))


def test_parameters():
    """The count of one module, added up from the article's description."""
    c_in, c, squeezed, g, r = 80, 48, 192, 4, 2
    count = 2 * c_in + c_in * squeezed + 2 * squeezed + 9 * squeezed * c // g  # squeeze cell
    count += 2 * (2 * c + 9 * c)  # excitation cell
    count += 3 * (c + 1)  # three attention pools
    hidden = 2 * c // r
    count += 2 * c * hidden + hidden + 2 * hidden + 2 * (hidden * c + c)  # update gate
    hidden = c // r
    count += c * hidden + hidden + 2 * hidden + hidden * c + c  # forget gate
    smg = SMG(c_in, c, squeezed, groups=g, reduction=r)
    assert sum(p.numel() for p in smg.parameters()) == count


def test_one_image_in_training_uses_the_gates_running_statistics():
    smg = double(SMG(8, 8, 16))
    x = maps(1, 8, 6, 5)
    with pytest.raises(ValueError, match='more than 1 value per channel'):  # what the gates would meet
        smg.forget.norm(torch.zeros(1, 4, 1, 1, dtype=torch.float64))
    gates = (smg.update.norm, smg.forget.norm)
    before = [b.clone() for norm in gates for b in norm.buffers()]
    out = smg(x)
    after = [b for norm in gates for b in norm.buffers()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    out.square().sum().backward()
    assert all(p.grad is not None for p in smg.parameters())
    for norm in gates:
        norm.eval()
    assert torch.equal(out, smg(x))


def test_two_images_use_their_own_statistics_and_move_the_running_ones():
    smg = double(SMG(8, 8, 16))
    before = smg.forget.norm.running_mean.clone()
    smg(maps(2, 8, 6, 5))
    assert not torch.equal(before, smg.forget.norm.running_mean)


def test_other_normalisation_of_the_gates_needs_no_exception():
    smg = SMG(8, 8, 16, make_norm=lambda c: nn.GroupNorm(2, c), make_gate_norm=lambda c: nn.GroupNorm(1, c))
    x = torch.randn(2, 8, 6, 5)
    assert torch.allclose(smg(x)[:1], smg(x[:1]), atol=1e-5)  # no image depends on another
    assert isinstance(smg.update.norm, nn.GroupNorm)


def test_channels_last_is_kept_and_equal():
    smg = double(SMG(12, 8, 16)).eval()
    x = maps(2, 12, 6, 5)
    expected = smg(x)
    out = smg.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(out, expected, atol=1e-10)


@pytest.mark.parametrize('n', [1, 2])
def test_autocast(n):
    smg = SMG(12, 8, 16, groups=2)
    x = torch.randn(n, 12, 6, 5)
    with torch.autocast('cpu', torch.bfloat16):
        out = smg(x)
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), smg(x), atol=0.15)


@pytest.mark.parametrize('n', [1, 2])
def test_training_compiles_in_one_graph(n):
    smg = double(SMG(8, 8, 16))
    compiled = torch.compile(smg, fullgraph=True, backend='aot_eager')
    x = maps(n, 8, 6, 5)
    assert torch.allclose(compiled(x), smg(x), atol=1e-10)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(channels=6), 'channels 6 and 16 are not both divisible by groups = 4'),
        (dict(squeeze_channels=18), 'channels 8 and 18 are not both divisible by groups = 4'),
        (dict(stride=0), 'stride must be a positive integer'),
        (dict(squeeze_channels=12.0), 'squeeze_channels must be a positive integer'),
        (dict(reduction=9), 'reduction 9 is more than the 8 channels'),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SMG(**dict(in_channels=12, channels=8, squeeze_channels=16) | options)


def test_cells_stand_alone():
    x = torch.randn(2, 8, 7, 6)
    assert SqueezeCell(8, 16, 4, stride=2)(x).shape == (2, 4, 4, 3)
    assert [o.shape for o in ExcitationCell(8)(x)] == [x.shape, x.shape]
    assert PreActConv2d(8, 6, 3, dilation=2)(x).shape == (2, 6, 7, 6)
