r"""Start values of the parts that a backbone has and the network it grows from has not: such that they change nothing.

Dense shortcuts: that of the last source is :math:`w\,\mathrm{Norm}(X) + b` with :math:`w = \sqrt{v + \epsilon}, b = m`,
where m and v are the running mean and variance of its norm: the identity. The others are zero. Any m and v would do in
evaluation; those here are what the source's own norms say of X, so that the norm by the statistics of a batch, in
training, is near the identity too. With the affine parameters :math:`\gamma, \beta` of the norms before X, a projection
has mean :math:`\beta` and variance :math:`\gamma^2`; means and variances of a branch and a shortcut are added, as if
they were independent; and the ReLU's are those of a rectified Gaussian.

Gates: sigmoid(0) = 1/2 for any image, and the norm before the gate is doubled, both exact in floating point. So the
gate has its steepest slope; one near 1 would hardly learn, and would not be exact.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

import torch
from mmcv.cnn.bricks.context_block import ContextBlock
from mmdet.models.backbones.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from mmhybrid.backbones.dsnet import DenseStage
from mmhybrid.errors import InputError
from mmhybrid.layers import GlobalContext, SqueezeAggregatedExcite, SqueezeExcite
from mmhybrid.layers.dense_shortcut import DenseShortcut

from .names import GATE_PARTS, Source

Moments = tuple[Tensor, Tensor]

DENSE = 'dense shortcuts: the identity of the last source, zero for the others'
NORMS = "norms of the shortcuts' sources: mean and variance that the norms of the source imply"
INNER = 'shortcuts across the 3x3: zero'
GATES = 'gates: 1/2 for any image, and the norm before each is doubled'
WIDER = "gates: the source's, and further hidden channels that nothing reads yet"
COPIED = "gates: the source's"
RESIDUAL_GATES = 'gates x + x * gate: 1/2 for any image, and the norm before each is multiplied by 2/3'
CONTEXT = 'global context: its last convolution is zero'
CONTEXT_GATES = 'global context: its last convolutions are zero, and the norm before each is doubled'


def blocks(backbone: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The residual blocks of a backbone with their paths, e.g. 'layer1.0'."""
    for name, module in backbone.named_modules():
        if isinstance(module, BasicBlock | Bottleneck):
            yield name, module


def new_names(backbone: nn.Module) -> set[str]:
    """Names in its ``state_dict()`` of what MMDetection's own backbones do not have: shortcuts, gates, plug-ins."""
    prefixes = []
    for path, block in blocks(backbone):
        within = [name for name in ('shortcut', 'source_norm', 'inner', 'attention') if hasattr(block, name)]
        prefixes += [f'{path}.{name}.' for name in (*within, *_plugins(block))]
    return {name for name in backbone.state_dict() if name.startswith(tuple(prefixes))}


@torch.no_grad()
def start(backbone: nn.Module, source: Source) -> dict[str, list[str]]:
    """Set the new parts of a backbone, whose other weights are loaded, to their start values.

    Args:
        backbone: It is changed: besides the new parts, norms before gates are.
        source: For its gates, which are taken over where it has some.

    Returns:
        What the new parts are and where they start, e.g. :data:`DENSE`, to the names of their tensors.

    Raises:
        InputError: If no start is known that would leave the source as it is.
    """
    told: dict[str, list[str]] = defaultdict(list)
    for stage_name in backbone.res_layers:
        stage = getattr(backbone, stage_name)
        if isinstance(stage, DenseStage):
            _start_stage(stage, stage_name, told)
    for path, block in blocks(backbone):
        gates = dict(source.gates.get(path, {}))
        for name, norm_name in _attached(block):
            module = getattr(block, name)
            if isinstance(module, SqueezeExcite | SqueezeAggregatedExcite) and gates:
                kind = _take_gate(module, gates, f'{path}.{name}', source)
                gates = {}
            else:
                kind, kept = _start_attached(module, f'{path}.{name}')
                _scale(block, norm_name, 1 / kept, f'{path}.{name}')
            told[kind] += [f'{path}.{name}.{each}' for each in module.state_dict()]
        if gates:
            first = source.names[f'{path}.{GATE_PARTS[0]}']
            raise InputError(
                f'{source.file} has gates, {first!r} being the first tensor of one, for which '
                f'{type(backbone).__name__} has no place: give the file of a network without.'
            )
    return dict(told)


def _start_stage(stage: DenseStage, path: str, told: dict[str, list[str]]) -> None:
    first = stage[0]
    moments = (torch.zeros(()), torch.ones(())) if first.downsample is None else _moments(first.downsample[-1])
    for i, block in enumerate(stage):
        _start_inner(block, f'{path}.{i}', told)
        last = block.norm3 if isinstance(block, Bottleneck) else block.norm2
        if not block.shortcut.identity:
            _identity(block.shortcut, block.source_norm, moments)
            told[DENSE] += [f'{path}.{i}.shortcut.{name}' for name in block.shortcut.state_dict()]
            told[NORMS] += [f'{path}.{i}.source_norm.{name}' for name in block.source_norm.state_dict()]
        moments = _rectified(*(a + b for a, b in zip(moments, _moments(last), strict=True)))


def _identity(shortcut: DenseShortcut, norm: nn.Module, moments: Moments) -> None:
    _set_statistics(norm, moments)
    shortcut.weight.zero_()
    shortcut.bias.zero_()
    # From the values as they are stored, in which rounding is part of the statistics.
    shortcut.weight[-1] = (norm.running_var.double() + norm.eps).sqrt()
    shortcut.bias[-1] = norm.running_mean


def _set_statistics(norm: nn.Module, moments: Moments) -> None:
    if getattr(norm, 'running_mean', None) is None:
        raise InputError(
            'The norms of the dense shortcuts keep no running statistics, so that no start of theirs is the identity: '
            "leave out shortcut_norm_cfg, or give one of type 'BN' or 'SyncBN'."
        )
    norm.running_mean.copy_(moments[0])
    norm.running_var.copy_(moments[1])


def _start_inner(block: nn.Module, path: str, told: dict[str, list[str]]) -> None:
    if getattr(block, 'inner', None) is None:
        return
    shortcuts = [block.inner] if isinstance(block.inner, DenseShortcut) else list(block.inner)
    entry = [part.chunk(_splits(block)) for part in _rectified(*_moments(block.norm1))]
    for i, shortcut in enumerate(shortcuts):
        shortcut.weight.zero_()
        shortcut.bias.zero_()
        moments = (entry[0][i], entry[1][i])
        if i and block.stage_type != 'stage':  # Res2Net's cascade
            moments = tuple(a + b for a, b in zip(moments, _rectified(*_moments(block.bns[i - 1])), strict=True))
        _set_statistics(shortcut.norms[0], moments)
    told[INNER] += [f'{path}.inner.{name}' for name in block.inner.state_dict()]


def _splits(block: nn.Module) -> int:
    return getattr(block, 'scales', 1)


def _moments(norm: nn.Module) -> Moments:
    """Mean and variance of what a batch norm returns, if what it took is as its statistics say."""
    weight, var = norm.weight.double(), norm.running_var.double()
    return norm.bias.double(), weight**2 * var / (var + norm.eps)


def _rectified(mean: Tensor, var: Tensor) -> Moments:
    """Mean and variance of max(0, x), x Gaussian."""
    std = var.sqrt().clamp(min=1e-12)
    ratio = mean / std
    below = torch.special.ndtr(ratio)
    density = torch.exp(-(ratio**2) / 2) / math.sqrt(2 * math.pi)
    first = mean * below + std * density
    second = (mean**2 + var) * below + mean * std * density
    return first, (second - first**2).clamp(min=0)


def _plugins(block: nn.Module) -> list[str]:
    return [name for i in (1, 2, 3) for name in getattr(block, f'after_conv{i}_plugin_names', ())]


def _attached(block: nn.Module) -> Iterator[tuple[str, str]]:
    """Plug-ins and attention of a block, in the order in which they are applied, with the norm each follows."""
    for i in (1, 2, 3):
        for name in getattr(block, f'after_conv{i}_plugin_names', ()):
            yield name, f'norm{i}_name'
    if hasattr(block, 'attention'):
        yield 'attention', 'norm3_name' if isinstance(block, Bottleneck) else 'norm2_name'


def _start_attached(module: nn.Module, path: str) -> tuple[str, float]:
    """Start a plug-in or an attention; returns what to tell of it, and what it then multiplies its input by."""
    if isinstance(module, SqueezeExcite | SqueezeAggregatedExcite):
        nn.init.zeros_(module.excite.weight)
        nn.init.zeros_(module.excite.bias)
        return (RESIDUAL_GATES, 1.5) if module.residual_gate else (GATES, 0.5)
    if isinstance(module, GlobalContext | ContextBlock):
        added, multiplied = module.channel_add_conv, getattr(module, 'channel_mul_conv', None)
        for last in (part[-1] for part in (added, multiplied) if part is not None):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        return (CONTEXT, 1) if multiplied is None else (CONTEXT_GATES, 0.5)
    raise InputError(
        f'{path} is a {type(module).__name__}, for which no start is known that leaves the source as it is: convert '
        'for the backbone without it.'
    )


def _scale(block: nn.Module, norm_name: str, factor: float, path: str) -> None:
    if factor == 1:
        return
    norm = getattr(block, getattr(block, norm_name), None)
    if norm is None:  # Res2Net's and ResNeSt's 3x3 have norms of their own
        raise InputError(
            f'{path} is a gate after a 3x3 that has no norm of its own, so that it cannot start harmless: put it after '
            'the last convolution (position after_conv3).'
        )
    norm.weight.mul_(factor)
    norm.bias.mul_(factor)


def _take_gate(module: nn.Module, gate: Mapping[str, Tensor], path: str, source: Source) -> str:
    """Put a source's SE gate into a gate of the same or a larger hidden width."""
    block = path.rpartition('.')[0]
    first = source.names.get(f'{block}.{GATE_PARTS[0]}', block)
    if missing := [part for part in GATE_PARTS if part not in gate]:
        raise InputError(f'{source.file}: the gate of {block} lacks its {missing[0]}; give a whole file.')
    hidden, channels = gate['squeeze.weight'].shape
    there = tuple(module.squeeze.weight.shape)
    if getattr(module.squeeze, 'blocks', 1) > 1 or module.residual_gate or there[1] != channels or there[0] < hidden:
        form = 'tied' if getattr(module.squeeze, 'blocks', 1) > 1 else f'of shape {there}'
        raise InputError(
            f'{source.file} has gates that do not fit: {first!r} has shape {(hidden, channels)}, and the gate here is '
            f'{"x + x * gate" if module.residual_gate else form}; give the file of a network without gates.'
        )
    module.squeeze.weight[:hidden] = gate['squeeze.weight']
    module.squeeze.bias[:hidden] = gate['squeeze.bias']
    nn.init.zeros_(module.excite.weight)
    module.excite.weight[:, :hidden] = gate['excite.weight']
    module.excite.bias.copy_(gate['excite.bias'])
    return WIDER if there[0] > hidden else COPIED
