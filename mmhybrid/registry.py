"""Importing this module makes everything of mmhybrid known to MMDetection.

A config needs one line, ``custom_imports = dict(imports=['mmhybrid.registry'], allow_failed_imports=False)``, and can
then use, among others, ``backbone=dict(type='TiedResNet', ...)``, ``conv_cfg=dict(type='TiedBlockConv', blocks=2)`` in
any ``ConvModule``, ``plugins=[dict(cfg=dict(type='TiedSE', blocks=8), position='after_conv3')]`` in any ResNet, and
``val_evaluator=dict(type='OcclusionCocoMetric', ...)``.
"""

from mmhybrid import _stack

_stack.require()

from mmengine.registry import MODELS  # noqa: E402

from mmhybrid import backbones, config_bases, engine, evaluation  # noqa: E402, F401
from mmhybrid.layers import (  # noqa: E402
    GlobalContext,
    SqueezeAggregatedExcite,
    SqueezeExcite,
    TiedBlockConv2d,
    TiedGCB,
    TiedSE,
)

# Configs may inherit from this package.
config_bases.install()
# MMEngine looks into its root registry last: what MMPretrain or MMSegmentation call by such a name stays theirs, and so
# does what somebody registered in the root; the rest is found from their configs, too. In MMDetection's own registry,
# from which the configs here are built, each class has registered itself.
for name in backbones.__all__:
    if name not in MODELS.module_dict:
        MODELS.register_module(name, module=getattr(backbones, name))
# The layers know only torch, so they are registered here. mmcv looks them up in mmengine's root registry. Plug-ins:
# `plugins=[dict(cfg=dict(type='TiedSE', ...), position='after_conv3')]` in any ResNet.
_LAYERS = {'TiedBlockConv': TiedBlockConv2d} | {
    layer.__name__: layer for layer in (SqueezeExcite, TiedSE, SqueezeAggregatedExcite, GlobalContext, TiedGCB)
}
for name, layer in _LAYERS.items():
    there = MODELS.module_dict.setdefault(name, layer)
    if there is not layer:  # the configs here would build it in place of ours
        raise ImportError(
            f"{there.__module__} registered another {name} in MMEngine's MODELS; give it another name, or register it "
            'in a registry of your own, before mmhybrid.registry is imported.'
        )
