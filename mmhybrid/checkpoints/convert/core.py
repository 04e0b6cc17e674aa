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
from mmhybrid.paths import expanded

from . import starts, trunk
from .names import Source, check_values, describe, read_names
from .targets import Target, find_target, kind_of

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
        sizes: What maps have other sizes than the source's, see :class:`~.trunk.Comparison`.
        altered: Options of the backbone that change what the weights compute, e.g. 'dilations=(1, 1, 1, 2)'.
        taken_as: What the source is taken to be, e.g. "MMDetection's ResNet-50 of style pytorch", or ''.
        without_eps: The deviation if the source's norms have eps 0, as torchvision's first detectors; else None.
        parameters: Number of parameters.
        config: The backbone's class as ``type``, and its arguments.
        licence: What is known of the source's terms by itself, or ''.
        variant: Name of the variant if the target is one, and nothing besides; or None.
        images: What images the target's model gives it, a phrase.
        caffe: What tells that the source is of Caffe's form, or ''.
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
    variant: str | None = None
    images: str = ''
    caffe: str = ''
    sizes: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    taken_as: str = ''
    without_eps: float | None = None


def convert(
    source: str | Path | Mapping[str, Any],
    target: str | Mapping[str, Any],
    progress: Callable[[str], None] = lambda message: None,
    style: str | None = None,
) -> Converted:
    """Put published weights of a ResNet, or a relative of it, into a backbone that has the same trunk.

    Args:
        source: File, .pth or .safetensors, of torchvision's, timm's, mmpretrain's or MMDetection's ResNet, ResNeXt,
            Res2Net, SE-ResNet or ResNeSt, a classifier or a detector, or of HCGNet's authors; or its content.
        target: One of ``mmhybrid.list_backbones()``; a config file of MMDetection with the backbone; or the config of
            a backbone, such as ``dict(type='ResNet', depth=50, plugins=[...])``.
        progress: Called with one line before each step that takes time.
        style: Of the source, 'pytorch' or 'caffe'; by default 'caffe' only where the file tells it.

    Returns:
        The backbone's tensors, and what became of the source's. In evaluation the backbone computes what the source
        does, up to rounding; where the target's options make it another function, ``deviation``, ``sizes`` and
        ``altered`` tell.

    Raises:
        InputError: If the file cannot be read, is of another network, or has parts without a place.
    """
    found = find_target(target)
    name, config = found.name, found.config
    file = str(source) if isinstance(source, str | Path) else 'The checkpoint'
    digest = ''
    if isinstance(source, str | Path):
        progress(f'reading {source}')
        content = read(source)
        digest = hashlib.sha256(expanded(source).read_bytes()).hexdigest()
    else:
        content = source
    named = read_names(content, file)
    if kind_of(config) == 'HCGNet':
        return _hcgnet(content, named, found, digest)
    if named.hcgnet:
        raise InputError(f"{file} is of HCGNet's authors, and {name} is no HCGNet; give --to hcgnet_b or hcgnet_c.")
    caffe = _caffe(named, config, name, style)
    # The same source gives the same file: what of a new part starts at random does so from one seed.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        progress(f'building {name}')
        backbone = _built(config, named)
        copied = trunk.check(backbone, config, named, name)
        check_values(named)
        backbone.load_state_dict(copied, strict=False)
        new = starts.start(backbone, named)
        progress('comparing feature maps with those of the source')
        own = {key: value.clone() for key, value in backbone.state_dict().items()}
        compared = trunk.compare(backbone, trunk.reference(config, named, copied, _dtype(named), bool(caffe)))
        without_eps = _without_eps(backbone, config, named, copied, bool(caffe)) if named.frozen else None
    differs = bool(compared.sizes) or not compared.deviation < _EXACT
    altered = trunk.altered(config, bool(caffe)) if compared.deviation != 0 or compared.sizes else ()
    if differs and not altered and config.get('shortcut') != 'identity_dense':
        raise InputError(
            f'{file} fits, but {name} computes something else with it than a {trunk.title(config)} does: '
            f'{", ".join(compared.sizes) or f"maps differ by {compared.deviation:.2g}"}; give another --to.'
        )
    changed = tuple(key for key, value in copied.items() if not torch.equal(own[key], value.to(own[key])))
    gated = ' with its gates' if named.gates else ''
    return Converted(
        name=name,
        state=own,
        source=describe(named),
        sha256=digest,
        copied=tuple(copied),
        changed=changed,
        new=new,
        left_out=named.left_out,
        deviation=compared.deviation,
        parameters=_count(backbone),
        config=config,
        variant=found.variant,
        images=found.images,
        caffe=caffe,
        sizes=compared.sizes,
        altered=altered,
        taken_as=f"MMDetection's {trunk.title(config)}{gated} of style {'caffe' if caffe else 'pytorch'}",
        without_eps=without_eps,
    )


def _caffe(source: Source, config: Mapping[str, Any], name: str, style: str | None) -> str:
    """What tells that a file is of Caffe's form, or ''; the target must be of the same."""
    if style not in (None, 'pytorch', 'caffe'):
        raise InputError(f"The style of the source is 'pytorch' or 'caffe', not {style!r}.")
    told = source.caffe if style is None else ''
    caffe = told or ('so it was said' if style == 'caffe' else '')
    wanted = config.get('style', 'pytorch') == 'caffe'
    if caffe and not wanted:
        raise InputError(
            f"{source.file} is of Caffe's form ({caffe}): stride on the 1x1 and BGR images, so that its weights would "
            f"compute something else in {name}; give torchvision's, or a --to CONFIG whose backbone has style='caffe'."
        )
    if wanted and not caffe and config.get('depth') not in (18, 34):  # whose blocks have no 1x1
        raise InputError(
            f"{name} has style='caffe', the stride on the 1x1, and nothing tells that {source.file} is of that form, "
            "so that it would compute something else; give a --to CONFIG of style='pytorch', or say --style caffe if "
            'the file is of it.'
        )
    return caffe


def _without_eps(
    backbone: nn.Module, config: Mapping[str, Any], source: Source, copied: Mapping[str, Tensor], caffe: bool
) -> float | None:
    try:
        return trunk.compare(backbone, trunk.reference(config, source, copied, _dtype(source), caffe, 0.0)).deviation
    except InputError:  # divided by zero, so that the source's was not
        return None


def _built(config: Mapping[str, Any], source: Source) -> nn.Module:
    return trunk.build(copy.deepcopy(dict(config))).to(_dtype(source))


def _dtype(source: Source) -> torch.dtype:
    wide = any(value.dtype == torch.float64 for value in source.state.values())
    return torch.float64 if wide else torch.float32


def _hcgnet(content: Any, source: Source, target: Target, digest: str) -> Converted:
    if not source.hcgnet:
        raise InputError(
            f"{source.file} seems to be of {describe(source)}, and {target.name} can start from the HCGNet authors' "
            'files alone: give HCGNet_B_best.pth.tar or HCGNet_detection.pth.'
        )
    state = hcgnet.convert_hcgnet(content, target.config['arch'])
    check_values(source)
    with torch.device('meta'):
        parameters = _count(HCGNet(target.config['arch']))
    return Converted(
        name=target.name,
        state=state,
        source='the HCGNet authors',
        sha256=digest,
        copied=tuple(state),
        changed=(),
        new={},
        left_out=source.left_out,
        deviation=None,
        parameters=parameters,
        config=target.config,
        licence=hcgnet.LICENCE,
        variant=target.variant,
        images=target.images,
    )


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
