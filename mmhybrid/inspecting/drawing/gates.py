"""Figures of gates and attention: along the depth of the networks, and over pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid import figure_style as style
from mmhybrid.figure_style import LIGHT, Series, new_figure, settle, wrap

from ..analyses.gate_readers import CHANGE, GATES, MAPS
from .depth import places, set_depth_axis, stages_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]
MOST = 8.0  # times the mean, where the colours of attention end
COLOURS = 'RdBu_r'
SIDE = 256  # pixels of a picture, at most


def draw(modules: Mapping[str, Rows], maps: Mapping[str, Any], pictures: Mapping[str, Any]) -> dict[str, Figure]:
    """All figures by name; the first is ``''``.

    Args:
        modules: Model -> what is told of each module.
        maps: Type -> model -> (module, map of each picture).
        pictures: Model -> pictures as it saw them.
    """
    made = {}
    with style.drawing():
        kinds = {row['type'] for rows in modules.values() for row in rows}
        gates, attention = ([kind for kind in known if kind in kinds] for known in (GATES, MAPS))
        if gates:
            made[''] = draw_gates(modules, gates)
        if attention:
            made['attention' if gates else ''] = draw_attention(modules, attention)
        for kind, models in maps.items():
            made[f'maps_{kind}'] = draw_maps(kind, models, pictures)
    return made


def draw_gates(modules: Mapping[str, Rows], kinds: Sequence[str]) -> Figure:
    """A row for each type of gate: its values left, their spread right."""
    from matplotlib.lines import Line2D

    looks = style.model_series(list(modules))
    figure = new_figure(10, 0.6 + 2.7 * len(kinds))
    grid = figure.subplots(len(kinds), 2, squeeze=False, gridspec_kw={'width_ratios': (3, 2)})
    for (left, right), kind in zip(grid, kinds, strict=True):
        own = {name: [row for row in rows if row['type'] == kind] for name, rows in modules.items()}
        known = stages_of([[row['stage'] for row in rows] for rows in own.values()])
        for name, rows in own.items():
            x = places([row['stage'] for row in rows], known)
            _line(left, x, rows, 'mean', looks[name], ('p05', 'p95'))
            _line(right, x, rows, 'std_images', looks[name])
            _line(right, x, rows, 'std_channels', looks[name], hollow=True)
        left.set(ylim=(-0.02, 1.02), ylabel=GATES[kind][1])
        left.set_title(GATES[kind][0])
        right.set_ylim(bottom=0)
        right.set_ylabel('standard deviation')
        for axes in (left, right):
            set_depth_axis(axes, known)
            axes.grid(True, axis='y')
    marks = dict(color=LIGHT.muted, marker='o', markersize=4.5, linewidth=1.4)
    spreads = [
        Line2D([], [], label='over images', **marks),
        Line2D([], [], label='over channels', markerfacecolor=LIGHT.background, linestyle=':', **marks),
    ]
    style.add_legend(figure, [*_handles(looks), *spreads])
    return settle(figure)


def draw_attention(modules: Mapping[str, Rows], kinds: Sequence[str]) -> Figure:
    """A row for each type of attention: its entropy, and what else is known of it."""
    looks = style.model_series(list(modules))
    rows_of = [row for rows in modules.values() for row in rows]
    panels = [('entropy', 'entropy / log(HW)')]
    if any('lift' in row for row in rows_of):
        panels.append(('lift', 'attention in boxes / their area'))
    if any(row['type'] == CHANGE for row in rows_of):
        panels.append(('change', 'RMS of change / RMS of input'))
    figure = new_figure(10, 0.6 + 2.7 * len(kinds))
    grid = figure.subplots(len(kinds), len(panels), squeeze=False)
    for line, kind in zip(grid, kinds, strict=True):
        own = {name: [row for row in rows if row['type'] == kind] for name, rows in modules.items()}
        known = stages_of([[row['stage'] for row in rows] for rows in own.values()])
        for axes, (key, label) in zip(line, panels, strict=True):
            if key == 'change' and kind != 'context':
                axes.remove()
                continue
            for name, rows in own.items():
                band = ('entropy_min', 'entropy_max') if key == 'entropy' else None
                if key == 'change':
                    rows = [{**row, 'change': row['mean']} for row in modules[name] if row['type'] == CHANGE]
                _line(axes, places([row['stage'] for row in rows], known), rows, key, looks[name], band)
            axes.set_ylabel(label)
            if key == 'entropy':
                axes.set_ylim(-0.02, 1.02)
            else:
                axes.set_ylim(0, max(axes.get_ylim()[1], 1.2 if key == 'lift' else 0.01))
            if key == 'lift':
                axes.axhline(1, color=LIGHT.muted, linewidth=0.8, zorder=1)
            set_depth_axis(axes, known)
            axes.grid(True, axis='y')
        line[0].set_title(MAPS[kind])
    style.add_legend(figure, _handles(looks))
    return settle(figure)


def draw_maps(
    kind: str, models: Mapping[str, Sequence[tuple[str, Sequence[np.ndarray]]]], pictures: Mapping[str, Sequence[Any]]
) -> Figure:
    """Attention over pictures: a row for each picture and model, a column for the last module of each stage."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter, NullLocator

    rows = [(i, name) for i in range(max(map(len, pictures.values()))) for name in models if i < len(pictures[name])]
    columns = 1 + max(map(len, models.values()))
    width = 10 / columns
    heights = [width * np.divide(*pictures[name][i].pixels.shape[:2]) for i, name in rows]
    figure = new_figure(10, sum(heights) + 0.35 * len(rows) + 0.9)
    grid = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw={'height_ratios': heights})
    norm = LogNorm(1 / MOST, MOST)
    for line, (i, name) in zip(grid, rows, strict=True):
        picture = pictures[name][i]
        height, width = picture.pixels.shape[:2]
        shown = picture.pixels[:: -(-max(height, width) // SIDE), :: -(-max(height, width) // SIDE)]
        extent = (0, width, height, 0)
        for axes in line:
            axes.set_axis_off()
        line[0].imshow(shown, extent=extent)
        line[0].set_title(wrap(picture.name, 22, 2) + (f'\n{wrap(name, 22, 1)}' if len(models) > 1 else ''), fontsize=8)
        grey = shown.mean(2)
        for axes, (module, drawn) in zip(line[1:], models[name], strict=False):
            padded = (0, picture.padded[1], picture.padded[0], 0)
            relative = drawn[i] * drawn[i].size
            axes.imshow(grey, extent=extent, cmap='gray', vmin=0, vmax=1)
            # Where attention is as a plain mean, the picture is left as it is.
            opaque = np.clip(np.abs(np.log(np.maximum(relative, 1e-9))) / np.log(MOST / 2), 0, 1)
            axes.imshow(
                np.clip(relative, 1 / MOST, MOST), extent=padded, cmap=COLOURS, norm=norm, alpha=0.75 * opaque,
                interpolation='bilinear' if min(relative.shape) > 1 else 'nearest',
            )  # fmt: skip
            axes.set(xlim=(0, width), ylim=(height, 0))
            axes.set_title(f'{_short(module)}, max {relative.max():.3g}×', fontsize=8, fontweight='normal')
    bar = figure.colorbar(
        ScalarMappable(norm, COLOURS), ax=grid, location='bottom', fraction=0.03, aspect=50, pad=0.02, extend='both'
    )
    bar.set_label(f'{MAPS[kind]}: attention over the mean of the map')
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.set_ticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8])
    bar.ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f'{value:g}'))
    bar.ax.tick_params(labelsize=style.SMALL_SIZE)
    return settle(figure)


def _line(
    axes: Axes, x: np.ndarray, rows: Rows, key: str, look: Series, band: tuple[str, str] | None = None, hollow=False
) -> None:
    """One mark a module."""
    y = np.array([row.get(key, np.nan) for row in rows], float)
    style = dict(linestyle=':', markerfacecolor=LIGHT.background) if hollow else dict(linestyle=look.dash)
    axes.plot(
        x,
        y,
        color=look.colour,
        marker=look.marker,
        markersize=4,
        linewidth=1.3,
        zorder=3,
        clip_on=False,
        in_layout=False,
        **style,
    )
    if band:
        low, high = (np.array([row[name] for row in rows], float) for name in band)
        axes.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0, zorder=2)


def _handles(looks: Mapping[str, Series]) -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=look.colour, marker=look.marker, linestyle=look.dash, markersize=5, label=look.label)
        for look in looks.values()
    ]


def _short(module: str) -> str:
    """The block that a module is of."""
    return module.removeprefix('backbone.').rpartition('.')[0] or module
