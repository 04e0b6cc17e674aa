"""Dense shortcuts against their equation, and their start values."""

import pytest
import torch
from torch import nn

from mmhybrid.layers.dense_shortcut import DenseShortcut, Source, prepare


def bare_norm(channels):
    return nn.BatchNorm2d(channels, affine=False)


FORMATS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}


def maps(n, channels=6, size=(5, 7), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, *size, dtype=dtype, generator=generator) * (i + 1) + i for i in range(n)]


def randomise(layer):
    torch.manual_seed(1)
    for p in layer.parameters():
        nn.init.normal_(p)
    for name, b in layer.named_buffers():
        if 'running' in name:
            nn.init.uniform_(b, 0.5, 2)


def by_hand(layer, sources, training):
    """The sum over i of w_i (X_i - mean) / std + shift_i, with loops over sources and channels."""
    out = torch.zeros_like(sources[0])
    for norm, w, b, x in zip(layer.norms, layer.weight, layer.bias, sources, strict=True):
        for c in range(x.shape[1]):
            mean = x[:, c].mean() if training else norm.running_mean[c]
            var = ((x[:, c] - mean) ** 2).mean() if training else norm.running_var[c]
            out[:, c] += w[c] * (x[:, c] - mean) / (var + norm.eps).sqrt() + b[c]
    return out


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('num_sources', [1, 3])
def test_is_its_equation(num_sources, training):
    layer = DenseShortcut(6, num_sources, bare_norm).double()
    randomise(layer)
    sources = [x.requires_grad_() for x in maps(num_sources)]
    expected = by_hand(layer, sources, training)
    out = layer.train(training)(sources)
    assert torch.allclose(out, expected, atol=1e-12)
    leaves = [*sources, *layer.parameters()]
    seed = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(2))
    grads = zip(torch.autograd.grad(out, leaves, seed), torch.autograd.grad(expected, leaves, seed), strict=True)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in grads)


def test_gradients():
    layer = DenseShortcut(2, 2, bare_norm).double().eval()
    randomise(layer)
    sources = [x.requires_grad_() for x in maps(2, 2, (2, 3))]
    assert torch.autograd.gradcheck(lambda *xs: layer(xs), sources)


def test_group_norm_by_its_factory():
    layer = DenseShortcut(6, 2, lambda c: nn.GroupNorm(3, c, affine=False)).double()
    randomise(layer)
    sources = maps(2)
    expected = sum(
        w[:, None, None] * nn.functional.group_norm(x, 3) + b[:, None, None]
        for w, b, x in zip(layer.weight, layer.bias, sources, strict=True)
    )
    assert torch.allclose(layer(sources), expected, atol=1e-12)


@pytest.mark.parametrize('identity', [True, False])
def test_a_base_is_added(identity):
    layer = DenseShortcut(6, 3, identity=identity).double()
    randomise(layer)
    base, *sources = maps(4)
    assert torch.allclose(layer(sources, base), base + layer(sources), atol=1e-12)


def test_normalised_sources_need_no_norms():
    own, shared = DenseShortcut(6, 3, bare_norm).double(), DenseShortcut(6, 3).double()
    for p in own.parameters():
        nn.init.normal_(p)
    assert not shared.load_state_dict(own.state_dict(), strict=False).missing_keys
    assert torch.allclose(shared([bare_norm(6).double()(x) for x in maps(3)]), own(maps(3)), atol=1e-12)


@pytest.mark.parametrize('training', [True, False])
def test_prepared_sources_are_the_maps_themselves(training):
    own, shared = (DenseShortcut(6, 3, norm).double().train(training) for norm in (bare_norm, None))
    randomise(own)
    shared.load_state_dict(own.state_dict(), strict=False)
    sources = maps(3)
    prepared = prepare(own.norms, sources)
    assert all(isinstance(p, Source) and p.map is x for p, x in zip(prepared, sources, strict=True))
    assert torch.allclose(shared(prepared), own(sources), atol=1e-12)


@pytest.mark.parametrize('training', [True, False])
def test_nothing_is_kept_but_the_maps(training):
    layer = DenseShortcut(6, 3, bare_norm).double().train(training)
    base, *sources = (x.requires_grad_() for x in maps(4))
    kept = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.add(t.data_ptr()) if t.dim() == 4 else None, id):
        layer(sources, base)
    assert kept == {x.data_ptr() for x in sources}


def test_a_hooked_norm_is_called():
    layer, calls = DenseShortcut(6, 3, bare_norm).double(), []
    expected = layer(maps(3))
    layer.norms[1].register_forward_hook(lambda *_: calls.append(1))
    assert torch.allclose(layer(maps(3)), expected, atol=1e-12)
    assert calls == [1]


def test_running_statistics_move_as_the_norm_moves_them():
    layer, norm = DenseShortcut(6, 1, bare_norm).double(), bare_norm(6).double()
    for x in maps(3):
        layer([x])
        norm(x)
    moved = zip(layer.norms[0].buffers(), norm.buffers(), strict=True)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in moved)


def test_identity_is_the_plain_sum():
    layer = DenseShortcut(6, 3, identity=True)
    a, b, c = maps(3)
    assert torch.equal(layer([a, b, c]), a + b + c)
    assert not list(layer.parameters())
    assert DenseShortcut(6, 1, identity=True)([a]) is a  # ResNet's shortcut


def test_sources_are_not_changed():
    sources = maps(3)
    before = [x.clone() for x in sources]
    for layer in (DenseShortcut(6, 3, bare_norm).double(), DenseShortcut(6, 3), DenseShortcut(6, 3, identity=True)):
        layer.double()(sources, sources[0])
        assert all(torch.equal(x, y) for x, y in zip(sources, before, strict=True))


def test_has_two_parameters_per_source_and_channel():
    assert sum(p.numel() for p in DenseShortcut(6, 4).parameters()) == 2 * 4 * 6


@pytest.mark.parametrize(('start', 'weights'), [('mean', [0.25] * 4), ('last', [0, 0, 0, 1]), ('zero', [0] * 4)])
def test_start_values(start, weights):
    layer = DenseShortcut(3, 4, start=start)
    assert layer.weight.tolist() == [[w] * 3 for w in weights]
    randomise(layer)
    layer.init_weights()
    assert layer.weight.tolist() == [[w] * 3 for w in weights]
    assert layer.bias.abs().max() == 0


def test_the_mean_start_keeps_a_deep_stage_alive():
    """The documented shares of active units when all residuals are zero, which is how training starts."""
    x0 = torch.randn(1, 1, 1, 200_000, generator=torch.Generator().manual_seed(0))
    active = {}
    for start in ('mean', 'last'):
        xs = [x0]
        for _ in range(23):
            xs.append(DenseShortcut(1, len(xs), bare_norm, start=start)(xs).relu())
        active[start] = [(xs[n] > 0).float().mean().item() for n in (6, 23)]
    assert active['mean'] == pytest.approx([0.29, 0.22], abs=0.01)
    assert active['last'] == pytest.approx([0.16, 0.05], abs=0.01)


@pytest.mark.parametrize('memory_format', FORMATS.values(), ids=FORMATS)
def test_memory_format_is_kept(memory_format):
    layer = DenseShortcut(6, 3, bare_norm).double().eval()
    sources = maps(3)
    out = layer([x.contiguous(memory_format=memory_format) for x in sources])
    assert out.is_contiguous(memory_format=memory_format)
    assert torch.allclose(out, layer(sources), atol=1e-12)


def test_autocast():
    layer = DenseShortcut(6, 3, bare_norm).eval()
    sources = maps(3, dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        out = layer([x.bfloat16() for x in sources])
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), layer(sources), atol=0.1)


def test_compiles_in_one_graph():
    layer = DenseShortcut(6, 3, bare_norm)
    compiled = torch.compile(layer, fullgraph=True, backend='aot_eager', dynamic=True)
    for size in ((5, 7), (8, 4)):
        sources = maps(3, size=size, dtype=torch.float32)
        assert torch.allclose(compiled(sources), layer(sources), atol=1e-5)


def test_exports():
    layer = DenseShortcut(6, 2, bare_norm).eval()
    dynamic = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    program = torch.export.export(layer, (maps(2, dtype=torch.float32),), dynamic_shapes=([dynamic, dynamic],))
    sources = [x[:1] for x in maps(2, size=(9, 4), dtype=torch.float32)] * 3
    batch = [torch.cat(sources[i::2]) for i in range(2)]
    assert torch.allclose(program.module()(batch), layer(batch), atol=1e-6)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((0, 1), 'channels must be a positive integer'),
        ((4, 0), 'num_sources must be a positive integer'),
        ((4, 1.0), 'num_sources must be a positive integer'),
        ((4, 1, nn.BatchNorm2d, False, 'first'), 'start must be one of mean, last, zero'),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DenseShortcut(*arguments)


def test_another_number_of_sources_is_refused():
    with pytest.raises(ValueError, match='sums 3 sources, not 2'):
        DenseShortcut(6, 3)(maps(2))


@pytest.mark.parametrize('training', [True, False])
def test_narrow_parameters(training):
    layer = DenseShortcut(6, 3, bare_norm).train(training)
    expected = layer(maps(3, dtype=torch.float32))
    sources = [x.bfloat16().requires_grad_() for x in maps(3, dtype=torch.float32)]
    out = layer.bfloat16()(sources)
    out.sum().backward()
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), expected, atol=0.1)


def test_an_empty_batch():
    layer = DenseShortcut(6, 2, bare_norm).eval()
    sources = [torch.zeros(0, 6, 4, 5, requires_grad=True) for _ in range(2)]
    layer(sources).sum().backward()
    assert all(x.grad.shape == x.shape for x in sources)
