"""Where the gates and attention maps of a network are, and how to read them while it computes.

Update and forget gates: C. Yang et al., arXiv 1908.09699; SE: J. Hu et al., arXiv 1709.01507; TiedSE and TiedGCB:
X. Wang, S. X. Yu, arXiv 2009.12021; SaE: M. Narayanan, arXiv 2311.10807; GCB: Y. Cao et al., arXiv 1904.11492; split
attention: H. Zhang et al., arXiv 2004.08955.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import ContextBlock
from mmdet.models.backbones.resnest import SplitAttentionConv2d
from mmdet.models.layers.se_layer import ChannelAttention, SELayer
from torch import Tensor, nn

from mmhybrid.layers.global_context import GlobalContext
from mmhybrid.layers.smg import ForgetGate, UpdateGate
from mmhybrid.layers.squeeze_excite import SqueezeAggregatedExcite, SqueezeExcite

# What each type is, and what its value is.
GATES = {
    'channel': ('channel gate', 'gate s of a channel'),
    'update': ('update gate', 'u of the dilated (5x5) branch'),
    'forget': ('forget gate', 'f, share of X′ that is kept'),
    'split': ('split attention', 'share of the first map'),
}
# Of HCGNet: what its gates pool the two branches and the reused map by.
MAPS = {
    'context': 'global context',
    'pool3x3': '3x3 pooling',
    'pool5x5': '5x5 pooling',
    'pool_forget': 'forget pooling',
}
CHANGE = 'change'  # what a global context block does to its input


@dataclass(frozen=True)
class Source:
    """A gate or an attention map of a network.

    Attributes:
        type: A key of :data:`GATES` or :data:`MAPS`, or :data:`CHANGE`.
        module: Name of the module.
        layer: Its class.
    """

    type: str
    module: str
    layer: str

    @property
    def stage(self) -> int | None:
        """Stage of the backbone, from 1; None if the name does not tell. A transition begins the stage after it."""
        found = re.search(r'(?:^|\.)(layers?|stage|hybrid_block|transition)\.?(\d+)(?:\.|$)', self.module)
        return int(found[2]) + (found[1] == 'transition') if found else None


Read = Callable[[tuple[Tensor, ...], Tensor], Tensor]
Taker = Callable[[Source, Tensor], None]


def update_gate(gate: UpdateGate, normalised: Tensor) -> Tensor:
    """u of an update gate, u^{3x3} and u^{5x5}: softmax over both of W^i tanh(BN(.)) + b^i (arXiv 1908.09699).

    Args:
        gate: The gate.
        normalised: What its norm returns (N, hidden, 1, 1).

    Returns:
        (N, 2, C); the two of a channel sum to 1.
    """
    h = torch.tanh(normalised).flatten(1)
    logits = [F.linear(h, fc.weight.flatten(1), fc.bias) for fc in (gate.fc3x3, gate.fc5x5)]
    return torch.stack(logits, 1).softmax(1)


def split_attention(logits: Tensor, radix: int, groups: int) -> Tensor:
    """Shares of the R maps of split attention, a softmax over them; a sigmoid for R = 1.

    Args:
        logits: (N, R C, 1, 1), channels in the order (cardinality, radix, -1).
        radix: R.
        groups: Cardinality.

    Returns:
        (N, R, C).
    """
    n = len(logits)
    if radix == 1:
        return logits.reshape(n, 1, -1).sigmoid()
    shares = logits.reshape(n, groups, radix, -1).softmax(2)
    return shares.transpose(1, 2).reshape(n, radix, -1)


def spatial_attention(scores: Tensor) -> Tensor:
    """Softmax of scores (N, 1, H, W) over the positions: (N, H, W), float64, the sum of each is 1."""
    n, _, h, w = scores.shape
    return scores.double().reshape(n, h * w).softmax(1).reshape(n, h, w)


def change(x: Tensor, y: Tensor) -> Tensor:
    """RMS of y - x over that of x, of each image: (N, C, H, W) twice to (N, 1); 0 where y = x, also for x = 0."""
    moved, size = ((each.float().flatten(1) ** 2).mean(1, keepdim=True) for each in (y - x, x))
    return torch.where(moved == 0, 0, moved / size).sqrt()


def sources(model: nn.Module) -> list[Source]:
    """All of a network."""
    return [source for source, _, _ in _readers(model)]


@contextmanager
def watched(model: nn.Module, take: Taker) -> Iterator[None]:
    """As a context: hand each gate (N, C) and each attention map (N, H, W) that ``model`` computes to ``take``.

    The model is in evaluation mode. Its hooks are gone afterwards, whatever happens.
    """
    handles = []
    try:
        for source, module, read in _readers(model):

            def hook(_, inputs: tuple[Tensor, ...], output: Tensor, source: Source = source, read: Read = read) -> None:
                take(source, read(inputs, output).detach())

            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _readers(model: nn.Module) -> Iterator[tuple[Source, nn.Module, Read]]:
    """What is read, the module whose call is waited for, and how its inputs and output become values."""
    for name, module in model.named_modules():
        for kinds, make in _MAKERS:
            if isinstance(module, kinds):
                for kind, part, read in make(module):
                    yield Source(kind, name, type(module).__name__), part, read


def _of_channel_gate(gate: SqueezeExcite | SqueezeAggregatedExcite):
    yield 'channel', gate.excite, lambda _, logits: logits.sigmoid()


def _of_se_layer(layer: SELayer):
    yield 'channel', layer.conv2, lambda _, gate: gate.flatten(1)  # after its activation


def _of_channel_attention(layer: ChannelAttention):
    yield 'channel', layer.act, lambda _, gate: gate.flatten(1)


def _of_update_gate(gate: UpdateGate):
    # Its two last convolutions are computed as matrix products, which no hook of theirs sees; its norm is called.
    yield 'update', gate.norm, lambda _, normalised: update_gate(gate, normalised)[:, 1]
    yield 'pool3x3', gate.pool3x3.score, lambda _, scores: spatial_attention(scores)
    yield 'pool5x5', gate.pool5x5.score, lambda _, scores: spatial_attention(scores)


def _of_forget_gate(gate: ForgetGate):
    yield 'forget', gate, lambda _, f: f.flatten(1)
    yield 'pool_forget', gate.pool.score, lambda _, scores: spatial_attention(scores)


def _of_split_attention(conv: SplitAttentionConv2d):
    yield 'split', conv.fc2, lambda _, logits: split_attention(logits, conv.radix, conv.groups)[:, 0]


def _of_context(block: GlobalContext | ContextBlock):
    if getattr(block, 'pooling_type', 'att') == 'att':
        yield 'context', block.conv_mask, lambda _, scores: spatial_attention(scores)
    if getattr(block, 'channel_mul_conv', None) is not None:
        yield 'channel', block.channel_mul_conv, lambda _, logits: logits.sigmoid().flatten(1)
    yield CHANGE, block, lambda inputs, output: change(inputs[0], output)


_MAKERS = (
    ((SqueezeExcite, SqueezeAggregatedExcite), _of_channel_gate),
    (SELayer, _of_se_layer),
    (ChannelAttention, _of_channel_attention),
    (UpdateGate, _of_update_gate),
    (ForgetGate, _of_forget_gate),
    (SplitAttentionConv2d, _of_split_attention),
    ((GlobalContext, ContextBlock), _of_context),
)
