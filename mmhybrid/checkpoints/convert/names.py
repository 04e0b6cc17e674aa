"""A published file's tensors under MMDetection's names.

Torchvision, timm, mmpretrain and MMDetection call the tensors of a ResNet alike: ``layer1.0.conv1.weight``. What
differs is renamed here: timm's and mmpretrain's deep stems, mmpretrain's first projection, and the gates of an
SE-ResNet, which MMDetection's ResNet does not have.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmhybrid.checkpoints.layouts import backbone_part, state_of
from mmhybrid.errors import InputError

COUNTS = 'num_batches_tracked'
GATE_PARTS = ('squeeze.weight', 'squeeze.bias', 'excite.weight', 'excite.bias')

# MMDetection's deep stem is one list of convolution, norm and ReLU, thrice. timm has the last norm outside of it, and
# mmpretrain has three modules of a convolution and a norm.
_TIMM_STEM = re.compile(r'(?:conv1\.(\d)|(bn1))\.(.+)')
_MMPRETRAIN_STEM = re.compile(r'stem\.([0-2])\.(conv|bn)\.(.+)')
# Pooling before a projection is a module of its own, which mmpretrain leaves out where the stride is 1.
_PROJECTION = re.compile(r'layer1\.0\.downsample\.(\d)\.(.+)')
_GATE = re.compile(
    r'(layer\d\.\d+)\.(?:se\.fc([12])|se_layer\.conv([12])\.conv|attention\.(squeeze|excite))\.(weight|bias)'
)
_BLOCKS = {
    (2, 2, 2, 2): '18',
    (3, 4, 6, 3): '34 or 50',
    (3, 4, 23, 3): '101',
    (3, 8, 36, 3): '152',
    (3, 24, 36, 3): '200',
}


@dataclass(frozen=True)
class Source:
    """A file's tensors.

    Attributes:
        file: Its path, or a name for messages.
        state: Tensors of the backbone under MMDetection's names, without the gates.
        gates: Those of SE-ResNet's gates, for each block that has one: 'layer1.0' to the four of :data:`GATE_PARTS`.
        names: Names in ``state``, and 'BLOCK.PART' of a gate, to those in the file.
        left_out: Names of what is not the backbone's, such as a classifier.
        caffe: What tells that the file is of Caffe's form, or ''.
        hcgnet: Whether it had the names of HCGNet's authors, which are then ours.
        frozen: Whether its norms are the frozen ones of torchvision's detectors.
    """

    file: str
    state: dict[str, Tensor]
    gates: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    caffe: str = ''
    hcgnet: bool = False
    frozen: bool = False


def read_names(content: Any, file: str) -> Source:
    """Find the backbone's tensors in what a reader returned, and rename them.

    Args:
        content: A state dict, or a dict with one under one of the usual keys.
        file: For messages.

    Raises:
        InputError: If it holds no tensors.
    """
    stored = state_of(content)
    part = backbone_part(stored or {})
    if not part.state:
        raise InputError(
            f'{file} holds no tensors of a backbone: give the file of a classifier or a detector, as torch.save or a '
            'training run wrote it.'
        )
    deep = 'conv1.0.weight' in part.state
    pooled = _dimensions(part.state, 'layer2.0.downsample.1.weight') == 4
    unpooled = pooled and _dimensions(part.state, 'layer1.0.downsample.0.weight') == 4
    state, gates, names = {}, {}, {}
    for name, value in part.state.items():
        if match := _GATE.fullmatch(name):
            block, timm, mmpretrain, ours, kind = match.groups()
            gate = f'{ours or ("squeeze", "excite")[int(timm or mmpretrain) - 1]}.{kind}'
            gates.setdefault(block, {})[gate] = value.flatten(1) if value.ndim == 4 else value
            names[f'{block}.{gate}'] = part.prefix + name
        else:
            renamed = _rename_stem(name, deep)
            if unpooled and (match := _PROJECTION.fullmatch(name)):
                renamed = f'layer1.0.downsample.{int(match[1]) + 1}.{match[2]}'
            state[renamed], names[renamed] = value, part.prefix + name
    # Torchvision's frozen norms count nothing.
    frozen = part.prefix.endswith('.body.') and not any(name.endswith(COUNTS) for name in state)
    caffe = _caffe(file, content, state)
    return Source(file, state, gates, names, part.left_out, caffe, bool(part.renamed), frozen)


def check_values(source: Source) -> None:
    """Look whether a file's tensors are numbers to compute with.

    Raises:
        InputError: With the first that is rounded, packed, infinite or NaN.
    """
    gates = {f'{block}.{part}': value for block, parts in source.gates.items() for part, value in parts.items()}
    for name, value in {**source.state, **gates}.items():
        if name.endswith(COUNTS):
            continue
        there = source.names.get(name, name)
        if not value.is_floating_point() or value.layout != torch.strided:
            kind = f'{value.dtype}'.removeprefix('torch.') if value.layout == torch.strided else 'sparse'
            raise InputError(
                f'{source.file}: {there!r} is {kind}, and weights are taken as plain floating point only; give the '
                'file from before they were rounded or packed.'
            )
        if not value.double().isfinite().all():
            raise InputError(
                f'{source.file}: {there!r} has values that are infinite or NaN, so that its weights are of no use; '
                'give another file.'
            )


def _dimensions(state: Mapping[str, Tensor], name: str) -> int:
    return state[name].ndim if name in state else 0


def _rename_stem(name: str, timm: bool) -> str:
    if match := _MMPRETRAIN_STEM.fullmatch(name):
        return f'stem.{3 * int(match[1]) + (match[2] == "bn")}.{match[3]}'
    if timm and (match := _TIMM_STEM.fullmatch(name)):
        return f'stem.{7 if match[2] else match[1]}.{match[3]}'
    return name


def _caffe(file: str, content: Any, state: Mapping[str, Tensor]) -> str:
    if any(name.startswith('layer0.') for name in state):
        return "its stem is called layer0, as in timm's legacy_seresnet"
    # Of others the shapes are the same; only words tell.
    if word := re.search('caffe|msra', Path(file).name.lower()):
        return f'its name says {word[0]!r}'
    meta = content.get('meta') if isinstance(content, Mapping) else None
    config = str(meta.get('cfg', meta.get('config', ''))) if isinstance(meta, Mapping) else ''
    return 'the config within says style=caffe' if re.search(r'style[\'"]?\s*[=:]\s*[\'"]caffe', config) else ''


def describe(source: Source) -> str:
    """What network a file seems to be of, e.g. 'SE-ResNet-50', for messages."""
    names = source.state
    blocks: list[int] = []
    for name in names:
        if match := re.match(r'layer([1-4])\.(\d+)\.', name):
            stage, block = int(match[1]), int(match[2]) + 1
            blocks += [0] * (stage - len(blocks))
            blocks[stage - 1] = max(blocks[stage - 1], block)
    if not blocks:
        return 'another kind of network'
    depth = _BLOCKS.get(tuple(blocks), '')
    if depth == '34 or 50':
        depth = '50' if 'layer1.0.conv3.weight' in names else '34'
    family, suffix = _family(names)
    gated = 'SE-' if source.gates else ''
    size = depth or f'of {"-".join(map(str, blocks))} blocks'
    return f'{gated}{family}{"-" if depth else " "}{size}{suffix}'


def _family(state: Mapping[str, Tensor]) -> tuple[str, str]:
    """Family, and what stands behind the depth."""
    if 'layer1.0.convs.0.weight' in state:
        return 'Res2Net', ' with a 7x7 stem' if 'conv1.weight' in state else ''
    if 'layer1.0.conv2.conv.weight' in state:
        return 'ResNeSt', ''
    middle = state.get('layer1.0.conv2.weight')
    if middle is not None and middle.ndim == 4 and 'layer1.0.conv3.weight' in state:
        wide, narrow = middle.shape[:2]
        if wide != narrow:
            return 'ResNeXt', f' {wide // narrow}x{narrow}d'
        if wide != state['layer1.0.conv3.weight'].shape[0] // 4:
            return 'wide ResNet', ''
    return 'ResNet', ' with a deep stem' if 'stem.0.weight' in state else ''
