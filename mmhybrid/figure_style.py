"""Colours, marks and layout that all figures of this project share."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import clean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
NO_BREAK = '\N{NO-BREAK SPACE}'
LABEL_SIZE, TICK_SIZE, SMALL_SIZE = 11, 10, 9  # of fonts, in points
CHARACTER = 0.57  # average width of a character, as a part of the size of the font
# Told apart without colour as well: each model has a marker and a dash pattern of its own.
MARKERS = ('o', 's', '^', 'D', 'v', 'P')
DASHES = ('-', (0, (6, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1.5, 1)), (0, (8, 1.5, 1, 1.5, 1, 1.5)), (0, (3, 3)))


@dataclass(frozen=True)
class Theme:
    """Colours for one background.

    Hues are after Okabe and Ito, which every common colour-vision deficiency tells apart, darkened or lightened until
    text has a contrast of 4.5:1 and marks one of 3:1 to the background (WCAG 2.2, AA).
    """

    background: str
    text: str
    muted: str  # ticks, counts and frames
    grid: str
    bar: str  # of counts of images
    models: tuple[str, ...]
    kinds: tuple[str, ...]  # in the order of `Errors.KINDS`

    def colours(self) -> dict[str, str]:
        """Every colour by its name, ``'models-0'`` for the first of several."""
        named = {}
        for name, value in asdict(self).items():
            several = {f'{name}-{i}': colour for i, colour in enumerate(value)}
            named |= {name: value} if isinstance(value, str) else several
        return named


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
LIGHT = THEMES['light']
# matplotlib settings beyond its defaults.
RC = {
    **dict.fromkeys(('text.color', 'axes.labelcolor', 'axes.titlecolor'), LIGHT.text),
    **dict.fromkeys(('xtick.labelcolor', 'ytick.labelcolor'), LIGHT.text),
    **dict.fromkeys(('axes.edgecolor', 'xtick.color', 'ytick.color'), LIGHT.muted),
    **dict.fromkeys(('axes.facecolor', 'figure.facecolor'), LIGHT.background),
    'axes.axisbelow': True,
    'axes.labelsize': LABEL_SIZE,
    'axes.linewidth': 0.8,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.titlelocation': 'left',
    'axes.titlesize': LABEL_SIZE,
    'axes.titleweight': 'bold',
    'font.family': 'sans-serif',
    'font.size': TICK_SIZE,
    'grid.color': LIGHT.grid,
    'grid.linewidth': 0.8,
    'legend.fontsize': TICK_SIZE,
    'legend.frameon': False,
    'text.parse_math': False,  # a file name is no formula: a dollar sign in it must not start one
    'text.usetex': False,
}


@dataclass(frozen=True)
class Series:
    """How one line is drawn."""

    label: str
    colour: str
    marker: str
    dash: str | tuple


def check_results(results: Sequence[Any], what: str) -> None:
    """Refuse to draw nothing."""
    if not results:
        raise InputError(f'there is nothing to draw: no result has {what}.')


def model_series(names: Sequence[str]) -> dict[str, Series]:
    """Each model's look by its name; from the seventh on, colours come again with other marks."""
    series = {}
    for index, name in enumerate(dict.fromkeys(names)):
        again, colour = divmod(index, len(LIGHT.models))
        mark = (index + again) % len(MARKERS)
        series[name] = Series(wrap(name, 44), LIGHT.models[colour], MARKERS[mark], DASHES[mark])
    return series


@contextmanager
def drawing(**settings: Any) -> Iterator[None]:
    """matplotlib's own defaults, ours and ``settings`` while a figure is made; the user's settings come back."""
    import matplotlib.style

    with matplotlib.style.context(['default', RC, settings]), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes, and the user can do nothing here.
        warnings.filterwarnings('ignore', message='Glyph .* missing from')
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches that keeps its parts from overlapping."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.08)
    return figure


def settle(figure: Figure) -> Figure:
    """Make every tick while our settings hold; matplotlib would make some at drawing, with the user's."""
    figure.draw_without_rendering()
    # What is placed stays there: another layout while writing would only cost time.
    figure.set_layout_engine('none')
    return figure


def add_legend(figure: Figure, handles: Sequence[Any], title: str = '') -> None:
    """A legend above everything, in as many columns as there is room for."""
    room = 72 * (figure.get_figwidth() - 0.2)
    lengths = [max(map(len, handle.get_label().splitlines()), default=0) for handle in handles]

    def width(ncols: int) -> float:
        # Besides its text a column takes handle and gaps, 4.6 characters of the legend's size.
        return sum(TICK_SIZE * (CHARACTER * max(part) + 4.6) for part in np.array_split(lengths, ncols))

    figure.legend(
        handles=handles, loc='outside upper left', handlelength=2.6, columnspacing=1.2, borderpad=0, alignment='left',
        ncols=next((n for n in range(len(handles), 1, -1) if width(n) < room), 1),
        title=wrap(title, int(room / 8), 4) or None, title_fontproperties={'size': 12, 'weight': 'bold'},
    )  # fmt: skip


def wrap(text: str, width: int, lines: int = 3) -> str:
    """A user's name on a few short lines; the middle of a very long one gives way, as paths differ at their ends."""
    # Spaces at which no line may break stay such.
    text = NO_BREAK.join(map(clean, text.split(NO_BREAK)))
    room = width * lines - 2
    if len(text) > room:
        text = f'{text[: room // 2]}…{text[-(room - room // 2 - 1) :]}'
    wrapped = textwrap.wrap(text, width, break_on_hyphens=False)
    # Words that leave lines half empty can need more lines than the characters alone.
    return '\n'.join(wrapped if len(wrapped) <= lines else [text[i : i + width] for i in range(0, len(text), width)])
