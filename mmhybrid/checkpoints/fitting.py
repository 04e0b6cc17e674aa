"""Whether weights are a backbone's: found in whatever layout, compared by names and shapes, and refused if they differ.

MMEngine loads what fits and keeps random numbers in the rest. For the backbones of this package that is a mistake, with
two exceptions that are told: parts that were added to a pretrained network, and the stem of one for pictures of 32x32.
What names and shapes do not tell is looked at in :mod:`mmhybrid.checkpoints.structure`.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from mmhybrid.checkpoints import structure
from mmhybrid.checkpoints.layouts import Part, backbone_part, state_of
from mmhybrid.errors import InputError

Shape = tuple[int, ...]
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
        facts: What the file tells of itself: ``variant``, ``options``, ``stem``, ``left_out``, ``warm_start``.
        tolerated: Beginnings of the names of tensors that may differ.

    Raises:
        InputError: If a backbone of this package is given another one's weights, with the first tensor that differs; if
            any one is given a warm start without the parts for which norms were changed.
    """
    if hasattr(module, 'backbone'):
        return Fitted(state)
    named, facts = f' {file}' if file else '', facts or {}
    inner = state_of(state)
    state = state if inner is None else inner
    here = shapes(module.state_dict())
    if is_ours(module):
        part = backbone_part(state)
        ours = _fit_ours(module, here, part, named, facts, tuple(tolerated) or ('\0',))
        return replace(ours, state=_with_versions(ours.state, state, part.prefix))
    _check_warm_start(module, here, state, named, facts)
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


def _fit_ours(
    module: nn.Module,
    here: dict[str, Shape],
    part: Part,
    file: str,
    facts: Mapping[str, Any],
    tolerated: tuple[str, ...],
) -> Fitted:
    there, notes = shapes(part.state), [*_told(facts), *_found(part)]
    if not there:
        raise InputError(f'The checkpoint{file} holds no weights of a backbone; give one that does.')
    missing = [name for name in here if name not in there]
    wrong = [name for name in here if here[name] != there.get(name)] + _unknown(here, there)
    added = structure.added(module, missing, there)
    wrong = [name for name in wrong if name not in added and not name.startswith(tolerated)]
    stem = [name for name in wrong if _is_stem(name)]
    if _begins_anew(stem, here, there, facts):
        wrong = [name for name in wrong if name not in stem]
    else:
        stem = []
    if reason := first_difference(here, there, wrong) or structure.other_function(module, facts):
        raise InputError(
            f'The weights{file}{_whose(facts)} are not those of this {type(module).__name__}: {reason}; give the '
            'weights of this backbone, or set its options to those of the weights.'
        )
    state = {name: value for name, value in part.state.items() if not (stem and _is_stem(name))}
    if reason := structure.unusable(module.state_dict(), state):
        raise InputError(f'The weights{file} cannot be used: {reason}; give weights of finite floating-point numbers.')
    if not stem:
        if facts.get('stem') == '32x32':
            notes.append('its stem learned with the strides for pictures of 32x32, which are others here')
        return Fitted(state, tuple(notes))
    anew = frozenset(name for name in here if _is_stem(name))
    what = f'pre-training on pictures of 32x32 makes one; {_both(stem[0], here, there)}'
    if any(not name.startswith(tolerated) for name in anew & structure.fixed_names(module)):
        raise InputError(
            f'The weights{file} have another stem than this {type(module).__name__} ({what}), so the stem begins anew '
            'and must not be frozen: set model.backbone.frozen_stages=-1 and model.backbone.norm_eval=False.'
        )
    notes.append(f'the stem begins anew, since it is another one in the file ({what})')
    return Fitted(state, tuple(notes), anew)


def _unknown(here: Mapping[str, Shape], there: Mapping[str, Shape]) -> list[str]:
    """What only a file has. Whole stages more are no difference: a detector may use the first three alone."""
    children = {name.partition('.')[0] for name in here}
    return [name for name in sorted(there) if name not in here and name.partition('.')[0] in children]


def _begins_anew(
    stem: Collection[str], here: Mapping[str, Shape], there: Mapping[str, Shape], facts: Mapping[str, Any]
) -> bool:
    """Whether a stem differs as pre-training on pictures of 32x32 makes it: 3x3 in place of 7x7, or left out, as told.

    Args:
        stem: Names in it that differ.
        here: Shapes in the backbone.
        there: Shapes in the file.
        facts: What the file tells.
    """
    if facts.get('left_out') and not any(map(_is_stem, there)):
        return bool(stem)
    both = [(here.get(name, ()), there.get(name, ())) for name in stem]
    kernels = {a[2:] + b[2:] for a, b in both if a[:2] == b[:2] and a[1:2] == (3,)}
    return len(both) == 1 and kernels <= {(7, 7, 3, 3), (3, 3, 7, 7)} and len(kernels) == 1


def _check_warm_start(
    module: nn.Module, here: Mapping[str, Shape], state: Mapping[str, Any], file: str, facts: Mapping[str, Any]
) -> None:
    start = facts.get('warm_start')
    if not isinstance(start, Mapping) or not start.get('changed'):
        return
    if unknown := _unknown(here, shapes(backbone_part(state).state)):
        raise InputError(
            f'The weights{file} are a warm start that does not fit this {type(module).__name__}: {unknown[0]} is not '
            f'here (the first of {len(unknown)} such), for which {start["changed"]} other tensors were changed; give '
            'the backbone the same plug-ins, or the file from which they were converted.'
        )


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
    notes = [f'they are, as the file says, of {", ".join(known)}'] if known else []
    return [*notes, *(['they are averaged ones'] if facts.get('ema') else [])]


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


def _is_stem(name: str) -> bool:
    return name.partition('.')[0] in structure.STEM


def _with_versions(found: Mapping[str, Tensor], state: Mapping[str, Any], prefix: str) -> Mapping[str, Tensor]:
    """The tensors found, with the versions of their modules, by which torch and mmcv translate what is old."""
    ordered = OrderedDict(found)
    versions = getattr(state, '_metadata', None) or {}
    ordered._metadata = OrderedDict((f'{n}.'.removeprefix(prefix).removesuffix('.'), v) for n, v in versions.items())
    return ordered
