"""Input files: opened without waiting for ever, unpacked within bounds, and named for what they are."""

from __future__ import annotations

import bz2
import gc
import io
import json
import lzma
import os
import select
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from os import PathLike
from typing import IO, Any

from mmhybrid.errors import InputError
from mmhybrid.text import clean

from . import stream

# Seconds to wait for what is to be written into a named pipe.
WAIT = 60.0
# Any file may unpack to this many bytes, a larger one to this many times its size: JSON of annotations packs to a
# third, seldom to a twentieth, while a few kilobytes of one repeated character become gigabytes.
FREE = 2**27
RATIO = 100
# Of COCO's ground truth.
SECTIONS = ('images', 'categories', 'annotations')

ZIP = (b'PK\x03\x04', b'PK\x05\x06')
PICKLES = (b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05')  # of protocols 2 to 5
# What is given in place of JSON, by its first bytes, and what to do.
_FOREIGN = {
    b'version https://git-lfs': 'a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`',
    b'<': 'an HTML page or XML; a failed download? Fetch the file again',
    b'PAR1': 'a Parquet table; give COCO JSON',
    b'\x93NUMPY': 'a NumPy array; give COCO JSON',
    b'SQLite format 3\0': 'an SQLite database; give COCO JSON',
    **dict.fromkeys((b'\x89PNG', b'\xff\xd8\xff'), 'a picture; give COCO JSON'),
    **dict.fromkeys((b'7z\xbc\xaf', b'Rar!'), 'an archive; unpack it and give the JSON file in it'),
    **dict.fromkeys(PICKLES, 'a Python pickle; give COCO JSON'),
    **dict.fromkeys(ZIP, 'a zip file of PyTorch, or in another file; give COCO JSON'),
}

_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)


def open_input(path: str | PathLike[str]) -> IO[bytes]:
    """A file or pipe, opened to be read.

    Raises:
        InputError: A device, which may have no end; a named pipe into which nothing is written; or no possible name.
        OSError: It cannot be opened.
    """
    if '\0' in os.fspath(path):
        raise InputError(f'{clean(os.fspath(path))}: has a NUL character, as no file has; give the path of a file.')
    # Without O_NONBLOCK the system waits for a pipe's writer; looked at when open, so that it cannot be exchanged.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISCHR(kind) or stat.S_ISBLK(kind):
            raise InputError(f'{path}: is a device, not a file; give the path of a file.')
        if stat.S_ISFIFO(kind) and os.name != 'nt':
            _await_writer(descriptor, path)
            os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, 'rb')
    except BaseException:
        os.close(descriptor)
        raise


def unpacked(file: IO[bytes], path: str | PathLike[str]) -> IO[bytes]:
    """What an open file holds: unpacked, if its first bytes are those of gzip, bzip2, xz (or lzma), zstd or a zip file.

    Args:
        file: A buffered file at its begin, which may be a pipe.
        path: Its name, for messages.

    Returns:
        A buffered file, whose reading raises ``InputError`` where it is broken or unpacks to far more than annotations
        do. PyTorch's zip files are left as they are.

    Raises:
        InputError: A zip file without a single JSON file that can be read; zstd where no module reads it; a packed file
            in a packed one.
    """
    head = file.peek(8)  # without reading: a pipe cannot be rewound
    if head.startswith(ZIP):
        return _only_member(file, path)
    for magic, unpacker in _UNPACKERS.items():
        if head.startswith(magic):
            return io.BufferedReader(_Unpacked(_frames(file, unpacker(path)), path))
    return file


def read_json(path: str | PathLike[str], what: str) -> Any:
    """Content of a JSON file, which may be packed as :func:`unpacked` takes it; of JSON lines a list of them.

    Args:
        path: The file.
        what: What the file is, for messages.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    with explained(path, what), garbage_collector_paused(), open_input(path) as file:
        raw = unpacked(file, path).read()
        if not raw.strip():
            raise ValueError('it is empty')
        refuse_foreign(raw[:300], path)
        try:
            content = loads(raw)
        except json.JSONDecodeError as error:
            if error.msg != 'Extra data' or not raw.lstrip().startswith(b'{'):
                raise
            content = []
            stream.of_lines(iter([raw]), lambda lines, _: content.extend(loads(lines)))
        if isinstance(content, dict) and any(raw.count(b'"%s"' % name.encode()) > 1 for name in SECTIONS):
            # JSON's readers keep the last of two alone. Of what the hook makes, the outermost object's is returned.
            names = json.loads(raw, object_pairs_hook=lambda pairs: [name for name, _ in pairs])
            for name in SECTIONS:
                if names.count(name) > 1:
                    raise InputError(f"{path}: has '{name}' {names.count(name)} times; give one list of them.")
        return content


def refuse_foreign(head: bytes, path: str | PathLike[str]) -> None:
    """Raise an ``InputError`` if a file that begins with ``head`` (300 bytes or more) is known to be no JSON."""
    text = head.removeprefix(b'\xef\xbb\xbf').lstrip()
    name = next((name for magic, name in _FOREIGN.items() if text.startswith(magic) or head.startswith(magic)), None)
    if head.startswith(tuple(_UNPACKERS)):
        name = 'packed twice; unpack it once'
    if head[257:262] == b'ustar':
        name = 'a tar archive; unpack it and give the JSON file in it'
    if name:
        raise InputError(f'{path}: is {name}.')


def loads(raw: bytes) -> Any:
    """What ``json.loads`` gives, or raises; by msgspec in half the time, where it takes the text."""
    import msgspec

    # It refuses, besides what is no JSON, what json.loads takes: NaN, other encodings, numbers without bounds.
    with suppress(msgspec.MsgspecError, ValueError, RecursionError):
        return msgspec.json.decode(raw)
    return json.loads(raw)


@contextmanager
def explained(path: str | PathLike[str], what: str) -> Iterator[None]:
    """Errors of opening, reading and parsing as one sentence."""
    try:
        yield
        return
    except InputError:
        raise
    except FileNotFoundError:
        problem = 'no such file'
    except IsADirectoryError:
        problem = 'cannot be read (it is a folder)'
    except (ValueError, RecursionError) as error:
        problem = f'not valid JSON ({error})'
    except OSError as error:
        problem = f'cannot be read ({error})'
    raise InputError(f'{path}: {problem}; give the path of the {what} as COCO JSON.')


@contextmanager
def garbage_collector_paused() -> Iterator[None]:
    """No search for cycles: of millions of new objects from JSON none is part of one, and it takes half the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Unpacked(io.RawIOBase):
    """A file of what ``pieces`` hold: pairs of packed bytes read and bytes unpacked, which stay within bounds."""

    def __init__(self, pieces: Iterator[tuple[int, bytes]], path: str | PathLike[str], packed: int = 0) -> None:
        self._pieces, self._path, self._packed, self._count = pieces, path, packed, 0
        self._ready = memoryview(b'')

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            try:
                packed, data = next(self._pieces, (0, None))
            except Exception as error:
                if not isinstance(error, _BROKEN) and type(error).__name__ != 'ZstdError':
                    raise
                raise InputError(
                    f'{self._path}: cannot be read ({error}); the packed file is broken or cut short, so make or fetch '
                    'it again.'
                ) from None
            if data is None:
                return 0
            self._packed += packed
            self._count += len(data)
            if self._count > max(FREE, RATIO * self._packed):
                raise InputError(
                    f'{self._path}: unpacks to more than {FREE >> 20} MiB and {RATIO} times its size, which '
                    'annotations do not; if you trust it, unpack it with gunzip or the like and give the unpacked file.'
                )
            self._ready = memoryview(data)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size


def _frames(file: IO[bytes], begin: Callable[[], Any]) -> Iterator[tuple[int, bytes]]:
    """Packed and unpacked bytes of a file of frames, each of which ``begin`` unpacks."""
    frame = None
    while block := file.read(2**10):  # which unpacks to 32 MiB at most
        yield len(block), b''
        while block := block if frame else block.lstrip(b'\0'):  # some pad with zeros
            frame = frame or begin()
            yield 0, frame.decompress(block)
            block, frame = (frame.unused_data, None) if frame.eof else (b'', frame)
    if frame:
        raise EOFError('its end is missing')


def _zstd(path: str | PathLike[str]) -> Callable[[], Any]:
    if find_spec('compression') and find_spec('compression.zstd'):  # Python 3.14
        return import_module('compression.zstd').ZstdDecompressor
    if find_spec('zstandard'):
        return import_module('zstandard').ZstdDecompressor().decompressobj
    raise InputError(f'{path}: is packed by zstd; unpack it with `zstd -d`, or pip install zstandard.')


_UNPACKERS: dict[bytes, Callable[[Any], Callable[[], Any]]] = {
    b'\x1f\x8b': lambda _: partial(zlib.decompressobj, 31),
    b'BZh': lambda _: bz2.BZ2Decompressor,
    b'\xfd7zXZ\0': lambda _: lzma.LZMADecompressor,
    b']\0\0': lambda _: lzma.LZMADecompressor,  # the older format, .lzma
    b'(\xb5/\xfd': _zstd,
}


def _only_member(file: IO[bytes], path: str | PathLike[str]) -> IO[bytes]:
    """The JSON file in a zip file."""
    if not file.seekable():
        file = io.BytesIO(file.read())
    try:
        archive = zipfile.ZipFile(file)
        names = [name for name in archive.namelist() if not name.startswith('__MACOSX/') and not name.endswith('/')]
        if any(name.endswith('/data.pkl') for name in names):
            file.seek(0)
            return file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)
        found = [name for name in names if name.lower().endswith(('.json', '.jsonl'))]
        if len(found) != 1:
            shown = ', '.join(map(clean, (found or names)[:3])) or 'nothing'
            raise InputError(
                f'{path}: is a zip file with {len(found)} JSON files ({shown}); give one with a single JSON file.'
            )
        member = archive.open(found[0])
        # The first is only what the file says.
        packed = min(archive.getinfo(found[0]).compress_size, file.seek(0, os.SEEK_END))
        pieces = ((0, data) for data in iter(lambda: member.read(2**20), b''))
        return io.BufferedReader(_Unpacked(pieces, path, packed))
    except _BROKEN as error:
        raise InputError(
            f'{path}: cannot be read as a zip file, which PyTorch writes too ({error}); make or fetch it again.'
        ) from None


def _await_writer(descriptor: int, path: str | PathLike[str]) -> None:
    # What a shell made of <(command) has had its writer from the start, however slow, and no name in a folder.
    if not os.path.exists(os.path.realpath(path)):  # noqa: PTH110 never raises
        return
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(1000 * WAIT):
        raise InputError(
            f'{path}: nothing came through this named pipe for {WAIT:g} seconds; start what writes into it, or give '
            'a file.'
        )
