"""Sources for the tests of the conversion: MMDetection's own backbones, with numbers as a trained one might have."""

import torch
from mmdet.models.backbones import Res2Net, ResNeSt, ResNet, ResNeXt
from torch import nn

from mmhybrid.backbones import SEResNet

CLASSES = dict(ResNet=ResNet, ResNeXt=ResNeXt, Res2Net=Res2Net, ResNeSt=ResNeSt, SEResNet=SEResNet)


def source(type, dtype=torch.float64, **options):
    """A backbone in evaluation, whose norms have learnt something."""
    generator = torch.Generator().manual_seed(0)
    backbone = CLASSES[type](**options)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.normal_(0.7, 0.1, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, fan_in**-0.5, generator=generator)
    backbone.to(dtype).eval()
    return backbone


@torch.no_grad()
def maps(backbone, height=64, width=64, batch=1):
    dtype = next(backbone.parameters()).dtype
    generator = torch.Generator().manual_seed(1)
    image = torch.randn(batch, 3, height, width, generator=generator, dtype=torch.float64)
    return backbone(image.to(dtype))


def largest_difference(ours, theirs):
    """Relative to the largest value of each map."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))


def plugin(type, position='after_conv3', **options):
    return dict(cfg=dict(type=type, **options), position=position)
