"""JSON files, plain or gzip, read whole or as a stream of blocks.

A results file of a gigabyte would take ten as Python objects. It is a list of small objects, so it is parsed block by
block: the caller makes columns of one block's records before the next is read.
"""

from __future__ import annotations

import codecs
import gc
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any, NoReturn

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .inputs import open_input, unpacked

# Bytes parsed at a time; the objects made of them, ten times as large, just fit the processor's cache.
BLOCK = 2**20

_SPACE = re.compile(r'[ \t\n\r]*')
_BOUNDARY = re.compile(r'\}[ \t\n\r]*,[ \t\n\r]*\{')
_scan = json.JSONDecoder().raw_decode
# A parser's complaint this close to the end of an unfinished text may be about its end: '-Infinity', '\ud83d\ude00'.
_TAIL = 16


def read_json(path: str | PathLike[str], what: str) -> Any:
    """Content of a JSON file.

    Args:
        path: The file, which may be compressed by gzip.
        what: What the file is, for messages.

    Raises:
        InputError: It cannot be read, or is not JSON.
    """
    path = Path(path)
    with _explained(path, what), garbage_collector_paused():
        with open_input(path) as file:
            raw = unpacked(file, path).read()
        return _loads(raw)


def stream_list(path: str | PathLike[str], what: str, block_size: int = BLOCK) -> Iterator[list[Any]]:
    """Elements of a JSON list, some at a time and in order.

    Memory is that of about ``block_size`` bytes as objects, unless a single element is larger.

    Args:
        path: The file, which may be compressed by gzip.
        what: What the file is, for messages.
        block_size: How many bytes are read at a time.

    Yields:
        Lists of elements, none of them empty.

    Raises:
        InputError: It cannot be read, is not JSON or not a list. Elements before the fault may have been yielded.
    """
    path = Path(path)
    with _explained(path, what):
        texts = _texts(path, block_size)
        text, start = '', 0
        for more in texts:
            text += more
            start = _SPACE.match(text, start).end()
            if start < len(text):
                break
        else:
            json.loads(text)  # raises: there is no value
        if text[start] != '[':
            not_a_list(str(path), json.loads(''.join([text, *texts])))
        stream = _Elements(text, start + 1)
        del text
        while not stream.closed:
            yield from stream.take()
            # An element that does not fit one block must not be scanned again with every small one.
            more = _at_least(texts, stream.unused if stream.stuck else 1)
            if not more:
                break
            stream.feed(more)
        yield from stream.finish()


def not_a_list(source: str, content: Any) -> NoReturn:
    """Raise an ``InputError`` about results that are no list."""
    ground_truth = isinstance(content, dict) and 'annotations' in content
    hint = 'that looks like a ground-truth file' if ground_truth else f'found {show(content)}'
    raise InputError(f'{source}: results must be a JSON list of detections, {hint}; give COCO results.')


@contextmanager
def garbage_collector_paused() -> Iterator[None]:
    """Leave out the search for cycles: of millions of new objects from JSON none is part of one, and it takes half the
    time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _loads(raw: bytes) -> Any:
    """What ``json.loads`` gives, or raises; by msgspec in half the time, where it is installed and takes the text."""
    if find_spec('msgspec'):
        import msgspec

        # It refuses, besides what is no JSON, what json.loads takes: NaN, other encodings, numbers without bounds.
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            return msgspec.json.decode(raw)
    return json.loads(raw)


class _Elements:
    """The unread end of a list's text, and where it is in the file.

    ``text[start:]`` begins where an element may begin: after the opening bracket or after a comma.
    """

    def __init__(self, text: str, start: int) -> None:
        self.closed = False
        self.stuck = False  # the last `take` found no whole element
        self._text, self._start = text, start
        self._first = True  # no element is taken yet
        self._chars, self._lines, self._column = 0, 1, 0  # before `text`

    @property
    def unused(self) -> int:
        """Characters that are not parsed yet."""
        return len(self._text) - self._start

    def feed(self, more: str) -> None:
        """Append text."""
        self._drop()
        self._text += more

    def take(self) -> Iterator[list[Any]]:
        """The whole elements in the text, if there are any, as one list."""
        before = self._start
        rows = self._quickly() or self._one_by_one()
        self.stuck = self._start == before
        if rows:
            self._first = False
            yield rows

    def finish(self) -> Iterator[list[Any]]:
        """The elements that are left when the file has ended."""
        if self.closed:
            end = _SPACE.match(self._text, self._start).end()
            if end < len(self._text):
                self._fail(json.JSONDecodeError('Extra data', self._text, end), 0)
            return
        rows = self._loads()
        if rows:
            yield rows

    def _quickly(self) -> list[Any]:
        """Parse up to the last ``}, {`` at once; nothing if that is not between two elements."""
        cut = self._text.rfind('}', self._start)
        while cut >= 0 and not _BOUNDARY.match(self._text, cut):
            cut = self._text.rfind('}', self._start, cut)
        if cut < 0:
            return []
        try:
            # Inside of an element or a string, the text up to the cut would not be whole elements.
            rows = json.loads(f'[{self._text[self._start : cut + 1]}]')
        except (ValueError, RecursionError):
            return []
        self._start = self._text.index('{', cut)
        return rows

    def _one_by_one(self) -> list[Any]:
        """Parse element after element, as far as they are certainly whole."""
        rows: list[Any] = []
        text, length = self._text, len(self._text)
        position = _SPACE.match(text, self._start).end()
        if self._first and text[position : position + 1] == ']':
            self._start, self.closed = position + 1, True
            return rows
        while position < length:
            try:
                row, end = _scan(text, position)
            except json.JSONDecodeError as error:
                if error.pos < length - _TAIL and not error.msg.startswith('Unterminated string'):
                    self._loads()
                break
            except (ValueError, RecursionError):
                self._loads()
                raise
            end = _SPACE.match(text, end).end()
            if end == length:
                break
            if text[end] not in ',]':
                if end < length - _TAIL:
                    self._loads()
                break  # perhaps the exponent of a number is yet to come
            rows.append(row)
            self._first = False
            self._start = position = end + 1
            if text[end] == ']':
                self.closed = True
                break
            position = _SPACE.match(text, position).end()
        return rows

    def _loads(self) -> list[Any]:
        """Parse all that is left, which raises what the whole file's parser would."""
        self._drop()
        # Something must stand for the elements before: '[]' is a list, '[{...}, ]' is none.
        lead = '[' if self._first else '[0,'
        try:
            rows = json.loads(lead + self._text)
        except json.JSONDecodeError as error:
            self._fail(error, len(lead))
        return rows if self._first else rows[1:]

    def _fail(self, error: json.JSONDecodeError, lead: int) -> NoReturn:
        """Raise ``error`` with its place in the file."""
        inside = error.pos - lead  # -1 for a comma before the text
        lines = self._text.count('\n', 0, max(inside, 0))
        column = inside - self._text.rfind('\n', 0, inside) if lines else self._column + inside + 1
        place = f'line {self._lines + lines} column {column} (char {self._chars + inside})'
        raise ValueError(f'{error.msg}: {place}') from None

    def _drop(self) -> None:
        """Forget the text that is parsed, but for where the rest is."""
        done, self._text, self._start = self._text[: self._start], self._text[self._start :], 0
        lines = done.count('\n')
        self._column = len(done) - done.rfind('\n') - 1 if lines else self._column + len(done)
        self._lines += lines
        self._chars += len(done)


def _texts(path: Path, size: int) -> Iterator[str]:
    """The file's text in pieces of about ``size`` bytes, in the encoding that its first bytes show."""
    decoder = None
    done = 0
    with open_input(path) as packed:
        file = unpacked(packed, path)
        while True:
            raw = file.read(max(size, 4))
            if decoder is None:
                # As json.loads decodes bytes.
                decoder = codecs.getincrementaldecoder(json.detect_encoding(raw))('surrogatepass')
            waiting = len(decoder.getstate()[0])
            try:
                text = decoder.decode(raw, final=not raw)
            except UnicodeDecodeError as error:
                place = done - waiting + error.start
                raise ValueError(f'byte {place} is not {error.encoding}: {error.reason}') from None
            done += len(raw)
            if text:
                yield text
            if not raw:
                return


def _at_least(texts: Iterator[str], size: int) -> str:
    pieces, total = [], 0
    for text in texts:
        pieces.append(text)
        total += len(text)
        if total >= size:
            break
    return ''.join(pieces)


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Errors of reading and parsing as one sentence."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f'{path}: no such file; give the path of the {what} as COCO JSON.') from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not valid JSON ({error}); give the {what} as COCO JSON.') from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f'{path}: cannot be read ({error}); give the {what} as COCO JSON.') from None
