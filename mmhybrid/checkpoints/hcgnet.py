"""The HCGNet authors' weights under this package's names.

The authors (github.com/winycg/HCGNet) publish the state dict of an ImageNet classifier, and a Mask R-CNN whose backbone
has other names again; their code for CIFAR names its parts with capitals. The entries of each are those of
:class:`~mmhybrid.backbones.hcgnet.HCGNet` one to one, in the same order and shapes; only classifier and detector have
no counterpart.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmhybrid.errors import InputError

# Parts of an SMG module, theirs to ours.
SMG_PARTS = {
    'conv1_1x1': 'squeeze.conv1x1',
    'conv2_3x3': 'squeeze.conv3x3',
    'conv_3x3': 'excite.conv3x3',
    'conv_5x5': 'excite.conv5x5',
    'global_context3x3': 'update.pool3x3.score',
    'global_context5x5': 'update.pool5x5.score',
    'fcall': 'update.fc',
    'bn_attention': 'update.norm',
    'fc3x3': 'update.fc3x3',
    'fc5x5': 'update.fc5x5',
    'global_forget_context': 'forget.pool.score',
    'bn_forget': 'forget.norm',
    'fc1': 'forget.fc1',
    'fc2': 'forget.fc2',
}

# What the authors say of their files, as there is no licence file beside it.
LICENCE = (
    "research only, says the README of the authors' repository (github.com/winycg/HCGNet); the licence file that it "
    'points to is missing there'
)

_STEM = re.compile(r'features\.(conv|norm)([0-2])\.(\w+)')
_SMG = re.compile(r'features\.(?:[Hh]ybrid[Bb]lock(\d+)\.SMG(\d+)|[Tt]ransition(\d+))\.(\w+)\.(.+)')
_NORM = re.compile(r'features\.norm5\.(\w+)')
# Of the backbone of their detector, which counts modules from 0 and transitions from 2, and names norms bn1.
_DETECTOR_STEM = re.compile(r'stem([0-2])\.(conv|bn1)\.(\w+)')
_DETECTOR_SMG = re.compile(r'(?:hybridblock(\d+)\.(\d+)|transition(\d+))\.(\w+)\.(.+)')
_DETECTOR_NORM = re.compile(r'bn1\.(\w+)')


def convert_hcgnet(checkpoint: Mapping[str, Any], arch: str | Mapping[str, Any] = 'B') -> dict[str, Tensor]:
    """Rename an authors' checkpoint for ``HCGNet(arch)``; the tensors are not copied.

    Args:
        checkpoint: What ``mmhybrid.checkpoints.reading.read`` returns: a state dict, or a dict with one under
            'state_dict' or 'net' (as the authors' training script saves it); its names may begin with 'module.'. A
            classifier is left out, and all but the backbone of a detector.
        arch: ``arch`` of :class:`~mmhybrid.backbones.hcgnet.HCGNet`; the authors publish weights of 'B'.

    Returns:
        A state dict that ``HCGNet(arch).load_state_dict`` takes.

    Raises:
        InputError: If the checkpoint is not one of this variant.
    """
    converted = {}
    for name, value in _state_dict(checkpoint).items():
        if name.startswith('classifier.'):
            continue
        renamed = _rename(name)
        if renamed is None:
            raise InputError(
                f'The checkpoint has an entry {name!r}, which no model of the HCGNet authors has: '
                'give the file of such a model.'
            )
        converted[renamed] = value
    _check(converted, arch)
    return converted


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Tensors under this package's names, or None if their names are not all the authors'; nothing else is checked."""
    names = {name: _rename(name) for name in state}
    return None if not names or None in names.values() else {names[name]: value for name, value in state.items()}


def _state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    for key in ('state_dict', 'net'):
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
    if not isinstance(checkpoint, Mapping) or not all(isinstance(v, Tensor) for v in checkpoint.values()):
        raise InputError(
            "The checkpoint is neither a dict of tensors nor a dict with one under 'state_dict' or 'net': "
            'give the file of a model of the HCGNet authors.'
        )
    tensors = {str(name).removeprefix('module.'): value for name, value in checkpoint.items()}
    part = {name.removeprefix('backbone.'): value for name, value in tensors.items() if name.startswith('backbone.')}
    return part or tensors


def _rename(name: str) -> str | None:
    if match := _STEM.fullmatch(name):
        kind, index, rest = match.groups()
        return f'stem.{3 * int(index) + (kind == "norm")}.{rest}'  # conv, norm and ReLU in turn
    if match := _DETECTOR_STEM.fullmatch(name):
        index, kind, rest = match.groups()
        return f'stem.{3 * int(index) + (kind == "bn1")}.{rest}'
    if match := _SMG.fullmatch(name):
        block, module, transition, part, rest = match.groups()
        return _in_module(block, int(module or 0) - 1, int(transition or 0), part, rest)
    if match := _DETECTOR_SMG.fullmatch(name):
        block, module, transition, part, rest = match.groups()
        return _in_module(block, int(module or 0), int(transition or 0) - 1, part, re.sub(r'^bn1\.', 'norm.', rest))
    if match := _NORM.fullmatch(name) or _DETECTOR_NORM.fullmatch(name):
        return f'norm.{match[1]}'
    return None


def _in_module(block: str | None, module: int, transition: int, part: str, rest: str) -> str | None:
    place = f'transition{transition}' if block is None else f'hybrid_block{block}.{module}'
    return f'{place}.{SMG_PARTS[part]}.{rest}' if part in SMG_PARTS else None


def _check(converted: dict[str, Tensor], arch: str | Mapping[str, Any]) -> None:
    from mmhybrid.backbones.hcgnet import HCGNet  # here, since importing a backbone imports what reads checkpoints

    with torch.device('meta'):
        expected = HCGNet(arch).state_dict()
    title = f'HCGNet-{arch}' if isinstance(arch, str) else 'HCGNet of this arch'
    # PyTorch before 0.4.1 did not count batches; load_state_dict fills these in for a dict without metadata.
    missing = [name for name in expected if name not in converted and not name.endswith('num_batches_tracked')]
    unexpected = [name for name in converted if name not in expected]
    for names, problem in ((missing, 'lacks'), (unexpected, 'has in excess')):
        if names:
            raise InputError(
                f'The checkpoint is not of {title}: it {problem} {names[0]!r} (the name it has here), the first of '
                f'{len(names)} such; give the file of this variant, or another arch.'
            )
    for name, value in converted.items():
        if value.shape != expected[name].shape:
            raise InputError(
                f'The checkpoint is not of {title}: {name!r} (the name it has here) has shape {tuple(value.shape)} '
                f'instead of {tuple(expected[name].shape)}; give the file of this variant, or another arch.'
            )
