"""The hierarchical split against its equation written with explicit slices, for even and odd widths."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmhybrid.layers.hierarchical_split import HierarchicalSplit

FORMATS = {'contiguous': torch.contiguous_format, 'channels_last': torch.channels_last}


def make(width, splits, **kwargs):
    torch.manual_seed(0)
    layer = HierarchicalSplit(width, splits, **kwargs).double().eval()
    for norm in layer.norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return layer


def image(channels, size=(7, 5), n=2):
    return torch.randn(n, channels, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def conv_norm_relu(layer, i, x):
    conv, norm = layer.convs[i], layer.norms[i]
    y = F.conv2d(x, conv.weight, stride=layer.stride, padding=layer.dilation, dilation=layer.dilation)
    mean, var, weight, bias = (
        t.view(1, -1, 1, 1) for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return ((y - mean) / (var + norm.eps).sqrt() * weight + bias).clamp(min=0)


def six_groups_of_14(layer, x):
    """The article's cascade for 14w6s, every slice and width written out."""
    out = torch.empty_like(x)
    out[:, 0:14] = x[:, 0:14]
    y2 = conv_norm_relu(layer, 0, x[:, 14:28])  # 14 channels
    out[:, 14:21] = y2[:, :7]
    y3 = conv_norm_relu(layer, 1, torch.cat([x[:, 28:42], y2[:, 7:]], 1))  # 14 + 7 = 21
    out[:, 21:32] = y3[:, :11]
    y4 = conv_norm_relu(layer, 2, torch.cat([x[:, 42:56], y3[:, 11:]], 1))  # 14 + 10 = 24
    out[:, 32:44] = y4[:, :12]
    y5 = conv_norm_relu(layer, 3, torch.cat([x[:, 56:70], y4[:, 12:]], 1))  # 14 + 12 = 26
    out[:, 44:57] = y5[:, :13]
    out[:, 57:84] = conv_norm_relu(layer, 4, torch.cat([x[:, 70:84], y5[:, 13:]], 1))  # 14 + 13 = 27
    return out


def test_six_groups_of_14_written_out():
    layer = make(14, 6)
    x = image(84)
    assert layer.conv_channels == (14, 21, 24, 26, 27)
    assert torch.allclose(layer(x), six_groups_of_14(layer, x), atol=1e-12)


def by_hand(layer, width, splits, x):
    """Any cascade, by one list of single channels for the output and one for what goes on."""
    out = [x[:, c] for c in range(width)]
    carried = []
    for i in range(1, splits):
        channels = [x[:, c] for c in range(i * width, (i + 1) * width)] + carried
        y = conv_norm_relu(layer, i - 1, torch.stack(channels, 1)).unbind(1)
        keep = len(y) if i == splits - 1 else len(y) - len(y) // 2
        out += y[:keep]
        carried = list(y[keep:])
    return torch.stack(out, 1)


@pytest.mark.parametrize(('width', 'splits'), [(4, 2), (3, 3), (5, 4), (8, 5), (7, 6), (2, 8), (1, 2)])
@pytest.mark.parametrize('dilation', [1, 2])
def test_cascade(width, splits, dilation):
    layer = make(width, splits, dilation=dilation)
    x = image(width * splits).requires_grad_()
    out, expected = layer(x), by_hand(layer, width, splits, x)
    assert out.shape == x.shape
    assert torch.allclose(out, expected, atol=1e-12)
    leaves = [x, *layer.parameters()]
    grads = zip(torch.autograd.grad(out.sum(), leaves), torch.autograd.grad(expected.sum(), leaves), strict=True)
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in grads)


def test_conv_channels_approach_the_paper_s_series():
    """c_i = w (2 - 2^-(i-2)) for i = 2, 3, ..., exactly where no half is odd."""
    assert make(64, 6).conv_channels == tuple(int(64 * (2 - 2.0 ** -(i - 2))) for i in range(2, 7))


@pytest.mark.parametrize('size', [(8, 6), (7, 5), (1, 1), (2, 9)])
@pytest.mark.parametrize('dilation', [1, 2])
def test_stride_2_has_no_cascade(size, dilation):
    layer = make(5, 4, stride=2, dilation=dilation)
    x = image(20, size)
    height, width = (size[0] + 1) // 2, (size[1] + 1) // 2
    pooled = torch.empty(2, 5, height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            inside = x[:, :5, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
            pooled[:, :, i, j] = inside.mean((2, 3))
    rest = [conv_norm_relu(layer, i - 1, x[:, 5 * i : 5 * i + 5]) for i in (1, 2, 3)]
    assert layer.conv_channels == (5, 5, 5)
    assert torch.allclose(layer(x), torch.cat([pooled, *rest], 1), atol=1e-12)


@pytest.mark.parametrize('stride', [1, 2])
def test_one_group_is_an_ordinary_convolution(stride):
    layer = make(6, 1, stride=stride)
    x = image(6)
    assert torch.allclose(layer(x), conv_norm_relu(layer, 0, x), atol=1e-12)


def test_parameters():
    layer = HierarchicalSplit(14, 6)
    assert sum(p.numel() for p in layer.parameters()) == sum(9 * c * c + 2 * c for c in (14, 21, 24, 26, 27))


def test_factories():
    layer = HierarchicalSplit(
        4, 3, lambda c: nn.GroupNorm(1, c), make_conv=lambda c: nn.Conv2d(c, c, 3, padding=1, groups=2)
    )
    assert [conv.groups for conv in layer.convs] == [2, 2]
    assert [norm.num_channels for norm in layer.norms] == [4, 6]
    assert layer(torch.randn(1, 12, 5, 5)).shape == (1, 12, 5, 5)


def test_the_input_is_not_changed():
    layer = make(4, 3)
    x = image(12)
    before = x.clone()
    layer(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize('stride', [1, 2])
def test_channels_last_is_kept_and_equal(stride):
    layer = make(5, 4, stride=stride)
    x = image(20)
    expected = layer(x)
    out = layer.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(out, expected, atol=1e-12)


@pytest.mark.parametrize('stride', [1, 2])
def test_autocast(stride):
    layer = make(5, 4, stride=stride).float()
    x = image(20).float()
    with torch.autocast('cpu', torch.bfloat16):
        out = layer(x)
    assert out.isfinite().all()
    assert torch.allclose(out.float(), layer(x), atol=0.2)


class Net(nn.Sequential):
    """Both kinds of split, in one module."""

    def __init__(self):
        super().__init__(HierarchicalSplit(5, 4), HierarchicalSplit(5, 4, stride=2), HierarchicalSplit(20, 1))


@pytest.mark.slow
def test_compiles_in_one_graph():
    net = Net()
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager', dynamic=True)
    for size in ((8, 8), (11, 9)):
        x = image(20, size).float()
        assert torch.allclose(compiled(x), net(x), atol=1e-5)


def test_onnx_export_has_dynamic_batch_and_size(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    net = Net().eval()
    path = tmp_path / 'net.onnx'
    dynamic = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    torch.onnx.export(
        net,
        (image(20, (16, 24)).float(),),
        path,
        dynamo=True,
        dynamic_shapes=(dynamic,),
        input_names=['x'],
        output_names=['y'],
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for n, size in ((2, (16, 24)), (3, (21, 17))):
        x = image(20, size, n).float()
        (y,) = session.run(None, {'x': x.numpy()})
        assert torch.allclose(torch.from_numpy(y), net(x), atol=1e-4)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(width=0, splits=6), 'width must be a positive integer'),
        (dict(width=14, splits=0), 'splits must be a positive integer'),
        (dict(width=14, splits=6.0), 'splits must be a positive integer'),
        (dict(width=14, splits=6, stride=0), 'stride must be a positive integer'),
        (dict(width=1, splits=3), 'width of at least 2'),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HierarchicalSplit(**arguments)
