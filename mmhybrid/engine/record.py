"""What a checkpoint tells of its run, looked at before any of it is used: a file may hold anything."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

VERSION = 1
_MOST = 2**63 - 1


def problem(checkpoint: Mapping[str, Any]) -> str | None:
    """Name the first part of a checkpoint of a run that is not what it should be, or None.

    Args:
        checkpoint: Of MMEngine's runner; 'resume' is the record of
            :class:`~mmhybrid.engine.resumable_checkpoint.ResumableCheckpointHook`, and need not be there.
    """
    return next((name for name, holds in _parts(checkpoint) if not holds), None)


def _parts(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    meta, hub = checkpoint['meta'], checkpoint['message_hub']
    yield 'meta.epoch', _count(meta['epoch'])
    yield 'meta.iter', _count(meta['iter'])
    yield 'meta.seed', meta.get('seed') is None or _count(meta['seed'], 2**32 - 1)
    for part in ('log_scalars', 'runtime_info', 'resumed_keys'):
        yield f'message_hub.{part}', all(isinstance(name, str) for name in hub[part])
    schedules = checkpoint.get('param_schedulers', [])
    lists = schedules.values() if isinstance(schedules, Mapping) else [schedules]
    yield 'param_schedulers', all(isinstance(a, list) and all(isinstance(b, Mapping) for b in a) for a in lists)
    record = checkpoint.get('resume')
    if record is None:
        return
    yield 'resume', isinstance(record, Mapping)
    yield 'resume.version', type(record.get('version')) is int
    if record['version'] != VERSION:
        return
    yield 'resume.run', isinstance(record.get('run'), str) and len(record['run']) < 100
    yield 'resume.val_is_due', type(record.get('val_is_due')) is bool
    for name in ('batch', 'batches', 'world_size', 'sampler_seed'):
        yield f'resume.{name}', record.get(name) is None or _count(record[name], 2**32 - 1)
    position = record.get('position')
    yield 'resume.position', position is None or (_is(position, list, 2) and all(map(_count, position)))
    names = record.get('superseded')
    yield 'resume.superseded', _is(names, list) and all(isinstance(n, str) and len(n) < 256 for n in names)
    states = record.get('random_states')
    yield 'resume.random_states', _is(states, list) and all(map(_are_states, states))


def _count(value: Any, most: int = _MOST) -> bool:
    return type(value) is int and 0 <= value <= most


def _is(value: Any, kind: type, length: int | None = None) -> bool:
    return isinstance(value, kind) and (length is None or len(value) == length)


def _are_states(states: Any) -> bool:
    """Whether they are what ``random_states`` gives; NumPy believes a wrong position, and reads beyond its array."""
    if not isinstance(states, Mapping) or not all(isinstance(states.get(k), list) for k in ('python', 'numpy')):
        return False
    if (len(states['python']), len(states['numpy'])) != (3, 5):
        return False
    version, internal, gauss = states['python']
    python = version == 3 and _is(internal, list, 625) and all(_count(n, 2**32 - 1) for n in internal)
    python = python and internal[-1] <= 624 and (gauss is None or type(gauss) is float)
    name, keys, position, has_gauss, cached = states['numpy']
    numpy = name == 'MT19937' and isinstance(keys, Tensor) and keys.dtype == torch.int64 and keys.shape == (624,)
    numpy = numpy and _count(position, 624) and has_gauss in (0, 1) and type(cached) is float
    return bool(python and numpy) and all(_is_pytorch(states[key]) for key in ('torch', 'cuda') if key in states)


def _is_pytorch(state: Any) -> bool:
    if not isinstance(state, Tensor) or state.dtype != torch.uint8 or state.dim() != 1:
        return False
    try:
        torch.Generator().set_state(state.cpu())
    except RuntimeError:
        return len(state) == 16  # a GPU's: a seed and an offset
    return True
