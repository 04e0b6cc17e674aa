"""How a run's checkpoints reach the disk, and as what: MMEngine's file backend and plain data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import HistoryBuffer
from torch import Tensor

from mmhybrid.checkpoints.files import write_durably

BACKEND = 'durable'
_HISTORY = ('log_history', 'count_history', 'max_length')


class DurableBackend(LocalBackend):
    """MMEngine's backend for local files, of which each is after a crash the new one or the old one, whole."""

    def put(self, obj: bytes, filepath: Any) -> None:
        """Write ``obj`` to ``filepath`` by way of a temporary file."""
        write_durably(obj, filepath)


register_backend(BACKEND, DurableBackend, force=True)


class LaterRemoval:
    """A backend for local files that only notes what is to be removed, until that is safe."""

    def __init__(self, backend: LocalBackend):
        self._backend = backend
        self._noted: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        """Note a file or a folder."""
        if Path(path).exists():
            self._noted[str(path)] = Path(path).stat().st_ino

    rmtree = remove

    @property
    def names(self) -> list[str]:
        """What was noted."""
        return [Path(path).name for path in self._noted]

    def do(self) -> None:
        """Remove what was noted, unless another file has its name by now."""
        for path, inode in self._noted.items():
            if not Path(path).exists() or Path(path).stat().st_ino != inode:
                continue
            if Path(path).is_dir():
                self._backend.rmtree(path)
            else:
                self._backend.remove(path)
        self._noted = {}


def plain(value: Any, where: str, left_out: list[str]) -> Any:
    """A checkpoint's contents as tensors and Python's own types, which any weights-only reader takes.

    A log history becomes a dict of tensors, NumPy's arrays become lists and its scalars numbers.

    Args:
        value: A part of the checkpoint.
        where: Its name.
        left_out: Names of what is none of these are added; it is replaced by None.
    """
    if value is None or isinstance(value, (str, bytes, bool, Tensor)) or type(value) in (int, float):
        return value
    if isinstance(value, HistoryBuffer):
        logs, counts = (torch.from_numpy(np.asarray(a, dtype=np.float64)) for a in value.data)
        return dict(zip(_HISTORY, (logs, counts, value.max_length), strict=True))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), where, left_out)
    if isinstance(value, Mapping):
        made = {k: plain(v, f'{where}.{k}', left_out) for k, v in value.items()}
        if type(value) is not dict and hasattr(value, '_metadata'):  # a state dict's versions
            return _with_metadata(value, made)
        return made
    if isinstance(value, (list, tuple, set, frozenset)):
        made = [plain(v, f'{where}[{i}]', left_out) for i, v in enumerate(value)]
        return tuple(made) if isinstance(value, tuple) else made
    if isinstance(value, (torch.device, torch.dtype, torch.Size)):
        return value
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    left_out.append(f'{where} ({type(value).__name__})')
    return None


def _with_metadata(value: Any, made: dict) -> Any:
    ordered = type(value)(made)
    ordered._metadata = value._metadata
    return ordered


def histories(scalars: Any) -> Any:
    """Log histories of what :func:`plain` made of them; others are left as they are."""
    if not isinstance(scalars, Mapping):
        return scalars
    return {name: _history(value) for name, value in scalars.items()}


def _history(value: Any) -> Any:
    if not (isinstance(value, Mapping) and set(value) == set(_HISTORY)):
        return value
    logs, counts = (value[key].cpu().numpy() if isinstance(value[key], Tensor) else None for key in _HISTORY[:2])
    if logs is None or counts is None or logs.ndim != 1 or logs.shape != counts.shape:
        return value  # MMEngine leaves out what is no history
    if type(value['max_length']) is not int or value['max_length'] < 1:
        return value
    if (counts == counts.astype(np.int64)).all():
        counts = counts.astype(np.int64)
    return HistoryBuffer(logs, counts, value['max_length'])
