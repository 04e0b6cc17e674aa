"""Weights of a related network in a backbone of ours, with nothing of what it computes changed."""

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mmhybrid.registry  # noqa: F401  (registers the classes and plug-ins)
from mmhybrid.backbones import HCGNet
from mmhybrid.checkpoints import hcgnet
from mmhybrid.checkpoints.reading import read
from mmhybrid.errors import InputError

from . import starts, trunk
from .names import Source, describe, read_names
from .targets import config_of, kind_of

_EXACT = 1e-3  # far above rounding, far below any change that is meant


@dataclass(frozen=True)
class Converted:
    """What :func:`convert` made.

    Attributes:
        name: Of the target.
        state: Tensors of the backbone under its own names.
        source: What the file seems to be of, e.g. 'ResNet-50'.
        sha256: Of the source's file.
        copied: Names of the tensors that were taken over, changed ones included.
        changed: Names of those that were changed by a factor, which a new part takes back.
        new: What else the backbone has, and where it starts, to the names of its tensors.
        left_out: Names in the file of what is not the backbone's.
        deviation: Largest relative difference of the feature maps; None if there is nothing to compare with.
        parameters: Number of parameters.
        config: The backbone's class as ``type``, and its arguments.
        licence: What is known of the source's terms by itself, or ''.
    """

    name: str
    state: dict[str, Tensor]
    source: str
    sha256: str
    copied: tuple[str, ...]
    changed: tuple[str, ...]
    new: Mapping[str, list[str]]
    left_out: tuple[str, ...]
    deviation: float | None
    parameters: int
    config: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ''


def convert(
    source: str | Path | Mapping[str, Any],
    target: str | Mapping[str, Any],
    progress: Callable[[str], None] = lambda message: None,
) -> Converted:
    """Put published weights of a ResNet, or a relative of it, into a backbone that has the same trunk.

    Args:
        source: File, .pth or .safetensors, of torchvision's, timm's, mmpretrain's or MMDetection's ResNet, ResNeXt,
            Res2Net, SE-ResNet or ResNeSt, a classifier or a detector, or of HCGNet's authors; or its content.
        target: One of ``mmhybrid.list_backbones()``; a config file of MMDetection with the backbone; or the config of
            a backbone, such as ``dict(type='ResNet', depth=50, plugins=[...])``.
        progress: Called with one line before each step that takes time.

    Returns:
        The backbone's tensors, and what became of the source's. In evaluation the backbone computes what the source
        does, up to rounding; the one exception, ``shortcut='identity_dense'``, is told by ``deviation``.

    Raises:
        InputError: If the file cannot be read, is of another network, or has parts without a place.
    """
    name, config = config_of(target)
    kind = kind_of(config)
    file = str(source) if isinstance(source, str | Path) else 'The checkpoint'
    digest = ''
    if isinstance(source, str | Path):
        progress(f'reading {source}')
        content = read(source)
        digest = hashlib.sha256(Path(source).expanduser().read_bytes()).hexdigest()
    else:
        content = source
    named = read_names(content, file)
    if kind == 'HCGNet':
        return _hcgnet(content, named, name, config, digest)
    if named.hcgnet:
        raise InputError(f"{file} is of HCGNet's authors, and {name} is no HCGNet; give --to hcgnet_b or hcgnet_c.")
    if named.caffe and config.get('style', 'pytorch') != 'caffe':
        raise InputError(
            f"{file} is of Caffe's form ({named.caffe}): stride on the 1x1 and BGR images, so that its weights would "
            f"compute something else in {name}; give torchvision's, or a --to CONFIG whose backbone has style='caffe'."
        )
    # The same source gives the same file: what of a new part starts at random does so from one seed.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        progress(f'building {name}')
        backbone = _built(config, named)
        copied = trunk.check(backbone, config, named, name)
        backbone.load_state_dict(copied, strict=False)
        new = starts.start(backbone, named)
        progress('comparing feature maps with those of the source')
        own = {key: value.clone() for key, value in backbone.state_dict().items()}
        deviation = trunk.deviation(backbone, trunk.reference(config, named, copied, _dtype(named)))
    if not deviation < _EXACT and config.get('shortcut') != 'identity_dense':
        raise RuntimeError(f'The feature maps of {name} differ from those of its source by {deviation:g}.')
    changed = tuple(key for key, value in copied.items() if not torch.equal(own[key], value.to(own[key])))
    return Converted(
        name=name,
        state=own,
        source=describe(named),
        sha256=digest,
        copied=tuple(copied),
        changed=changed,
        new=new,
        left_out=named.left_out,
        deviation=deviation,
        parameters=_count(backbone),
        config=config,
    )


def _built(config: Mapping[str, Any], source: Source) -> nn.Module:
    return trunk.build(copy.deepcopy(dict(config))).to(_dtype(source))


def _dtype(source: Source) -> torch.dtype:
    wide = any(value.dtype == torch.float64 for value in source.state.values())
    return torch.float64 if wide else torch.float32


def _hcgnet(content: Any, source: Source, name: str, config: Mapping[str, Any], digest: str) -> Converted:
    if not source.hcgnet:
        raise InputError(
            f"{source.file} seems to be of {describe(source)}, and {name} can start from the HCGNet authors' files "
            'alone: give HCGNet_B_best.pth.tar or HCGNet_detection.pth.'
        )
    state = hcgnet.convert_hcgnet(content, config['arch'])
    with torch.device('meta'):
        parameters = _count(HCGNet(config['arch']))
    return Converted(
        name=name,
        state=state,
        source='the HCGNet authors',
        sha256=digest,
        copied=tuple(state),
        changed=(),
        new={},
        left_out=source.left_out,
        deviation=None,
        parameters=parameters,
        config=config,
        licence=hcgnet.LICENCE,
    )


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
