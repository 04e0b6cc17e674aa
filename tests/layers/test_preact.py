"""Pre-activation convolutions against the three layers one after the other, and what they keep."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from mmhybrid.layers import statistics
from mmhybrid.layers.preact import PreActConv2d, norm_relu
from mmhybrid.layers.statistics import Statistics, can_share, joined, measure

SHAPES = {
    '1x1': dict(in_channels=6, out_channels=4, kernel_size=1),
    'groups': dict(in_channels=6, out_channels=4, kernel_size=3, groups=2),
    'strided': dict(in_channels=6, out_channels=4, kernel_size=3, stride=2),
    'dilated': dict(in_channels=6, out_channels=6, kernel_size=3, dilation=2, groups=6),
}


def layer(options, **norm_options):
    torch.manual_seed(1)
    made = PreActConv2d(**options, make_norm=lambda c: nn.BatchNorm2d(c, **norm_options)).double()
    nn.init.uniform_(made.norm.weight, 0.5, 1.5)
    nn.init.normal_(made.norm.bias)
    return made


def maps(*size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(size, generator=generator, dtype=torch.float64) + 2


def plainly(module, x):
    return module.conv(F.relu(module.norm(x)))


def outcome(module, x, run):
    """Output, all gradients and the buffers after one step."""
    module, x = copy.deepcopy(module), x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    out = run(module, x)
    out.square().sum().backward()
    return [out, x.grad, *(p.grad for p in module.parameters()), *module.buffers()]


def same(a, b, atol=1e-9):
    return len(a) == len(b) and all(torch.allclose(x, y, atol=atol, rtol=1e-9) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('given', [True, False])
@pytest.mark.parametrize('options', SHAPES.values(), ids=SHAPES)
def test_is_the_three_layers(options, given, memory_format):
    module = layer(options).train().to(memory_format=memory_format)
    x = maps(3, 6, 5, 7).contiguous(memory_format=memory_format)
    measured = measure(x) if given else None
    assert same(outcome(module, x, lambda m, x: m(x, measured)), outcome(module, x, plainly))
    assert module(x).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize('cls', [nn.BatchNorm2d, nn.SyncBatchNorm])
def test_is_the_three_layers_by_running_statistics(cls):
    module = layer(SHAPES['groups'])
    module(maps(3, 6, 5, 7))
    if cls is nn.SyncBatchNorm:
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
    module.eval()
    x = maps(2, 6, 5, 7)
    assert same(outcome(module, x, lambda m, x: m(x, measure(x))), outcome(module, x, plainly))
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (maps(2, 6, 3, 2).requires_grad_(), *module.parameters()))


@pytest.mark.parametrize('norm_options', [dict(momentum=None), dict(track_running_stats=False), dict(momentum=0.5)])
def test_running_statistics_move_as_the_norm_moves_them(norm_options):
    module, plain = layer(SHAPES['1x1'], **norm_options), layer(SHAPES['1x1'], **norm_options)
    for seed in range(3):
        module(maps(2, 6, 3, 4, seed=seed))
        plainly(plain, maps(2, 6, 3, 4, seed=seed))
    assert same(list(module.buffers()), list(plain.buffers()))


@pytest.mark.parametrize('frozen', [['norm.weight', 'norm.bias'], ['conv.weight'], ['x'], ['norm.weight', 'x']])
def test_only_wanted_gradients_are_made(frozen):
    module = layer(SHAPES['groups'])
    for name, p in module.named_parameters():
        p.requires_grad_(name not in frozen)
    x = maps(2, 6, 5, 4).requires_grad_('x' not in frozen)
    module(x).square().sum().backward()
    grads = {'x': x.grad, **{name: p.grad for name, p in module.named_parameters()}}
    assert {name for name, grad in grads.items() if grad is None} == set(frozen)
    free = layer(SHAPES['groups'])
    expected = dict(zip(['out', 'x', *dict(free.named_parameters())], outcome(free, x, plainly), strict=False))
    assert all(torch.allclose(grad, expected[name]) for name, grad in grads.items() if grad is not None)


def test_gradients():
    module = layer(SHAPES['groups'])
    x = maps(2, 6, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: module(x), (x, *module.parameters()))
    norm = layer(SHAPES['1x1']).norm
    assert torch.autograd.gradcheck(lambda x, *_: norm_relu(norm, x, measure(x)), (x, *norm.parameters()))


@pytest.mark.parametrize('training', [True, False])
def test_one_map_is_kept(training):
    module, x = layer(SHAPES['1x1']).train(training), maps(2, 6, 5, 7).requires_grad_()
    kept = []
    with saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        module(x)
    assert [t.data_ptr() for t in kept if t.dim() == 4 and t.shape == x.shape] == [x.data_ptr()]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_statistics_are_those_of_the_pixels(dtype):
    x = (maps(3, 5, 4, 6) + 100).to(dtype)
    measured = measure(x)
    wide = x.double()
    assert torch.allclose(measured.mean.double(), wide.mean((0, 2, 3)), rtol=1e-6)
    assert torch.allclose(measured.var.double(), wide.var((0, 2, 3), unbiased=False), rtol=1e-3)
    assert measured.count == 3 * 4 * 6
    assert measured.mean.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_constant_channel_has_no_variance():
    assert measure(torch.ones(2, 3, 4, 4)).var.tolist() == pytest.approx([0] * 3, abs=1e-9)


def test_statistics_of_a_concatenation_are_those_of_its_parts():
    a, b = maps(2, 3, 4, 5), maps(2, 2, 4, 5, seed=1)
    whole, parts = measure(torch.cat([a, b], 1)), joined([measure(a), measure(b)])
    assert isinstance(parts, Statistics)
    assert same(whole[:2], parts[:2])
    assert whole.count == parts.count


@pytest.mark.parametrize(
    'make', [lambda c: nn.BatchNorm2d(c).eval(), lambda c: nn.GroupNorm(2, c), nn.SyncBatchNorm, nn.InstanceNorm2d]
)
def test_other_norms_are_called_as_they_are(make):
    norm = make(6).double()
    assert not can_share(maps(2, 6, 4, 5), norm)
    x = maps(2, 6, 4, 5)
    if isinstance(norm, nn.SyncBatchNorm):
        return
    assert torch.equal(norm_relu(norm, x, measure(x)), F.relu(norm(x)))


@pytest.mark.parametrize('name', ['norm', 'conv'])
def test_a_hooked_layer_is_called(name):
    module, calls = layer(SHAPES['1x1']), []
    getattr(module, name).register_forward_hook(lambda *_: calls.append(name))
    x = maps(2, 6, 4, 5)
    assert same(outcome(module, x, lambda m, x: m(x)), outcome(module, x, plainly))
    module(x)
    assert calls


def test_no_map_of_the_caller_is_changed():
    x = maps(2, 6, 4, 5)
    before = x.clone()
    module = layer(SHAPES['1x1']).eval()
    module.norm = nn.Identity()  # a norm that was folded away
    with torch.no_grad():
        module(x)
    assert torch.equal(x, before)


def test_autocast_computes_in_its_type_and_trains_in_the_parameters():
    module = layer(SHAPES['groups']).float()
    x = maps(2, 6, 5, 4).float().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        out = module(x)
    out.float().square().sum().backward()
    assert out.dtype == torch.bfloat16
    assert {p.grad.dtype for p in module.parameters()} == {torch.float32} == {x.grad.dtype}
    expected = outcome(layer(SHAPES['groups']), x.double(), plainly)
    grads = zip([x.grad, *(p.grad for p in module.parameters())], expected[1:], strict=False)
    assert all((a - b).norm() < 0.03 * b.norm() for a, b in grads)


class Quantised(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, (4 * self.weight).round() / 4, self.bias)


def changed(kind):
    module = layer(SHAPES['groups'])
    conv, norm = module.conv, module.norm
    if kind == 'a convolution of another class':
        conv.__class__ = Quantised
    elif kind == 'a bias':
        conv.bias = nn.Parameter(torch.ones(4).double())
    elif kind == 'another padding':
        module.conv = nn.Conv2d(6, 4, 3, padding=1, padding_mode='reflect', groups=2, bias=False).double()
    elif kind == 'a forward of the convolution':
        conv.forward = lambda x: 2 * nn.Conv2d.forward(conv, x)
    elif kind == 'a forward of the norm':
        norm.forward = lambda x: 2 * nn.BatchNorm2d.forward(norm, x)
    elif kind == 'another norm':
        module.norm = nn.BatchNorm2d(6, affine=False).double()
    elif kind == 'a norm without statistics':
        module.norm = nn.BatchNorm2d(6, track_running_stats=False).double()
    return module


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize(
    'kind',
    [
        *('a convolution of another class', 'a bias', 'another padding', 'a forward of the convolution'),
        *('a forward of the norm', 'another norm', 'a norm without statistics'),
    ],
)
def test_what_somebody_put_in_is_what_computes(kind, training):
    module, x = changed(kind).train(training), maps(2, 6, 5, 7)
    expected = plainly(changed(kind).train(training), x)
    assert torch.allclose(module(x, measure(x)), expected, atol=1e-9)
    with torch.no_grad():
        assert torch.allclose(changed(kind).train(training)(x), expected, atol=1e-9)


def test_a_hook_sees_what_the_norm_made():
    module, seen = layer(SHAPES['1x1']).eval(), []
    module.norm.register_forward_hook(lambda m, args, out: seen.append(out))
    with torch.no_grad():
        module(maps(2, 6, 4, 5))
    assert (seen[0] < 0).any()


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_narrow_parameters(dtype, training):
    module, x = layer(SHAPES['1x1']).train(training), maps(2, 6, 5, 7)
    expected = plainly(layer(SHAPES['1x1']).train(training), x)
    out = module.to(dtype)(x.to(dtype).requires_grad_())
    out.sum().backward()
    assert out.dtype == dtype
    assert torch.allclose(out.double(), expected, atol=0.15)


def test_float64_is_spared_by_autocast():
    module, x = layer(SHAPES['1x1']), maps(2, 6, 4, 5)
    with torch.autocast('cpu', torch.bfloat16):
        assert module(x).dtype == torch.float64


@pytest.mark.parametrize('training', [True, False])
def test_batches_without_statistics_are_the_norms_affair(training):
    module = layer(SHAPES['1x1']).train(training)
    if training:
        with pytest.raises(ValueError, match='more than 1 value per channel'):
            module(maps(1, 6, 1, 1))
    else:
        module(maps(0, 6, 4, 5).requires_grad_()).sum().backward()


def test_plain_and_other_calls_of_one_norm_in_one_graph():
    module, x = layer(SHAPES['1x1']), maps(2, 6, 4, 5).requires_grad_()
    (plainly(module, x) + module(x)).sum().backward()
    assert x.grad.isfinite().all()


def test_transforms_of_functions_and_a_second_gradient():
    module, x = layer(SHAPES['1x1']).eval(), maps(2, 6, 4, 5)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(module(x).square().sum(), x)
    assert torch.allclose(torch.func.grad(lambda x: module(x).square().sum())(x.detach()), expected)
    (grad,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


@pytest.mark.parametrize('compiling', [True, False])
def test_pytorch_before_2_3_is_asked_elsewhere(monkeypatch, compiling):
    monkeypatch.delattr(torch.compiler, 'is_compiling')
    monkeypatch.setattr(torch._dynamo, 'is_compiling', lambda: compiling)
    assert statistics._is_compiling() is compiling


def test_a_small_variance_beside_a_small_epsilon():
    norm = nn.BatchNorm2d(2, eps=1e-12)
    x = 1e-6 * torch.randn(4, 2, 8, 8)
    assert torch.allclose(norm_relu(norm, x, measure(x)), F.relu(norm(x)), rtol=1e-3, atol=1e-3)
