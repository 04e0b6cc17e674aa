"""JSON of a file piece by piece: a list is cut between its objects, JSON lines between lines.

A results file of a gigabyte would take ten as Python objects, so a piece's records are made columns before the next
piece is read. Where to cut a list is guessed: at ``}, {``. That may be inside of a string or of an object, but then
what is on either side is no JSON. So if all pieces, each put between brackets, are JSON lists, the file is the list of
all their elements.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import IO, Any

# Bytes decoded at a time; the objects made of them, some times as large, just fit the processor's cache.
BLOCK = 2**19
# How far before its end a piece is searched for a place to cut.
LARGEST = 2**16

_BOUNDARY = re.compile(rb'\}[ \t\n\r]*,[ \t\n\r]*(?=\{)')


def utf8(file: IO[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """The file's text in pieces of about ``size`` bytes, in UTF-8, whatever its first bytes show that it is in."""
    raw = file.read(max(size, 4))
    encoding = json.detect_encoding(raw)  # as json.loads decodes bytes
    rest = iter(lambda: file.read(size), b'')
    if encoding.startswith('utf-8'):
        yield from filter(None, chain([raw.removeprefix(codecs.BOM_UTF8)], rest))
        return
    decoder = codecs.getincrementaldecoder(encoding)('surrogatepass')
    try:
        for piece in chain([raw], rest, [b'']):
            yield decoder.decode(piece, final=not piece).encode('utf-8', 'surrogatepass')
    except UnicodeDecodeError as error:
        raise ValueError(f'the text is not {error.encoding}: {error.reason}') from None


def of_list(chunks: Iterator[bytes], take: Callable[[bytes, bool], Any]) -> None:
    """Take the text of a JSON list, piece by piece; only space may be behind it.

    ``take`` is given texts of JSON lists whose elements, in order, are the list's, and whether more follow. It raises
    what ``json.loads`` does if one is no JSON, and must then not have taken anything. A ``ValueError`` says what is no
    JSON, and where.
    """
    done, line = 0, 1  # bytes before the rest, and the line it begins in
    lead, rest, wanted = b'', bytearray(), 0
    try:
        for chunk, more in _and_more(chunks):
            rest += chunk
            if not more:
                break
            cuts = list(_BOUNDARY.finditer(rest, max(len(rest) - LARGEST, 0))) if len(rest) >= wanted else []
            if not cuts:
                continue
            cut, end = cuts[-1].span()
            try:
                take(b''.join((lead, memoryview(rest)[:cut], b'}]')), True)
            except json.JSONDecodeError as error:
                if error.pos < len(error.doc) - 1 and not error.msg.startswith('Unterminated string'):
                    raise
                wanted = 2 * len(rest)  # cut inside of an element; a large one must not be parsed with every chunk
                continue
            done += end
            if b'\n' in rest:  # much quicker than to count none
                line += rest.count(b'\n', 0, end)
            del rest[:end]
            lead, wanted = b'[', 0
        take(lead + bytes(rest), False)
    except UnicodeDecodeError as error:
        raise ValueError(f'byte {done + error.start - len(lead)} is not {error.encoding}: {error.reason}') from None
    except json.JSONDecodeError as error:
        if not done:
            raise  # it is where it says
        before = error.doc[: error.pos].encode('utf-8', 'surrogatepass')
        line += before.count(b'\n')
        raise ValueError(f'{error.msg}: line {line}, byte {done + len(before) - len(lead)}') from None


def of_lines(chunks: Iterator[bytes], take: Callable[[bytes, bool], Any]) -> None:
    """As :func:`of_list`, of JSON lines: a value on each line that is not blank."""
    rest, number = b'', 1
    for chunk, more in _and_more(chunks):
        whole, newline, behind = chunk.rpartition(b'\n') if more else (chunk, b'\n', b'')
        if not newline:
            rest += behind
            continue
        lines = (rest + whole).split(b'\n')
        rest = behind
        filled = [line for line in lines if line.strip()]
        try:
            if filled:
                take(b'[' + b','.join(filled) + b']', more)
        except (json.JSONDecodeError, UnicodeDecodeError):
            for at, line in enumerate(lines, number):
                try:
                    json.loads(line if line.strip() else b'0')
                except ValueError as error:
                    raise ValueError(f'line {at}: {error}') from None
            raise
        number += len(lines)


def _and_more(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each piece, and whether another follows; at least one."""
    last = next(chunks, b'')
    for chunk in chunks:
        yield last, True
        last = chunk
    yield last, False
