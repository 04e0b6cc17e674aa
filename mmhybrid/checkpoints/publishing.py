"""From a checkpoint of a classifier or a detector to a backbone's file, of which it is known what it is."""

import ast
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

import mmhybrid.registry  # noqa: F401  (registers the classes)
from mmhybrid import variants
from mmhybrid.checkpoints import cards, layouts
from mmhybrid.checkpoints.fitting import first_difference, shapes
from mmhybrid.checkpoints.reading import read
from mmhybrid.checkpoints.structure import STEM, default_of, unusable
from mmhybrid.checkpoints.tensor_files import tensors_sha256
from mmhybrid.errors import InputError
from mmhybrid.origins import named, short
from mmhybrid.pretraining import backbones as known

# What a pre-training tells besides the keys of every card.
PROVENANCE = ('iterations', 'max_epochs', 'batch_size', 'recipe_options', 'started_from')


@dataclass(frozen=True)
class Found:
    """A backbone in a checkpoint.

    Attributes:
        state: Its tensors.
        prefix: What stood before their names.
        left_out: Names of what is no part of it.
        facts: What the checkpoint tells, by keys of the card.
        ema: 'averaged' or 'not averaged' where there are both, else None.
    """

    state: dict[str, Tensor]
    prefix: str
    left_out: tuple[str, ...]
    facts: dict[str, Any]
    ema: str | None


def find(checkpoint: Path, ema: bool | None = None) -> Found:
    """Read a checkpoint.

    Args:
        checkpoint: The file.
        ema: Whether to take averaged weights where there are both; None does.

    Raises:
        InputError: If there is no backbone in it, or no averaged weights and ``ema`` is not None.
    """
    content = read(checkpoint)
    averaged, other = _both(content)
    if ema is not None and (averaged is None or other is None):
        raise InputError(f'{checkpoint} has one set of weights, none averaged beside others: leave --ema/--no-ema out.')
    state = layouts.state_of(content) if averaged is None else averaged if ema is not False else other
    part = layouts.backbone_part(state or {})
    if not part.state:
        raise InputError(f'{checkpoint} holds no weights of a backbone; give a checkpoint of a classifier or detector.')
    taken = None if averaged is None else 'not averaged' if ema is False else 'averaged'
    facts = _facts(content, checkpoint)
    if taken == 'not averaged':
        facts['top1'] = None  # was measured with the others
    return Found(part.state, part.prefix, part.left_out, facts, taken)


def _both(content: Any) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Averaged weights and those that were averaged."""
    if not isinstance(content, Mapping):
        return None, None
    if isinstance(content.get('ema_state_dict'), Mapping):
        # MMEngine saves them in each other's places, so that a detector is loaded with the averages.
        inner = {k.removeprefix('module.'): v for k, v in content['ema_state_dict'].items() if k.startswith('module.')}
        return layouts.state_of(content), inner
    if isinstance(content.get(layouts.AVERAGED), Mapping):
        return content[layouts.AVERAGED], content.get('state_dict')
    return None, None


def _facts(content: Any, checkpoint: Path) -> dict[str, Any]:
    keys = (*cards.KEYS, *PROVENANCE, 'warm_start')
    told = {key: value for key, value in (cards.facts(content, checkpoint) or {}).items() if key in keys}
    told['options'] = dict(told.get('options') or {}) if told.get('type') or told.get('variant') else None
    for key in ('sha256', 'tensors_sha256', 'created_by', 'parameters'):
        told.pop(key, None)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    meta = meta if isinstance(meta, Mapping) else {}
    if cards.PRETRAINING in meta:
        told['top1'] = _measured(checkpoint.parent / cards.ACCURACY, layouts.state_of(content))
    elif 'variant' not in told:
        told['epochs'] = meta.get('epoch') if isinstance(meta.get('epoch'), int) else None
        told |= _configured(meta.get('cfg')) | _began(meta.get('cfg'))
    if told.get('licence') is None and (licences := dict.fromkeys(_licences(told.get('started_from')))):
        told['licence'] = ' and '.join(licences)  # what was learned further stays under it
    told.setdefault('source', checkpoint.name)
    return told


def _licences(started_from: Any) -> list[str]:
    found = []
    for each in started_from if isinstance(started_from, list | tuple) else ():
        if isinstance(each, Mapping):
            own = each.get('licence')
            found += [str(own)] if own is not None else _licences(each.get('started_from'))
    return found


def _measured(path: Path, state: Mapping[str, Any] | None) -> float | None:
    """Top-1 accuracy of these very weights; the file may be another run's, or tell of other epochs."""
    try:
        digest = tensors_sha256({name: value for name, value in (state or {}).items() if isinstance(value, Tensor)})
        return next(float(e['top1']) for e in json.loads(path.read_bytes()).values() if e.get('weights') == digest)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None


def _configured(text: Any) -> dict[str, Any]:
    """Variant and options of the backbone in a config's text, which is looked at and not run."""
    try:
        backbone = _assigned(text, 'model')['backbone']
        return _variant_of(backbone) if isinstance(backbone['type'], str) else {}
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}


def _began(text: Any) -> dict[str, Any]:
    """Names of the files with which a detector began, by its config; a run that went on names its own checkpoint."""
    files = []
    for setting, keys in (('model', ('backbone', 'init_cfg', 'checkpoint')), ('load_from', ())):
        try:
            value = _assigned(text, setting)
            for key in keys:
                value = value[key]
            if isinstance(value, str) and not (setting == 'load_from' and _assigned(text, 'resume')):
                files.append(dict(file=PurePath(value).name))
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
    return dict(started_from=files) if files else {}


def _assigned(text: Any, name: str) -> Any:
    """What a config's text assigns to a name, if it is a literal.

    Raises:
        LookupError: If it assigns nothing.
        ValueError: If it is no literal.
    """
    try:
        statements = ast.parse(text).body if isinstance(text, str) else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        statements = []
    for statement in statements:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], 'id', None) == name:
            return _data(statement.value)
    raise LookupError(name)


def _data(node: ast.AST) -> Any:
    """What a literal stands for, in which MMEngine writes a dict as ``dict(key=value)``."""
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict' and not node.args:
        return {keyword.arg: _data(keyword.value) for keyword in node.keywords if keyword.arg}
    if isinstance(node, ast.Dict):
        return {_data(key): _data(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List | ast.Tuple):
        items = [_data(item) for item in node.elts]
        return tuple(items) if isinstance(node, ast.Tuple) else items
    return ast.literal_eval(node)


def _variant_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The variant that needs the fewest options to be a config's backbone."""
    kind = config['type'].rpartition('.')[2]
    candidates = {}
    for name in known.names():
        own = known.backbone_config(name)
        if own['type'] == kind:
            keys = [key for key in {**own, **config} if key not in variants.USE]
            there, here = ({key: _setting(kind, given, key) for key in keys} for given in (config, own))
            candidates[name] = {key: there[key] for key in keys if there[key] != here[key]}
    if not candidates:
        return {}
    name = min(candidates, key=lambda name: len(candidates[name]))
    return dict(variant=name, type=kind, options=candidates[name])


def _setting(kind: str, config: Mapping[str, Any], key: str) -> Any:
    value = config.get(key)
    if key not in config or value is None:
        value = default_of(MODELS.get(kind), key)
    if key == 'norm_cfg' and str((value or {}).get('type', 'BN')).endswith('BN'):
        return 'BN'  # on one device or on many, learned or not: the same tensors
    return json.loads(json.dumps(value, default=str))


def made(variant: str, options: Mapping[str, Any]) -> nn.Module:
    """A variant on the meta device: names and shapes, without memory.

    Raises:
        InputError: If there is no such variant, or it cannot have these options.
    """
    config = {**known.backbone_config(variant), **options}
    if isinstance(config.get('num_stages'), int):  # fewer than the default's outputs ask for
        config.setdefault('out_indices', tuple(range(config['num_stages'])))
    try:
        with torch.device('meta'):
            return MODELS.get(config.pop('type'))(**config)
    except Exception as error:  # of OpenMMLab's classes and torch's, which check little
        if not options:
            raise
        raise InputError(
            f'There is no {described(variant, options)} ({short(named(error), 200)}); correct --options.'
        ) from None


def compared(found: Found, variant: str, options: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """A backbone's tensors in the variant's order, compared with it.

    Where a pre-training changed the stem for small pictures so that it has another shape, the whole stem is left out:
    norms know the numbers of what comes before them.

    Returns:
        The tensors, and the names of those that were left out with the stem.

    Raises:
        InputError: If they are not exactly the variant's, with the first that differs, or are not finite floating-point
            numbers.
    """
    backbone = made(variant, options)
    here, there = shapes(backbone.state_dict()), shapes(found.state)
    left_out: list[str] = []
    if found.facts.get('left_out'):
        left_out = [name for name in here if name.partition('.')[0] in STEM]
        here = {name: shape for name, shape in here.items() if name not in left_out}
        there = {name: shape for name, shape in there.items() if name.partition('.')[0] not in STEM}
    if difference := first_difference(here, there):
        raise InputError(
            f'The weights are not those of {described(variant, options)}: {difference}; give the right --backbone, or '
            'the options with which it was trained as --options KEY=VALUE.'
        )
    if reason := unusable(backbone.state_dict(), found.state):
        raise InputError(f'The weights cannot be published: {reason}; give weights of finite floating-point numbers.')
    # Counts of batches are there, or not, as in the file.
    names = [n for n in backbone.state_dict() if n in found.state and not (left_out and n.partition('.')[0] in STEM)]
    return {name: found.state[name] for name in names}, left_out


def halved(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of convolutions and linear layers in float16; biases and norms, whose numbers may be tiny, as they are.

    Raises:
        InputError: If a number is too large for it.
    """
    made = {n: v.half() if v.dim() > 1 and v.is_floating_point() else v for n, v in state.items()}
    for name, value in made.items():
        if value.dtype == torch.float16 and not torch.equal(value.isfinite(), state[name].isfinite()):
            raise InputError(f'{name} has numbers too large for float16: leave --half out.')
    return made


def described(variant: str, options: Mapping[str, Any]) -> str:
    """A variant and its options, for a sentence."""
    given = ', '.join(f'{key}={value!r}' for key, value in options.items())
    return f'{variant} with {given}' if given else variant


def fitting_variants(found: Found, tell: Callable[[str], None]) -> list[str]:
    """Names of all known backbones whose tensors are exactly these.

    Raises:
        InputError: If there are none, with the nearest.
    """
    there, nearest = shapes(found.state), ('', 0.0, '')
    fitting, names = [], known.names()
    for i, name in enumerate(names):
        if i % 10 == 0:
            tell(f'comparing with {i + 1} to {min(i + 10, len(names))} of {len(names)} backbones')
        here = shapes(made(name, {}).state_dict())
        difference = first_difference(here, there)
        if not difference:
            fitting.append(name)
        shared = len(here.items() & there.items()) / len(here.keys() | there.keys())
        nearest = max(nearest, (name, shared, difference), key=lambda each: each[1])
    if not fitting:
        hint = f', not even of {nearest[0]}, the nearest ({nearest[2]})' if nearest[0] else ''
        raise InputError(
            f'The weights are of none of the {len(names)} known backbones{hint}: name it with --backbone, and what '
            'differs from it with --options, e.g. --options base_channels=16.'
        )
    return fitting
