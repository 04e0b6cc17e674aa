"""Text that a user or a file brought, made safe to be shown."""

from __future__ import annotations

import reprlib
import unicodedata
from typing import Any

UNPRINTABLE = {'Cc', 'Cs', 'Zl', 'Zp'}
# Unicode's embeddings, overrides and isolates.
TURNING = {'LRE', 'RLE', 'LRO', 'RLO', 'PDF', 'LRI', 'RLI', 'FSI', 'PDI'}
# Characters of a value that a message quotes: lists of lists are short at each level, but not all together.
SHOWN = 200


def clean(text: str) -> str:
    """A user's name on one line: a space for any white space, none at its ends, ``?`` for what :func:`is_unsafe`."""
    return one_line(text).strip()


def one_line(text: str) -> str:
    """Text on one line, indented as it was: a space for any white space, ``?`` for what :func:`is_unsafe`."""
    return ''.join(' ' if char.isspace() else '?' if is_unsafe(char) else char for char in text)


def is_unsafe(char: str) -> bool:
    """Whether a character steers where it is shown, and so could hide or forge what stands around it.

    Control characters, of which escape sequences of terminals are made; ends of lines; marks that turn the direction of
    writing over; and lone surrogates (of file names that are not UTF-8), which cannot be written.
    """
    return unicodedata.category(char) in UNPRINTABLE or unicodedata.bidirectional(char) in TURNING


def writable(text: str) -> str:
    """Text with ``?`` for lone surrogates, which UTF-8 cannot hold."""
    return text.encode('utf-8', 'replace').decode()


def escaped(text: str) -> str:
    """Text with a Python escape for each character that :func:`is_unsafe`: ``\\x1b``, ``\\n``."""
    if text.isprintable():  # nearly all; a table may have millions
        return text
    return ''.join(char.encode('unicode_escape').decode('ascii') if is_unsafe(char) else char for char in text)


def plural(value: int, one: str, many: str = '') -> str:
    """``'1 category'``, ``'1,234 categories'``: of a noun, or of a noun and its verb."""
    return f'{value:,} {one if value == 1 else many or one + "s"}'


def show(value: Any) -> str:
    """A value, shortened, as a message quotes it; ``SHOWN`` characters at most."""
    try:
        text = ' '.join(reprlib.repr(value).split())
        return text if len(text) <= SHOWN else f'{text[: SHOWN - 43]}...{text[-40:]}'
    except ValueError:  # Python does not print integers of thousands of digits
        return f'a huge {type(value).__name__}'
