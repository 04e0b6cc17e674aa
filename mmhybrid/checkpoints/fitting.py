"""Whether weights are a backbone's: found in whatever layout, compared by names and shapes, and refused if they differ.

MMEngine loads what fits and keeps random numbers in the rest. For the backbones of this package that is a mistake, with
two exceptions that are told: layers that were added to a pretrained network, and a stem that was another one, as for
pictures of 32x32.
"""

import inspect
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from mmhybrid.checkpoints.layouts import Part, backbone_part
from mmhybrid.errors import InputError
from mmhybrid.zoo import VARIANTS

Shape = tuple[int, ...]
# First parts of the names of what comes before the first stage.
STEM = ('conv1', 'bn1', 'gn1', 'ln1', 'in1', 'stem')
_COUNTER = 'num_batches_tracked'


@dataclass(frozen=True)
class Fitted:
    """Weights as a module is to be given them.

    Attributes:
        state: The weights, under the module's names where they were found.
        notes: What is to be said of them, as phrases.
        anew: Names in the module that begin anew although a part of them may be in the file.
    """

    state: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    anew: frozenset[str] = frozenset()


def is_ours(module: nn.Module | type) -> bool:
    """Whether a backbone, or its class, is one of this package; one that a user derived may have more parts."""
    kind = module if isinstance(module, type) else type(module)
    return kind.__module__.startswith('mmhybrid.backbones.')


def fit(
    module: nn.Module,
    state: Mapping[str, Any],
    file: str = '',
    facts: Mapping[str, Any] | None = None,
    tolerated: Collection[str] = (),
) -> Fitted:
    """Find a module's weights in a state dict.

    A detector, and whatever has a ``backbone`` within it, is given them as they are. Of any other module, a prefix is
    taken off if nothing fits with it. Only this package's backbones refuse what differs.

    Args:
        module: Is not changed.
        state: The file's weights.
        file: Its name, for the sentence.
        facts: What the file tells of itself: ``variant``, ``options``, ``stem``.
        tolerated: Beginnings of the names of tensors that may differ.

    Raises:
        InputError: If a backbone of this package is given another one's weights, with the first tensor that differs.
    """
    if hasattr(module, 'backbone'):
        return Fitted(state)
    here = shapes(module.state_dict())
    if is_ours(module):
        part = backbone_part(state)
        ours = _fit_ours(module, here, part, f' {file}' if file else '', facts or {}, tuple(tolerated) or ('\0',))
        return replace(ours, state=_with_versions(ours.state, state, part.prefix))
    if any(tuple(value.shape) == here.get(name) for name, value in state.items() if isinstance(value, Tensor)):
        return Fitted(state)
    part = backbone_part(state)
    if not any(tuple(value.shape) == here.get(name) for name, value in part.state.items()):
        return Fitted(state)
    return Fitted(_with_versions(part.state, state, part.prefix), _found(part))


def shapes(state: Mapping[str, Any]) -> dict[str, Shape]:
    """Shapes of the tensors in a state dict, without the counts of batches that norms keep."""
    return {n: tuple(v.shape) for n, v in state.items() if isinstance(v, Tensor) and not n.endswith(_COUNTER)}


def first_difference(here: Mapping[str, Shape], there: Mapping[str, Shape], only: Iterable[str] | None = None) -> str:
    """A phrase for the first tensor, in the order of ``here``, that the other one lacks or that has another shape.

    Args:
        here: Shapes in the backbone.
        there: Shapes in the file.
        only: Names to look at; all by default.
    """
    names = [*here, *sorted(name for name in there if name not in here)] if only is None else list(only)
    different = [name for name in names if here.get(name) != there.get(name)]
    if not different:
        return ''
    phrase = _both(different[0], here, there)
    return f'{phrase} (the first of {len(different)} that differ)' if len(different) > 1 else phrase


def other_variant(module: nn.Module, facts: Mapping[str, Any]) -> str:
    """A phrase for the first option in which the network that a file tells of is another one, or ''.

    For networks that differ in what they compute and not in their tensors, as TiedResNeSt-50 and its S form.
    """
    variant = VARIANTS.get(facts.get('variant') or '')
    if variant is None or variant.type != type(module).__name__:
        return ''
    given = facts.get('options')
    there = {**variant.options, **(given if isinstance(given, Mapping) else {})}
    for option in dict.fromkeys([*there, *(o for v in VARIANTS.values() if v.type == variant.type for o in v.options)]):
        mine = getattr(module, option, None)
        value = there.get(option, default_of(type(module), option))
        if isinstance(mine, bool | str) and isinstance(value, bool | str) and mine != value:  # numbers make shapes
            return f'{option} is {value!r} there and {mine!r} here'
    return ''


def default_of(kind: type, option: str) -> Any:
    """The value that an argument of a class or of its bases has where it is not given; None if there is none."""
    for base in kind.__mro__:
        found = inspect.signature(base.__init__).parameters.get(option) if '__init__' in vars(base) else None
        if found is not None:
            return None if found.default is found.empty else found.default
    return None


def _fit_ours(
    module: nn.Module,
    here: dict[str, Shape],
    part: Part,
    file: str,
    facts: Mapping[str, Any],
    tolerated: tuple[str, ...],
) -> Fitted:
    there, notes = shapes(part.state), [*_told(facts), *_found(part)]
    differing = [name for name in (*here, *sorted(there)) if here.get(name) != there.get(name)]
    added = _added(module, [name for name in differing if name not in there], there)
    # Whole stages more are no difference: a detector may use the first three alone.
    children = {name.partition('.')[0] for name in here}
    wrong = [name for name in dict.fromkeys(differing) if name not in added]
    wrong = [name for name in wrong if name in here or name.partition('.')[0] in children]
    wrong = [name for name in wrong if not name.startswith(tolerated)]
    if all(map(_is_stem, wrong)):
        wrong = []
    if reason := first_difference(here, there, wrong) or other_variant(module, facts):
        raise InputError(
            f'The weights{file}{_whose(facts)} are not those of this {type(module).__name__}: {reason}; give the '
            'weights of this backbone, or set its options to those of the weights.'
        )
    stem = [name for name in differing if _is_stem(name)]
    if not stem:
        if facts.get('stem') == '32x32':
            notes.append('its stem learned with the strides for pictures of 32x32, which are others here')
        return Fitted(part.state, tuple(notes))
    anew = frozenset(name for name in here if _is_stem(name))
    what = f'pre-training on pictures of 32x32 makes one; {_both(stem[0], here, there)}'
    if any(not name.startswith(tolerated) for name in anew & _fixed(module)):
        raise InputError(
            f'The weights{file} have another stem than this {type(module).__name__} ({what}), so the stem begins anew '
            'and must not be frozen: set model.backbone.frozen_stages=-1 and model.backbone.norm_eval=False.'
        )
    notes.append(f'the stem begins anew, since it is another one in the file ({what})')
    return Fitted({n: v for n, v in part.state.items() if not _is_stem(n)}, tuple(notes), anew)


def _whose(facts: Mapping[str, Any]) -> str:
    options = facts.get('options') or {}
    given = ', '.join(f'{k}={v!r}' for k, v in options.items()) if isinstance(options, Mapping) else ''
    return f', which are of {facts["variant"]}{f" with {given}" if given else ""},' if facts.get('variant') else ''


def _told(facts: Mapping[str, Any]) -> list[str]:
    """What is worth to be said with the number of tensors."""
    known = [facts.get('variant'), facts.get('data')]
    if isinstance(facts.get('top1'), int | float):
        known.append(f'top-1 {facts["top1"]:.2f}')
    known = [str(value) for value in known if value is not None]
    return [f'they are, as the file says, of {", ".join(known)}'] if known else []


def _found(part: Part) -> tuple[str, ...]:
    notes = [f'found under {part.prefix!r}'] if part.prefix else []
    notes += [f'under the names of {part.renamed}'] if part.renamed else []
    if part.left_out:
        more = f' and {len(part.left_out) - 1} more' if len(part.left_out) > 1 else ''
        notes.append(f'left out, as no part of a backbone: {part.left_out[0]}{more}')
    return tuple(notes)


def _both(name: str, here: Mapping[str, Shape], there: Mapping[str, Shape]) -> str:
    if name not in there:
        return f'{name}, of shape {here[name]} here, is not there'
    if name not in here:
        return f'{name}, of shape {there[name]} there, is not here'
    return f'{name} has the shape {there[name]} there and {here[name]} here'


def _added(module: nn.Module, missing: Collection[str], there: Mapping[str, Shape]) -> set[str]:
    """What the file lacks in blocks that it has otherwise, and that is learned: attention, offsets of DCN."""
    blocks = {_block(name) for name in there}
    learned = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    return {name for name in missing if name in learned and _block(name) in blocks and not _is_stem(name)}


def _block(name: str) -> str:
    first, _, rest = name.partition('.')
    second = rest.partition('.')[0]
    return f'{first}.{second}' if second.isdigit() else first


def _is_stem(name: str) -> bool:
    return name.partition('.')[0] in STEM


def _fixed(module: nn.Module) -> set[str]:
    """Names of what no training changes."""
    fixed = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    if getattr(module, 'norm_eval', False):
        fixed |= {name for name, _ in module.named_buffers() if name.endswith('running_mean')}
    return fixed


def _with_versions(found: Mapping[str, Tensor], state: Mapping[str, Any], prefix: str) -> Mapping[str, Tensor]:
    """The tensors found, with the versions of their modules, by which torch and mmcv translate what is old."""
    ordered = OrderedDict(found)
    versions = getattr(state, '_metadata', None) or {}
    ordered._metadata = OrderedDict((f'{n}.'.removeprefix(prefix).removesuffix('.'), v) for n, v in versions.items())
    return ordered
