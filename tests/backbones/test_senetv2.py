"""SEResNet and SaEResNet: a count by hand, MMDetection's ResNet and ResNeXt as special cases, and their options."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import ResNet, ResNeXt
from torch import nn

from mmhybrid.backbones import SaEResNet, SEResNet

NARROW = dict(base_channels=8)
KINDS = {
    'sae18': lambda **options: SaEResNet(18, **NARROW, **options),
    'sae50': lambda **options: SaEResNet(50, **NARROW, **options),
    'sae_next50': lambda **options: SaEResNet(50, groups=4, base_width=2, **NARROW, **options),
    'tied_se50': lambda **options: SEResNet(50, blocks=4, **NARROW, **options),
}
each_kind = pytest.mark.parametrize('make', KINDS.values(), ids=KINDS)


def count(module):
    return sum(p.numel() for p in module.parameters())


def features(backbone, size=(2, 3, 65, 97)):
    x = torch.randn(size, generator=torch.Generator().manual_seed(1))
    return backbone(x.to(next(backbone.parameters()).dtype))


def blocks_of(backbone):
    return [block for name in backbone.res_layers for block in getattr(backbone, name)]


def test_parameters_against_a_sum_by_hand():
    """SaE-ResNet-50 with its classifier, added up from the article's tables."""
    total, inplanes = 3 * 64 * 49 + 2 * 64, 64
    for stage, num_blocks in enumerate((3, 4, 6, 3)):
        planes = 64 * 2**stage
        c = 4 * planes
        for block in range(num_blocks):
            total += inplanes * planes + 9 * planes * planes + planes * c + 2 * (2 * planes + c)
            total += (inplanes * c + 2 * c) if block == 0 else 0
            total += 4 * (c + 1) * (c // 32) + (4 * c // 32 + 1) * c  # four squeezes and one excitation
            inplanes = c
    assert total + 2_049_000 == 30_603_912
    with torch.device('meta'):
        assert count(SaEResNet(50)) == total


@pytest.mark.parametrize(
    ('make', 'plain'),
    [
        (lambda: SaEResNet(18, **NARROW), lambda: ResNet(18, **NARROW)),
        (lambda: SEResNet(50, **NARROW), lambda: ResNet(50, **NARROW)),
        (
            lambda: SaEResNet(50, groups=4, base_width=16, **NARROW),
            lambda: ResNeXt(depth=50, groups=4, base_width=16, **NARROW),
        ),
    ],
    ids=['basic', 'bottleneck', 'resnext'],
)
def test_with_an_open_gate_it_is_mmdetections_resnet(make, plain):
    gated, plain = make().eval(), plain()
    plain.eval()
    for block in blocks_of(gated):
        nn.init.zeros_(block.attention.excite.weight)
        nn.init.constant_(block.attention.excite.bias, 100)  # sigmoid(100) is 1
    weights = {name: p for name, p in gated.state_dict().items() if '.attention.' not in name}
    plain.load_state_dict(weights)  # strict: every other parameter has ResNet's name and shape
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(features(gated), features(plain), strict=True))


@each_kind
def test_the_attention_stands_before_the_shortcut(make):
    backbone = make().eval()
    block, last_norm = backbone.layer2[0], 'norm2' if backbone.depth == 18 else 'norm3'
    seen = {}
    getattr(block, last_norm).register_forward_hook(lambda *args: seen.update(branch=args[2]))
    x = torch.randn(2, 8 * block.expansion, 9, 7)
    with torch.no_grad():
        out = block(x)
        assert torch.equal(out, F.relu(block.attention(seen['branch']) + block.downsample(x)))


def test_the_authors_gate_is_passed_on():
    for backbone in (SaEResNet(18, residual_gate=True, **NARROW), SEResNet(18, residual_gate=True, **NARROW)):
        assert all(block.attention.residual_gate for block in blocks_of(backbone))


@pytest.mark.parametrize(
    ('options', 'channels', 'strides'),
    [
        (dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,)), (128,), (16,)),
        (dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)), (32, 64, 128, 256), (4, 8, 16, 16)),
        (dict(style='caffe', deep_stem=True, avg_down=True), (32, 64, 128, 256), (4, 8, 16, 32)),
        (dict(norm_cfg=dict(type='GN', num_groups=4)), (32, 64, 128, 256), (4, 8, 16, 32)),
        (dict(conv_cfg=dict(type='ConvWS')), (32, 64, 128, 256), (4, 8, 16, 32)),
        (dict(reduction=8, cardinality=2), (32, 64, 128, 256), (4, 8, 16, 32)),
    ],
)
def test_mmdetections_options_keep_working(options, channels, strides):
    backbone = SaEResNet(50, groups=2, base_width=4, **NARROW, **options)
    assert (backbone.out_channels, backbone.out_strides) == (channels, strides)
    outs = features(backbone, (2, 3, 64, 96))
    assert [(o.shape[1], 64 // o.shape[2]) for o in outs] == list(zip(channels, strides, strict=True))
    sum(o.sum() for o in outs).backward()


def test_plugins_and_deformable_convolution():
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    plugins = [
        dict(cfg=dict(type='ContextBlock', ratio=1 / 4, postfix=f'_{i}'), position=f'after_conv{i}') for i in (1, 2, 3)
    ]
    backbone = SaEResNet(
        50, groups=4, base_width=4, dcn=dcn, stage_with_dcn=(False, False, True, True), plugins=plugins, base_channels=8
    )
    assert dcn == dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    kinds = [type(block.conv2).__name__ for block in blocks_of(backbone)]
    # The first block of each of the last two stages has stride 2.
    assert [kind == 'Conv2d' for kind in kinds] == [True] * 8 + [False] * 5 + [True] + [False] * 2
    block = backbone.layer3[1]
    assert [getattr(block, f'context_block_{i}').in_channels for i in (1, 2, 3)] == [64, 64, 128]
    sum(o.sum() for o in features(backbone, (1, 3, 64, 64))).backward()
    assert block.conv2.conv_offset.weight.grad is not None
    assert block.context_block_3.conv_mask.weight.grad is not None


@pytest.mark.parametrize(('make', 'last'), [(KINDS['sae18'], 'norm2'), (KINDS['sae50'], 'norm3')])
def test_zero_init_residual(make, last):
    for zero in (True, False):
        backbone = make(zero_init_residual=zero)
        backbone.init_weights()
        assert all(getattr(block, last).weight.max() == (0 if zero else 1) for block in blocks_of(backbone))
        assert backbone.layer1[0].norm1.weight.min() == 1


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: SaEResNet(26), 'SaEResNet has depths 18, 34, 50, 101, 152, not 26'),
        (lambda: SEResNet(18, groups=32), 'groups cannot apply to SEResNet of depth 18'),
        (lambda: SaEResNet(34, dcn=dict(type='DCNv2')), 'dcn cannot apply to SaEResNet of depth 34'),
        (lambda: SaEResNet(34, plugins=[dict(position='after_conv3')]), 'plugins cannot apply'),
        (lambda: SaEResNet(50, groups=0), 'groups must be a positive integer'),
        (lambda: SaEResNet(50, cardinality=0), 'cardinality must be a positive integer'),
        (lambda: SEResNet(50, blocks=3), 'not divisible by blocks = 3'),
    ],
)
def test_arguments_that_cannot_apply_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match='blocks'):
        SaEResNet(50, blocks=2)
