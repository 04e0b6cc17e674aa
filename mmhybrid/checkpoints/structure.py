"""What the names and shapes of weights do not show: parts that were added, what is computed, and whether numbers are.

The one who fits weights to a backbone is :mod:`mmhybrid.checkpoints.fitting`.
"""

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor, nn

from mmhybrid import variants

# First parts of the names of what comes before the first stage.
STEM = ('conv1', 'bn1', 'gn1', 'ln1', 'in1', 'stem')
_POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')
# Attributes of modules that change nothing of what they compute in evaluation, or that added parts have.
_NO_MATTER = frozenset(
    (
        *variants.USE,
        'training',
        'momentum',
        'inplace',
        'with_dcn',
        'with_modulated_dcn',
        'with_plugins',
        'num_stages',
        'output_padding',
    )
)


def added(module: nn.Module, missing: Collection[str], there: Collection[str]) -> set[str]:
    """Of the tensors that a file lacks, those of parts that were added to the network, and that are learned.

    These are plug-ins and the gates of this package's blocks, what convolutions have besides their weights, as the
    offsets of deformable ones, and DetectoRS' ``rfp_conv``. A part of which the file has a tensor was not added.

    Args:
        module: The backbone.
        missing: Names in it.
        there: Names that the file has.
    """
    fixed = fixed_names(module)
    parts = [part for part in _parts(module) if not any(name.startswith(part) for name in there)]
    learned = {name for name in missing if name.startswith(tuple(parts))} if parts else set()
    return {name for name in learned if name not in fixed}


def _parts(module: nn.Module) -> Iterator[str]:
    for path, block in module.named_modules():
        inner = f'{path}.' if path else ''
        for position in _POSITIONS:
            yield from (f'{inner}{name}.' for name in getattr(block, f'{position}_plugin_names', ()))
        if type(block).__module__.startswith('mmhybrid.backbones.') and hasattr(block, 'attention'):
            yield f'{inner}attention.'
        if hasattr(block, 'rfp_conv'):
            yield f'{inner}rfp_conv.'
        own = block._parameters
        if getattr(own.get('weight'), 'ndim', 0) > 2:
            yield from (f'{inner}{name}' for name in own if name not in ('weight', 'bias'))
            yield from (f'{inner}{name}.' for name, _ in block.named_children())


def fixed_names(module: nn.Module) -> set[str]:
    """Names of what no training changes."""
    fixed = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    if getattr(module, 'norm_eval', False):
        fixed |= {name for name, _ in module.named_buffers() if name.endswith('running_mean')}
    return fixed


def unusable(mine: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """A phrase for the first tensor of a file whose numbers cannot take the place of floating-point ones, or ''.

    Args:
        mine: The backbone's tensors; they may be on the meta device.
        given: The file's; those of other names and shapes are not looked at.
    """
    for name, tensor in mine.items():
        value = given.get(name)
        if value is None or not tensor.is_floating_point() or value.shape != tensor.shape:
            continue
        kind = str(value.dtype).removeprefix('torch.')
        if reason := no_array(value, tensor.is_meta):
            return f'{name} {reason}'
        if not value.is_floating_point():
            return f'{name} is of the type {kind}, and not of floating-point numbers'
        if not value.is_meta and (wrong := int((~value.to(tensor.dtype).isfinite()).sum())):
            return f'{name} has {wrong} of {value.numel()} numbers that are not finite'
    return ''


def no_array(value: Tensor, may_be_empty: bool = False) -> str:
    """Why a tensor is not simply its numbers, a phrase, or ''."""
    if value.layout is not torch.strided:
        return 'is a sparse tensor'
    if value.is_quantized:
        return f'is quantised ({str(value.dtype).removeprefix("torch.")})'
    return 'has a shape and no numbers' if value.is_meta and not may_be_empty else ''


def other_function(module: nn.Module, facts: Mapping[str, Any]) -> str:
    """A phrase for the first way in which the network that a file tells of computes something else, or ''.

    For networks with the same tensors, as TiedResNeSt-50 and its S form. The network is built, without memory, and each
    of its modules compared with the one of the same path: an option need not be told to be known. Stems are left out,
    which a pre-training may change, and so are strides for which there are as many dilations.

    Args:
        module: One of this package's backbones.
        facts: What the file tells: ``variant`` and ``options``; of another class, nothing is compared.
    """
    variant = variants.VARIANTS.get(facts.get('variant') or '')
    kind = type(module)
    if variant is None or variant.type != kind.__name__:
        return ''
    given = facts.get('options')
    options = {**variants.backbone_config(facts['variant']), **(given if isinstance(given, Mapping) else {})}
    options = {key: value for key, value in options.items() if key not in variants.USE}
    if isinstance(options.get('num_stages'), int):
        options['out_indices'] = tuple(range(options['num_stages']))
    options |= _dilated_instead(module, options)
    try:
        with torch.random.fork_rng(devices=[]), torch.device('meta'):  # which draws numbers, too
            there = kind(**options)
    except Exception:  # facts that are none; names and shapes were compared
        return ''
    here = dict(module.named_modules())
    tensors = {name: value.shape for name, value in module.state_dict().items()}
    # Of facts that do not tell of another width, say, only what no width changes is of use.
    is_whole = all(tensors.get(name, value.shape) == value.shape for name, value in there.state_dict().items())
    for path, other in there.named_modules():
        is_compared = path in here and path.partition('.')[0] not in (*STEM, 'maxpool')
        if is_compared and (phrase := _unlike(other, here[path], path, is_whole)):
            return phrase
    return ''


def _dilated_instead(module: nn.Module, options: Mapping[str, Any]) -> dict[str, Any]:
    """The strides and dilations of a module, if they are others than a file's and the filters' taps as far apart."""
    mine = [getattr(module, key, None) for key in ('strides', 'dilations')]
    theirs = [options.get(key, default_of(type(module), key)) for key in ('strides', 'dilations')]
    if not all(isinstance(values, Sequence) for values in (*mine, *theirs)):
        return {}

    def distances(strides: Sequence[int], dilations: Sequence[int]) -> list[int]:
        return [stride * dilation for stride, dilation in zip(accumulate(strides, mul), dilations, strict=False)]

    if any(a != b for a, b in zip(distances(*mine), distances(*theirs), strict=False)):
        return {}
    taken = ((*a, *b[len(a) :])[: len(b)] for a, b in zip(mine, theirs, strict=True))
    return dict(zip(('strides', 'dilations'), taken, strict=True))


def _unlike(there: nn.Module, here: nn.Module, path: str, is_whole: bool) -> str:
    of = f' of {path}' if path else ''
    for key, value in vars(there).items():
        mine = vars(here).get(key, value)
        if key.startswith('_') or key in _NO_MATTER:
            continue
        if not path:  # numbers of the whole network make shapes, but for these
            if key in ('strides', 'dilations'):
                value, mine = (tuple(v)[: min(len(value), len(mine))] for v in (value, mine))
            elif not isinstance(value, bool | str):
                continue
        if key.endswith('_plugin_names'):  # of those that were added, nothing is compared
            value, mine = ([n for n in v if hasattr(there, n) and hasattr(here, n)] for v in (value, mine))
        if path and not is_whole and not (isinstance(value, bool | str) or key in ('stride', 'dilation', 'eps')):
            continue
        if _is_plain(value) and _is_plain(mine) and value != mine:
            return f'{key}{of} is {value!r} there and {mine!r} here'
    is_leaf = not (there.state_dict() or here.state_dict() or [*there.children(), *here.children()])
    if is_leaf and type(there) is not type(here):
        return f'{path} is of {type(there).__name__} there and of {type(here).__name__} here'
    return ''


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)


def default_of(kind: type, option: str) -> Any:
    """The value that an argument of a class or of its bases has where it is not given; None if there is none."""
    for base in kind.__mro__:
        found = inspect.signature(base.__init__).parameters.get(option) if '__init__' in vars(base) else None
        if found is not None:
            return None if found.default is found.empty else found.default
    return None
