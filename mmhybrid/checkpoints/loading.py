"""What became of the weights that MMEngine loaded: how many tensors a module took, and which it did not find.

MMEngine loads whatever fits and lists the rest in one line, however long; a model without weights then trains or is
tested like any other. Here each loading is told in one sentence, and noted, so that
:class:`~mmhybrid.engine.loaded_weights.LoadedWeightsHook` can refuse what does not fit. A backbone finds its weights in
whatever layout, and one of this package refuses another's (:mod:`mmhybrid.checkpoints.fitting`).
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import Tensor, nn

from mmhybrid.checkpoints.fitting import Fitted, fit

_MMENGINES_LOADER = mmengine_checkpoint.load_state_dict
# The beginning of MMEngine's list of names, in place of which there is a sentence here.
_LIST = 'The model and loaded state dict do not match'
_SHOWN = 3
_PREFIX_DEPTH = 3
# MMEngine hands on this attribute of a state dict, a dict of modules' names, and nothing else of a file. No module can
# be called so.
_ATTRIBUTE, _ORIGIN = '_metadata', 'mmhybrid: origin'

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Loading:
    """One loading of weights into a module. Counts of batches that norms keep are left out.

    Attributes:
        module: The module's class.
        loaded: Names of its tensors that were loaded.
        missing: Names of those that the weights do not have.
        misshapen: Those that have another shape there: there and here.
        unknown: Names that only the weights have.
        hint: What would make more of them fit, a phrase, or ''.
        notes: What else is to be said, as phrases.
        anew: Names of those that are to begin anew, and of which that was told.
    """

    module: str
    loaded: frozenset[str]
    missing: tuple[str, ...]
    misshapen: Mapping[str, tuple[Shape, Shape]]
    unknown: tuple[str, ...]
    hint: str
    notes: tuple[str, ...] = ()
    anew: frozenset[str] = frozenset()

    def __str__(self) -> str:
        whole = len(self.loaded) + len(self.missing) + len(self.misshapen)
        parts = [f'{self.module}: {len(self.loaded)} of {whole} tensors were loaded']
        if self.missing:
            parts.append(f'not among the weights: {shortened(self.missing)}')
        if self.misshapen:
            parts.append(f'of another shape: {shortened(shapes(self.misshapen))}')
        if self.unknown:
            parts.append(f'not in the model: {shortened(self.unknown)}')
        return '; '.join([*parts, *self.notes, *filter(None, [self.hint])]) + '.'


_LOADINGS: WeakKeyDictionary[nn.Module, list[Loading]] = WeakKeyDictionary()
_TOLERATED: WeakKeyDictionary[nn.Module, tuple[str, ...]] = WeakKeyDictionary()


def install() -> None:
    """Have MMEngine load through :func:`load_state_dict`. Doing it again changes nothing."""
    mmengine_checkpoint.load_state_dict = load_state_dict
    mmengine_checkpoint.print_log = _without_lists


def load_state_dict(module: nn.Module, state_dict: Mapping[str, Any], strict: bool = False, logger: Any = None) -> None:
    """MMEngine's function of this name; says in one sentence what was loaded, and notes it for :func:`loadings`.

    Raises:
        InputError: If a backbone of this package is given another one's weights.
        RuntimeError: If ``strict`` and not everything fits, as MMEngine does in the first process.
    """
    while is_model_wrapper(module) or isinstance(module, BaseTTAModel):
        module = module.module  # as MMEngine does, whose names are those within
    given = fitted(module, state_dict)
    state_dict = given.state
    tensors = _tensors(module)
    before = {name: _version(tensor) for name, tensor in tensors.items()}
    try:
        _MMENGINES_LOADER(module, state_dict, strict, logger)
    except RuntimeError as error:
        if not str(error).startswith(_LIST):
            raise
        raise RuntimeError(str(_loading(module, tensors, before, state_dict))) from None
    made = replace(_loading(module, tensors, before, state_dict), notes=given.notes, anew=given.anew)
    _LOADINGS.setdefault(module, []).append(made)
    partly = made.missing or made.misshapen
    print_log(f'Weights of {made}', logger='current', level=logging.WARNING if partly else logging.INFO)


def fitted(module: nn.Module, state_dict: Mapping[str, Any]) -> Fitted:
    """Weights as a module is to be given them, see :func:`mmhybrid.checkpoints.fitting.fit`.

    Raises:
        InputError: If a backbone of this package is given another one's weights.
    """
    file, facts = origin(state_dict)
    return fit(module, state_dict, file, facts, _TOLERATED.get(module, ()))


def with_origin(state_dict: Mapping[str, Any], file: str, facts: Mapping[str, Any] | None) -> OrderedDict[str, Any]:
    """A state dict that knows, on its way through MMEngine, its file's name and what the file tells of itself."""
    ordered = OrderedDict(state_dict)
    versions = getattr(state_dict, _ATTRIBUTE, None) or {}
    setattr(ordered, _ATTRIBUTE, OrderedDict(versions, **{_ORIGIN: dict(file=file, facts=facts or {})}))
    return ordered


def origin(state_dict: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The file and the facts of :func:`with_origin`, or nothing."""
    told = (getattr(state_dict, _ATTRIBUTE, None) or {}).get(_ORIGIN) or {}
    return told.get('file', ''), told.get('facts') or {}


def tolerate(model: nn.Module, beginnings: Sequence[str]) -> None:
    """Let weights of a model's parts lack, or have in another shape, what these beginnings of names in it name."""
    for part, module in model.named_modules():
        path = f'{part}.' if part else ''
        whole = [''] if any(path.startswith(beginning) for beginning in beginnings) else []
        inner = [beginning[len(path) :] for beginning in beginnings if beginning.startswith(path)]
        if whole or inner:
            _TOLERATED[module] = tuple(whole or inner)


def loadings(model: nn.Module) -> Iterator[tuple[str, Loading]]:
    """Yield what was loaded into a model and its parts: a part's name (``''`` for the model) and the loading."""
    for name, module in model.named_modules():
        yield from ((name, made) for made in _LOADINGS.get(module, ()))


def loaded_names(model: nn.Module) -> set[str]:
    """Names in ``model.state_dict()`` that were loaded, into the model or into a part of it."""
    return {f'{part}.{name}' if part else name for part, made in loadings(model) for name in made.loaded}


def shortened(names: Iterable[str]) -> str:
    """The first three names, and how many more there are."""
    names = list(names)
    more = len(names) - _SHOWN
    return ', '.join(names[:_SHOWN]) + (f' and {more} more' if more > 0 else '')


def shapes(misshapen: Mapping[str, tuple[Shape, Shape]]) -> list[str]:
    """Phrases for tensors whose shapes differ."""
    return [f'{name} ({there} there, {here} here)' for name, (there, here) in misshapen.items()]


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    found = module.state_dict(keep_vars=True)
    return {n: t for n, t in found.items() if isinstance(t, Tensor) and not n.endswith('num_batches_tracked')}


def _version(tensor: Tensor) -> int | None:
    # Counts changes in place. Names in the weights would not tell: modules rename what older versions of them saved.
    return None if tensor.is_inference() else tensor._version


def _loading(
    module: nn.Module, tensors: Mapping[str, Tensor], before: Mapping[str, int | None], state_dict: Mapping[str, Any]
) -> Loading:
    stored = {n: tuple(v.shape) for n, v in state_dict.items() if isinstance(v, Tensor)}
    here = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    loaded = {
        name
        for name, tensor in tensors.items()
        if (before[name] != _version(tensor) if before[name] is not None else stored.get(name) == here[name])
    }
    left = [name for name in tensors if name not in loaded]
    misshapen = {name: (stored[name], here[name]) for name in left if stored.get(name, here[name]) != here[name]}
    known = {*here, *(n for n in stored if n.endswith('num_batches_tracked'))}
    return Loading(
        type(module).__name__,
        frozenset(loaded),
        tuple(name for name in left if name not in misshapen),
        misshapen,
        tuple(name for name in stored if name not in known),
        _hint(stored, here, len(loaded)) if left else '',
    )


def _hint(stored: Mapping[str, Shape], here: Mapping[str, Shape], loaded: int) -> str:
    """Which prefix of the names would make more of them fit."""

    def fitting(rename: Callable[[str], str]) -> int:
        return sum(here.get(rename(name)) == shape for name, shape in stored.items())

    off = {prefix: fitting(lambda n, p=prefix: n[len(p) :] if n.startswith(p) else '') for prefix in _prefixes(stored)}
    on = {prefix: fitting(lambda n, p=prefix: p + n) for prefix in _prefixes(here)}
    best = max((*off.values(), *on.values()), default=0)
    if best <= loaded:
        return ''
    for prefix, count in off.items():
        if count == best:
            return (
                f'{count} would fit without their prefix {prefix!r} '
                f"(init_cfg=dict(type='Pretrained', checkpoint=FILE, prefix={prefix!r}))"
            )
    prefix = next(prefix for prefix, count in on.items() if count == best)
    part = prefix[:-1]
    how = ' (give them as backbone_checkpoint=FILE)' if part == 'backbone' else ''
    return f"{best} would fit the model's {part}, whose weights they seem to be{how}"


def _prefixes(names: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        parts = name.split('.')
        for depth in range(1, min(_PREFIX_DEPTH, len(parts) - 1) + 1):
            found['.'.join(parts[:depth]) + '.'] = None
    return list(found)


def _without_lists(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
    if not str(msg).startswith(_LIST):
        print_log(msg, logger, level)
