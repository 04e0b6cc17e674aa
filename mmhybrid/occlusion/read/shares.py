"""A file that is a JSON list of objects, cut between them: into shares to hand out, and into pieces to decode.

Where to cut is guessed: at ``}, {``. That may be inside of a string or of an object, but then what is on either side is
no JSON. So if all pieces, each put between brackets, are JSON lists, the file is the list of all their elements.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .inputs import GZIP, open_input, unpacked

SHARE = 2**23  # bytes
# Objects of more bytes are not expected.
LARGEST = 2**16

_BOUNDARY = re.compile(rb'\}[ \t\n\r]*,[ \t\n\r]*(?=\{)')
_SPACE = b' \t\n\r'


class Unusual(Exception):
    """A file that is not as expected, though it may be right."""


def divide(path: Path) -> list[tuple[int, int | None]]:
    """Begin and end in bytes of shares of about equal size; of a compressed file there is one.

    Raises:
        Unusual: There is no such file, or it is a pipe.
    """
    with _open(path) as file:
        edges: list[int | None] = [0]
        size = 0 if file.peek(2).startswith(GZIP) else os.fstat(file.fileno()).st_size
        for begin in range(SHARE, size - SHARE // 2, SHARE):
            file.seek(begin)
            if boundary := _BOUNDARY.search(file.read(LARGEST)):
                edges.append(begin + boundary.end())
    return list(zip(edges, [*edges[1:], None], strict=True))


def pieces(path: Path, begin: int, end: int | None, size: int) -> Iterator[bytes]:
    """Texts of JSON lists, which together hold the elements in a share, in order.

    Args:
        path: The file, which may be compressed by gzip.
        begin: Where the share begins in bytes, at an element or at 0.
        end: Where the next one begins; None at the end of the file.
        size: How many bytes are read at a time.

    Raises:
        Unusual: No boundary between objects was found where one was expected.
    """
    with _open(path) as packed:
        file = unpacked(packed, path)
        if begin:
            file.seek(begin)
        lead, rest = b'' if begin == 0 else b'[', b''
        while data := file.read(size if end is None else min(size, end - file.tell())):
            rest += data
            last = deque(_BOUNDARY.finditer(rest, max(len(rest) - LARGEST, 0)), maxlen=1)
            if last:
                cut = last.pop()
                yield lead + rest[: cut.start()] + b'}]'
                lead, rest = b'[', rest[cut.end() :]
            elif len(rest) > size + LARGEST:
                raise Unusual
        if end is not None:
            rest = rest.rstrip(_SPACE)
            if not rest.endswith(b','):
                raise Unusual
            rest = rest[:-1] + b']'
        yield lead + rest


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():  # of a pipe, what is read here would be lost to who reads it next
        raise Unusual
    return open_input(path)
