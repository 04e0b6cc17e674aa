"""TiedResNet: its count by hand, MMDetection's options, and the split stage against its equation."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import ResNet
from torch import nn

from mmhybrid.backbones import TiedResNet
from mmhybrid.layers import TiedBlockConv2d

SMALL = dict(base_channels=16, base_width=8)  # a quarter of the channels: fast, and as deep


def count(module):
    return sum(p.numel() for p in module.parameters())


def features(backbone, size=(2, 3, 65, 97)):
    return backbone(torch.randn(size, generator=torch.Generator().manual_seed(1)))


def test_parameters_against_a_sum_by_hand():
    """The count of TiedResNet-50, added up from the article's description of the bottleneck."""
    total, inplanes = 3 * 64 * 49 + 2 * 64, 64
    for stage, num_blocks in enumerate((3, 4, 6, 3)):
        planes, w = 64 * 2**stage, 32 * 2**stage
        for block in range(num_blocks):
            total += inplanes * 4 * w // 4 + 2 * 4 * w  # entry, B = 2, and its BN
            total += sum(9 * (w // b) ** 2 + 2 * w for b in (1, 2, 4, 8))  # splits
            total += 9 * w * w + 2 * w  # mixer
            total += 4 * w * 4 * planes + 2 * 4 * planes  # exit
            total += (inplanes * 4 * planes + 2 * 4 * planes) if block == 0 else 0  # projection
            inplanes = 4 * planes
    assert count(TiedResNet(50)) == total


@pytest.mark.parametrize(
    ('mixer', 'per_block'),
    [
        (None, lambda w: 0),
        ('sum1x1', lambda w: w * w + 2 * w),
        ('sum3x3', lambda w: 9 * w * w + 2 * w),
        ('concat', lambda w: 9 * 4 * w * w + 2 * w),
    ],
)
def test_mixers_cost_what_they_are(mixer, per_block):
    bare = count(TiedResNet(50, mixer=None, **SMALL))
    mixers = sum(n * per_block(8 * 2**stage) for stage, n in enumerate((3, 4, 6, 3)))
    assert count(TiedResNet(50, mixer=mixer, **SMALL)) == bare + mixers


def batch_norm(norm, i, y):
    """A norm for split i alone, with its part of the parameters of the common one."""
    part = slice(8 * i, 8 * i + 8)
    return F.batch_norm(y, None, None, norm.weight[part], norm.bias[part], training=True, eps=norm.eps)


@pytest.mark.parametrize('mixer', [None, 'sum1x1', 'sum3x3', 'concat'])
def test_the_split_stage_is_its_equation(mixer):
    torch.manual_seed(0)
    stage = TiedResNet(50, mixer=mixer, **SMALL).double().layer1[0].conv2
    for p in (stage.norm.weight, stage.norm.bias):
        nn.init.uniform_(p, 0.5, 1.5)
    x = torch.randn(2, 32, 6, 5, dtype=torch.float64)
    ys = [F.relu(batch_norm(stage.norm, i, stage.convs[i](x[:, 8 * i : 8 * i + 8]))) for i in range(4)]
    mixed = torch.zeros(())
    if mixer is not None:
        conv, norm, _ = stage.mixer
        mixed = F.relu(norm(conv(torch.cat(ys, 1) if mixer == 'concat' else ys[0] + ys[1] + ys[2] + ys[3])))
    assert torch.allclose(stage(x), torch.cat([y + mixed for y in ys], 1), atol=1e-10)
    assert [conv.blocks for conv in stage.convs] == [1, 2, 4, 8]


def test_blocks_adapt_to_narrow_splits():
    blocks = [[conv.blocks for conv in layer[0].conv2.convs] for layer in _stages(TiedResNet(50, base_width=18))]
    assert blocks == [[1, 2, 3, 6], [1, 2, 4, 6], [1, 2, 4, 8], [1, 2, 4, 8]]


def _stages(backbone):
    return [getattr(backbone, name) for name in backbone.res_layers]


@pytest.mark.parametrize(
    ('options', 'channels', 'strides'),
    [
        (dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)), (256,), (16,)),
        (dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)), (64, 128, 256, 512), (4, 8, 16, 16)),
        (dict(style='caffe'), (64, 128, 256, 512), (4, 8, 16, 32)),
        (dict(deep_stem=True, avg_down=True), (64, 128, 256, 512), (4, 8, 16, 32)),
        (dict(norm_cfg=dict(type='GN', num_groups=4)), (64, 128, 256, 512), (4, 8, 16, 32)),
        (dict(splits=2, blocks=(1, 4), entry_blocks=4), (64, 128, 256, 512), (4, 8, 16, 32)),
    ],
)
def test_mmdetections_options_keep_working(options, channels, strides):
    backbone = TiedResNet(50, **SMALL, **options)
    assert backbone.out_channels == channels
    assert backbone.out_strides == strides
    outs = features(backbone, (2, 3, 64, 96))
    assert [(o.shape[1], 64 // o.shape[2]) for o in outs] == list(zip(channels, strides, strict=True))
    sum(o.sum() for o in outs).backward()


def test_deformable_convolution_replaces_the_split_convolutions():
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    backbone = TiedResNet(50, dcn=dcn, stage_with_dcn=(False, False, True, True), **SMALL)
    assert dcn == dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    kinds = [[type(block.conv2.convs[3]).__name__ for block in stage] for stage in _stages(backbone)]
    assert set(kinds[1]) == {'TiedBlockConv2d'}
    assert kinds[2] == ['TiedBlockConv2d'] + ['TiedBlocks'] * 5  # the first block has stride 2
    deformable = backbone.layer3[1].conv2.convs[3]
    assert deformable.layer.weight.shape == (4, 4, 3, 3)  # 32 channels, B = 8
    outs = features(backbone, (1, 3, 64, 64))
    sum(o.sum() for o in outs).backward()
    assert deformable.layer.conv_offset.weight.grad is not None


def test_plugins_get_the_channels_of_their_position():
    def plugin(position, postfix):
        return dict(
            cfg=dict(type='ContextBlock', ratio=1 / 4, postfix=postfix),
            stages=(False, True, False, False),
            position=position,
        )

    positions = ('after_conv1', 'after_conv2', 'after_conv3')
    plugins = [plugin(position, f'_{i}') for i, position in enumerate(positions)]
    backbone = TiedResNet(50, plugins=plugins, base_channels=16, base_width=10, entry_blocks=2)
    block = backbone.layer2[0]
    assert [getattr(block, f'context_block_{i}').in_channels for i in range(3)] == [80, 80, 128]
    assert not hasattr(backbone.layer1[0], 'context_block_0')
    features(backbone, (1, 3, 64, 64))


def test_initialisation_is_kaiming_with_a_zero_residual():
    backbone = TiedResNet(50)
    backbone.init_weights()
    conv = backbone.layer3[0].conv2.convs[1]
    assert isinstance(conv, TiedBlockConv2d)
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)  # fan out of the thin filter
    assert all(block.norm3.weight.abs().max() == 0 for stage in _stages(backbone) for block in stage)
    kept = TiedResNet(50, zero_init_residual=False, **SMALL)
    kept.init_weights()
    assert kept.layer1[0].norm3.weight.min() == 1


def test_the_shortcut_is_resnets():
    """With zero residuals, a stage is the projection and ReLU of MMDetection's own ResNet."""
    tied, plain = TiedResNet(50, **SMALL).eval(), ResNet(50, base_channels=16)
    plain.eval()
    for backbone in (tied, plain):
        for name in backbone.res_layers:
            for block in getattr(backbone, name):
                nn.init.zeros_(block.norm3.weight)
    shared = {k: v for k, v in tied.state_dict().items() if 'downsample' in k or k.startswith(('conv1', 'bn1'))}
    plain.load_state_dict(shared, strict=False)
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(features(tied), features(plain), strict=True))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(depth=18), 'depths 50, 101, 152, not 18'),
        (dict(depth=50, mixer='sum5x5'), "not 'sum5x5'"),
        (dict(depth=50, blocks=(1, 2)), 'each of the 4 splits, not 2'),
        (dict(depth=50, conv_cfg=dict(type='ConvWS')), 'conv_cfg cannot apply'),
        (dict(depth=50, entry_blocks=3), 'blocks = 3'),
        (dict(depth=50, plugins=[dict(cfg=dict(type='ContextBlock'), position='after_conv4')]), "not 'after_conv4'"),
        (dict(depth=50, base_width=0), 'base_width must be a positive integer'),
    ],
)
def test_arguments_that_cannot_apply_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TiedResNet(**options)
