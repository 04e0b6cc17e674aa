"""What a checkpoint of MMEngine's runner holds besides weights, allowed to be read without running a file's code.

Since version 2.6, ``torch.load`` reads weights and plain data only and refuses every other global that a file names.
A runner's checkpoint names a few: the message hub keeps its scalars in ``HistoryBuffer`` objects, these hold NumPy
arrays, and the time left that the log tells is a NumPy scalar. Stock MMEngine (0.10.7 is the last) allows none of them,
so it cannot resume; the OneDL line allows them and, among them, the built-in ``getattr``, which hands a file's author
any attribute of any object. The answer here is a list of exactly these globals, most under a stand-in that makes data
and nothing else.
"""

import pickle
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

Entry = Callable | tuple[Callable, str]

# A pickle names a function by its module, which is called `core` in NumPy 1 and `_core` in NumPy 2.
_NUMPY_CORES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_NUMBERS = re.compile(r'b1|[iu][1248]|f[248]')
_STATISTICS = ('min', 'max', 'current', 'mean')
_lock = threading.RLock()


@contextmanager
def only_data() -> Iterator[None]:
    """Let ``torch.load(..., weights_only=True)`` read weights, a runner's own data, and what the user allowed himself.

    PyTorch keeps the allowed globals in one set and looks them up by name; of two under one name, the order in the set
    decides. Within this context the set is another one: the globals of this file, and those that were added with
    ``torch.serialization.add_safe_globals`` under other names, without the functions of the module ``builtins``
    (``getattr``, ``eval``, ``open``, ...), which are never allowed. Afterwards the set is what it was.

    Before torch 2.6 a global cannot be allowed under another name, so none of this file's is: weights are read, a run's
    whole checkpoint is refused.
    """
    if torch.__version__ < (2, 4):  # nothing can be allowed
        yield
        return
    ours = allowed_globals() if torch.__version__ >= (2, 6) else []
    names = set(map(_name, ours))
    with _lock:
        before = set(torch.serialization.get_safe_globals())
        inside = {*ours, *(entry for entry in before if _name(entry) not in names and not _is_builtin(entry))}
        _replace(inside)
        try:
            yield
        finally:
            # What another thread has allowed meanwhile stays.
            _replace(before | (set(torch.serialization.get_safe_globals()) - inside))


def _replace(entries: set[Entry]) -> None:
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(list(entries))


def _name(entry: Entry) -> str:
    return entry[1] if isinstance(entry, tuple) else f'{entry.__module__}.{entry.__qualname__}'


def _is_builtin(entry: Entry) -> bool:
    function = entry[0] if isinstance(entry, tuple) else entry
    return isinstance(function, BuiltinFunctionType) and function.__module__ == 'builtins'


def allowed_globals() -> list[Entry]:
    """What ``torch.load`` may find in a checkpoint of MMEngine's ``Runner``, in the form ``add_safe_globals`` takes."""
    # NumPy tells by itself what its pickles call.
    reconstruct, scalar = np.empty(0).__reduce__()[0], np.float64().__reduce__()[0]
    allowed: list[Entry] = [np.ndarray, slice, (_number_type, 'numpy.dtype')]
    # The class of each data type, whose byte order is set after it was made.
    allowed += {type(np.dtype(code)) for code in ('b1', *(f'{k}{n}' for k in 'iu' for n in (1, 2, 4, 8)), *_FLOATS)}
    for core in _NUMPY_CORES:
        allowed += [(reconstruct, f'{core}._reconstruct'), (scalar, f'{core}.scalar')]
    allowed.append((_History, f'{HistoryBuffer.__module__}.{HistoryBuffer.__qualname__}'))
    allowed.append((_statistics_method, 'builtins.getattr'))
    return allowed


_FLOATS = ('f2', 'f4', 'f8')


def _number_type(code: str, *flags: Any) -> np.dtype:
    """In place of ``numpy.dtype``: numbers only, so that no bytes of a file are taken for pointers to objects."""
    if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
        raise pickle.UnpicklingError(f'an array of {code!r}, not of numbers')
    return np.dtype(code, *flags)


def _statistics_method(owner: object, name: str) -> None:
    """In place of ``getattr``: the methods of a log history, which ``_History`` has anyway, are left out."""
    if owner is not _History or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'getattr of {name!r}, which is not one of a log history')


class _History(HistoryBuffer):
    """A ``HistoryBuffer`` while it is read.

    MMEngine's own ``__setstate__`` takes any attribute from a file, and takes functions into the table of statistics
    that all histories of the process share.
    """

    def __setstate__(self, state: Any) -> None:
        values, counts, max_length = (state.get(k) for k in ('_log_history', '_count_history', 'max_length'))
        for numbers in (values, counts):
            if type(numbers) is not np.ndarray or numbers.dtype.fields or numbers.dtype.subdtype or numbers.ndim != 1:
                raise pickle.UnpicklingError('a log history that is no list of numbers')
        if type(max_length) is not int or len(values) != len(counts):
            raise pickle.UnpicklingError('a log history of which a part is missing')
        self.__dict__.update(_log_history=values, _count_history=counts, max_length=max_length)
        self._set_default_statistics()
        self.__class__ = HistoryBuffer
