"""Figures as files, which name mmhybrid as their maker, and as parts of a page."""

from __future__ import annotations

import io
import re
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from mmhybrid.errors import InputError
from mmhybrid.text import clean

from ...results import SCHEMA
from .style import DPI, THEMES, drawing

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
    """What :func:`save` writes into a file of this name; words of an SVG stay text.

    Raises:
        InputError: The name ends in neither ``.png`` nor ``.svg``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    suffix = Path(path).suffix.lower()
    if suffix not in ('.png', '.svg'):
        raise InputError(f'{path}: figures are written as .png or .svg; choose a name that ends so.')
    content = io.BytesIO()
    with drawing(**{'svg.fonttype': 'none', 'svg.hashsalt': SCHEMA}):
        # `savefig` would draw it once more than it writes it.
        if suffix == '.svg':
            FigureCanvasSVG(figure).print_svg(content, metadata={'Creator': SCHEMA, 'Date': None})
        else:
            figure.dpi = DPI  # writing as SVG leaves another
            FigureCanvasAgg(figure).print_png(content, metadata={'Software': SCHEMA})
    return content.getvalue()


def to_inline(figure: Figure, identity: str, title: str) -> str:
    """A light figure as an SVG element of an HTML page, in the page's font and the colours of :func:`css_variables`.

    ``identity`` is unique in the page and goes before the identifiers of the parts; ``title`` is for screen readers.
    """
    svg = to_bytes(figure, f'{identity}.svg').decode()
    box = re.search(r'<svg [^>]*(viewBox="[^"]*")[^>]*>', svg)
    # A page has styles of its own, which these would change; nor does it need what files say about themselves.
    svg = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->', '', svg[box.end() :], flags=re.DOTALL)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{identity}-{found[1]}"' if found[1] in used else '', svg)
    svg = re.sub(r'(?:xlink:)?(href="|url\()#', rf'\1#{identity}-', svg)
    # The family is the page's; matplotlib gives it by itself, or in "font: bold 11px 'DejaVu Sans', ...".
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', '', svg)
    svg = re.sub(r'font-family: [^;"]*(; )?', '', svg)
    svg = re.sub(
        r'font: (\w+ )?([\d.]+px) [^;"]*', lambda f: f'font-weight: {f[1] or "normal"}; font-size: {f[2]}', svg
    )
    names = {colour: f'var(--{name})' for name, colour in reversed(THEMES['light'].colours().items())}
    svg = re.sub(r'(fill|stroke): (#\w{6})', lambda f: f'{f[1]}: {names.get(f[2], f[2])}', svg)
    svg = re.sub(r'\n\s*', '\n', svg).strip()
    head = f'<svg class="plot" {box[1]} role="img" aria-labelledby="{identity}-title">'
    return f'{head}<title id="{identity}-title">{escape(clean(title))}</title>{svg}'


def css_variables(theme: str) -> str:
    """The colours that figures in a page ask for: ``'--background: #ffffff; ...'``."""
    return ' '.join(f'--{name}: {colour};' for name, colour in THEMES[theme].colours().items())


def is_ours(content: bytes) -> bool:
    """Whether a file's content is a PNG or SVG that :func:`save` wrote."""
    head = content[:4096]
    if head.startswith(PNG_SIGNATURE):
        return PNG_MARK in head
    return head.lstrip().startswith((b'<?xml', b'<svg')) and SVG_MARK in head
