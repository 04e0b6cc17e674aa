"""What a checkpoint of MMEngine's runner holds besides weights, allowed to be read without running a file's code.

Since version 2.6, ``torch.load`` reads weights and plain data only and refuses every other global that a file names.
A runner's checkpoint names a few: the message hub keeps its scalars in ``HistoryBuffer`` objects, these hold NumPy
arrays, and the time left that the log tells is a NumPy scalar. Stock MMEngine (0.10.7 is the last) allows none of them,
so it cannot resume. The answer here is a list of exactly these globals, not a reader that obeys the file.
"""

import pickle
from collections.abc import Callable

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

# A pickle names a function by its module, which is called `core` in NumPy 1 and `_core` in NumPy 2.
_NUMPY_CORES = ('numpy.core.multiarray', 'numpy._core.multiarray')
_DTYPES = (np.float64, np.int64)  # of a history's values and of their counts
_STATISTICS = ('min', 'max', 'current', 'mean')


def allow_mmengine_checkpoints() -> None:
    """Let ``torch.load`` read the checkpoints of MMEngine's ``Runner`` under ``weights_only=True``.

    The allowed globals make data: ``HistoryBuffer``, NumPy's arrays, scalars and two of its dtypes. One needs care:
    a ``HistoryBuffer`` is saved with its class's methods, each as a call of ``getattr``, and the built-in ``getattr``
    would hand a file's author any attribute of any object. A function under its name gives these four methods and
    nothing else. Calling this twice, or where MMEngine allows its globals itself (OneDL), changes nothing.

    Before torch 2.6 a global cannot be allowed under another name, so nothing is: checkpoints of a run stay refused
    where weights only are asked for.
    """
    if torch.__version__ < (2, 6):
        return
    # NumPy tells by itself what its pickles call.
    reconstruct, scalar = np.empty(0).__reduce__()[0], np.float64().__reduce__()[0]
    allowed: list[Callable | tuple[Callable, str]] = [HistoryBuffer, np.ndarray, np.dtype]
    allowed += [type(np.dtype(dtype)) for dtype in _DTYPES]
    for core in _NUMPY_CORES:
        allowed += [(reconstruct, f'{core}._reconstruct'), (scalar, f'{core}.scalar')]
    allowed.append((_statistics_method, 'builtins.getattr'))
    torch.serialization.add_safe_globals(allowed)


def _statistics_method(owner: object, name: str) -> Callable:
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'getattr of {name!r} is not one of a log history')
    return getattr(HistoryBuffer, name)
