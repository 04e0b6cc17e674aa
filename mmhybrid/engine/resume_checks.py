"""What has changed between a checkpoint's run and the run that continues it, in phrases.

MMEngine resumes whatever it can: weights are loaded non-strictly, schedules are paired by their place and cut to the
shorter list, and settings that the checkpoint holds as well win silently over the config's. The rules below say
for each setting what comes of a change; the tests try them on MMEngine and torch.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from numbers import Integral, Real
from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn

from .unwrapping import unwrapped

REFUSED, IGNORED, INEXACT, NO_MATTER = 'refused', 'ignored', 'inexact', None

_KEPT = "the checkpoint's is kept"
_NEW = 'this config is followed'
_GROUPS = "the optimizer's state is stored by groups of parameters, which this changes"

# Patterns of dotted keys, what a change of them means, and what comes of it; the first that matches holds ('*' takes
# dots, too). The config is followed in what no other rule names, as MMEngine does.
_RULES: tuple[tuple[str, str | None, str], ...] = (
    ('model*num_classes train_dataloader*metainfo.classes', REFUSED, "the heads' weights are those of other classes"),
    ('model*.init_cfg* model*.pretrained', IGNORED, "the checkpoint's weights are kept"),
    ('model.test_cfg*', INEXACT, f'{_NEW} in validation'),
    ('optim_wrapper*optimizer optim_wrapper*optimizer.type', REFUSED, "the optimizer's state fits no other"),
    ('optim_wrapper*optimizer.*', IGNORED, _KEPT),
    ('optim_wrapper*constructor optim_wrapper*paramwise_cfg', REFUSED, _GROUPS),
    ('optim_wrapper*paramwise_cfg.bypass_duplicate', REFUSED, _GROUPS),
    ('optim_wrapper*paramwise_cfg.*', IGNORED, _KEPT),
    ('param_scheduler*.[0-9]*.*', IGNORED, _KEPT),
    ('param_scheduler*', REFUSED, 'the state of a schedule fits only the same kind at the same place'),
    ('auto_scale_lr*', IGNORED, "the checkpoint's learning rate is kept"),
    ('train_cfg.type', REFUSED, 'a run cannot change from counting epochs to counting iterations, or back'),
    ('train_cfg.max_*', INEXACT, f"{_NEW}, but the schedules of param_scheduler stay the checkpoint's"),
    ('train_cfg.val_*', INEXACT, 'validation comes at other times'),
    ('train_dataloader.batch_size', INEXACT, f"{_NEW}, but what is counted in iterations stays the checkpoint's"),
    ('*.data_root *.ann_file *.data_prefix* *.backend_args*', INEXACT, f'{_NEW}, exact only with the same data'),
    ('randomness.seed', IGNORED, _KEPT),
    # Batches are seeded by their number, whoever makes them: see exact_data.py.
    ('train_dataloader.num_workers train_dataloader.persistent_workers', NO_MATTER, ''),
    ('train_dataloader.prefetch_factor train_dataloader.pin_memory* train_dataloader.timeout', NO_MATTER, ''),
    ('train_dataloader*metainfo.palette', NO_MATTER, ''),
    ('env_cfg.mp_cfg* env_cfg.dist_cfg*', NO_MATTER, ''),
    ('*', INEXACT, _NEW),
)
# MMEngine's own constructor gives each parameter a group where there is a paramwise_cfg; others may do anything.
_RULES_OF_OTHER_CONSTRUCTORS = (('optim_wrapper*paramwise_cfg*', REFUSED, _GROUPS), *_RULES)
_OWN = 'DefaultOptimWrapperConstructor'

_SECTIONS = (
    *('model', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'train_dataloader', 'randomness'),
    *('custom_hooks', 'env_cfg', 'sync_bn'),
)
# Here None is what MMEngine takes for a setting that is left out; a model or a data set may distinguish the two.
_NONE_IS_ABSENT = ('optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr', 'randomness')

# State of torch's optimizers that has its parameter's shape, and hyperparameters that not all of them have.
_MOMENTS = ('momentum_buffer', 'exp_avg', 'exp_avg_sq', 'max_exp_avg_sq', 'exp_inf', 'square_avg', 'acc_delta', 'sum')
_TELLING = ('momentum', 'betas', 'alpha', 'rho', 'lambd', 'lr_decay')

_ABSENT = object()
_MAX_DEPTH, _MAX_VALUES, _MAX_NAME, _MAX_SHOWN = 40, 50_000, 200, 72


@dataclass
class Differences:
    """Phrases, each about one setting that has changed.

    Attributes:
        refused: The run cannot be continued with these.
        ignored: The checkpoint's value wins.
        inexact: The run goes on, but is not any more the one that was begun.
    """

    refused: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    inexact: list[str] = field(default_factory=list)


def plain(cfg: Config) -> dict[str, Any]:
    """The parts of a config that matter to a resumed run, as JSON-like data.

    Tuples become lists, classes and functions their dotted names, anything else its ``repr``. A part that is not set
    is None; one too large to be written by hand is left out.
    """
    made = {section: _data(cfg.get(section), [_MAX_VALUES]) for section in _SECTIONS}
    return {section: value for section, value in made.items() if value is not _ABSENT}


def compare(then: Mapping[str, Any], now: Mapping[str, Any]) -> Differences:
    """Tell what differs between two results of :func:`plain`: the checkpoint's and this run's.

    ``then`` may be anything a file can hold; what is not as :func:`plain` makes it tells nothing.
    """
    found = Differences()
    for section in _SECTIONS:
        if not (isinstance(then, Mapping) and section in then and section in now):
            continue
        before, after = (_normal(section, _data(whole[section], [_MAX_VALUES])) for whole in (then, now))
        kinds = (dict, list) if section in ('param_scheduler', 'custom_hooks') else dict
        if not (isinstance(before, kinds) and isinstance(after, kinds)):
            continue
        rules = _RULES
        if section == 'optim_wrapper' and _last(str(after.get('constructor') or _OWN)) != _OWN:
            rules = _RULES_OF_OTHER_CONSTRUCTORS
        for key, was, is_now in _changes(section, before, after, section in _NONE_IS_ABSENT):
            verdict, outcome = next((v, o) for p, v, o in rules if any(fnmatchcase(key, one) for one in p.split()))
            if verdict is not NO_MATTER:
                key = key if key.isprintable() else repr(key)
                getattr(found, verdict).append(f'{key} was {was} and is {is_now} now ({outcome})')
    return found


def _normal(section: str, value: Any) -> Any:
    """A section in the one of several spellings that all are compared in."""
    if section == 'param_scheduler':
        if isinstance(value, dict) and 'type' not in value:  # of several optimizers
            return {name: _normal(section, v) for name, v in value.items()}
        return [] if value is None else [value] if isinstance(value, dict) else value
    if section == 'custom_hooks':
        return value or []
    if section == 'sync_bn':  # a word
        return {'': value} if value is None or isinstance(value, str) else _ABSENT
    value = {} if value is None else value
    if section == 'train_cfg' and isinstance(value, dict) and 'type' not in value and 'by_epoch' in value:
        kind = 'EpochBasedTrainLoop' if value['by_epoch'] else 'IterBasedTrainLoop'
        return {'type': kind, **{k: v for k, v in value.items() if k != 'by_epoch'}}
    return value


def _changes(key: str, then: Any, now: Any, none_is_absent: bool) -> Iterator[tuple[str, str, str]]:
    """Yield the dotted key, the old and the new value of each setting that differs."""
    if isinstance(then, dict) and isinstance(now, dict):
        absent = (None, {}) if none_is_absent else ()
        for name in (*then, *(name for name in now if name not in then)):
            before, after = then.get(name, _ABSENT), now.get(name, _ABSENT)
            before, after = (_ABSENT if v in absent else v for v in (before, after))
            if name != '_scope_':  # where a type is looked up, which inherited configs add
                yield from _changes(f'{key}.{name}' if name else key, before, after, none_is_absent)
        return
    kinds = _kinds(then), _kinds(now)
    if kinds[0] and kinds[0] == kinds[1]:
        for i, (before, after) in enumerate(zip(then, now, strict=True)):
            yield from _changes(f'{key}.{i}', before, after, none_is_absent)
        return
    then, now = (v if k is None else k for v, k in zip((then, now), kinds, strict=True))
    if key.endswith('.type') and isinstance(then, str) and isinstance(now, str):
        then, now = _last(then), _last(now)
    if then is not now and then != now and repr(then) != repr(now):
        yield key, *_shown(then, now)


def _kinds(value: Any) -> list[str] | None:
    """The types in a list of settings (of steps, schedules, heads); None if it is no such list."""
    if isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
        return [_last(str(v.get('type', 'dict'))) for v in value]
    return None


def _last(name: str) -> str:
    return name.rpartition('.')[2]


def _shown(then: Any, now: Any) -> tuple[str, str]:
    """Two values, of long ones the part around the first difference."""
    texts = ['not set' if v is _ABSENT else repr(v) for v in (then, now)]
    if max(map(len, texts)) <= _MAX_SHOWN:
        return texts[0], texts[1]
    first = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), min(map(len, texts)))
    start = max(0, first - _MAX_SHOWN // 3)
    cut = ['...' * (start > 0) + t[start : start + _MAX_SHOWN] + '...' * (len(t) > start + _MAX_SHOWN) for t in texts]
    return cut[0], cut[1]


def _data(value: Any, left: list[int], depth: int = 0) -> Any:
    """A value as JSON-like data, or ``_ABSENT`` if it has more values than are ``left`` or refers to itself."""
    left[0] -= 1
    if left[0] < 0 or depth > _MAX_DEPTH:
        left[0] = -1
        return _ABSENT
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Integral):
        return int(value) if int(value).bit_length() < 64 else f'an integer of {int(value).bit_length()} bits'
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        made: Any = {_name(k): _data(v, left, depth + 1) for k, v in value.items() if left[0] >= 0}
    elif isinstance(value, (list, tuple, set, frozenset)):
        made = [_data(v, left, depth + 1) for v in value if left[0] >= 0]
    elif hasattr(value, '__qualname__'):
        made = f'{value.__module__}.{value.__qualname__}'
    else:
        made = _described(value)
    return _ABSENT if left[0] < 0 else made


def _described(value: Any) -> str:
    try:
        return re.sub(r' at 0x[0-9a-fA-F]+', '', repr(value))[:500]
    except Exception:  # of a broken object
        return type(value).__name__


def _name(key: Any) -> str:
    return (key if isinstance(key, str) else str(_data(key, [_MAX_DEPTH])))[:_MAX_NAME]


def model_problems(model: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    """Tell what of a checkpoint's weights does not fit a model, as at most three phrases.

    MMEngine only logs this. The model may be wrapped, and names may begin with ``module.``.
    """
    inner = unwrapped(model)
    here = dict(inner.state_dict())
    stored = state_dict.items() if isinstance(state_dict, Mapping) else ()
    there = {name.removeprefix('module.'): value for name, value in stored if isinstance(name, str)}
    missing = [name for name in here if name not in there and not name.endswith('num_batches_tracked')]
    unknown = [name for name in there if name not in here]
    wrong = [
        f'{name}: {_shape(there[name])} in the checkpoint, {_shape(value)} in the model'
        for name, value in here.items()
        if name in there and isinstance(value, Tensor) and _shape(there[name]) != _shape(value)
    ]
    problems = (
        (missing, f"of the model's {len(here)} entries are not in the checkpoint"),
        (unknown, f"of the checkpoint's {len(there)} entries are not in the model"),
        (wrong, "of the model's entries have another shape in the checkpoint"),
    )
    return [f'{len(names)} {what} (the first is {names[0]})' for names, what in problems if names]


def optimizer_problems(optim_wrapper: OptimWrapper, state: Mapping[str, Any] | None) -> list[str]:
    """Tell what of a checkpoint's state does not fit an optimizer; None, which is no state, has no problems.

    Torch compares only the numbers of groups and of their parameters, and not in words that help.
    """
    if state is None:
        return []
    if isinstance(optim_wrapper, OptimWrapperDict):
        state = state if isinstance(state, Mapping) else {}
        then, now = sorted(map(str, state)), sorted(optim_wrapper.keys())
        if then != now:
            return [f'the checkpoint has states of the optimizers {then}, this run has the optimizers {now}']
        named = ((name, optimizer_problems(one, state.get(name, {}))) for name, one in optim_wrapper.items())
        return [f'{name}: {problem}' for name, problems in named for problem in problems]
    stored = state.get('param_groups') if isinstance(state, Mapping) else None
    if not isinstance(stored, list) or not all(isinstance(g, Mapping) for g in stored):
        return ["the checkpoint's state is not one of an optimizer"]
    groups, defaults = optim_wrapper.optimizer.param_groups, optim_wrapper.optimizer.defaults
    if len(stored) != len(groups):
        return [f'the checkpoint has {len(stored)} groups of parameters, the optimizer has {len(groups)}']
    lacking = [name for name in _TELLING if name in defaults and any(name not in g for g in stored)]
    if lacking:
        return [f"the checkpoint's state is one of another kind of optimizer (it has no {lacking[0]})"]
    there = [list(g['params']) if isinstance(g.get('params'), (list, tuple)) else [] for g in stored]
    for i, (then, now) in enumerate(zip(there, groups, strict=True)):
        if len(then) != len(now['params']):
            now = len(now['params'])
            return [f'group {i} of the optimizer has {len(then)} parameters in the checkpoint and {now} in this run']
    numbered = zip((n for g in there for n in g), (p for g in groups for p in g['params']), strict=True)
    wrong = list(_misshapen(numbered, state.get('state')))
    return [f"{len(wrong)} of the optimizer's moments do not fit (the first is {wrong[0]})"] if wrong else []


def _misshapen(numbered: Iterator[tuple[Any, Tensor]], states: Any) -> Iterator[str]:
    for number, parameter in numbered:
        moments = states.get(number) if isinstance(states, Mapping) and isinstance(number, int) else None
        for name in _MOMENTS if isinstance(moments, Mapping) else ():
            moment = moments.get(name)
            if moment is not None and _shape(moment) != _shape(parameter):
                yield f'{name} of parameter {number}: {_shape(moment)} for a parameter of {_shape(parameter)}'


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else 'no tensor'


def classes_problem(then_meta: Mapping[str, Any] | None, now_meta: Mapping[str, Any] | None) -> str | None:
    """Tell how a data set's classes (``metainfo``) differ from the checkpoint's, if both are known; order counts."""
    then, now = (m.get('classes') if isinstance(m, Mapping) else None for m in (then_meta, now_meta))
    if not all(isinstance(c, (list, tuple)) and all(isinstance(name, str) for name in c) for c in (then, now)):
        return None
    if list(then) == list(now):
        return None
    if sorted(then) == sorted(now):
        i = next(i for i, (a, b) in enumerate(zip(then, now, strict=True)) if a != b)
        return f'the classes have another order (class {i} was {then[i]!r} and is {now[i]!r} now)'
    was, is_now = _shown(list(then), list(now))
    return f'the classes were {was} ({len(then)}) and are {is_now} ({len(now)}) now'
