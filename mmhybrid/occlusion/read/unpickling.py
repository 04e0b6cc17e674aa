"""Pickled tensors and arrays as NumPy arrays, without running anything that the file names.

A pickle is a program: it names functions by module and name, and loading calls them. Here every name that predictions
need stands for a function of this file, which only moves bytes, and any other name is refused. PyTorch is not needed:
a CPU tensor is pickled as its storage, in the format ``torch.save`` had before its zip files, and a view of it.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from .files import ZIP

# torch/storage.py; bfloat16 has no NumPy type and is widened.
STORAGES = {
    'DoubleStorage': '<f8', 'FloatStorage': '<f4', 'HalfStorage': '<f2', 'BFloat16Storage': 'bfloat16',
    'LongStorage': '<i8', 'IntStorage': '<i4', 'ShortStorage': '<i2', 'CharStorage': '<i1',
    'ByteStorage': '<u1', 'BoolStorage': '|b1',
}  # fmt: skip
# torch/serialization.py, the format without zip.
MAGIC_NUMBER, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001
# A view may repeat its storage; beyond this many elements it is an attempt to fill the memory.
MAX_REPEATED = 2**24
# Any pickle may hold this many values, a longer one so many a byte: what programs write holds hardly one a byte.
FREE = 2**22
SHARED = 4
NESTS = {dict, OrderedDict, list, tuple, set, frozenset}


class RefusedError(Exception):
    """A pickle names something that is not needed to hold predictions."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it names '{name}', which predictions do not need and which might do harm")


def load(file: Any) -> tuple[Any, bool]:
    """Nested lists, dictionaries, numbers, texts, and CPU tensors and NumPy arrays as arrays.

    Args:
        file: A binary file in which one can go back: a pickle, or what ``torch.save`` writes since PyTorch 1.6, a zip
            file with a pickle and the storages of tensors.

    Returns:
        The object, and whether it was in a zip file.

    Raises:
        RefusedError: The pickle names anything else.
        Exception: Of any kind, if the pickle is broken.
    """
    is_zip = file.read(4).startswith(ZIP)
    file.seek(0)
    if not is_zip:
        content = _Unpickler(file, _GLOBALS).load()
        if content == MAGIC_NUMBER:
            raise pickle.UnpicklingError('the format of PyTorch before 1.6; load it and save it by a newer PyTorch')
        return _plain(content, file), False
    archive = zipfile.ZipFile(file)
    pickles = [name for name in archive.namelist() if name.endswith('/data.pkl')]
    if len(pickles) != 1:
        raise pickle.UnpicklingError("a zip file without one 'data.pkl'")
    folder = pickles[0].removesuffix('data.pkl')
    if f'{folder}byteorder' in archive.namelist() and _member(archive, f'{folder}byteorder') != b'little':
        raise pickle.UnpicklingError('a tensor from a big-endian machine')

    def storage(dtype: str, key: str, length: int) -> np.ndarray:
        return _elements(_member(archive, f'{folder}data/{key}'), dtype, length)

    inner = io.BytesIO(_member(archive, pickles[0]))
    return _plain(_Unpickler(inner, _GLOBALS | _STORAGE_GLOBALS, storage).load(), inner), True


def _plain(content: Any, file: Any) -> Any:
    """The content, with arrays in lists and dictionaries in place of what stands for them.

    It must not be far more values than ``file`` has bytes, as when lists hold one list many times: each value takes a
    byte or more, but one that was there before is two bytes however much is in it.
    """
    limit = max(FREE, SHARED * file.seek(0, os.SEEK_END))
    count, waiting = 0, [content] if type(content) in NESTS else []
    while waiting:
        nest = waiting.pop()
        count += len(nest)
        if count > limit:
            raise pickle.UnpicklingError(f'lists within lists that repeat one another to more than {limit} values')
        for key, value in nest.items() if isinstance(nest, dict) else enumerate(nest):
            if type(value) in NESTS:
                waiting.append(value)
            elif type(value) is _Array and isinstance(nest, dict | list):
                nest[key] = value.state
    return content


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:  # nothing that PyTorch writes can unpack to more
        raise pickle.UnpicklingError(f'{name} is compressed')
    return archive.read(name)


def _check_memo(file: Any) -> None:
    """Refuse the next pickle if it numbers an object beyond what its length has room for.

    Python makes a table as long as the highest number, so that twenty bytes could fill the memory.
    """
    begin = file.tell()
    for operation, number, position in pickletools.genops(file):
        if operation.name in ('PUT', 'BINPUT', 'LONG_BINPUT') and number > position - begin:
            raise pickle.UnpicklingError(f'object {number} after {position - begin} bytes')
    file.seek(begin)


class _Unpickler(pickle.Unpickler):
    """Finds only what a table holds; ``find`` gives a storage, whose bytes are elsewhere, by its description."""

    def __init__(self, file: Any, table: dict[tuple[str, str], Any], find: Callable | None = None) -> None:
        _check_memo(file)
        super().__init__(file)
        self._table, self._find = table, find

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._table[module, name]
        except KeyError:
            raise RefusedError(f'{module}.{name}') from None

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _, length = pid[:5]
        is_known = kind == 'storage' and dtype in STORAGES.values() and (len(pid) <= 5 or pid[5] is None)
        if self._find is None or not is_known or type(length) is not int or length < 0:
            raise pickle.UnpicklingError('a storage of an unknown kind')
        return self._find(dtype, key, length)


class _Array:
    """An array whose content the pickle sets by ``__setstate__``. NumPy's own trusts what it is given."""

    __slots__ = ('state',)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        self.state = _from_bytes(raw, dtype, shape, 'F' if is_fortran else 'C')


class _Dtype:
    """A data type, of numbers only."""

    __slots__ = ('name', 'order')

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or len(name) not in (2, 3) or name[0] not in 'biuf':
            raise RefusedError(f'numpy.dtype({name!r})')
        self.name, self.order = name, '<'

    def __setstate__(self, state: Any) -> None:
        self.order = '>' if state[1] == '>' else '<'


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: str = 'C') -> np.ndarray:
    if not isinstance(raw, bytes | bytearray) or not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError('an array that is not of numbers')
    return np.frombuffer(raw, dtype=dtype.order + dtype.name).reshape(shape, order=order)


def _storage(raw: bytes) -> np.ndarray:
    """What ``torch.storage._load_from_bytes`` reads: five pickles, the number of elements and the elements."""
    file = io.BytesIO(raw)
    *numbers, system = (_Unpickler(file, {}).load() for _ in range(3))
    if numbers != [MAGIC_NUMBER, PROTOCOL_VERSION] or not system['little_endian']:
        raise pickle.UnpicklingError('a tensor in an unknown format, or from a big-endian machine')
    dtype, key, length = _Unpickler(file, _STORAGE_GLOBALS, lambda *description: description).load()
    if _Unpickler(file, {}).load() != [key] or int.from_bytes(file.read(8), 'little') != length:
        raise pickle.UnpicklingError('a storage of another length than it says')
    return _elements(file.read(), dtype, length)


def _elements(raw: bytes, dtype: str, length: int) -> np.ndarray:
    """The first elements of a storage."""
    values = np.frombuffer(raw if length else b'', dtype='<u2' if dtype == 'bfloat16' else dtype, count=length)
    return (values.astype('<u4') << 16).view('<f4') if dtype == 'bfloat16' else values


def _tensor(storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> np.ndarray:
    """What ``torch._utils._rebuild_tensor_v2`` does, with bounds checked."""
    if not isinstance(storage, np.ndarray) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
        raise pickle.UnpicklingError('a tensor with a negative size')
    count = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if count and last >= len(storage):
        raise pickle.UnpicklingError('a tensor beyond its storage')
    if count > max(len(storage), MAX_REPEATED):
        raise pickle.UnpicklingError('a tensor that repeats its storage')
    if not count:
        return np.zeros(size, dtype=storage.dtype)
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


def _encode(text: str, encoding: str) -> bytes:
    """How old pickle protocols write bytes."""
    if encoding != 'latin1':
        raise RefusedError(f'_codecs.encode to {encoding!r}')
    return text.encode('latin1')


def _bytes(raw: bytes | bytearray = b'') -> bytes:
    if not isinstance(raw, bytes | bytearray):
        raise RefusedError(f'bytes of {type(raw).__name__}')
    return bytes(raw)


def _sealed(function: Callable) -> Callable:
    """The function as a bound method, on which a pickle can set no attribute."""

    class Holder:
        __slots__ = ()

        def __call__(self, *args: Any) -> Any:
            return function(*args)

    return Holder()


_GLOBALS = {
    ('collections', 'OrderedDict'): _sealed(OrderedDict),
    ('torch._utils', '_rebuild_tensor_v2'): _sealed(_tensor),
    ('torch.storage', '_load_from_bytes'): _sealed(_storage),
    ('torch', 'Size'): _sealed(tuple),
    ('_codecs', 'encode'): _sealed(_encode),
    **dict.fromkeys(product(('__builtin__', 'builtins'), ('bytes', 'bytearray')), _sealed(_bytes)),
    ('numpy', 'ndarray'): None,
    ('numpy', 'dtype'): _sealed(lambda name, *_: _Dtype(name)),
} | {
    (f'{core}.{module}', name): function
    for core in ('numpy.core', 'numpy._core')
    for module, name, function in (
        ('multiarray', '_reconstruct', _sealed(lambda *_: _Array())),
        ('multiarray', 'scalar', _sealed(lambda dtype, raw: _from_bytes(raw, dtype, ()).item())),
        ('numeric', '_frombuffer', _sealed(_from_bytes)),
    )
}
_STORAGE_GLOBALS = {('torch', name): dtype for name, dtype in STORAGES.items()}
