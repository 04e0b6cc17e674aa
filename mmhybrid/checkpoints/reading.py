"""Read a checkpoint: the one way for everything in this package.

A pickle is a program, and ``torch.load`` ran it for years. Here no file is obeyed: it gives weights and plain data, or
the reader refuses it with one sentence.
"""

import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mmhybrid.checkpoints import tensor_files
from mmhybrid.checkpoints.integrity import damage
from mmhybrid.checkpoints.safe import only_data
from mmhybrid.errors import InputError
from mmhybrid.paths import expanded

MapLocation = str | torch.device | dict[str, str] | Callable | None

_ANOTHER = 'copy, download or save it again'
_WEIGHTS = 'give a file that torch.save(model.state_dict(), FILE) or a training run wrote'
_RUN = 'saving the weights alone, with torch.save(model.state_dict(), FILE), gives a file that is read'
# What torch's reader says when a file names something that is not data.
_GLOBAL = re.compile(r'GLOBAL (\S+) (?:was not|whose module)|Unsupported class (\S+)')


def read(file: str | Path | BinaryIO, map_location: MapLocation = 'cpu', mmap: bool = False) -> Any:
    """Read what ``torch.save`` or a training run of MMEngine wrote, without running anything that the file brings.

    A ``.safetensors`` file is read, too, as a dict with its tensors under 'state_dict' and its texts under 'meta'.

    The file is first compared with its checksums (:func:`~mmhybrid.checkpoints.integrity.damage`). There is no
    fallback: what is refused stays refused. Besides tensors and plain data, the log histories, NumPy arrays and NumPy
    numbers of a runner's checkpoint are read, which needs PyTorch 2.6.

    Args:
        file: A path, or a binary file in which one can go back.
        map_location: Where tensors go, as in ``torch.load``; by default to the CPU.
        mmap: Map the file into memory instead of reading it; of a path only.

    Returns:
        The content.

    Raises:
        InputError: If the file is missing, damaged, no checkpoint, or names anything but data.
    """
    name, source = 'The checkpoint', file
    if isinstance(file, str | Path):
        source = expanded(file)
        name = f'The checkpoint {source}'
        if not source.exists():
            raise InputError(f'There is no checkpoint {source} (from {Path.cwd()}); give the path of a .pth file.')
    try:
        if tensors := _tensor_file(source):
            return _tensors(tensors, name, map_location)
        reason = damage(source)
    except OSError as error:
        raise InputError(f'{name} cannot be read ({error.strerror}); see to it, or give another.') from error
    if reason:
        remedy = _ANOTHER if reason.startswith(('is empty', 'is cut off', 'is damaged')) else _WEIGHTS
        raise InputError(f'{name} is not read, because it {reason}: {remedy}.')
    options = {'mmap': True} if mmap else {}  # since torch 2.1
    try:
        with only_data():
            return torch.load(source, map_location=map_location, weights_only=True, **options)
    except (OSError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise InputError(f'{name} is not read, because {_refusal(str(error))}.') from None
    except Exception as error:
        if 'deserialize object on' in str(error):  # a device that this machine lacks
            raise InputError(
                f"{name} holds tensors of a device that this machine lacks: give map_location='cpu'."
            ) from None
        if "can't allocate memory" in str(error):
            raise InputError(f'{name} needs more memory than there is: free some, or give another.') from None
        reason = _first_sentence(str(error)) or type(error).__name__
        raise InputError(f'{name} is not read, because it is damaged ({reason}): {_ANOTHER}.') from error


def _tensor_file(source: Path | BinaryIO) -> bytes | None:
    """The bytes of a file that is, or is called, of the ``safetensors`` format; None for another."""
    if isinstance(source, Path):
        if not source.is_file():
            return None
        with source.open('rb') as opened:
            return opened.read() if source.suffix == tensor_files.SUFFIX or _begins(opened) else None
    return source.read() if _begins(source) else None


def _begins(file: BinaryIO) -> bool:
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    return tensor_files.looks_like(start)


def _tensors(data: bytes, name: str, map_location: MapLocation) -> dict[str, Any]:
    try:
        content = tensor_files.parse(data)
    except tensor_files.TensorFileError as error:
        raise InputError(f'{name} is not read, because it {error}: {_ANOTHER}.') from None
    if isinstance(map_location, str | torch.device) and str(map_location) != 'cpu':
        content['state_dict'] = {key: value.to(map_location) for key, value in content['state_dict'].items()}
    return content


def glance(path: Path) -> Any:
    """What :func:`read` gives, with tensors that are not read and nothing compared with its checksum.

    For what a checkpoint tells of itself, in a moment. What is wrong with the file is any exception.
    """
    if path.suffix == tensor_files.SUFFIX:
        return read(path)
    options = {'mmap': True} if zipfile.is_zipfile(path) and torch.__version__ >= (2, 1) else {}
    with only_data():
        return torch.load(path, map_location='cpu', weights_only=True, **options)


def _refusal(message: str) -> str:
    if match := _GLOBAL.search(message):
        old = '' if torch.__version__ >= (2, 6) else '; the logs of a training run are read since PyTorch 2.6'
        return f'it names {match[1] or match[2]}, which is no data, and nothing that a file names is run: {_RUN}{old}'
    # torch prints advice before its reason, and in bold type.
    reason = _first_sentence(message.rpartition('WeightsUnpickler error: ')[2])
    return f'it is damaged or holds more than data ({reason}): {_RUN}'


def _first_sentence(message: str) -> str:
    lines = [line.strip() for line in re.sub(r'\x1b\[[\d;]*m', '', message).splitlines()]
    lines = [line for line in lines if line and not line.startswith(('Weights only load failed', 'Check the doc'))]
    return re.split(r'\. |\.$', lines[0])[0] if lines else ''
