"""HTML and SVG built from Python values, safe by construction: whatever is not already markup is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from mmhybrid.text import is_unsafe

# Elements without content, and hence without an end tag.
VOID = frozenset({'br', 'col', 'img', 'input', 'meta'})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A value as HTML: escaped unless it is :class:`Markup`; what steers or what HTML forbids becomes a sign for it."""
    if isinstance(value, Markup):
        return value
    plain = str(value)
    return Markup(escape(plain if plain.isprintable() else ''.join(map(_allowed, plain))))


def join(parts: Iterable[object], separator: str = '') -> Markup:
    """Parts one after the other, each through :func:`text`, None left out; the separator is HTML."""
    return Markup(separator.join(text(part) for part in parts if part is not None))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element.

    Args:
        name: E.g. ``'td'``.
        *children: Its content, each through :func:`text`; None is left out.
        **attributes: ``class_`` stands for ``class``, ``aria_label`` for ``aria-label``. True gives an attribute
            without value; None and False give none.
    """
    written = ''.join(
        f' {key.rstrip("_").replace("_", "-")}' + ('' if value is True else f'="{text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f'<{name}{written}>')
    return Markup(f'<{name}{written}>{join(children)}</{name}>')


def _allowed(character: str) -> str:
    code = ord(character)
    is_noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return '\ufffd' if (is_unsafe(character) and character not in '\t\n') or is_noncharacter else character
