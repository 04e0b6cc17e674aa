"""Building blocks in plain PyTorch: each is usable alone and knows nothing of MMDetection."""

from .dense_shortcut import DenseShortcut
from .global_context import GlobalContext, TiedGCB
from .hierarchical_split import HierarchicalSplit
from .smg import SMG, ExcitationCell, ForgetGate, GlobalAttentionPool, SqueezeCell, UpdateGate
from .squeeze_excite import SqueezeAggregatedExcite, SqueezeExcite, TiedSE
from .tied import TiedBlockConv2d, TiedBlocks, TiedLinear, largest_divisor

__all__ = [
    'SMG',
    'DenseShortcut',
    'ExcitationCell',
    'ForgetGate',
    'GlobalAttentionPool',
    'GlobalContext',
    'HierarchicalSplit',
    'SqueezeAggregatedExcite',
    'SqueezeCell',
    'SqueezeExcite',
    'TiedBlockConv2d',
    'TiedBlocks',
    'TiedGCB',
    'TiedLinear',
    'TiedSE',
    'UpdateGate',
    'largest_divisor',
]
