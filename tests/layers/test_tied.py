"""TBC, TGC and TFC against dense layers whose weights are expanded by hand."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmhybrid.layers import TiedBlockConv2d, TiedBlocks, TiedLinear, largest_divisor

FORMATS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}


def dense_conv(layer: TiedBlockConv2d) -> nn.Conv2d:
    """The same map as an ``nn.Conv2d`` without groups: the thin filter on the block diagonal, zeros elsewhere."""
    conv = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        bias=layer.bias is not None,
        dtype=layer.weight.dtype,
    )
    groups, blocks = layer.groups, layer.blocks
    c_out = layer.out_channels // (groups * blocks)
    c_in = layer.in_channels // (groups * blocks)
    with torch.no_grad():
        conv.weight.zero_()
        for g, b in itertools.product(range(groups), range(blocks)):
            block = g * blocks + b  # X_g1 ... X_gB lie one behind the other
            rows = slice(block * c_out, (block + 1) * c_out)
            columns = slice(block * c_in, (block + 1) * c_in)
            filters = slice(g * c_out, (g + 1) * c_out)
            conv.weight[rows, columns] = layer.weight[filters]
            if layer.bias is not None:
                conv.bias[rows] = layer.bias[filters]
    return conv


CASES = [
    # kernel, stride, padding, dilation, groups, bias, blocks
    (1, 1, 0, 1, 1, False, 2),
    (1, 2, 0, 1, 1, True, 2),
    (1, 1, 'same', 1, 1, True, 4),
    (3, 1, 1, 1, 1, False, 4),
    (3, 2, 1, 1, 1, True, 8),
    (3, 1, 2, 2, 1, True, 3),
    (3, 1, 'same', 2, 1, False, 2),
    ((1, 5), (2, 1), (0, 2), 1, 1, True, 2),
    (3, 1, 1, 1, 2, True, 1),
    (3, 2, 1, 1, 2, True, 4),
    (1, 1, 0, 1, 3, True, 2),
]


@pytest.mark.parametrize('memory_format', FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(('kernel', 'stride', 'padding', 'dilation', 'groups', 'bias', 'blocks'), CASES)
def test_equals_the_expanded_dense_convolution(kernel, stride, padding, dilation, groups, bias, blocks, memory_format):
    torch.manual_seed(0)
    layer = TiedBlockConv2d(24, 48, kernel, stride, padding, dilation, groups, bias, blocks).double()
    if bias:
        nn.init.normal_(layer.bias)
    x = torch.randn(3, 24, 9, 7, dtype=torch.float64).contiguous(memory_format=memory_format)
    y = layer(x)
    assert y.shape[1] == 48
    assert (y - dense_conv(layer)(x)).abs().max() < 1e-10
    assert y.is_contiguous(memory_format=memory_format)


def test_a_channel_slice_of_a_channels_last_map_stays_channels_last():
    layer = TiedBlockConv2d(8, 8, 3, padding=1, blocks=2, bias=False).double()
    x = torch.randn(2, 32, 5, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last)[:, 8:16]
    y = layer(x)
    assert (y - dense_conv(layer)(x)).abs().max() < 1e-10
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_nothing_is_copied_for_contiguous_input(monkeypatch):
    seen = []
    real = F.conv2d
    monkeypatch.setattr(F, 'conv2d', lambda x, *args: seen.append(x) or real(x, *args))
    x = torch.randn(2, 8, 4, 4)
    TiedBlockConv2d(8, 8, 3, blocks=4)(x)
    assert seen[0].data_ptr() == x.data_ptr()
    assert seen[0].shape == (8, 2, 4, 4)


def test_one_block_is_conv2d():
    tied = TiedBlockConv2d(6, 9, 3, stride=2, padding=1, groups=3, blocks=1)
    conv = nn.Conv2d(6, 9, 3, stride=2, padding=1, groups=3)
    conv.load_state_dict(tied.state_dict())
    x = torch.randn(2, 6, 8, 8)
    assert torch.equal(tied(x), conv(x))


@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('memory_format', FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize('kernel', [1, 3])
def test_gradients(groups, memory_format, kernel):
    layer = TiedBlockConv2d(8, 8, kernel, padding=kernel // 2, groups=groups, blocks=2).double()
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64).contiguous(memory_format=memory_format).requires_grad_()
    parameters = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *parameters))


def test_parameters_fall_by_the_square_of_the_blocks():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    dense = count(nn.Conv2d(64, 128, 3, bias=False))
    assert [count(TiedBlockConv2d(64, 128, 3, bias=False, blocks=b)) for b in (1, 2, 4, 8)] == [
        dense // b**2 for b in (1, 2, 4, 8)
    ]
    assert count(TiedBlockConv2d(64, 128, 3, bias=False, groups=4, blocks=2)) == dense // 16
    # An SE gate of 256 channels, r = 16: 2 * 256 * 16 + 16 + 256 dense.
    assert count(nn.Sequential(TiedLinear(256, 16, blocks=8), TiedLinear(16, 256, blocks=8))) == 162


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: TiedBlockConv2d(10, 8, 3, blocks=4), 'input channels 10 are not divisible by blocks = 4'),
        (lambda: TiedBlockConv2d(8, 10, 3, blocks=4), 'output channels 10 are not divisible by blocks = 4'),
        (lambda: TiedBlockConv2d(8, 8, 3, groups=4, blocks=4), 'blocks \\* groups = 16'),
        (lambda: TiedLinear(9, 8, blocks=2), 'input channels 9 are not divisible'),
        (lambda: TiedBlockConv2d(8, 8, 3, blocks=0), 'blocks must be a positive integer'),
        (lambda: TiedBlockConv2d(8, 8, 3, blocks=2.0), 'blocks must be a positive integer'),
        (lambda: TiedLinear(8, 8, blocks=True), 'blocks must be a positive integer'),
        (lambda: TiedBlocks(nn.Identity(), 0), 'blocks must be a positive integer'),
    ],
)
def test_what_cannot_be_tied_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize('blocks', [1, 2, 4])
def test_linear_equals_the_block_diagonal_matrix(blocks):
    layer = TiedLinear(12, 8, blocks=blocks).double()
    weight = torch.block_diag(*[layer.weight] * blocks)
    x = torch.randn(5, 3, 12, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(layer(x), F.linear(x, weight, layer.bias.repeat(blocks)), atol=1e-12)
    assert torch.autograd.gradcheck(layer, x)


def test_tied_blocks_of_a_convolution_is_tbc():
    tied = TiedBlockConv2d(8, 12, 3, stride=2, blocks=4)
    wrapped = TiedBlocks(nn.Conv2d(2, 3, 3, stride=2), blocks=4)
    wrapped.layer.load_state_dict(tied.state_dict())
    x = torch.randn(2, 8, 7, 9)
    assert torch.allclose(wrapped(x), tied(x))


@pytest.mark.parametrize(('width', 'blocks'), [(18, [1, 2, 3, 6]), (36, [1, 2, 4, 6]), (72, [1, 2, 4, 8])])
def test_largest_divisor(width, blocks):
    assert [largest_divisor(width, b) for b in (1, 2, 4, 8)] == blocks


def test_empty_batch():
    assert TiedBlockConv2d(8, 8, 3, padding=1)(torch.empty(0, 8, 5, 5)).shape == (0, 8, 5, 5)


@pytest.mark.parametrize('memory_format', FORMATS.values(), ids=FORMATS)
def test_autocast(memory_format):
    layer = TiedBlockConv2d(16, 16, 1, blocks=2)
    x = torch.randn(2, 16, 8, 8).contiguous(memory_format=memory_format)
    with torch.autocast('cpu', torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y.float(), layer(x), atol=0.1)


class Net(nn.Module):
    """Every way a tied convolution is computed, in one module."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            TiedBlockConv2d(8, 16, 1, blocks=2),
            TiedBlockConv2d(16, 16, 3, stride=2, padding=1, blocks=4),
            TiedBlockConv2d(16, 8, 3, padding=1, groups=2, blocks=2),
        )
        self.head = TiedLinear(8, 8, blocks=2)

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


@pytest.mark.parametrize(
    'memory_format',
    [pytest.param(torch.contiguous_format, marks=pytest.mark.slow), torch.channels_last],
    ids=FORMATS,
)
def test_compiles_in_one_graph(memory_format):
    net = Net()
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager', dynamic=True)
    for size in ((1, 8, 8, 8), (3, 8, 11, 9)):
        x = torch.randn(size).contiguous(memory_format=memory_format)
        assert torch.allclose(compiled(x), net(x), atol=1e-5)


@pytest.mark.slow  # a minute of a C++ compiler; each layer compiles in one graph without it
def test_compiles_with_inductor():
    net = Net()
    x = torch.randn(2, 8, 9, 9)
    assert torch.allclose(torch.compile(net, fullgraph=True)(x), net(x), atol=1e-5)


def test_torchscript_trace_has_dynamic_batch_and_size():
    net = Net()
    traced = torch.jit.trace(net, torch.randn(2, 8, 8, 8))
    x = torch.randn(5, 8, 13, 7)
    assert torch.allclose(traced(x), net(x), atol=1e-6)


def test_onnx_export_has_dynamic_batch_and_size(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    net = Net().eval()
    path = tmp_path / 'net.onnx'
    dynamic = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    torch.onnx.export(
        net,
        (torch.randn(2, 8, 16, 24),),
        path,
        dynamo=True,
        dynamic_shapes=(dynamic,),
        input_names=['x'],
        output_names=['y'],
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((2, 8, 16, 24), (3, 8, 21, 17)):
        x = torch.randn(size)
        (y,) = session.run(None, {'x': x.numpy()})
        assert torch.allclose(torch.from_numpy(y), net(x), atol=1e-4)
