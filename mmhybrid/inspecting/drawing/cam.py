"""Class activation maps over their images: a row a detection, a column a level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.figure_style import CHARACTER, LIGHT, SMALL_SIZE, drawing, new_figure, settle, wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 224  # pixels of an image's longer side
MOST = 8  # rows of a figure
COLOURS = 'inferno'  # grows in lightness, which every colour-vision deficiency sees
OPACITY = 0.65
# Inches: between pictures, of a line of text, of the heading of a picture and of the figure, of the bar of colours.
_GAP, _LINE, _HEADING, _TITLE, _BAR = 0.1, 0.155, 0.2, 0.36, 0.66
# Light on dark, so that a box is seen on any picture.
_BOX = (('#000000', 3.2), ('#35e0ff', 1.6))


@dataclass(frozen=True)
class Cell:
    """A map.

    Attributes:
        title: The level.
        values: (H, W) from 0 to 1, of the row's picture; None where there is no map.
        text: What goes below; lines.
        strong: Whether to write that bold.
    """

    title: str
    values: np.ndarray | None
    text: str
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """A detection or an image.

    Attributes:
        picture: (H, W, 3) uint8, RGB.
        boxes: x0 y0 x1 y1 in its pixels.
        name: The file's.
        text: What was detected; lines.
        cells: A map a level.
    """

    picture: np.ndarray
    boxes: Sequence[Sequence[float]]
    name: str
    text: str
    cells: Sequence[Cell]


def plot(rows: Sequence[Row], title: str) -> Figure:
    """Draw one model's maps.

    Args:
        rows: All with the same levels.
        title: Above everything.
    """
    from matplotlib.cm import ScalarMappable

    columns = 1 + max(len(row.cells) for row in rows)
    width = min(max(10 / columns, 1.6), 2.0)
    characters = int(width * 72 / (CHARACTER * SMALL_SIZE))
    pictures = [width * min(row.picture.shape[0] / row.picture.shape[1], 1.6) for row in rows]
    words = [_LINE * max(len(each.text.splitlines()) for each in (row, *row.cells)) + _GAP for row in rows]
    total = columns * (width + _GAP) + _GAP, _TITLE + sum(pictures) + sum(words) + len(rows) * _HEADING + _BAR
    with drawing():
        figure = new_figure(*total)
        # The parts have known sizes, and a layout of hundreds of axes would take a minute.
        figure.set_layout_engine('none')

        def place(left: float, top: float, wide: float, high: float) -> Axes:
            return figure.add_axes((left / total[0], 1 - (top + high) / total[1], wide / total[0], high / total[1]))

        figure.text(
            _GAP / total[0], 1 - 0.5 * _TITLE / total[1], wrap(title, int(total[0] * 72 / (0.65 * 12)), 1),
            fontsize=12, fontweight='bold', va='center',
        )  # fmt: skip
        top = _TITLE
        for row, high, below in zip(rows, pictures, words, strict=True):
            top += _HEADING
            first = Cell(row.name, None, row.text)
            for column, cell in enumerate((first, *row.cells)):
                axes = place(_GAP + column * (width + _GAP), top, width, high)
                axes.imshow(_overlay(row.picture, cell.values) if column else row.picture)
                _draw_boxes(axes, row.boxes)
                axes.set_title(wrap(cell.title, characters, 1), fontsize=SMALL_SIZE, fontweight='normal', pad=3)
                axes.set_xlabel(_lines(cell.text, characters), fontsize=SMALL_SIZE, loc='left', labelpad=2)
                axes.xaxis.label.set_fontweight('bold' if cell.strong else 'normal')
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(visible=True, linewidth=0.6, color=LIGHT.muted)
            top += high + below
        wide = min(4.0, total[0] - 4 * _GAP)
        bar = figure.colorbar(
            ScalarMappable(cmap=COLOURS), cax=place(2 * _GAP, top + 0.08, wide, 0.1), orientation='horizontal'
        )
        bar.set_label('map, relative to its maximum', fontsize=SMALL_SIZE)
        bar.ax.tick_params(labelsize=SMALL_SIZE)
        bar.outline.set_visible(False)
        return settle(figure)


def _lines(text: str, characters: int) -> str:
    return '\n'.join(wrap(line, characters, 1) for line in text.splitlines())


def _overlay(picture: np.ndarray, values: np.ndarray | None) -> np.ndarray:
    """The picture in grey with the map's colours over it; uint8."""
    import matplotlib

    grey = picture @ np.array([0.299, 0.587, 0.114])
    grey = np.repeat(grey[..., None], 3, axis=2)
    if values is None:
        # Paler than a map of low values would be.
        return (0.4 * grey + 0.6 * 255).round().astype(np.uint8)
    colours = 255 * matplotlib.colormaps[COLOURS](values)[..., :3]
    return ((1 - OPACITY) * grey + OPACITY * colours).round().astype(np.uint8)


def _draw_boxes(axes: Axes, boxes: Sequence[Sequence[float]]) -> None:
    from matplotlib.patches import Rectangle

    for x0, y0, x1, y1 in boxes:
        for colour, width in _BOX:
            axes.add_patch(
                Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width)
            )
