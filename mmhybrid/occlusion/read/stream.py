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
from typing import IO, NoReturn, TypeVar

# Bytes decoded at a time; the objects made of them, some times as large, just fit the processor's cache.
BLOCK = 2**20
# How far before its end a piece is searched for a place to cut.
LARGEST = 2**16

T = TypeVar('T')
_BOUNDARY = re.compile(rb'\}[ \t\n\r]*,[ \t\n\r]*(?=\{)')


def utf8(file: IO[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """The file's text in pieces of about ``size`` bytes, in UTF-8, whatever its first bytes show that it is in."""
    raw = file.read(max(size, 4))
    encoding = json.detect_encoding(raw)  # as json.loads decodes bytes
    rest = iter(lambda: file.read(size), b'')
    if encoding.startswith('utf-8'):
        raw = raw.removeprefix(codecs.BOM_UTF8)
        yield from chain([raw] if raw else [], rest)
        return
    decoder = codecs.getincrementaldecoder(encoding)('surrogatepass')
    try:
        for piece in chain([raw], rest):
            yield decoder.decode(piece).encode('utf-8', 'surrogatepass')
        decoder.decode(b'', final=True)
    except UnicodeDecodeError as error:
        raise ValueError(f'the text is not {error.encoding}: {error.reason}') from None


def of_list(chunks: Iterator[bytes], take: Callable[[bytes, bool], T]) -> Iterator[T]:
    """What ``take`` makes of the text of a JSON list, piece by piece.

    Args:
        chunks: The list's text; only space may be behind it.
        take: Is given texts of JSON lists whose elements, in order, are the list's, and whether more follow. It raises
            what ``json.loads`` does if one is no JSON.

    Raises:
        ValueError: The text is no JSON: what and where.
    """
    place = _Place()
    lead, rest, wanted = b'', bytearray(), 0
    for chunk, more in _and_more(chunks):
        rest += chunk
        if not more:
            break
        cuts = list(_BOUNDARY.finditer(rest, max(len(rest) - LARGEST, 0))) if len(rest) >= wanted else []
        if not cuts:
            continue
        cut, end = cuts[-1].span()
        try:
            taken = take(b''.join((lead, memoryview(rest)[:cut], b'}]')), True)
        except json.JSONDecodeError as error:
            if error.pos < len(error.doc) - 1 and not error.msg.startswith('Unterminated string'):
                place.fail(error, len(lead))
            wanted = 2 * len(rest)  # cut inside of an element; a large one must not be parsed again with every chunk
            continue
        except UnicodeDecodeError as error:
            place.fail(error, len(lead))
        yield taken
        place.move(rest[:end])
        del rest[:end]
        lead, wanted = b'[', 0
    try:
        taken = take(lead + bytes(rest), False)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        place.fail(error, len(lead))
    yield taken


def of_lines(chunks: Iterator[bytes], take: Callable[[bytes, bool], T]) -> Iterator[T]:
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
                yield take(b'[' + b','.join(filled) + b']', more)
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


class _Place:
    """How much of a text lies before a piece."""

    def __init__(self) -> None:
        self.bytes, self.lines = 0, 1

    def move(self, text: bytearray) -> None:
        """Go behind ``text``."""
        self.bytes += len(text)
        if b'\n' in text:  # much quicker than to count none
            self.lines += text.count(b'\n')

    def fail(self, error: json.JSONDecodeError | UnicodeDecodeError, lead: int) -> NoReturn:
        """Raise ``error`` with its place in the whole text; of the first piece it is as it stands there."""
        if isinstance(error, UnicodeDecodeError):
            raise ValueError(
                f'byte {self.bytes + error.start - lead} is not {error.encoding}: {error.reason}'
            ) from None
        if not self.bytes:
            raise error
        before = error.doc[: error.pos].encode('utf-8', 'surrogatepass')
        line = self.lines + before.count(b'\n')
        raise ValueError(f'{error.msg}: line {line}, byte {self.bytes + len(before) - lead}') from None
