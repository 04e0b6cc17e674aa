"""The network that a backbone grows from: MMDetection's own, and where a file differs from it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.backbones import RegNet, Res2Net, ResNeSt, ResNet, ResNetV1d, ResNeXt
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.backbones import SEResNet
from mmhybrid.errors import InputError
from mmhybrid.layers import SqueezeExcite

from . import starts
from .names import COUNTS, Source, describe
from .targets import RUN, kind_of

# Arguments of our classes that MMDetection's own have not.
_DENSE = ('shortcut', 'inner_shortcut', 'include_stage_input', 'shortcut_norm_cfg', 'shortcut_start')
_GATED = ('reduction', 'cardinality', 'blocks', 'residual_gate')
_PUBLISHED = (RegNet, ResNeSt, Res2Net, ResNeXt, ResNetV1d, ResNet)  # subclasses first
# Arguments that the tensors' names and shapes tell. Of all others a file tells nothing: strides, dilations, epsilons.
_SHAPES = (
    'arch', 'depth', 'in_channels', 'stem_channels', 'base_channels', 'num_stages', 'deep_stem', 'avg_down', 'groups',
    'base_width', 'scales', 'radix', 'reduction_factor',
)  # fmt: skip
_STARTING = ('zero_init_residual',)
_NORMS_RUN = ('type', 'requires_grad', 'momentum')
_NORMS_OWN = dict(eps=1e-5, num_groups=32)


@dataclass(frozen=True)
class Comparison:
    """Feature maps of a target beside those of its source.

    Attributes:
        deviation: Largest difference of maps of the same size, relative to the source's largest value; None without.
        sizes: What maps have other sizes, e.g. 'stage 4 is 4x4 in place of 2x2'.
    """

    deviation: float | None
    sizes: tuple[str, ...]


def trunk_config(config: Mapping[str, Any], caffe: bool = False, norm: Mapping[str, Any] | None = None) -> dict:
    """Config of MMDetection's own backbone, from which a backbone of ours, or one with plug-ins, grows.

    What no tensor shows is not the target's, but the default, as published networks have it.

    Args:
        config: Of the target.
        caffe: Whether the file is known to be of Caffe's form.
        norm: The norms; BN by default.
    """
    own = {key: value for key, value in config.items() if key in (*_SHAPES, 'out_indices')}
    stages = own.get('num_stages', 4)
    if stages != 4:
        own |= dict(strides=(1, 2, 2, 2)[:stages], dilations=(1,) * stages)
    own |= dict(norm_cfg=dict(norm or dict(type='BN'))) | (dict(style='caffe') if caffe else {})
    if kind_of(config) in ('SEResNet', 'SaEResNet'):
        groups, width = own.pop('groups', 1), own.pop('base_width', 4)
        return own | (dict(type='ResNeXt', groups=groups, base_width=width) if groups > 1 else dict(type='ResNet'))
    return own | dict(type=_published(config).__name__)


def _published(config: Mapping[str, Any]) -> type[nn.Module]:
    kind = MODELS.get(config['type'])
    return next((each for each in _PUBLISHED if kind is not None and issubclass(kind, each)), ResNet)


def title(config: Mapping[str, Any]) -> str:
    """What a backbone grows from, e.g. 'ResNet-50', for messages."""
    trunk = trunk_config(config)
    kind = kind_of(trunk)
    name = f'{kind}-{trunk["depth"]}' if 'depth' in trunk else kind
    if kind == 'ResNeXt':
        name += f' {trunk.get("groups", 1)}x{trunk.get("base_width", 4)}d'
    return name


def altered(config: Mapping[str, Any], caffe: bool) -> tuple[str, ...]:
    """Options of a target that no tensor shows, and that its source is not known to have, e.g. 'dilations=(1, 1, 2)'.

    Args:
        config: Of the target.
        caffe: Whether the file is known to be of Caffe's form.
    """
    kinds = reversed(_published(config).__mro__)
    default = {
        name: each.default
        for kind in kinds
        if '__init__' in vars(kind)
        for name, each in inspect.signature(kind.__init__).parameters.items()
    }
    theirs = default | trunk_config(config, caffe)
    told = []
    for key, value in config.items():
        if key in ('type', 'plugins', *_SHAPES, *_DENSE, *_GATED, *RUN, *_STARTING):
            continue
        if key == 'norm_cfg':
            rest = {k: v for k, v in (value or {}).items() if k not in _NORMS_RUN and v != _NORMS_OWN.get(k)}
            told += [f'{key}.{k}={v!r}' for k, v in rest.items()]
        elif key == 'conv_cfg' and (value or {}).get('type') in (None, 'Conv', 'Conv2d'):
            continue
        elif _plain(value) != _plain(theirs.get(key)):
            told.append(f'{key}={value!r}')
    return tuple(told)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def build(config: Mapping[str, Any]) -> nn.Module:
    """Make a backbone with nothing frozen; it is not initialised.

    Raises:
        InputError: If it is no ResNet or relative of it, or its options are wrong.
    """
    kind = MODELS.get(config['type'])
    if kind is None or not issubclass(kind, ResNet):
        raise InputError(
            f'Weights are put into ResNet and its relatives, and {config["type"]} is none of them: give another --to.'
        )
    plain = {key: value for key, value in config.items() if key not in ('init_cfg', 'pretrained')}
    try:
        return MODELS.build(plain | dict(frozen_stages=-1, norm_eval=False))
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'The backbone {config["type"]} cannot be built with the options of --to ({type(error).__name__} '
            f'{error}); correct them.'
        ) from error


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


def reference(
    config: Mapping[str, Any],
    source: Source,
    copied: Mapping[str, Tensor],
    dtype: torch.dtype,
    caffe: bool = False,
    eps: float = 1e-5,
) -> nn.Module:
    """The source itself as a module: MMDetection's backbone, with the source's gates if it has some.

    Args:
        config: Of the target, for what tensors show.
        source: The file.
        copied: Its tensors.
        dtype: To compute with.
        caffe: Whether the file is known to be of Caffe's form.
        eps: Of the norms.

    Raises:
        InputError: If no module can be made of which these are the tensors.
    """
    trunk = trunk_config(config, caffe, _norm(config, copied) | dict(eps=eps))
    gates = {}
    try:
        if source.gates:
            model = SEResNet(**{key: value for key, value in trunk.items() if key != 'type'})
        else:
            model = build(trunk)
        for path, block in starts.blocks(model):
            if gate := source.gates.get(path):
                hidden, channels = gate['squeeze.weight'].shape
                block.attention = SqueezeExcite(channels, reduction=1)
                block.attention.squeeze = nn.Linear(channels, hidden)
                block.attention.excite = nn.Linear(hidden, channels)
                gates |= {f'{path}.attention.{part}': value for part, value in gate.items()}
        missing, unexpected = model.to(dtype).load_state_dict({**copied, **gates}, strict=False)
        if unexpected or any(not name.endswith(COUNTS) for name in missing):
            raise ValueError(f'{[*unexpected, *missing][0]} differs')
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f'{source.file} fits, but no {title(config)} of MMDetection has these tensors, with which to compare '
            f'({str(error).splitlines()[0]}); give another --to.'
        ) from None
    model.eval()  # MMDetection's does not return itself
    return model


def _norm(config: Mapping[str, Any], copied: Mapping[str, Tensor]) -> dict[str, Any]:
    if 'layer1.0.bn1.weight' in copied:
        return dict(type='BN')
    kind = (config.get('norm_cfg') or dict(type='BN'))['type']
    return dict(type=kind) | (dict(num_groups=32) if kind == 'GN' else {})


@torch.no_grad()
def compare(backbone: nn.Module, source: nn.Module, size: int = 64) -> Comparison:
    """Compare feature maps in evaluation.

    Args:
        backbone: The target.
        source: What it grew from, with the same weights.
        size: Side of the image, of Gaussian noise.

    Raises:
        InputError: If the source's own maps are not finite.
    """
    dtype = next(source.parameters()).dtype
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    largest, sizes = None, []
    backbone.eval()
    for stage, theirs, ours in zip(source.out_indices, source(image), backbone(image), strict=True):
        scale = theirs.abs().max()
        if not scale.isfinite():
            raise InputError('The feature maps of the source itself are infinite or NaN: its weights are of no use.')
        if ours.shape == theirs.shape:
            largest = max(largest or 0.0, float((ours - theirs).abs().max() / scale.clamp(min=1e-30)))
        else:
            here, there = ('x'.join(map(str, each.shape[2:])) for each in (ours, theirs))
            sizes.append(f'stage {stage + 1} is {here} in place of {there}')
    return Comparison(largest, tuple(sizes))
