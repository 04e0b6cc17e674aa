"""Colours, marks and layout that all figures share."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from mmhybrid.errors import InputError
from mmhybrid.text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

DPI = 150
LABEL_SIZE, TICK_SIZE, SMALL_SIZE = 11, 10, 9
CHARACTER = 0.57  # average width of a character, as a part of the size of the font
# Told apart without colour as well: each model has a marker and a dash pattern of its own.
MARKERS = ('o', 's', '^', 'D', 'v', 'P')
DASHES = ('-', (0, (6, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1.5, 1)), (0, (8, 1.5, 1, 1.5, 1, 1.5)), (0, (3, 3)))


@dataclass(frozen=True)
class Theme:
    """Colours for one background.

    Hues are after Okabe and Ito, which every common colour-vision deficiency tells apart, darkened or lightened until
    text has a contrast of 4.5:1 and marks one of 3:1 to the background (WCAG 2.2, AA).

    Attributes:
        background: Of the whole figure.
        text: Of titles and labels.
        muted: Of ticks, counts and frames.
        grid: Of grid lines.
        bar: Of the bars of image counts.
        models: One colour a model.
        kinds: Of the error kinds, in the order of ``Errors.KINDS``.
    """

    background: str
    text: str
    muted: str
    grid: str
    bar: str
    models: tuple[str, ...]
    kinds: tuple[str, ...]

    def colours(self) -> dict[str, str]:
        """Every colour by its name, ``'models-0'`` for the first of several."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, str)} | {
            f'{name}-{i}': colour
            for name, value in values.items() if not isinstance(value, str)
            for i, colour in enumerate(value)
        }  # fmt: skip

    def rc(self) -> dict[str, Any]:
        """matplotlib settings beyond its defaults."""
        return {
            'font.family': 'sans-serif',
            'font.size': TICK_SIZE,
            'text.usetex': False,
            # A file name is no formula: a dollar sign in it must not start one.
            'text.parse_math': False,
            'text.color': self.text,
            'axes.facecolor': self.background,
            'axes.edgecolor': self.muted,
            'axes.labelcolor': self.text,
            'axes.labelsize': LABEL_SIZE,
            'axes.linewidth': 0.8,
            'axes.spines.top': False,
            'axes.spines.right': False,
            'axes.axisbelow': True,
            'axes.titlesize': LABEL_SIZE,
            'axes.titleweight': 'bold',
            'axes.titlelocation': 'left',
            'axes.titlecolor': self.text,
            'xtick.color': self.muted,
            'ytick.color': self.muted,
            'xtick.labelcolor': self.text,
            'ytick.labelcolor': self.text,
            'figure.facecolor': self.background,
            'grid.color': self.grid,
            'grid.linewidth': 0.8,
            'legend.frameon': False,
            'legend.fontsize': TICK_SIZE,
        }


THEMES = {
    'light': Theme(
        background='#ffffff', text='#1b1f24', muted='#57606a', grid='#dde2e7', bar='#8c959f',
        models=('#0072b2', '#b84a00', '#007a5a', '#a0447a', '#3d4650', '#6a51c4'),
        kinds=('#0072b2', '#c45500', '#008a66', '#78828c'),
    ),
    'dark': Theme(
        background='#14181d', text='#e6e9ed', muted='#a3adb8', grid='#39424c', bar='#77818c',
        models=('#56b4e9', '#f0a030', '#35c79a', '#e08fc0', '#d5dbe2', '#a99bf0'),
        kinds=('#56b4e9', '#f0a030', '#35c79a', '#8b96a1'),
    ),
}  # fmt: skip


def _stand_ins(theme: Theme) -> Theme:
    """A theme of colours that nothing else has, each of which one can find again in an SVG file."""
    at = iter(range(0xF1A000, 0xF1B000))
    made = {}
    for field in fields(theme):
        value = getattr(theme, field.name)
        made[field.name] = f'#{next(at):06x}' if isinstance(value, str) else tuple(f'#{next(at):06x}' for _ in value)
    return Theme(**made)


# For pages that say themselves what the colours are: `files.to_inline` puts variables for these.
PAGE = _stand_ins(THEMES['light'])


@dataclass(frozen=True)
class Series:
    """How one line is drawn."""

    label: str
    colour: str
    marker: str
    dash: str | tuple


def get_theme(name: str) -> Theme:
    """A theme by name: ``'light'``, ``'dark'``, or ``'page'`` for :func:`.files.to_inline`.

    Raises:
        InputError: There is none of this name.
    """
    if name == 'page':
        return PAGE
    if name not in THEMES:
        raise InputError(f'unknown theme {name!r}; choose from {", ".join(THEMES)}.')
    return THEMES[name]


def model_series(names: Sequence[str], theme: Theme) -> dict[str, Series]:
    """Each model's look by its name; from the seventh on, colours come again with other marks."""
    series = {}
    for index, name in enumerate(dict.fromkeys(names)):
        again, colour = divmod(index, len(theme.models))
        mark = (index + again) % len(MARKERS)
        series[name] = Series(wrap(name, 44), theme.models[colour], MARKERS[mark], DASHES[mark])
    return series


@contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """matplotlib's own defaults and a theme while a figure is made; the user's settings come back."""
    import matplotlib.style

    with matplotlib.style.context(['default', theme.rc()]), quiet_about_glyphs():
        yield


@contextmanager
def quiet_about_glyphs() -> Iterator[None]:
    """No warning for a name in a script that the font lacks: it shows as boxes, and the user can do nothing here."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='Glyph .* missing from')
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches that keeps its parts from overlapping."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    return figure


def settle(figure: Figure) -> Figure:
    """Make every tick while the theme's settings hold; matplotlib would make some at drawing, with the user's."""
    figure.draw_without_rendering()
    # What is placed stays there: another layout while writing would only cost time.
    figure.set_layout_engine('none')
    return figure


def add_legend(figure: Figure, handles: Sequence[Any], title: str = '') -> None:
    """A legend above everything, in as many columns as there is room for."""
    room = 72 * (figure.get_figwidth() - 0.2)
    lengths = [max(map(len, handle.get_label().splitlines()), default=0) for handle in handles]
    # Besides its text a column takes handle and gaps, 4.6 characters of the legend's size.
    widths = [TICK_SIZE * (CHARACTER * length + 4.6) for length in lengths]
    ncols = len(handles) if sum(widths) < room else max(1, int(room / max(widths)))
    figure.legend(
        handles=handles, loc='outside upper left', ncols=ncols, handlelength=2.6,
        columnspacing=1.2, title=wrap(title, int(room / 8), 2) or None, alignment='left', borderpad=0,
        title_fontproperties={'size': 12, 'weight': 'bold'},
    )  # fmt: skip


def key(**style: Any) -> Line2D:
    """A legend's entry drawn as a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **style)


def wrap(text: str, width: int, lines: int = 3) -> str:
    """A user's name on a few short lines; the middle of a very long one gives way, as paths differ at their ends."""
    text = clean(text)
    room = width * lines - 2
    if len(text) > room:
        text = f'{text[: room // 2]}…{text[-(room - room // 2 - 1) :]}'
    wrapped = textwrap.wrap(text, width, break_on_hyphens=False)
    # Words that leave lines half empty can need more lines than the characters alone.
    return '\n'.join(wrapped if len(wrapped) <= lines else [text[i : i + width] for i in range(0, len(text), width)])


def compact(count: int) -> str:
    """A count in at most four or five characters: ``'4952'``, ``'118k'``, ``'1.3M'``."""
    if count < 10_000:
        return str(count)
    return f'{count / 1e3:.0f}k' if count < 999_500 else f'{count / 1e6:.1f}M'


def check_results(results: Sequence[Any], what: str) -> None:
    """Refuse an empty list.

    Raises:
        InputError: There is nothing to draw.
    """
    if not results:
        raise InputError(f'there is nothing to draw: no result has {what}.')
