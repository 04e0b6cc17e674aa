"""Figures as files, which name mmhybrid as their maker."""

from __future__ import annotations

import io
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from mmhybrid.errors import InputError

from ...results import SCHEMA
from .style import DPI, quiet_about_glyphs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'
# Both stand near the start of a file that `save` wrote: a PNG's text chunk, and an SVG's creator.
PNG_MARK = b'Software\0' + SCHEMA.encode()
SVG_MARK = b'<dc:title>' + SCHEMA.encode() + b'</dc:title>'


def save(figure: Figure, path: str | PathLike[str]) -> None:
    """Write a figure as PNG, of 150 dots an inch, or as SVG, by the name's ending.

    The same figure gives the same bytes each time.

    Raises:
        InputError: The name ends in neither ``.png`` nor ``.svg``.
        OSError: The file cannot be written.
    """
    Path(path).write_bytes(to_bytes(figure, path))


def to_bytes(figure: Figure, path: str | PathLike[str]) -> bytes:
    """What :func:`save` writes into a file of this name.

    Raises:
        InputError: The name ends in neither ``.png`` nor ``.svg``.
    """
    import matplotlib.style

    suffix = Path(path).suffix.lower()
    if suffix == '.svg':
        return to_svg(figure).encode()
    if suffix != '.png':
        raise InputError(f'{path}: figures are written as .png or .svg; choose a name that ends so.')
    image = io.BytesIO()
    with matplotlib.style.context('default'), quiet_about_glyphs():
        figure.savefig(image, format='png', dpi=DPI, metadata={'Software': SCHEMA})
    return image.getvalue()


def to_svg(figure: Figure, transparent: bool = False, salt: str = '') -> str:
    """A figure as SVG text: words stay text, and the same figure gives the same characters.

    Args:
        figure: What to write.
        transparent: Leave the background out, for a page that has its own.
        salt: Goes into the identifiers of the figure's parts; figures in one page need different ones.
    """
    import matplotlib.style

    text = io.StringIO()
    with matplotlib.style.context(['default', {'svg.fonttype': 'none', 'svg.hashsalt': f'{SCHEMA}{salt}'}]):
        figure.savefig(text, format='svg', transparent=transparent, metadata={'Creator': SCHEMA, 'Date': None})
    return text.getvalue()


def is_ours(content: bytes) -> bool:
    """Whether a file's content is a PNG or SVG that :func:`save` wrote."""
    head = content[:4096]
    if head.startswith(PNG_SIGNATURE):
        return PNG_MARK in head
    return head.lstrip().startswith((b'<?xml', b'<svg')) and SVG_MARK in head
