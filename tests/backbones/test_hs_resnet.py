"""HS-ResNet: exact counts, ResNet as the special case of one group, MMDetection's options."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import ResNet
from torch import nn

from mmhybrid.backbones.hs_resnet import HSResNet

SMALL = dict(base_channels=16, base_width=5)  # narrow and as deep, with odd widths
RESNET_D = dict(deep_stem=True, avg_down=True)
TWO_STAGES = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))


def features(backbone, size=(2, 3, 65, 97), dtype=torch.float32):
    return backbone(torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(1)))


def equal(a, b, atol=1e-4):
    return len(a) == len(b) and all(torch.allclose(x, y, atol=atol) for x, y in zip(a, b, strict=True))


def stages(backbone):
    return [getattr(backbone, name) for name in backbone.res_layers]


def by_hand(w, s, blocks=(3, 4, 6, 3), resnet_d=False):
    """A classifier added up from the article's description of the block."""
    stem = 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * (32 + 32 + 64) if resnet_d else 49 * 3 * 64 + 2 * 64
    total, inplanes = stem + 2048 * 1000 + 1000, 64
    for stage, num_blocks in enumerate(blocks):
        planes, width = 64 * 2**stage, w * 2**stage
        for block in range(num_blocks):
            total += inplanes * s * width + 2 * s * width  # 1x1
            channels = width
            for _ in range(2, s + 1):  # the groups after the first
                total += 9 * channels * channels + 2 * channels
                if block > 0 or stage == 0:  # stride 1: half of what this group gives goes to the next
                    channels = width + channels // 2
            total += s * width * 4 * planes + 2 * 4 * planes  # 1x1
            total += (inplanes * 4 * planes + 2 * 4 * planes) if block == 0 else 0  # projection
            inplanes = 4 * planes
    return total


@pytest.mark.parametrize(
    ('options', 'parameters', 'expected'),
    [
        (dict(depth=50), 23_246_964, by_hand(14, 6)),
        (dict(depth=50, **RESNET_D), 23_266_196, by_hand(14, 6, resnet_d=True)),
        (dict(depth=50, base_width=28), 53_807_313, by_hand(28, 6)),
        (dict(depth=50, base_width=28, **RESNET_D), 53_826_545, by_hand(28, 6, resnet_d=True)),
        (dict(depth=50, base_width=24, splits=4, **RESNET_D), 27_549_936, by_hand(24, 4, resnet_d=True)),
        (dict(depth=101), 41_506_919, by_hand(14, 6, (3, 4, 23, 3))),
        (dict(depth=152), 56_546_266, by_hand(14, 6, (3, 8, 36, 3))),
        (dict(depth=50, splits=1, base_width=64), 25_557_032, 25_557_032),  # ResNet-50's
    ],
)
def test_parameters(options, parameters, expected):
    with torch.device('meta'):
        backbone = HSResNet(**options)
    assert sum(p.numel() for p in backbone.parameters()) + 2048 * 1000 + 1000 == parameters == expected


@pytest.mark.parametrize('options', [{}, RESNET_D, dict(style='caffe'), dict(dilations=(1, 1, 2, 4))], ids=str)
def test_one_group_is_resnet(options):
    options = dict(base_channels=16, **options)
    split, plain = HSResNet(50, splits=1, base_width=16, **options).double().eval(), ResNet(50, **options).double()
    plain.eval()
    for m in plain.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean, std=0.1)
            nn.init.uniform_(m.running_var, 0.5, 2)

    def renamed(key):
        if not key.startswith('layer'):
            return key
        return key.replace('conv2.', 'conv2.convs.0.').replace('bn2.', 'conv2.norms.0.')

    split.load_state_dict({renamed(k): v for k, v in plain.state_dict().items()})
    with torch.no_grad():
        expected = features(plain, dtype=torch.float64)
        assert equal(features(split, dtype=torch.float64), expected, atol=1e-12 * max(x.max() for x in expected))


@pytest.mark.parametrize('index', [0, 1])
def test_a_block_is_1x1_split_1x1_and_shortcut(index):
    block = HSResNet(50, **SMALL).double().eval().layer2[index]
    x = torch.randn(2, (64, 128)[index], 9, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    out = F.conv2d(x, block.conv1.weight)
    out = block.conv2(block.bn1(out).relu())
    out = block.bn3(F.conv2d(out, block.conv3.weight))
    assert block.conv2.stride == (2, 1)[index]
    assert block.conv2.conv_channels == ((10,) * 5, (10, 15, 17, 18, 19))[index]
    shortcut = x if index else block.downsample(x)
    assert torch.allclose(block(x), (out + shortcut).relu(), atol=1e-12)


def test_depth_152_has_the_same_outputs():
    backbone = HSResNet(152, **SMALL).eval()
    with torch.no_grad():
        shapes = [tuple(o.shape[1:]) for o in features(backbone)]
    assert shapes == [(64, 17, 25), (128, 9, 13), (256, 5, 7), (512, 3, 4)]
    assert (backbone.out_channels, backbone.out_strides) == ((64, 128, 256, 512), (4, 8, 16, 32))


@pytest.mark.parametrize(
    'options',
    [
        dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
        dict(strides=(1, 2, 2, 2), dilations=(1, 1, 2, 2)),  # stride and dilation in one block
        dict(style='caffe'),
        RESNET_D,
        dict(norm_cfg=dict(type='GN', num_groups=1)),
        dict(conv_cfg=dict(type='ConvWS')),
        dict(splits=2),
        dict(splits=1),
    ],
    ids=str,
)
def test_options_keep_working(options):
    backbone = HSResNet(50, **SMALL, norm_eval=False, **options)
    outs = features(backbone, (2, 3, 64, 96))
    assert backbone.out_channels == tuple(o.shape[1] for o in outs)
    assert backbone.out_strides == tuple(64 // o.shape[2] for o in outs)
    sum(o.square().mean() for o in outs).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in backbone.parameters())


def test_conv_cfg_reaches_every_convolution():
    backbone = HSResNet(50, conv_cfg=dict(type='ConvWS'), **SMALL)
    assert {type(m).__name__ for m in backbone.modules() if isinstance(m, nn.Conv2d)} == {'ConvWS2d'}


def test_deformable_convolution_replaces_the_split_convolutions():
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    backbone = HSResNet(50, dcn=dcn, stage_with_dcn=(False, False, True, True), **SMALL)
    assert dcn == dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    deformable = [
        [{hasattr(conv, 'conv_offset') for conv in block.conv2.convs} for block in stage] for stage in stages(backbone)
    ]
    no, yes = {False}, {True}
    assert deformable == [[no] * 3, [no] * 4, [no] + [yes] * 5, [no] + [yes] * 2]  # first blocks have stride 2
    sum(o.sum() for o in features(backbone, (1, 3, 64, 64))).backward()
    assert backbone.layer3[1].conv2.convs[4].conv_offset.weight.grad is not None


def test_plugins_get_the_channels_of_their_position():
    context = dict(type='ContextBlock', ratio=1 / 4)
    plugins = [
        dict(cfg=dict(context, postfix=f'_{i}'), stages=(False, True, False, False), position=f'after_conv{i}')
        for i in (1, 2, 3)
    ]
    backbone = HSResNet(50, plugins=plugins, **SMALL)
    contexts = [getattr(backbone.layer2[0], f'context_block_{i}') for i in (1, 2, 3)]
    assert [m.in_channels for m in contexts] == [60, 60, 128]
    assert not hasattr(backbone.layer1[0], 'context_block_1')
    sum(o.sum() for o in features(backbone, (1, 3, 64, 64))).backward()
    assert all(p.grad is not None for m in contexts for p in m.parameters())


def test_initialisation_is_kaiming_with_a_zero_residual():
    backbone = HSResNet(50)
    backbone.init_weights()
    conv = backbone.layer3[1].conv2.convs[2]
    assert conv.weight.std().item() == pytest.approx((2 / (98 * 9)) ** 0.5, rel=0.02)  # c_4 = 56 + 42 (fan out)
    assert all(block.norm3.weight.abs().max() == 0 for stage in stages(backbone) for block in stage)
    assert all(norm.weight.min() == 1 for norm in backbone.layer3[1].conv2.norms)
    kept = HSResNet(50, zero_init_residual=False, **SMALL)
    kept.init_weights()
    assert kept.layer1[0].norm3.weight.min() == 1


@pytest.mark.slow
def test_exports_with_dynamic_batch_and_size():
    backbone = HSResNet(50, **SMALL, **TWO_STAGES).eval()
    height, width = (torch.export.Dim(name, min=16) for name in 'hw')
    dynamic = {0: torch.export.Dim('n'), 2: height, 3: width}
    program = torch.export.export(backbone, (torch.randn(2, 3, 64, 96),), dynamic_shapes=(dynamic,))
    with torch.no_grad():
        assert equal(features(program.module(), (3, 3, 37, 53)), features(backbone, (3, 3, 37, 53)))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=18), 'depths 50, 101, 152, not 18'),
        (dict(splits=0), 'splits must be a positive integer'),
        (dict(base_width=1.5), 'base_width must be a positive integer'),
        (dict(base_width=1), 'width of at least 2'),
        (dict(norm_cfg=dict(type='GN', num_groups=4)), 'num_groups = 4 does not divide the 14 channels'),
        (dict(dcn=dict(type='DCNv2', deform_groups=2), stage_with_dcn=(True,) * 4), 'deform_groups = 2 does not'),
        (dict(dcn=dict(type='DCNv2'), conv_cfg=dict(type='ConvWS')), 'together with dcn'),
        (dict(plugins=[dict(cfg={}, position='end')]), 'position of a plugin'),
    ],
)
def test_arguments_that_cannot_apply_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HSResNet(**{'depth': 50, **options})
