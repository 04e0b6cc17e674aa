"""SEResNet beside MMDetection's ResNet with the same attention as a plug-in."""

import torch
from mmdet.models import ResNet

from mmhybrid.backbones.se_resnet import SEResNet
from mmhybrid.layers.global_context import GlobalContext
from mmhybrid.layers.squeeze_excite import SqueezeExcite

from .test_senetv2 import NARROW, blocks_of, count, features


def test_a_tied_senet_is_resnet_with_tied_se_as_a_plugin():
    backbone = SEResNet(50, blocks=4, **NARROW).eval()
    plugin = dict(cfg=dict(type=SqueezeExcite, blocks=4), position='after_conv3')
    plugged = ResNet(50, plugins=[plugin], **NARROW)
    plugged.eval()
    plugged.load_state_dict({k.replace('attention', 'squeeze_excite'): v for k, v in backbone.state_dict().items()})
    with torch.no_grad():
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(features(backbone), features(plugged), strict=True))


def test_parameters_of_resnet_with_plugins():
    with torch.device('meta'):
        tied_se = dict(cfg=dict(type=SqueezeExcite, blocks=8), position='after_conv3')
        assert count(ResNet(50, plugins=[tied_se])) == 23_508_032 + 41_302
        tied_gcb = dict(
            cfg=dict(type=GlobalContext, blocks=2), position='after_conv3', stages=(False, True, True, True)
        )
        assert count(ResNet(50, plugins=[tied_gcb])) == 23_508_032 + 2_520_845


def test_a_global_context_plugin_begins_as_the_identity():
    """MMEngine's Kaiming initialisation of all convolutions does not undo it."""
    plugin = dict(cfg=dict(type=GlobalContext), position='after_conv3')
    backbone = ResNet(50, plugins=[plugin], **NARROW)
    backbone.init_weights()
    for block in blocks_of(backbone):
        assert block.global_context.channel_add_conv[3].weight.abs().max() == 0
        assert block.global_context.channel_add_conv[0].weight.abs().max() > 0
