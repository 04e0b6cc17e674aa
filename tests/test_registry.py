"""The layers and backbones in MMDetection's and mmcv's own hands."""

import importlib
import subprocess
import sys

import mmdet.registry
import pytest
import torch
from mmcv.cnn import ConvModule, fuse_conv_bn
from mmengine.analysis import FlopAnalyzer
from mmengine.registry import MODELS, DefaultScope, Registry
from torch import nn

import mmhybrid.registry  # noqa: F401
from mmhybrid import backbones
from mmhybrid.backbones import TiedResNet
from mmhybrid.layers import TiedBlockConv2d


def test_tied_block_conv_in_a_conv_module():
    module = ConvModule(
        16, 32, 3, stride=2, padding=1, conv_cfg=dict(type='TiedBlockConv', blocks=2), norm_cfg=dict(type='BN')
    )
    assert isinstance(module.conv, TiedBlockConv2d)
    assert module.conv.weight.shape == (16, 8, 3, 3)
    assert module.conv.bias is None
    assert module(torch.randn(2, 16, 9, 9)).shape == (2, 32, 5, 5)


def test_a_conv_module_without_norm_has_a_tied_bias():
    module = ConvModule(16, 32, 1, conv_cfg=dict(type='TiedBlockConv', blocks=4))
    assert module.conv.bias.shape == (8,)
    assert module.conv.bias.abs().max() == 0


def test_fusing_batch_norms_leaves_tied_convolutions_alone():
    """A BN scales each channel by itself, so it cannot be folded into a filter that blocks share."""
    backbone = TiedResNet(50, base_channels=16, base_width=8)
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.running_mean, std=0.1)
    backbone.eval().double()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = backbone(x)
        fused = fuse_conv_bn(backbone)
        assert isinstance(fused.layer1[0].bn1, torch.nn.BatchNorm2d)
        assert isinstance(fused.layer1[0].bn3, torch.nn.Identity)
        for a, b in zip(fused(x), expected, strict=True):
            assert torch.allclose(a, b, rtol=1e-8)


@pytest.mark.parametrize(('base_width', 'multiply_adds'), [(32, 4_391_043_072), (18, 2_357_621_472)])
def test_multiply_adds_are_those_inferred_from_the_paper(base_width, multiply_adds):
    """4.39G and 2.36G at 224x224 with a 1000-class linear layer; the paper: as many as ResNet-50 (4.089G), and 60%."""
    backbone = TiedResNet(50, base_width=base_width).eval()
    counted = FlopAnalyzer(backbone, (torch.rand(1, 3, 224, 224),)).by_operator()['conv']
    assert counted + 2048 * 1000 == multiply_adds


@pytest.fixture
def elsewhere():
    """A registry as MMPretrain's and MMSegmentation's: a child of MMEngine's, beside MMDetection's."""
    registry = Registry('model', parent=MODELS, scope='elsewhere')
    yield registry
    del MODELS._children['elsewhere']


@pytest.mark.parametrize('name', backbones.__all__)
def test_backbones_are_known_by_plain_name_in_every_scope(elsewhere, name):
    ours = getattr(backbones, name)
    assert elsewhere.get(name) is elsewhere.get(f'mmdet.{name}') is elsewhere.get(f'mmengine.{name}') is ours
    assert mmdet.registry.MODELS.get(name) is mmdet.registry.MODELS.get(f'mmdet.{name}') is ours
    assert MODELS.get(name) is ours


def test_what_another_library_calls_so_stays_its_own(elsewhere):
    @elsewhere.register_module()
    class SEResNet(nn.Module):
        """As MMPretrain has one."""

    assert elsewhere.get('SEResNet') is SEResNet
    assert elsewhere.get('mmdet.SEResNet') is backbones.SEResNet
    assert mmdet.registry.MODELS.get('SEResNet') is backbones.SEResNet


def test_nothing_of_mmdetections_is_shadowed():
    theirs = {name: kind for name, kind in mmdet.registry.MODELS.module_dict.items() if 'mmdet' in kind.__module__}
    assert {'ResNet', 'ResNeSt', 'Res2Net', 'ResNeXt'} <= set(theirs)
    assert not set(theirs) & {*backbones.__all__, 'TiedBlockConv', 'TiedSE'}
    assert all(mmdet.registry.MODELS.get(name) is kind for name, kind in theirs.items())


def test_a_model_of_another_scope_is_built_with_one(elsewhere):
    @elsewhere.register_module()
    class Classifier(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = elsewhere.build(backbone)

    options = dict(
        depth=50,
        base_channels=16,
        base_width=8,
        plugins=[dict(cfg=dict(type='TiedSE', blocks=2), position='after_conv3')],
    )
    try:
        with DefaultScope.overwrite_default_scope('elsewhere'):
            model = elsewhere.build(dict(type='Classifier', backbone=dict(type='TiedResNet', **options)))
    finally:
        DefaultScope._instance_dict.clear()
    assert isinstance(model.backbone, TiedResNet)
    assert model.backbone(torch.randn(1, 3, 64, 64))[-1].shape == (1, 512, 2, 2)


@pytest.mark.parametrize('library', ['mmpretrain', 'mmseg'])
def test_where_the_libraries_are_installed(library):
    try:
        importlib.import_module(f'{library}.models')
    except Exception as error:  # also of what it needs, as torchvision beside another torch
        pytest.skip(f'{library} cannot be imported: {error}')
    registry = importlib.import_module(f'{library}.registry').MODELS
    for name in backbones.__all__:
        own = registry.module_dict.get(name)
        assert registry.get(name) is (own or getattr(backbones, name))
        assert registry.get(f'mmdet.{name}') is getattr(backbones, name)
    assert isinstance(registry.build(dict(type='TiedResNet', depth=50, base_channels=16, base_width=8)), TiedResNet)


def test_what_others_registered_in_the_root_stays_theirs_and_layers_are_not_replaced():
    """In a process of its own: registries are global."""
    script = (
        'import importlib, torch.nn as nn; from mmengine.registry import MODELS\n'
        'class SEResNet(nn.Module): pass\n'
        'MODELS.register_module(module=SEResNet)\n'
        'import mmhybrid.registry, mmhybrid.backbones, mmdet.registry\n'
        'assert MODELS.get("SEResNet") is SEResNet\n'
        'assert mmdet.registry.MODELS.get("SEResNet") is mmhybrid.backbones.SEResNet\n'
        'importlib.reload(mmhybrid.registry)\n'
        'MODELS.module_dict["TiedSE"] = SEResNet\n'
        'try:\n    importlib.reload(mmhybrid.registry)\n'
        'except ImportError as error:\n    print(error)\n'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "__main__ registered another TiedSE in MMEngine's MODELS" in done.stdout
