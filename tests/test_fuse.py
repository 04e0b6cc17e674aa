"""Folding batch norms changes no output, folds all that the tables say, and leaves the rest alone."""

import copy

import pytest
import torch
from mmcv.cnn import ConvModule, build_conv_layer
from mmdet.registry import MODELS
from mmengine.model import MMDistributedDataParallel
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmhybrid
import mmhybrid.registry
from mmhybrid import zoo
from mmhybrid.backbones.hcgnet import ARCHS
from mmhybrid.errors import InputError
from mmhybrid.layers import SqueezeCell
from mmhybrid.layers.preact import PreActConv2d

from .test_zoo import every_name, image, narrow

SIZE = (2, 3, 48, 40)
# Batch norms that remain; of all classes that are not named, none.
REMAINING = {
    # Each SMG module's on the concatenation and the two on X', and the final one. SMG modules: those of the hybrid
    # blocks, and a transition between two of them.
    'HCGNet': lambda options: (
        3 * (sum(ARCHS[options['arch']]['blocks']) + len(ARCHS[options['arch']]['blocks']) - 1) + 1
    ),
}
# MMDetection's, narrow: batch norms before; none remains. A block has `depth` of them, and each stage a projection.
MMDET = {
    'ResNet-18': (dict(type='ResNet', depth=18), 20),
    'ResNet-50': (dict(type='ResNet', depth=50), 53),
    'ResNet-50-D': (dict(type='ResNetV1d', depth=50), 55),
    'ResNeXt-50': (dict(type='ResNeXt', depth=50, groups=4, base_width=4), 53),
    'Res2Net-50': (dict(type='Res2Net', depth=50, base_width=8), 1 + 2 + 4 + 16 * 5),
    'ResNeSt-50': (dict(type='ResNeSt', depth=50, stem_channels=16), 1 + 2 + 4 + 16 * 4),
}
DCN1, DCN2 = dict(type='DCN', deform_groups=1), dict(type='DCNv2', deform_groups=1)
IN_FIRST_STAGE = dict(stage_with_dcn=(True, False, False, False))
PLUGINS = [
    dict(cfg=dict(type='SqueezeExcite', postfix=i), position=f'after_conv{i}', stages=(True, False, False, True))
    for i in (1, 2, 3)
]
# Options that change which norm follows which convolution; batch norms that remain.
OPTIONS = {
    'tiedresnet50 dcn': ('tiedresnet50', dict(dcn=DCN2, **IN_FIRST_STAGE), 3),
    'tiedresnext50 dcn': ('tiedresnext50', dict(dcn=DCN2, **IN_FIRST_STAGE), 3),
    'tiedresnest50 dcn': ('tiedresnest50', dict(dcn=DCN2, **IN_FIRST_STAGE), 3),
    'tiedresnet50 splits': ('tiedresnet50', dict(mixer=None, blocks=(1, 2), splits=2, entry_blocks=1), 0),
    'tiedresnet50 concat': ('tiedresnet50', dict(mixer='concat', plugins=PLUGINS), 0),
    'tiedresnest50 radix': ('tiedresnest50', dict(radix=1, groups=2), 0),
    'dsnet50 dcn': ('dsnet50', dict(dcn=DCN1, **IN_FIRST_STAGE), 3),
    'ds2net50 dcn': ('ds2net50', dict(dcn=DCN2, plugins=PLUGINS, **IN_FIRST_STAGE), 0),
    'ds2net50 without X_0': ('ds2net50', dict(include_stage_input=False, shortcut_start='last'), 0),
    'ds2net50 GN': ('ds2net50', dict(shortcut_norm_cfg=dict(type='GN', num_groups=1)), 0),
    'ds2net50 style': ('ds2net50', dict(style='caffe', avg_down=True, norm_cfg=dict(type='SyncBN')), 0),
    'ds2res2net50 without X_0': ('ds2res2net50', dict(include_stage_input=False, dcn=DCN2, **IN_FIRST_STAGE), 0),
    'hsresnet50 dcn': ('hsresnet50', dict(dcn=DCN2, plugins=PLUGINS, **IN_FIRST_STAGE), 0),
    'sae_resnet50 style': ('sae_resnet50', dict(deep_stem=True, style='caffe', dcn=DCN2, **IN_FIRST_STAGE), 0),
}


def stirred(model):
    """Random norms, so that each one and its place matter; in evaluation."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.5, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.5, 1, generator=generator)
                module.weight.data[::3] *= -1
                nn.init.normal_(module.bias, 0, 0.3, generator=generator)
    model.eval()  # returns nothing in MMDetection's ResNet
    return model


def count(model):
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


def check(model, *inputs, remaining=0, call=lambda model, *inputs: model(*inputs)):
    """Compare a model, which is to stay as it is, with what ``fuse`` makes of it, in both precisions."""
    stirred(model)
    # With gradients on, layers may take other ways.
    for dtype, tolerance, gradients in ((torch.float32, 1e-5, False), (torch.float64, 1e-10, True)):
        with torch.set_grad_enabled(gradients):
            model = model.to(dtype)
            before = copy.deepcopy(model.state_dict())
            fused = mmhybrid.fuse(model)
            assert count(fused) == remaining
            after = model.state_dict()
            assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
            maps = [x.to(dtype) for x in inputs]
            pairs = list(zip(flat(call(model, *maps)), flat(call(fused, *maps)), strict=True))
            assert pairs
            for expected, out in pairs:
                assert out.dtype == dtype
                assert (out - expected).abs().max() <= tolerance * expected.abs().max()
    return fused


def flat(outs):
    if isinstance(outs, torch.Tensor):
        return [outs]
    return [tensor for out in outs for tensor in flat(out)]


@every_name
def test_every_backbone_of_the_zoo(name):
    variant = zoo.VARIANTS[name]
    backbone = narrow(name)
    remaining = REMAINING.get(variant.type, lambda options: 0)(variant.options)
    fused = check(backbone, image(SIZE), remaining=remaining)
    assert not any(module.training for module in fused.modules())


@pytest.mark.parametrize('name', MMDET)
def test_backbones_of_mmdetection(name):
    config, before = MMDET[name]
    backbone = MODELS.build(dict(base_channels=16, **config))
    assert count(backbone) == before
    check(backbone, image(SIZE))


@pytest.mark.parametrize('case', OPTIONS)
def test_options_that_move_norms(case):
    name, options, remaining = OPTIONS[case]
    backbone = narrow(name, **options)
    for module in backbone.modules():  # zero at first: nothing deforms, and no plug-in does anything
        if hasattr(module, 'conv_offset'):
            nn.init.normal_(module.conv_offset.weight, std=0.1)
    check(backbone, image(SIZE), remaining=remaining)


@pytest.mark.parametrize('name', ['tiedresnet50', 'ds2net50', 'hcgnet_a1'])
def test_group_norms_stay(name):
    backbone = narrow(name, norm_cfg=dict(type='GN', num_groups=1))
    fused = check(backbone, image(SIZE))
    assert sum(isinstance(m, nn.GroupNorm) for m in fused.modules()) == sum(
        isinstance(m, nn.GroupNorm) for m in backbone.modules()
    )


def test_norms_without_running_statistics_stay():
    backbone = narrow('sae_resnet18', norm_cfg=dict(type='BN', track_running_stats=False)).eval()
    assert count(mmhybrid.fuse(backbone)) == count(backbone)


def test_memory_format_and_type_are_kept():
    backbone = stirred(narrow('tiedresnext50')).bfloat16().to(memory_format=torch.channels_last)
    fused = mmhybrid.fuse(backbone)
    maps = [p for p in fused.parameters() if p.dim() == 4]
    assert {p.dtype for p in fused.parameters()} == {torch.bfloat16}
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in maps)


def test_a_fused_model_cannot_be_trained():
    fused = mmhybrid.fuse(narrow('sae_resnet18'))
    with pytest.raises(RuntimeError, match='does not require grad'):
        fused.train()(image(SIZE))[-1].sum().backward()


# A convolution and what follows it, as mmcv builds them


@pytest.mark.parametrize(
    ('options', 'folds'),
    [
        (dict(order=('conv', 'norm', 'act')), True),
        (dict(order=('act', 'conv', 'norm')), True),
        (dict(order=('norm', 'conv', 'act')), False),
        (dict(order=('conv', 'act', 'norm')), False),
        (dict(bias=True, padding_mode='reflect'), True),
        (dict(efficient_conv_bn_eval=True), True),
        (dict(with_spectral_norm=True), False),
        (dict(conv_cfg=dict(type='Conv')), True),
        (dict(conv_cfg=dict(type='ConvWS')), False),
        (dict(conv_cfg=dict(type='deconv')), False),
        (dict(conv_cfg=dict(type='TiedBlockConv', blocks=2), groups=2, stride=2, bias=True), True),
        (dict(conv_cfg=dict(type='TiedBlockConv', blocks=1), dilation=2), True),
    ],
    ids=lambda value: '-'.join(map(str, value)) if isinstance(value, dict) else '',
)
def test_conv_modules(options, folds):
    module = ConvModule(8, 8, 3, padding=options.get('dilation', 1), norm_cfg=dict(type='BN'), **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_()
    check(module, torch.randn(2, 8, 9, 9), remaining=0 if folds else 1)


def test_sequences_and_what_only_looks_like_one():
    class Doubled(nn.Sequential):
        def forward(self, x):
            return self[1](2 * self[0](x))

    def pair():
        return nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    check(nn.Sequential(*pair(), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.BatchNorm2d(4)), image(SIZE), remaining=1)
    check(Doubled(*pair()), image(SIZE), remaining=1)
    check(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 1)), image(SIZE), remaining=1)
    hooked = nn.Sequential(*pair())
    hooked[0].register_forward_hook(lambda module, args, out: 2 * out)
    check(hooked, image(SIZE), remaining=1)


def test_a_convolution_or_a_norm_in_two_places_is_left_alone():
    conv, norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
    norms = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    check(nn.Sequential(conv, norms[0], nn.ReLU(), conv, norms[1]), image(SIZE), remaining=2)
    check(nn.Sequential(conv, norm, nn.ReLU(), nn.Conv2d(3, 3, 1), norm), image(SIZE), remaining=1)
    # One module in two places is folded once; and a parameter that another module has too is not changed there.
    both = nn.Sequential(conv, norm)
    other = nn.Conv2d(3, 3, 1)
    other.weight = conv.weight
    check(nn.Sequential(both, other, both), image(SIZE))


class Summed(nn.Module):
    """Two modules applied to one map."""

    def __init__(self, a, b):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x):
        return self.a(x) + self.b(x)


def test_what_a_container_shares_is_left_alone():
    one, two = (SqueezeCell(8, 8, 4, groups=2) for _ in range(2))
    two.conv1x1 = one.conv1x1
    check(Summed(one, two), torch.randn(2, 8, 5, 5), remaining=3)


class Doubling(PreActConv2d):
    def forward(self, *args):
        return 2 * super().forward(*args)


@pytest.mark.parametrize('kind', ['hook', 'pre-hook', 'subclass'])
def test_a_changed_layer_between_a_convolution_and_its_norm_keeps_the_norm(kind):
    cell = SqueezeCell(8, 8, 4, groups=2)
    if kind == 'hook':
        cell.conv1x1.register_forward_hook(lambda module, args, out: 2 * out)
    elif kind == 'pre-hook':
        cell.conv3x3.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    else:
        cell.conv1x1.__class__ = Doubling
    check(cell, torch.randn(2, 8, 5, 5), remaining=2)


def test_a_norm_that_stays_in_training_is_left_alone():
    class Training(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(True)

    fused = mmhybrid.fuse(nn.Sequential(nn.Conv2d(3, 4, 1), Training(4)))
    assert isinstance(fused[1], Training)


def test_a_wrapped_model_is_refused():
    wrapper = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapper)
    with pytest.raises(InputError, match=r'give its \.module'):
        mmhybrid.fuse(wrapper)


def test_a_deformable_convolution_takes_a_norm_only_with_a_bias():
    def pair(**cfg):
        conv = build_conv_layer(cfg, 4, 6, kernel_size=3, padding=1, bias=False)
        nn.init.normal_(conv.conv_offset.weight, std=0.3)
        return nn.Sequential(conv, nn.BatchNorm2d(6))

    check(pair(type='DCNv2'), torch.randn(2, 4, 8, 8))
    check(pair(type='DCN'), torch.randn(2, 4, 8, 8), remaining=1)
