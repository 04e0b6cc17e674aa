"""SE, TiedSE and SaE against float64 transcriptions of their equations, and their exact counts."""

import pytest
import torch
import torch.nn.functional as F

from mmhybrid.layers.squeeze_excite import SqueezeAggregatedExcite, SqueezeExcite

# Channels of the block outputs of ResNet-50 with the number of blocks.
RESNET50 = {256: 3, 512: 4, 1024: 6, 2048: 3}


def count(module):
    return sum(p.numel() for p in module.parameters())


def total(make):
    with torch.device('meta'):
        return sum(blocks * count(make(channels)) for channels, blocks in RESNET50.items())


@pytest.mark.parametrize(
    ('blocks', 'parameters'),
    # The paper: "2.53M against 0.04M" for SE and TiedSE with B = 8.
    [(1, 2_530_992), (2, 636_760), (4, 161_196), (8, 41_302)],
)
def test_parameters_of_tied_se_in_resnet50(blocks, parameters):
    assert total(lambda c: SqueezeExcite(c, blocks=blocks)) == parameters
    by_hand = 0
    for channels, number in RESNET50.items():
        thin, hidden = channels // blocks, channels // blocks // 16
        by_hand += number * (thin * hidden + hidden + hidden * thin + thin)
    assert by_hand == parameters


def test_parameters_of_sae_in_resnet50():
    by_hand = sum(n * (4 * (c * c // 32 + c // 32) + 4 * c // 32 * c + c) for c, n in RESNET50.items())
    assert total(SqueezeAggregatedExcite) == by_hand == 5_046_880  # the article: about five million


def test_hidden_width_is_at_least_two():
    assert SqueezeExcite(32, blocks=4).squeeze.weight.shape == (2, 8)
    assert SqueezeAggregatedExcite(32).squeeze.weight.shape == (4 * 2, 32)


@pytest.mark.parametrize('residual_gate', [False, True])
@pytest.mark.parametrize('blocks', [1, 2, 4])
def test_se_is_its_equation(blocks, residual_gate):
    layer = SqueezeExcite(32, reduction=4, blocks=blocks, residual_gate=residual_gate).double()
    x = torch.randn(3, 32, 5, 7, dtype=torch.float64)
    w1, w2 = (torch.block_diag(*[m.weight] * blocks) for m in (layer.squeeze, layer.excite))
    b1, b2 = (m.bias.repeat(blocks) for m in (layer.squeeze, layer.excite))
    z = torch.stack([torch.stack([c.sum() / 35 for c in image]) for image in x])
    s = 1 / (1 + torch.exp(-((z @ w1.T + b1).clamp(min=0) @ w2.T + b2)))
    expected = x * s.view(3, 32, 1, 1)
    assert torch.allclose(layer(x), x + expected if residual_gate else expected, atol=1e-12)


def test_sae_is_its_equation():
    layer = SqueezeAggregatedExcite(64, reduction=8, cardinality=3).double()
    x = torch.randn(2, 64, 3, 5, dtype=torch.float64)
    z = x.mean((2, 3))
    branches = []
    for k in range(3):
        rows = slice(8 * k, 8 * k + 8)
        branches.append(F.relu(F.linear(z, layer.squeeze.weight[rows], layer.squeeze.bias[rows])))
    s = torch.sigmoid(F.linear(torch.cat(branches, 1), layer.excite.weight, layer.excite.bias))
    assert torch.allclose(layer(x), x * s[..., None, None], atol=1e-12)


@pytest.mark.parametrize(('cardinality', 'se_reduction'), [(1, 32), (4, 8)])
def test_sae_is_an_se_of_the_joint_width(cardinality, se_reduction):
    sae = SqueezeAggregatedExcite(128, reduction=32, cardinality=cardinality)
    se = SqueezeExcite(128, reduction=se_reduction)
    se.load_state_dict(sae.state_dict())
    x = torch.randn(2, 128, 4, 4)
    assert torch.allclose(sae(x), se(x), atol=1e-6)


def test_authors_gate_adds_the_input():
    plain, residual = SqueezeAggregatedExcite(64), SqueezeAggregatedExcite(64, residual_gate=True)
    residual.load_state_dict(plain.state_dict())
    x = torch.randn(2, 64, 4, 4)
    assert torch.allclose(residual(x), x + plain(x), atol=1e-6)


LAYERS = {
    'se': lambda: SqueezeExcite(16, reduction=4),
    'tied_se': lambda: SqueezeExcite(16, reduction=2, blocks=4),
    'sae': lambda: SqueezeAggregatedExcite(16, reduction=8, residual_gate=True),
}


@pytest.mark.parametrize('make', LAYERS.values(), ids=LAYERS)
def test_gradients(make):
    layer = make().double()
    x = torch.randn(2, 16, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


@pytest.mark.parametrize('make', LAYERS.values(), ids=LAYERS)
def test_memory_format_autocast_and_empty_batch(make):
    layer = make()
    x = torch.randn(2, 16, 7, 5)
    y = layer(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(y, layer(x), atol=1e-6)
    with torch.autocast('cpu', torch.bfloat16):
        z = layer(x.bfloat16())
    assert z.dtype == torch.bfloat16
    assert torch.allclose(z.float(), y, atol=0.05)
    assert layer(torch.empty(0, 16, 3, 3)).shape == (0, 16, 3, 3)


@pytest.mark.parametrize('make', LAYERS.values(), ids=LAYERS)
def test_compiles_in_one_graph(make):
    layer = make()
    compiled = torch.compile(layer, fullgraph=True, backend='aot_eager', dynamic=True)
    for size in ((2, 16, 8, 8), (3, 16, 11, 9)):
        x = torch.randn(size)
        assert torch.allclose(compiled(x), layer(x), atol=1e-6)


@pytest.mark.parametrize('make', [LAYERS['tied_se'], LAYERS['sae']], ids=['tied_se', 'sae'])
def test_onnx_export_has_dynamic_batch_and_size(make, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    layer = make().eval()
    path = tmp_path / 'layer.onnx'
    dynamic = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    x = torch.randn(2, 16, 16, 24)
    torch.onnx.export(layer, (x,), path, dynamo=True, dynamic_shapes=(dynamic,), input_names=['x'], verbose=False)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((2, 16, 16, 24), (3, 16, 21, 17)):
        x = torch.randn(size)
        (y,) = session.run(None, {'x': x.numpy()})
        assert torch.allclose(torch.from_numpy(y), layer(x), atol=1e-5)


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: SqueezeExcite(18, blocks=4), 'channels 18 are not divisible by blocks = 4'),
        (lambda: SqueezeExcite(16, reduction=0), 'reduction must be a positive integer'),
        (lambda: SqueezeExcite(16, blocks=0), 'blocks must be a positive integer'),
        (lambda: SqueezeAggregatedExcite(16, cardinality=0), 'cardinality must be a positive integer'),
        (lambda: SqueezeAggregatedExcite(16, reduction=0.5), 'reduction must be a positive integer'),
    ],
)
def test_what_cannot_apply_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
