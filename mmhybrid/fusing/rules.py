"""Which batch norm follows which convolution, class by class.

mmcv's ``fuse_conv_bn`` pairs them by the order in which a module has its children. That finds nothing in a list of
convolutions beside a list of norms, and pairs wrongly where a norm stands before its convolution; so the pairs of each
class are data here. A row holds for subclasses too, unless they override what is computed.
"""

from itertools import pairwise

from mmcv.cnn import ConvModule
from mmdet.models.backbones.res2net import Bottle2neck
from mmdet.models.backbones.resnest import Bottleneck as ResNeStBottleneck
from mmdet.models.backbones.resnest import SplitAttentionConv2d
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from torch import nn

from mmhybrid.backbones.blocks import SplitBottleneck
from mmhybrid.backbones.ds2_res2net import DSBottle2neck
from mmhybrid.backbones.dsnet import DenseBlock, DenseStage, DSBottleneck
from mmhybrid.backbones.se_resnet import GatedBasicBlock, GatedBottleneck
from mmhybrid.backbones.tied_resnest import TiedResNeStBottleneck, TiedSplitAttentionConv2d
from mmhybrid.backbones.tied_resnet import TiedSplitConv
from mmhybrid.layers import DenseShortcut, ForgetGate, HierarchicalSplit, SqueezeCell, UpdateGate
from mmhybrid.layers.preact import PreActConv2d

from .folding import Folding, computes_as

_FIRST, _SECOND, _THIRD = ('conv1', 'norm1'), ('conv2', 'norm2'), ('conv3', 'norm3')
# Plug-ins of these blocks stand behind an activation or behind the last norm, never between a convolution and a norm.
# Two lists are paired one by one; one norm after a list is applied to its concatenated results.
PAIRS: dict[type[nn.Module], tuple[tuple[str, str], ...]] = {
    # MMDetection's; a deep stem and projections are nn.Sequential.
    ResNet: (_FIRST,),
    BasicBlock: (_FIRST, _SECOND),
    Bottleneck: (_FIRST, _SECOND, _THIRD),
    Bottle2neck: (_FIRST, ('convs', 'bns'), _THIRD),
    ResNeStBottleneck: (_FIRST, _THIRD),
    SplitAttentionConv2d: (('conv', 'norm0'), ('fc1', 'norm1')),
    # This package's.
    SplitBottleneck: (_FIRST, _THIRD),
    TiedSplitConv: (('convs', 'norm'),),
    TiedResNeStBottleneck: (_FIRST, _THIRD),
    TiedSplitAttentionConv2d: (('conv', 'norm0'), ('fc1', 'norm1')),
    DSBottleneck: (_FIRST, _SECOND, _THIRD),
    DSBottle2neck: (_FIRST, ('convs', 'bns'), _THIRD),
    HierarchicalSplit: (('convs', 'norms'),),
    GatedBasicBlock: (_FIRST, _SECOND),
    GatedBottleneck: (_FIRST, _SECOND, _THIRD),
    # HCGNet's convolutions are pre-activated; X' and the concatenations, which have several readers, keep their norms.
    SqueezeCell: (('conv1x1.conv', 'conv3x3.norm'),),
    UpdateGate: (('fc', 'norm'),),
    ForgetGate: (('fc1', 'norm'),),
}


def apply_rules(folding: Folding, model: nn.Module) -> None:
    """Fold what the rules name, in ``model`` and all it contains."""
    for module in list(model.modules()):
        if computes_as(module, nn.Sequential):
            for first, second in pairwise(list(module)):
                folding.into_convs(module, [first], second)
        elif computes_as(module, ConvModule):
            _conv_module(folding, module)
        elif computes_as(module, DenseStage):
            _dense_stage(folding, module)
        elif computes_as(module, DenseShortcut):
            for source, norm in enumerate(module.norms):
                folding.into_shortcuts(module, [(module, source)], norm)
        else:
            for cls, pairs in PAIRS.items():
                if computes_as(module, cls):
                    _pairs(folding, module, pairs)


def _pairs(folding: Folding, module: nn.Module, pairs: tuple[tuple[str, str], ...]) -> None:
    for pair in pairs:
        conv, norm = (_find(folding, module, path) for path in pair)
        if isinstance(norm, nn.ModuleList):
            for one, its_norm in zip(conv, norm, strict=True):
                folding.into_convs(module, [one], its_norm)
        elif conv is not None and norm is not None:  # a ResNet with a deep stem has none
            folding.into_convs(module, list(conv) if isinstance(conv, nn.ModuleList) else [conv], norm)


def _find(folding: Folding, owner: nn.Module, path: str) -> nn.Module | None:
    *through, name = path.split('.')
    module = owner
    for part in through:
        module = getattr(module, part)
        if not computes_as(module, PreActConv2d) or not folding.is_free(owner, module):
            return None
    return getattr(module, name, None)


def _conv_module(folding: Folding, module: ConvModule) -> None:
    if module.with_norm and module.order.index('conv') + 1 == module.order.index('norm'):
        folding.into_convs(module, [module.conv], module.norm)
        if isinstance(module.norm, nn.Identity):
            module.efficient_conv_bn_eval_forward = None  # mmcv's own folding in each call, of a norm that is gone


def _dense_stage(folding: Folding, stage: DenseStage) -> None:
    """Fold the norm of each source into the shortcut of every block that reads it."""
    blocks = list(stage)
    if any(type(block).forward is not DenseBlock.forward or 'forward' in vars(block) for block in blocks):
        return
    # Block i is the first to read X_i; without X_0 among the sources, that is source i - 1.
    dropped = 0 if stage.include_stage_input else 1
    for i, block in enumerate(blocks[dropped:]):
        folding.into_shortcuts(stage, [(reader.shortcut, i) for reader in blocks[i + dropped :]], block.source_norm)
