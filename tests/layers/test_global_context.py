"""GCB against MMCV's ContextBlock, TiedGCB against its expansion, and their exact counts."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import ContextBlock
from torch import nn

from mmhybrid.layers.global_context import GlobalContext


def randomised(layer):
    """Without this, the zero last convolution would hide everything before it."""
    for p in layer.parameters():
        nn.init.normal_(p, std=0.3)
    return layer


@pytest.mark.parametrize(('blocks', 'parameters'), [(1, 10_000_909), (2, 2_520_845), (4, 648_589)])
def test_parameters_in_resnet50_c3_to_c5(blocks, parameters):
    """The paper: "10M against 2.5M"."""
    total = by_hand = 0
    for c, number in {512: 4, 1024: 6, 2048: 3}.items():
        with torch.device('meta'):
            total += number * sum(p.numel() for p in GlobalContext(c, blocks=blocks).parameters())
        thin, hidden = c // blocks, c // 4 // blocks
        by_hand += number * (c + 1 + thin * hidden + hidden + 2 * (c // 4) + hidden * thin + thin)
    assert total == by_hand == parameters


def test_one_block_is_mmcvs_context_block():
    ours = randomised(GlobalContext(16)).double()
    mmcvs = ContextBlock(16, ratio=1 / 4).double()
    mmcvs.load_state_dict(ours.state_dict())
    x = torch.randn(3, 16, 7, 5, dtype=torch.float64)
    assert torch.allclose(ours(x), mmcvs(x), atol=1e-12)


@pytest.mark.parametrize('blocks', [2, 4])
def test_tied_is_its_equation(blocks):
    layer = randomised(GlobalContext(16, ratio=1 / 2, blocks=blocks)).double()
    x = torch.randn(2, 16, 3, 5, dtype=torch.float64)
    first, norm, _, last = layer.channel_add_conv
    w1, w2 = (torch.block_diag(*[conv.weight.flatten(1)] * blocks) for conv in (first, last))
    for image, out in zip(x, layer(x), strict=True):
        positions = image.flatten(1).T  # x_j, one per row
        scores = torch.exp(positions @ layer.conv_mask.weight.flatten() + layer.conv_mask.bias)
        z = sum(a / scores.sum() * p for a, p in zip(scores, positions, strict=True))
        h = w1 @ z + first.bias.repeat(blocks)
        h = (h - h.mean()) / (h.var(unbiased=False) + norm.eps).sqrt() * norm.weight.flatten() + norm.bias.flatten()
        expected = image + (w2 @ F.relu(h) + last.bias.repeat(blocks))[:, None, None]
        assert torch.allclose(out, expected, atol=1e-10)


def test_begins_as_the_identity():
    layer = GlobalContext(16, blocks=2)
    x = torch.randn(2, 16, 5, 4)
    assert torch.equal(layer(x), x)
    assert layer.channel_add_conv[0].weight.abs().max() > 0
    assert layer.conv_mask.weight.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.5)


@pytest.mark.parametrize('blocks', [1, 2])
def test_gradients(blocks):
    layer = randomised(GlobalContext(8, ratio=1 / 2, blocks=blocks)).double()
    x = torch.randn(2, 8, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *layer.parameters()))


def test_memory_format_autocast_and_empty_batch():
    layer = randomised(GlobalContext(16, blocks=2))
    x = torch.randn(2, 16, 7, 5)
    y = layer(x.contiguous(memory_format=torch.channels_last))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(y, layer(x), atol=1e-5)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.allclose(layer(x).float(), y, atol=0.2)
    assert layer(torch.empty(0, 16, 3, 3)).shape == (0, 16, 3, 3)


@pytest.mark.slow
def test_compiles_in_one_graph():
    layer = randomised(GlobalContext(16, blocks=2))
    compiled = torch.compile(layer, fullgraph=True, backend='aot_eager', dynamic=True)
    for size in ((2, 16, 8, 8), (3, 16, 11, 9)):
        x = torch.randn(size)
        assert torch.allclose(compiled(x), layer(x), atol=1e-5)


def test_onnx_export_has_dynamic_batch_and_size(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    layer = randomised(GlobalContext(16, blocks=2)).eval()
    path = tmp_path / 'layer.onnx'
    dynamic = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    x = torch.randn(2, 16, 16, 24)
    torch.onnx.export(layer, (x,), path, dynamo=True, dynamic_shapes=(dynamic,), input_names=['x'], verbose=False)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((2, 16, 16, 24), (3, 16, 21, 17)):
        x = torch.randn(size)
        (y,) = session.run(None, {'x': x.numpy()})
        assert torch.allclose(torch.from_numpy(y), layer(x), atol=1e-4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=18, blocks=4), 'input channels 18 are not divisible by blocks = 4'),
        (dict(in_channels=24, blocks=4), 'output channels 6 are not divisible by blocks = 4'),
        (dict(in_channels=16, ratio=0.01), 'ratio = 0.01 leaves no channel'),
    ],
)
def test_what_cannot_apply_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GlobalContext(**options)
