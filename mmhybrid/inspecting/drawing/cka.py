"""Heat maps of CKA: levels of one model by levels of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid import figure_style as style
from mmhybrid.text import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ABREAST = 2  # panels beside each other
_CELL = 0.56  # inches
_COLOURS = ('#f4f8fb', '#9ecae9', style.LIGHT.models[0], '#00304d')


@dataclass(frozen=True)
class Panel:
    """CKA of each level of a model, the rows, with each of another, the columns.

    Attributes:
        row_model: Its name.
        rows: Names of its levels.
        column_model: The other's name.
        columns: Names of its levels.
        values: (rows, columns), NaN where there is none.
        intervals: (rows, columns, 2), lower and upper end.
        is_self: Whether the two are one model.
    """

    row_model: str
    rows: Sequence[str]
    column_model: str
    columns: Sequence[str]
    values: np.ndarray
    intervals: np.ndarray
    is_self: bool = False

    @property
    def title(self) -> str:
        """What is compared."""
        return f'{self.row_model} with itself' if self.is_self else f'{self.row_model} and {self.column_model}'

    def interval(self, row: int, column: int) -> str:
        """``'[0.81, 0.90]'``, or nothing if there is none."""
        low, high = self.intervals[row, column]
        return f'[{low:.2f}, {high:.2f}]' if math.isfinite(low) else ''

    def told(self, row: int, column: int) -> str:
        """The value and its interval."""
        return f'{self.values[row, column]:.2f} {self.interval(row, column)}'.strip()


def draw(panels: Sequence[Panel], images: int, grid: int) -> Figure:
    """A heat map for each panel, with the values in its cells, on one scale of colours from 0 to 1."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    colours, scale = LinearSegmentedColormap.from_list('cka', _COLOURS), Normalize(0, 1, clip=True)
    abreast = min(_ABREAST, len(panels))
    lines = math.ceil(len(panels) / abreast)
    most_rows = max(len(panel.rows) for panel in panels)
    most_columns = max(len(panel.columns) for panel in panels)
    longest = max(len(name) for panel in panels for name in (*panel.rows, *panel.columns))
    margin = 0.5 + 0.075 * longest
    with style.drawing():
        figure = style.new_figure(
            1.0 + abreast * max(3.4, _CELL * most_columns + margin + 0.3),
            0.3 + lines * (max(1.2, _CELL * most_rows) + margin + 0.35),
        )
        axes = list(figure.subplots(lines, abreast, squeeze=False).flat)
        for each in axes[len(panels) :]:
            each.remove()
        axes = axes[: len(panels)]
        for each, panel in zip(axes, panels, strict=True):
            _draw_panel(each, panel, colours, scale)
        bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes, shrink=0.8, pad=0.02, aspect=25)
        bar.set_label(f'CKA, {plural(images, "image")}, grid {grid} × {grid}')
        bar.outline.set_visible(False)
        return style.settle(figure)


def _draw_panel(axes, panel: Panel, colours, scale) -> None:
    axes.set_facecolor(style.LIGHT.grid)
    shown = np.ma.masked_invalid(panel.values)
    axes.imshow(shown, cmap=colours, norm=scale, aspect='equal', interpolation='nearest')
    for (row, column), value in np.ndenumerate(panel.values):
        is_dark = math.isfinite(value) and _is_dark(colours(scale(value)))
        text = f'{value:.2f}'.replace('-0.00', '0.00') if math.isfinite(value) else '–'
        axes.text(
            column, row, text, ha='center', va='center', fontsize=style.SMALL_SIZE,
            color=style.LIGHT.background if is_dark else style.LIGHT.text,
        )  # fmt: skip
    axes.set_xticks(range(len(panel.columns)), panel.columns, rotation=90)
    axes.set_yticks(range(len(panel.rows)), panel.rows)
    if panel.is_self:
        axes.set(xlabel='level', ylabel='level', title=style.wrap(panel.row_model, 8 * len(panel.rows), 3))
    else:
        axes.set_xlabel(f'level of {style.wrap(panel.column_model, max(16, 7 * len(panel.columns)), 3)}')
        axes.set_ylabel(f'level of {style.wrap(panel.row_model, max(16, 7 * len(panel.rows)), 3)}')
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _is_dark(colour: Sequence[float]) -> bool:
    """Whether white has more contrast to it than the theme's dark text (WCAG's relative luminance)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.207
