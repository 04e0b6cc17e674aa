"""TiedResNet: exact counts, MMDetection's options, and the split stage against its equation."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import ResNet
from mmdet.registry import MODELS
from torch import nn

from mmhybrid.backbones import TiedResNet
from mmhybrid.layers import TiedBlockConv2d

SMALL = dict(base_channels=16, base_width=8)  # a quarter of the channels: fast, and as deep


def count(module):
    return sum(p.numel() for p in module.parameters())


def features(backbone, size=(2, 3, 65, 97)):
    return backbone(torch.randn(size, generator=torch.Generator().manual_seed(1)))


@pytest.mark.parametrize(
    ('depth', 'base_width', 'parameters'),
    [
        # With a 1000-class linear layer (2,049,000): 23.71M and 40.76M, the paper's "10% fewer than ResNet"
        # (25.557M and 44.549M), and 13,845,988, its "54% of ResNet-50".
        (50, 32, 23_710_808 - 2_049_000),
        (101, 32, 40_761_944 - 2_049_000),
        (152, 32, 52_759_408),
        (50, 18, 13_845_988 - 2_049_000),
        (101, 18, 19_967_273),
    ],
)
def test_parameters(depth, base_width, parameters):
    with torch.device('meta'):
        assert count(TiedResNet(depth, base_width=base_width)) == parameters


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


@pytest.mark.parametrize('mixer', [None, 'sum1x1', 'sum3x3', 'concat'])
def test_the_split_stage_is_its_equation(mixer):
    torch.manual_seed(0)
    stage = TiedResNet(50, mixer=mixer, **SMALL).double().layer1[0].conv2
    x = torch.randn(2, 32, 6, 5, dtype=torch.float64)
    ys = [F.relu(stage.norms[i](stage.convs[i](x[:, 8 * i : 8 * i + 8]))) for i in range(4)]
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


@pytest.mark.parametrize('depth', [50, 101, 152])
def test_is_registered_and_its_outputs_are_as_told(depth):
    backbone = MODELS.build(dict(type='TiedResNet', depth=depth, **SMALL)).eval()
    assert backbone.out_channels == (64, 128, 256, 512)
    assert backbone.out_strides == (4, 8, 16, 32)
    with torch.no_grad():
        outs = features(backbone)
    assert [o.shape[1] for o in outs] == list(backbone.out_channels)
    assert [tuple(o.shape[2:]) for o in outs] == [(-(-65 // s), -(-97 // s)) for s in backbone.out_strides]


@pytest.mark.parametrize(
    ('options', 'channels', 'strides'),
    [
        (dict(out_indices=(3, 1)), (128, 512), (8, 32)),
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


@pytest.mark.parametrize('norm_eval', [True, False])
def test_frozen_stages_and_norm_eval(norm_eval):
    backbone = TiedResNet(50, frozen_stages=1, norm_eval=norm_eval, **SMALL)
    assert backbone.train() is backbone  # MMDetection's ResNet returns None
    frozen = {name.split('.')[0] for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {'conv1', 'bn1', 'layer1'}
    assert all(m.training is not norm_eval for m in backbone.layer2.modules() if isinstance(m, nn.BatchNorm2d))
    assert not any(m.training for m in backbone.layer1.modules())
    before = backbone.layer1[0].bn1.running_mean.clone()
    sum(o.mean() for o in features(backbone)).backward()
    assert torch.equal(before, backbone.layer1[0].bn1.running_mean)
    assert backbone.layer1[0].conv1.weight.grad is None
    assert backbone.layer2[0].conv1.weight.grad is not None


def test_with_cp_gives_the_same_gradients():
    plain = TiedResNet(50, norm_eval=False, **SMALL).double()
    checkpointed = TiedResNet(50, norm_eval=False, with_cp=True, **SMALL).double()
    checkpointed.load_state_dict(plain.state_dict())
    grads = []
    for backbone in (plain, checkpointed):
        x = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        sum(o.square().mean() for o in backbone(x)).backward()
        grads.append([p.grad for p in backbone.parameters()])
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(*grads, strict=True))


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


def test_init_cfg_of_the_user_is_kept(tmp_path):
    source = TiedResNet(50, **SMALL)
    torch.save(source.state_dict(), tmp_path / 'backbone.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))
    loaded = TiedResNet(50, init_cfg=init_cfg, **SMALL)
    loaded.init_weights()
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.parameters(), strict=True))


def test_channels_last_is_kept_throughout_and_equal():
    backbone = TiedResNet(50, **SMALL).eval().double()
    x = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = backbone(x)
        backbone.to(memory_format=torch.channels_last)
        wrong = []

        def look(module, args, out):
            # A split's input is a slice of channels: contiguous in no format, but with neighbouring channels.
            if isinstance(out, torch.Tensor) and not out.is_contiguous(memory_format=torch.channels_last):
                wrong.append(module)
            if isinstance(args[0], torch.Tensor) and args[0].stride(1) != 1:
                wrong.append(module)

        for module in backbone.modules():
            module.register_forward_hook(look)
        outs = backbone(x.contiguous(memory_format=torch.channels_last))
    assert not wrong
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(expected, outs, strict=True))


def test_autocast_and_compile():
    backbone = TiedResNet(50, **SMALL).eval()
    compiled = torch.compile(backbone, fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        expected = features(backbone)
        assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(features(compiled), expected, strict=True))
        with torch.autocast('cpu', torch.bfloat16):
            assert all(o.dtype == torch.bfloat16 for o in features(backbone))


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


def test_unknown_arguments_are_refused():
    with pytest.raises(TypeError, match='scale'):
        TiedResNet(50, scale=4)
