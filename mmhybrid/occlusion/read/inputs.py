"""Input files: opened without waiting for ever, and unpacked within bounds."""

from __future__ import annotations

import errno
import gzip
import os
import select
import stat
from os import PathLike
from typing import IO

from mmhybrid.errors import InputError

GZIP = b'\x1f\x8b'
# Seconds to wait for what is to be written into a named pipe.
WAIT = 60.0
# Any file may unpack to this many bytes, a larger one to this many times its size: JSON of annotations packs to a
# third, seldom to a twentieth, while a few kilobytes of one repeated character become gigabytes.
FREE = 2**27
RATIO = 100


def open_input(path: str | PathLike[str]) -> IO[bytes]:
    """A file or pipe, opened to be read.

    Raises:
        InputError: A device, which may have no end, or a named pipe into which nothing is written.
        OSError: It cannot be opened.
    """
    # Without O_NONBLOCK the system waits for a pipe's writer; looked at when open, so that it cannot be exchanged.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0))
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
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
    """What an open file holds, uncompressed if its first bytes are those of gzip.

    Args:
        file: A buffered file at its begin, which may be a pipe.
        path: Its name, for messages.

    Returns:
        A file whose ``read`` raises ``InputError`` when it unpacks to far more than annotations do.
    """
    # Looked at without reading: a pipe cannot be rewound.
    return _Unpacked(_Counted(file), path) if file.peek(2).startswith(GZIP) else file


class _Counted:
    """A file and the number of bytes read from it, which a pipe cannot tell."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data


class _Unpacked(gzip.GzipFile):
    def __init__(self, packed: _Counted, path: str | PathLike[str]) -> None:
        super().__init__(fileobj=packed, mode='rb')
        self._packed, self._path, self._count = packed, path, 0

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return b''.join(iter(lambda: self.read(2**20), b''))
        data = super().read(size)
        self._count += len(data)
        if self._count > max(FREE, RATIO * self._packed.count):
            raise InputError(
                f'{self._path}: unpacks to more than {FREE >> 20} MiB and {RATIO} times its size, which annotations do '
                'not; if you trust it, unpack it with gunzip and give the unpacked file.'
            )
        return data


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
