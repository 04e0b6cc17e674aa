"""TiedResNeSt: exact counts, MMDetection's ResNeSt as the special case B = 1, and its options."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import ResNeSt
from mmdet.models.backbones.resnest import SplitAttentionConv2d
from torch import nn

from mmhybrid.backbones.tied_resnest import TiedResNeSt, TiedSplitAttentionConv2d
from mmhybrid.layers import TiedBlockConv2d

SMALL = dict(base_channels=16)
UNTIED = dict(blocks=1, entry_blocks=1)


def count(module):
    return sum(p.numel() for p in module.parameters())


def features(backbone, size=(2, 3, 65, 97)):
    x = torch.randn(size, generator=torch.Generator().manual_seed(1))
    return backbone(x.to(next(backbone.parameters()).dtype))


def blocks_of(backbone):
    return [block for name in backbone.res_layers for block in getattr(backbone, name)]


def multiply_adds(backbone):
    """Multiply-adds of all convolutions for an image of 224 x 224 pixels."""
    total = 0

    def add(module, _, out):
        nonlocal total
        total += out.numel() * module.weight[0].numel()  # each output is one product with one filter

    for module in backbone.modules():
        if isinstance(module, (nn.Conv2d, TiedBlockConv2d)):
            module.register_forward_hook(add)
    backbone.eval()(torch.empty(1, 3, 224, 224, device='meta'))
    return total


@pytest.mark.parametrize(
    ('options', 'parameters', 'giga_multiply_adds'),
    [
        # As 1000-class classifiers, 2,049,000 more. ResNeSt-50-fast is 27.48M / 4.33G, TiedResNeSt-50-S 15.75M.
        (dict(depth=50, avd_first=True, **UNTIED), 27_483_240 - 2_049_000, 4.33),
        (dict(depth=50, avd_first=True), 15_748_200 - 2_049_000, 2.94),
        (dict(depth=50), 15_748_200 - 2_049_000, 3.46),
        (dict(depth=101, stem_channels=128, **UNTIED), 48_275_016 - 2_049_000, 10.20),
        (dict(depth=101, stem_channels=128), 25_674_312 - 2_049_000, 6.86),
    ],
)
def test_parameters_and_multiply_adds(options, parameters, giga_multiply_adds):
    with torch.device('meta'):
        backbone = TiedResNeSt(**options)
    assert count(backbone) == parameters
    assert round((multiply_adds(backbone) + 2048 * 1000) / 1e9, 2) == giga_multiply_adds


def test_what_tying_saves_against_a_sum_by_hand():
    saved, inplanes = 0, 64
    for stage, num_blocks in enumerate((3, 4, 6, 3)):
        planes = 64 * 2**stage
        for _ in range(num_blocks):
            saved += 3 * inplanes * planes // 4  # three quarters of the entry
            saved += 3 * 9 * planes * planes // 4  # and of two groups of planes / 2 -> planes
            inplanes = 4 * planes
    with torch.device('meta'):
        assert count(TiedResNeSt(50)) == count(ResNeSt(depth=50)) - saved


SPLIT_ATTENTION = [
    dict(),
    dict(radix=1),
    dict(radix=4, reduction_factor=2),
    dict(groups=2, base_width=8),
    dict(groups=2, base_width=8, radix=1),
]


@pytest.mark.parametrize('options', [*SPLIT_ATTENTION, dict(avg_down_stride=False), dict(style='caffe')])
def test_without_tying_it_is_mmdetections_resnest(options):
    ours, mmdets = TiedResNeSt(50, **UNTIED, **SMALL, **options).eval(), ResNeSt(depth=50, **SMALL, **options)
    mmdets.eval()
    mmdets.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(features(ours), features(mmdets), strict=True))


@pytest.mark.parametrize(('radix', 'groups'), [(2, 1), (1, 1), (2, 2)])
def test_tied_split_attention_is_the_dense_one_with_repeated_filters(radix, groups):
    tied = TiedSplitAttentionConv2d(16, 2, stride=1, dilation=1, groups=groups, radix=radix, dcn=None).eval().double()
    dense = SplitAttentionConv2d(16, 16, 3, padding=1, groups=groups, radix=radix).eval().double()
    weights = tied.state_dict()
    thin = weights.pop('conv.weight')  # rows: groups * radix filters of width c
    with torch.no_grad():
        dense.conv.weight.zero_()
        g, c_out, c_in = groups * radix, thin.shape[0] // (groups * radix), thin.shape[1]
        for i in range(g):
            for b in range(2):
                rows = slice((2 * i + b) * c_out, (2 * i + b + 1) * c_out)
                dense.conv.weight[rows, b * c_in : (b + 1) * c_in] = thin[i * c_out : (i + 1) * c_out]
    assert not dense.load_state_dict(weights, strict=False).unexpected_keys
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    assert torch.allclose(tied(x), dense(x), atol=1e-10)


def test_the_entry_and_the_3x3_are_tied_and_nothing_else():
    backbone = TiedResNeSt(50, **SMALL)
    tied = {name for name, m in backbone.named_modules() if isinstance(m, TiedBlockConv2d)}
    expected = {
        f'{name}.{i}.{conv}' for name in backbone.res_layers for i in range(3) for conv in ('conv1', 'conv2.conv')
    }
    assert expected <= tied
    assert all(name.endswith(('.conv1', '.conv2.conv')) for name in tied)
    assert len(tied) == 2 * 16
    assert all(backbone.get_submodule(name).blocks == 2 for name in tied)


def test_avd_first_pools_before_the_3x3():
    sizes = {}
    for first in (True, False):
        block = TiedResNeSt(50, avd_first=first, **SMALL).layer2[0]
        block.conv2.register_forward_hook(lambda module, args, out, first=first: sizes.update({first: out.shape[2:]}))
        assert block(torch.randn(2, 64, 9, 7)).shape == (2, 128, 5, 4)
    assert sizes == {True: (5, 4), False: (9, 7)}


@pytest.mark.parametrize(
    'options',
    [
        dict(avd_first=True),
        dict(style='caffe'),
        dict(norm_cfg=dict(type='GN', num_groups=4)),
        dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
        dict(groups=2, base_width=8, stem_channels=32),
        dict(blocks=4, entry_blocks=4),
    ],
)
def test_mmdetections_options_keep_working(options):
    backbone = TiedResNeSt(50, **SMALL, **options)
    outs = features(backbone)
    assert [o.shape[1] for o in outs] == list(backbone.out_channels)
    assert [tuple(o.shape[2:]) for o in outs] == [(-(-65 // s), -(-97 // s)) for s in backbone.out_strides]
    sum(o.sum() for o in outs).backward()
    assert all(p.grad is not None for p in blocks_of(backbone)[0].parameters())


def test_deformable_convolution_and_plugins():
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    plugins = [
        dict(cfg=dict(type='ContextBlock', ratio=1 / 4, postfix=f'_{i}'), position=f'after_conv{i}') for i in (1, 2, 3)
    ]
    stage_with_dcn = (False, False, True, True)
    backbone = TiedResNeSt(
        50, dcn=dcn, stage_with_dcn=stage_with_dcn, plugins=plugins, groups=2, base_width=16, **SMALL
    )
    assert dcn == dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    block = backbone.layer3[1]
    assert [getattr(block, f'context_block_{i}').in_channels for i in (1, 2, 3)] == [128, 128, 256]
    assert block.conv2.conv.layer.weight.shape == (128, 16, 3, 3)  # 128 channels, radix 2, B = 2, 4 groups
    sum(o.sum() for o in features(backbone, (2, 3, 64, 64))).backward()
    assert block.conv2.conv.layer.conv_offset.weight.grad is not None


def test_initialisation_is_kaiming_with_a_zero_residual():
    for zero in (True, False):
        backbone = TiedResNeSt(50, zero_init_residual=zero, **SMALL)
        backbone.init_weights()
        assert all(block.norm3.weight.max() == (0 if zero else 1) for block in blocks_of(backbone))
    conv = backbone.layer4[0].conv2.conv
    assert conv.weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.05)  # as Conv2d with groups has it


def test_channels_last_is_kept_throughout_and_equal_with_radix_1():
    backbone = TiedResNeSt(50, radix=1, **SMALL).eval().double()
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    wrong = []

    def look(module, _, out):
        if isinstance(out, torch.Tensor) and not out.is_contiguous(memory_format=torch.channels_last):
            wrong.append(module)

    with torch.no_grad():
        expected = backbone(x)
        backbone.to(memory_format=torch.channels_last)
        for module in backbone.modules():
            module.register_forward_hook(look)
        outs = backbone(x.contiguous(memory_format=torch.channels_last))
    assert not wrong
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(expected, outs, strict=True))


def test_an_empty_batch_passes():
    backbone = TiedResNeSt(50, **SMALL).eval()
    with torch.no_grad():
        assert backbone(torch.empty(0, 3, 64, 64))[1].shape == (0, 128, 8, 8)


def test_onnx_export_of_split_attention_has_dynamic_batch_and_size(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    layer = TiedSplitAttentionConv2d(8, 2, stride=1, dilation=1, groups=1, radix=2, dcn=None).eval()
    path = tmp_path / 'layer.onnx'
    dynamic = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    x = torch.randn(2, 8, 16, 24)
    torch.onnx.export(layer, (x,), path, dynamo=True, dynamic_shapes=(dynamic,), input_names=['x'], verbose=False)
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((2, 8, 16, 24), (3, 8, 21, 17)):
        x = torch.randn(size)
        (y,) = session.run(None, {'x': x.numpy()})
        assert torch.allclose(torch.from_numpy(y), layer(x), atol=1e-4)


def test_one_image_is_attended_to_by_running_statistics():
    layer = TiedSplitAttentionConv2d(8, 2, stride=1, dilation=1, groups=1, radix=2, dcn=None).double()
    nn.init.uniform_(layer.norm1.running_var, 1, 2)
    x = torch.randn(1, 8, 6, 5, dtype=torch.float64)
    with pytest.raises(ValueError, match='more than 1 value per channel'):  # as without the exception
        layer.norm1(layer.fc1(x.mean((2, 3), keepdim=True)))
    before = [b.clone() for b in layer.norm1.buffers()]
    out = layer(x)
    assert all(map(torch.equal, before, layer.norm1.buffers()))
    layer.norm1.eval()
    assert torch.equal(out, layer(x))


def test_group_norm_sees_more_than_one_value_of_one_image():
    norm_cfg = dict(type='GN', num_groups=32)  # as many as the attention has channels
    layer = TiedSplitAttentionConv2d(64, 2, 1, 1, groups=1, radix=2, dcn=None, norm_cfg=norm_cfg)
    assert (layer.norm0.num_groups, layer.norm1.num_groups) == (32, 1)
    x = torch.randn(2, 64, 5, 4)
    assert torch.allclose(layer(x)[:1], layer(x[:1]), atol=1e-5)


def test_the_shortcut_is_resnests():
    backbone = TiedResNeSt(50, **SMALL).eval()
    block = backbone.layer2[0]
    nn.init.zeros_(block.norm3.weight)
    x = torch.randn(2, 64, 9, 7)
    with torch.no_grad():
        assert torch.equal(block(x), F.relu(block.downsample(x)))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=18), 'depths 50, 101, 152, 200, not 18'),
        (dict(depth=50, conv_cfg=dict(type='ConvWS')), 'conv_cfg cannot apply'),
        (dict(depth=50, plugins=[dict(cfg=dict(type='TiedSE'), position='after_conv4')]), "not 'after_conv4'"),
        (dict(depth=50, deep_stem=False), 'deep_stem cannot be set'),
        (dict(depth=50, avd_first=True, avg_down_stride=False), 'avg_down_stride=False removes'),
        (dict(depth=50, entry_blocks=3), 'blocks = 3'),
        (dict(depth=50, blocks=0), 'blocks must be a positive integer'),
    ],
)
def test_arguments_that_cannot_apply_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TiedResNeSt(**options)
