"""Colours, marks and layout that all figures share."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmhybrid.errors import InputError
from mmhybrid.text import clean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

DPI = 150
PANEL_WIDTH = 6.4
LABEL_SIZE, TICK_SIZE, SMALL_SIZE = 11, 10, 9
# Told apart without colour as well: each model has a marker and a dash pattern of its own.
MARKERS = ('o', 's', '^', 'D', 'v', 'P')
DASHES = ('-', (0, (6, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (1.5, 1)), (0, (8, 1.5, 1, 1.5, 1, 1.5)), (0, (3, 3)))
FEW_DASH = (0, (1, 1))


@dataclass(frozen=True)
class Theme:
    """Colours for one background, after Okabe and Ito's palette for every colour vision.

    Attributes:
        background: Of the whole figure.
        text: Of titles and labels.
        muted: Of ticks, counts and frames.
        grid: Of grid lines.
        bar: Of the bars of image counts.
        models: One colour a model.
        metrics: Of AP, AP50 and AP75.
        kinds: Of the error kinds, in the order of ``Errors.KINDS``.
    """

    background: str
    text: str
    muted: str
    grid: str
    bar: str
    models: tuple[str, ...]
    metrics: tuple[str, str, str]
    kinds: tuple[str, str, str, str]

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
            'axes.titlesize': 12,
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
        background='#FFFFFF', text='#1A1A1A', muted='#555555', grid='#DDDDDD', bar='#9A9A9A',
        models=('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#000000', '#E69F00'),
        metrics=('#000000', '#56B4E9', '#D55E00'),
        kinds=('#0072B2', '#E69F00', '#56B4E9', '#8C8C8C'),
    ),
    'dark': Theme(
        background='#16181D', text='#ECECEC', muted='#B4B8C0', grid='#34383F', bar='#7C828C',
        models=('#56B4E9', '#E8743B', '#2BC49A', '#E29CC4', '#F5F5F5', '#F0C541'),
        metrics=('#F5F5F5', '#56B4E9', '#E8743B'),
        kinds=('#3D9BDC', '#E69F00', '#9AD4F5', '#8A9099'),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """How one line is drawn."""

    label: str
    colour: str
    marker: str
    dash: str | tuple


def get_theme(name: str) -> Theme:
    """A theme by name.

    Raises:
        InputError: There is none of this name.
    """
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
    return figure


def add_legend(figure: Figure, handles: Sequence[Any], ncols: int = 4) -> None:
    """A legend below everything, read row by row, in at most ``ncols`` columns and no more than there is room for."""
    if not handles:
        return
    room = 72 * (figure.get_figwidth() - 0.2)
    widths = [_text_width(handle.get_label()) for handle in handles]
    # Besides its text a column takes handle and gaps, 4.6 characters of the legend's size.
    while ncols > 1 and sum(max(widths[i::ncols], default=0) + 4.6 * TICK_SIZE for i in range(ncols)) > room:
        ncols -= 1
    # matplotlib fills columns first; one that comes out short would shift what follows it.
    columns = [handles[i::ncols] for i in range(ncols)]
    if len({len(column) for column in columns}) > 1 and len(handles) > ncols:
        blank = [key(linestyle='', label=' ')]
        columns = [[*column, *blank * (len(columns[0]) - len(column))] for column in columns]
    ordered = [handle for column in columns for handle in column]
    figure.legend(
        handles=ordered, loc='outside lower center', ncols=min(ncols, len(ordered)), handlelength=2.6, columnspacing=1.2
    )


def _text_width(text: str) -> float:
    """Points that the widest line of a legend's label takes."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=TICK_SIZE)
    return max(text_to_path.get_text_width_height_descent(line, font, False)[0] for line in text.splitlines() or [''])


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


def draw_counts(axes: Axes, spans: Sequence[tuple[float, float]], counts: Sequence[int], few: Sequence[bool],
                theme: Theme) -> None:  # fmt: skip
    """Upright bars of counts, each with its number; hollow where there are few."""
    crowded = len(counts) > 12
    for (low, high), count, hollow in zip(spans, counts, few, strict=True):
        face, edge = (theme.background, theme.bar) if hollow else (theme.bar, theme.background)
        middle = (low + high) / 2
        axes.bar(middle, count, 0.9 * (high - low), color=face, edgecolor=edge, linewidth=1, zorder=2)
        axes.annotate(
            compact(count), (middle, count), xytext=(0, 2), textcoords='offset points', ha='center',
            fontsize=7.5 if crowded else SMALL_SIZE, rotation=90 if crowded else 0, color=theme.muted,
        )  # fmt: skip
    top = max(counts, default=0) or 1
    axes.set_ylim(0, top * (1.6 if crowded else 1.28))
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    axes.grid(True, axis='y')


def finish_percent(axes: Axes, values: Sequence[float], zoom: bool = False) -> None:
    """An axis of percent up to the largest value, from 0 or, to tell models apart, from below the smallest."""
    values = [value for value in values if not math.isnan(value)]
    low, high = (min(values), max(values)) if values else (0.0, 100.0)
    # Ten points at least: less would blow noise up.
    low = max(0.0, min(low, high - 10)) if zoom else 0.0
    margin = 0.08 * max(high - low, 1.0)
    axes.set_ylim(low - margin if low > margin else 0, min(high + margin, max(101.5, high)))
    axes.grid(True, axis='y')


def check_results(results: Sequence[Any], what: str) -> None:
    """Refuse an empty list.

    Raises:
        InputError: There is nothing to draw.
    """
    if not results:
        raise InputError(f'there is nothing to draw: no result has {what}.')
