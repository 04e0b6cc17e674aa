"""Figures as files, which name this package as their maker, and as parts of a page."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from mmhybrid.errors import InputError
from mmhybrid.figure_style import DPI, THEMES, drawing
from mmhybrid.text import clean

from ...results import SCHEMA

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_bytes(figure: Figure, kind: str, maker: str = SCHEMA) -> bytes:
    """A figure as ``'png'``, of 150 dots an inch, or as ``'svg'``, whose words stay text; each time the same bytes.

    ``maker`` is what the file says that it was made by.

    Raises:
        InputError: Another kind.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    if kind not in ('png', 'svg'):
        raise InputError(f'figures are png or svg, not {kind}; choose one of these.')
    content = io.BytesIO()
    with drawing(**{'svg.fonttype': 'none', 'svg.hashsalt': SCHEMA}):
        # `savefig` would draw it once more than it writes it.
        if kind == 'svg':
            FigureCanvasSVG(figure).print_svg(content, metadata={'Creator': maker, 'Date': None})
        else:
            figure.dpi = DPI  # writing as SVG leaves another
            FigureCanvasAgg(figure).print_png(content, metadata={'Software': maker})
    return content.getvalue()


def to_inline(figure: Figure, identity: str, title: str) -> str:
    """A light figure as an SVG element of an HTML page, in the page's font and the colours of :func:`css_variables`.

    ``identity`` is unique in the page and goes before the identifiers of the parts; ``title`` is for screen readers.
    """
    svg = to_bytes(figure, 'svg').decode()
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
    svg = re.sub(r' d="[^"]*"', lambda f: re.sub(r'(\.\d\d)\d+', r'\1', f[0]), svg)  # finer than any screen
    svg = re.sub(r'\n\s*', '\n', svg).strip()
    head = f'<svg class="plot" {box[1]} role="img" aria-labelledby="{identity}-title">'
    return f'{head}<title id="{identity}-title">{escape(clean(title))}</title>{svg}'


def css_variables(theme: str) -> str:
    """The colours that figures in a page ask for: ``'--background: #ffffff; ...'``."""
    return ' '.join(f'--{name}: {colour};' for name, colour in THEMES[theme].colours().items())
