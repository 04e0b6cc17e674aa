"""The network that a backbone grows from: MMDetection's own, and where a file differs from it."""

from collections.abc import Mapping
from typing import Any

import torch
from mmdet.models.backbones.resnet import ResNet
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.backbones import SEResNet
from mmhybrid.errors import InputError
from mmhybrid.layers import SqueezeExcite

from . import starts
from .names import Source, describe
from .targets import kind_of

# Arguments of our classes that MMDetection's own have not.
_DENSE = ('shortcut', 'inner_shortcut', 'include_stage_input', 'shortcut_norm_cfg', 'shortcut_start')
_GATED = ('reduction', 'cardinality', 'blocks', 'residual_gate')

COUNTS = 'num_batches_tracked'


def trunk_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config of MMDetection's own backbone, from which a backbone of ours, or one with plug-ins, grows."""
    own = {key: value for key, value in config.items() if key not in (*_DENSE, *_GATED, 'plugins')}
    kind = kind_of(config)
    if kind == 'DSNet':
        return own | dict(type='ResNet')
    if kind == 'DS2Res2Net':
        return own | dict(type='Res2Net')
    if kind in ('SEResNet', 'SaEResNet'):
        groups, width = own.pop('groups', 1), own.pop('base_width', 4)
        grouped = dict(type='ResNeXt', groups=groups, base_width=width)
        return own | (grouped if groups > 1 else dict(type='ResNet'))
    return own


def title(config: Mapping[str, Any]) -> str:
    """What a backbone grows from, e.g. 'ResNet-50', for messages."""
    trunk = trunk_config(config)
    kind = kind_of(trunk)
    name = f'{kind}-{trunk["depth"]}' if 'depth' in trunk else kind
    if kind == 'ResNeXt':
        name += f' {trunk.get("groups", 1)}x{trunk.get("base_width", 4)}d'
    return name


def build(config: Mapping[str, Any]) -> nn.Module:
    """Make a backbone with nothing frozen; it is not initialised.

    Raises:
        InputError: If it is no ResNet or relative of it.
    """
    kind = MODELS.get(config['type'])
    if kind is None or not issubclass(kind, ResNet):
        raise InputError(
            f'Weights are put into ResNet and its relatives, and {config["type"]} is none of them: give another --to.'
        )
    plain = {key: value for key, value in config.items() if key not in ('init_cfg', 'pretrained')}
    return MODELS.build(plain | dict(frozen_stages=-1, norm_eval=False))


def check(backbone: nn.Module, config: Mapping[str, Any], source: Source, name: str) -> dict[str, Tensor]:
    """Compare a file with what a backbone grows from.

    Args:
        backbone: The target.
        config: Of the target.
        source: The file.
        name: Of the target, for messages.

    Returns:
        The tensors that are to be copied.

    Raises:
        InputError: With the first tensor that differs.
    """
    new = starts.new_names(backbone)
    wanted = {key: value for key, value in backbone.state_dict().items() if key not in new}
    problem = ''
    for key, value in wanted.items():
        there = source.state.get(key)
        if there is None and not key.endswith(COUNTS):
            problem = f'it lacks {key!r}'
        elif there is not None and there.shape != value.shape:
            problem = f'{source.names[key]!r} has shape {tuple(there.shape)} there and {tuple(value.shape)} here'
        if problem:
            break
    excess = [key for key in source.state if key not in wanted and not key.endswith(COUNTS)]
    if not problem and excess:
        problem = f'{source.names[excess[0]]!r} has no place here'
    if problem:
        raise InputError(
            f'{source.file} seems to be of {describe(source)}, and {name} grows from {title(config)}: {problem}, the '
            'first tensor that differs; give the file of such a network, or another --to.'
        )
    return {key: source.state[key] for key in wanted if key in source.state}


def reference(config: Mapping[str, Any], source: Source, copied: Mapping[str, Tensor], dtype: torch.dtype) -> nn.Module:
    """The source itself as a module: MMDetection's backbone, with the source's gates if it has some."""
    trunk = trunk_config(config)
    if not source.gates:
        model = build(trunk).to(dtype)
        model.load_state_dict(copied, strict=False)
        return model
    options = {key: value for key, value in trunk.items() if key not in ('type', 'init_cfg', 'pretrained')}
    model = SEResNet(**options | dict(frozen_stages=-1, norm_eval=False))
    gates = {}
    for path, block in starts.blocks(model):
        gate = source.gates[path]  # each is there: the target's block has taken it
        hidden, channels = gate['squeeze.weight'].shape
        block.attention = SqueezeExcite(channels, reduction=1)
        block.attention.squeeze = nn.Linear(channels, hidden)
        block.attention.excite = nn.Linear(hidden, channels)
        gates |= {f'{path}.attention.{part}': value for part, value in gate.items()}
    model.to(dtype).load_state_dict({**copied, **gates}, strict=False)
    return model


@torch.no_grad()
def deviation(backbone: nn.Module, source: nn.Module, size: int = 64) -> float:
    """Largest difference of the feature maps in evaluation, relative to the largest value of the source's map.

    Args:
        backbone: The target.
        source: What it grew from, with the same weights.
        size: Side of the image, of Gaussian noise.

    Raises:
        InputError: If the source's own maps are not finite.
    """
    dtype = next(source.parameters()).dtype
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    largest = 0.0
    for module in (source, backbone):
        module.eval()  # MMDetection's does not return itself
    for theirs, ours in zip(source(image), backbone(image), strict=True):
        scale = theirs.abs().max()
        if not scale.isfinite():
            raise InputError('The feature maps of the source itself are infinite or NaN: its weights are of no use.')
        largest = max(largest, float((ours - theirs).abs().max() / scale.clamp(min=1e-30)))
    return largest
