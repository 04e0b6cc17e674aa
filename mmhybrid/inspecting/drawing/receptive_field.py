"""Figures of receptive fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid import figure_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analyses.fields import Field

_COLUMNS = 5  # maps side by side
_LEAST = 1.2  # inches of height for a map's row, also of flat pictures, so that names have room


def draw_sizes(found: Mapping[str, Sequence[Field]]) -> Figure:
    """Side of the theoretical field and of the squares with 95% and 50% of the gradient, by level, a line a model."""
    looks = style.model_series(list(found))
    levels = list(dict.fromkeys(field.level for fields in found.values() for field in fields))
    with style.drawing():
        figure = style.new_figure(max(8.6, 1.2 * len(levels)), 4.0)
        grid = figure.subplots(1, 3, sharey=True)
        for axes, (title, share) in zip(grid, _PANELS, strict=True):
            for name, fields in found.items():
                look = looks[name]
                places = [levels.index(field.level) for field in fields]
                sides = np.array([field.theoretical if share is None else field.side(share) for field in fields])
                for part in _runs(fields):
                    axes.plot(
                        np.array(places)[part], sides[part], color=look.colour, linestyle=look.dash,
                        marker=look.marker, linewidth=1.6, markersize=5, zorder=3,
                        label=look.label if part.start == 0 else None,
                    )  # fmt: skip
                if share is None:
                    cut = [i for i, field in enumerate(fields) if field.clipped]
                    axes.plot(
                        np.array(places)[cut], sides[cut], color=look.colour, linestyle='', marker=look.marker,
                        markersize=5, markerfacecolor=style.LIGHT.background, zorder=4,
                    )  # fmt: skip
            axes.set_title(title)
            axes.set_xticks(range(len(levels)), levels, rotation=90)
            axes.set_xlim(-0.5, len(levels) - 0.5)
            axes.grid(True)
        drawn = [
            side for fields in found.values() for field in fields
            for side in (field.theoretical, *map(field.side, _SQUARES)) if np.isfinite(side)
        ]  # fmt: skip
        grid[0].set_ylim(0, 1.06 * max(1, *drawn))
        grid[0].set_ylabel('side of the field (pixels)')
        grid[1].set_xlabel('level')
        if len(found) > 1:
            style.add_legend(figure, grid[1].get_legend_handles_labels()[0])
        return style.settle(figure)


def draw_maps(found: Mapping[str, Sequence[Field]]) -> Figure:
    """Gradient's magnitude by pixel, a panel a level, with the theoretical field and the squares of 95% and 50%."""
    from matplotlib.lines import Line2D

    lines = [(name, line) for name, fields in found.items() for line in _lines(fields)]
    columns = max(len(line) for _, line in lines)
    height, width = lines[0][1][0].magnitude.shape
    panel = 2.3 if columns > 3 else 2.9
    tall = max(panel * min(height / width, 1.6), _LEAST)
    with style.drawing():
        figure = style.new_figure(panel * columns + 0.7, 0.7 + (tall + 0.35) * len(lines))
        grid = figure.subplots(len(lines), columns, squeeze=False)
        for row, (name, line) in zip(grid, lines, strict=True):
            for axes, field in zip(row, line, strict=False):
                _draw_map(axes, field)
            row[0].set_ylabel(style.wrap(name, int(tall / 0.085), 2), fontweight='bold', fontsize=style.SMALL_SIZE)
            for axes in row[len(line) :]:
                axes.remove()
        handles = [
            Line2D([], [], color=colour, linestyle=dash, linewidth=1.5, label=label)
            for colour, dash, label in (
                (_BOX, (0, (3, 2)), 'theoretical field'),
                (_SQUARES[0.95], '-', 'square with 95%'),
                (_SQUARES[0.5], '-', 'with 50% of the gradient'),
            )
        ]
        style.add_legend(figure, handles)
        return style.settle(figure)


_PANELS = (('Theoretical (hollow: cut off)', None), ('95% of the gradient', 0.95), ('50% of the gradient', 0.5))
_BOX, _SQUARES = style.LIGHT.models[0], {0.95: style.LIGHT.models[1], 0.5: style.LIGHT.models[2]}


def _draw_map(axes: Axes, field: Field) -> None:
    from matplotlib.patches import Rectangle

    height, width = field.magnitude.shape
    largest = field.magnitude.max() or 1
    axes.imshow(np.sqrt(field.magnitude / largest), cmap='gray_r', vmin=0, vmax=1, interpolation='antialiased')
    squares = [(field.square(share), colour, '-', 1.3) for share, colour in _SQUARES.items()]
    # The field last and dashed, so that both are seen where a square is cut off at its border.
    for (x0, y0, x1, y1), colour, dash, line in (*squares, (field.box, _BOX, (0, (3, 2)), 1.5)):
        if np.isfinite(x0):
            corner, width_of, height_of = (x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0
            axes.add_patch(
                Rectangle(corner, width_of, height_of, fill=False, color=colour, linewidth=line, linestyle=dash)
            )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), xticks=[], yticks=[])
    axes.set_title(f'{field.level}, stride {field.stride}', fontsize=style.SMALL_SIZE, fontweight='normal')
    axes.set_xlabel(f'{width} pixels', fontsize=style.SMALL_SIZE)
    axes.spines[:].set_visible(True)


def _lines(fields: Sequence[Field]) -> Iterator[Sequence[Field]]:
    """At most :data:`_COLUMNS` levels each, those of the backbone apart from the neck's."""
    for part in _runs(fields):
        own = fields[part]
        for i in range(0, len(own), _COLUMNS):
            yield own[i : i + _COLUMNS]


def _runs(fields: Sequence[Field]) -> list[slice]:
    """Where levels of one part follow each other: backbone, neck."""
    parts = [field.level.partition('.')[0] for field in fields]
    starts = [i for i, part in enumerate(parts) if i == 0 or part != parts[i - 1]]
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], len(fields)], strict=True)]
