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
from .style import DPI, PAGE, THEMES, quiet_about_glyphs

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


def to_svg(figure: Figure) -> str:
    """A figure as SVG text: words stay text, and the same figure gives the same characters."""
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    settings = {'svg.fonttype': 'none', 'svg.hashsalt': SCHEMA}
    with matplotlib.style.context(['default', settings]), quiet_about_glyphs():
        # `savefig` would draw it once more than it writes it.
        FigureCanvasSVG(figure).print_svg(text, metadata={'Creator': SCHEMA, 'Date': None})
    return text.getvalue()


def to_inline(figure: Figure, identity: str, title: str, description: str = '') -> str:
    """A figure of the theme ``'page'`` as an SVG element of an HTML page, in the page's colours and font.

    Args:
        figure: What to write.
        identity: Unique in the page: goes before the identifiers of the figure's parts.
        title: What the figure shows, read out by screen readers.
        description: More about it, likewise.
    """
    svg = to_svg(figure)
    svg = re.sub(r'.*?(<svg [^>]*>)', r'\1', svg, count=1, flags=re.DOTALL)
    # A page has styles of its own, which these would change; nor does it need what files say about themselves.
    svg = re.sub(r'<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->', '', svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: f' id="{identity}-{found[1]}"' if found[1] in used else '', svg)
    svg = re.sub(r'(?:xlink:)?(href="|url\()#', rf'\1#{identity}-', svg)
    # The family is the page's; matplotlib gives it by itself, or in "font: bold 11px 'DejaVu Sans', ...".
    svg = re.sub(r' transform="rotate\(-?0 [^)]*\)"', '', svg)
    svg = re.sub(r'font-family: [^;"]*(; )?', '', svg)
    svg = re.sub(
        r'font: (\w+ )?([\d.]+px) [^;"]*', lambda f: f'font-weight: {f[1] or "normal"}; font-size: {f[2]}', svg
    )
    for name, colour in PAGE.colours().items():
        svg = svg.replace(colour, f'var(--{name})')
    ids = f'{identity}-title', f'{identity}-desc'
    box = re.search(r'viewBox="[^"]*"', svg)[0]
    head = f'<svg class="plot" {box} role="img" aria-labelledby="{" ".join(ids[: 1 + bool(description)])}">'
    head += f'<title id="{ids[0]}">{escape(clean(title))}</title>'
    head += f'<desc id="{ids[1]}">{escape(clean(description))}</desc>' if description else ''
    return head + re.sub(r'\n\s*', '\n', svg.partition('>')[2]).strip()


def css_variables(theme: str) -> str:
    """The colours that figures of the theme ``'page'`` ask for: ``'--background: #ffffff; ...'``."""
    return ' '.join(f'--{name}: {colour};' for name, colour in THEMES[theme].colours().items())


def is_ours(content: bytes) -> bool:
    """Whether a file's content is a PNG or SVG that :func:`save` wrote."""
    head = content[:4096]
    if head.startswith(PNG_SIGNATURE):
        return PNG_MARK in head
    return head.lstrip().startswith((b'<?xml', b'<svg')) and SVG_MARK in head
