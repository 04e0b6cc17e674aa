"""TiedResNeXt: exact counts, its tied group convolutions against dense ones, and MMDetection's options."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmhybrid.backbones.tied_resnext import TiedGroupBlocks, TiedResNeXt
from mmhybrid.layers import TiedBlockConv2d

SMALL = dict(base_channels=16, base_width=8, groups=8)  # splits 4 wide in the first stage, 2 groups each


def count(module):
    return sum(p.numel() for p in module.parameters())


def features(backbone, size=(2, 3, 65, 97)):
    return backbone(torch.randn(size, generator=torch.Generator().manual_seed(1)))


def stages(backbone):
    return [getattr(backbone, name) for name in backbone.res_layers]


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
    ('depth', 'base_width', 'parameters', 'giga_multiply_adds'),
    [
        # As 1000-class classifiers (2,049,000 more), 20.42M / 3.63G and 12.85M / 2.18G.
        (50, 64, 20_422_892 - 2_049_000, 3.63),
        (50, 36, 12_850_498 - 2_049_000, 2.18),
        (101, 64, 34_560_908 - 2_049_000, 6.86),
    ],
)
def test_parameters_and_multiply_adds(depth, base_width, parameters, giga_multiply_adds):
    with torch.device('meta'):
        backbone = TiedResNeXt(depth, base_width=base_width)
    assert count(backbone) == parameters
    assert round((multiply_adds(backbone) + 2048 * 1000) / 1e9, 2) == giga_multiply_adds


def test_parameters_against_a_sum_by_hand():
    """The count of TiedResNeXt-50-S with the divisors written out."""
    blocks = [(1, 2, 3, 6), (1, 2, 4, 6), (1, 2, 4, 8), (1, 2, 4, 8)]
    groups = [(2, 1, 2, 1), (4, 2, 1, 2), (8, 4, 2, 1), (8, 8, 4, 2)]
    total, inplanes = 3 * 64 * 49 + 2 * 64, 64
    for stage, num_blocks in enumerate((3, 4, 6, 3)):
        planes, w = 64 * 2**stage, 18 * 2**stage
        for block in range(num_blocks):
            total += inplanes * 4 * w // 4 + 2 * 4 * w  # entry, B = 2, and its BN
            for b, g in zip(blocks[stage], groups[stage], strict=True):
                thin = w // b // g
                total += 9 * g * thin * thin + 2 * w  # one filter for each group, and the split's BN
            total += 9 * w * w + 2 * w  # mixer
            total += 4 * w * 4 * planes + 2 * 4 * planes  # exit
            total += (inplanes * 4 * planes + 2 * 4 * planes) if block == 0 else 0  # projection
            inplanes = 4 * planes
    backbone = TiedResNeXt(50, base_width=36)
    assert count(backbone) == total == 12_850_498 - 2_049_000
    convs = [stage[0].conv2.convs for stage in stages(backbone)]
    assert [tuple(conv.blocks for conv in split) for split in convs] == blocks
    assert [tuple(conv.groups for conv in split) for split in convs] == groups


def test_groups_of_the_default():
    convs = [stage[0].conv2.convs for stage in stages(TiedResNeXt(50))]
    assert [[conv.blocks for conv in split] for split in convs] == [[1, 2, 4, 8]] * 4
    # A filter of stage 1 with B = 8 has 4 of 32 channels, which 8 groups do not divide.
    assert [[conv.groups for conv in split] for split in convs] == [[8, 8, 8, 4]] + [[8] * 4] * 3


def test_the_split_stage_is_its_equation():
    stage = TiedResNeXt(50, **SMALL).double().layer2[0].conv2
    assert [(c.blocks, c.groups) for c in stage.convs] == [(1, 2), (2, 2), (4, 2), (8, 1)]
    x = torch.randn(2, 32, 6, 5, dtype=torch.float64)
    ys = []
    for conv, part in zip(stage.convs, x.split(8, dim=1), strict=True):
        thin_filters = conv.weight.chunk(conv.groups)  # W'_g
        blocks = part.unflatten(1, (conv.groups, conv.blocks, -1))  # X_gb
        y = [
            F.conv2d(blocks[:, g, b], thin_filters[g], stride=2, padding=1)
            for g in range(conv.groups)
            for b in range(conv.blocks)
        ]
        ys.append(F.relu(nn.BatchNorm2d(8).double()(torch.cat(y, 1))))  # as the common norm begins
    mixed = stage.mixer(ys[0] + ys[1] + ys[2] + ys[3])
    assert torch.allclose(stage(x), torch.cat([y + mixed for y in ys], 1), atol=1e-10)


def test_tied_group_blocks_of_a_convolution_is_tgc():
    tied = TiedBlockConv2d(24, 48, 3, stride=2, groups=3, blocks=4)
    wrapped = TiedGroupBlocks(nn.Conv2d(6, 12, 3, stride=2, groups=3), blocks=4, groups=3)
    wrapped.layer.load_state_dict(tied.state_dict())
    x = torch.randn(2, 24, 7, 9)
    assert torch.allclose(wrapped(x), tied(x), atol=1e-6)


@pytest.mark.parametrize(
    'options',
    [
        dict(style='caffe'),
        dict(deep_stem=True, avg_down=True, mixer='concat'),
        dict(norm_cfg=dict(type='GN', num_groups=2)),
        dict(splits=2, blocks=(1, 4), entry_blocks=4),
        dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
    ],
)
def test_mmdetections_options_keep_working(options):
    backbone = TiedResNeXt(50, **SMALL, **options)
    outs = features(backbone)
    assert [o.shape[1] for o in outs] == list(backbone.out_channels)
    assert [tuple(o.shape[2:]) for o in outs] == [(-(-65 // s), -(-97 // s)) for s in backbone.out_strides]
    sum(o.sum() for o in outs).backward()


def test_deformable_convolution_and_plugins():
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    plugins = [dict(cfg=dict(type='ContextBlock', ratio=1 / 4), position='after_conv2')]
    stage_with_dcn = (False, False, True, True)
    backbone = TiedResNeXt(50, dcn=dcn, stage_with_dcn=stage_with_dcn, plugins=plugins, **SMALL)
    kinds = [[type(block.conv2.convs[1]).__name__ for block in stage] for stage in stages(backbone)]
    assert set(kinds[1]) == {'TiedBlockConv2d'}
    assert kinds[2] == ['TiedBlockConv2d'] + ['TiedGroupBlocks'] * 5  # the first block has stride 2
    deformable = backbone.layer3[1].conv2.convs[1]
    assert deformable.layer.weight.shape == (8, 4, 3, 3)  # 16 channels, B = 2, 2 groups
    assert backbone.layer3[1].context_block.in_channels == 64
    sum(o.sum() for o in features(backbone, (1, 3, 64, 64))).backward()
    assert deformable.layer.conv_offset.weight.grad is not None


def test_initialisation_is_kaiming_with_a_zero_residual():
    backbone = TiedResNeXt(50, **SMALL)
    backbone.init_weights()
    assert all(block.norm3.weight.abs().max() == 0 for stage in stages(backbone) for block in stage)
    conv = backbone.layer4[0].conv2.convs[0]
    assert conv.weight.std().item() == pytest.approx((2 / (32 * 9)) ** 0.5, rel=0.05)  # as Conv2d with groups has it


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=18), 'depths 50, 101, 152, not 18'),
        (dict(depth=50, groups=30), 'positive multiple of the 4 splits, not 30'),
        (dict(depth=50, base_width=1), 'base_width must be at least 2'),
        (dict(depth=50, blocks=(1, 2)), 'each of the 4 splits, not 2'),
        (dict(depth=50, conv_cfg=dict(type='ConvWS')), 'conv_cfg cannot apply'),
    ],
)
def test_arguments_that_cannot_apply_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TiedResNeXt(**options)
