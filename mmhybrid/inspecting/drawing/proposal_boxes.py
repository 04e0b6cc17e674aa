"""The boxes of the most occluded instances, on their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid import figure_style as style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {'proposals': 'RPN proposals', 'before': 'before NMS', 'after': 'after NMS'}
MARGIN = 0.4  # of the instance's longer side, seen around it
LEAST = 64  # pixels seen at least
OWN, OTHER = style.LIGHT.models[1], style.LIGHT.models[0]


@dataclass(frozen=True)
class Scene:
    """One model's boxes around one instance.

    Attributes:
        model: Its name.
        image: The file's name.
        picture: (H, W, 3) uint8, RGB, as the model sees it.
        instances: (k, 4) x0 y0 x1 y1 of all instances.
        index: Of the one that is shown.
        covered: Share of it that others cover.
        panels: Step -> boxes (n, 4) that belong to it, and (m, 4) that belong to others.
    """

    model: str
    image: str
    picture: np.ndarray
    instances: np.ndarray
    index: int
    covered: float
    panels: Mapping[str, tuple[np.ndarray, np.ndarray]]


def plot_boxes(scenes: Sequence[Scene]) -> Figure:
    """A row a scene, a column a step; translucent boxes before, what survives after."""
    from matplotlib.lines import Line2D

    steps = [step for step in TITLES if any(step in scene.panels for scene in scenes)]
    with style.drawing():
        figure = style.new_figure(3.2 * len(steps), 0.7 + 3.3 * len(scenes))
        grid = figure.subplots(len(scenes), len(steps), squeeze=False)
        for line, scene in zip(grid, scenes, strict=True):
            for axes, step in zip(line, steps, strict=True):
                if step in scene.panels:
                    _draw(axes, scene, step)
                else:
                    axes.axis('off')
            shown = next(axes for axes, step in zip(line, steps, strict=True) if step in scene.panels)
            covered = f'{scene.covered:.0%} covered by others'
            shown.set_ylabel(
                '\n'.join([*(style.wrap(each, 30, 1) for each in (scene.model, scene.image)), covered]),
                fontsize=style.SMALL_SIZE,
            )
        handles = [
            Line2D([], [], color=style.LIGHT.text, linewidth=2.2, label='the instance'),
            Line2D([], [], color=style.LIGHT.text, linewidth=1, linestyle=':', label='other instances'),
            Line2D([], [], color=OWN, linewidth=1.6, label='boxes that belong to it'),
            Line2D([], [], color=OTHER, linewidth=1.6, label='boxes that belong to others'),
        ]
        style.add_legend(figure, handles)
        return style.settle(figure)


def window(box: np.ndarray, height: int, width: int) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of the square that is seen around a box, within the image where it is large enough."""
    side = max((1 + 2 * MARGIN) * (box[2:] - box[:2]).max(), LEAST)
    ends = []
    for low, high, size in ((box[0], box[2], width), (box[1], box[3], height)):
        start = (low + high - side) / 2
        start = 0 if side >= size else min(max(start, 0), size - side)
        ends.append((start, start + min(side, size)))
    (x0, x1), (y0, y1) = ends
    return x0, y0, x1, y1


def _draw(axes: Axes, scene: Scene, step: str) -> None:
    own, other = scene.panels[step]
    height, width = scene.picture.shape[:2]
    x0, y0, x1, y1 = window(scene.instances[scene.index], height, width)
    # What is seen alone, so that files stay small; paler, so that lines stand out.
    left, top, right, bottom = int(x0), int(y0), int(np.ceil(x1)), int(np.ceil(y1))
    seen = scene.picture[top:bottom, left:right]
    pale = (0.6 * seen + 0.4 * 255).astype(np.uint8)
    axes.imshow(pale, extent=(left, right, bottom, top), interpolation='nearest')
    for i, box in enumerate(scene.instances):
        if i != scene.index:
            _box(axes, box, color=style.LIGHT.text, linewidth=1, linestyle=':')
    # Of all proposals of an image, those of others would hide these.
    for boxes, look in ((other if step != 'proposals' else other[:0], OTHER), (own, OWN)):
        alpha = 0.9 if step == 'after' else min(0.8, max(0.25, 4 / max(len(boxes), 1)))
        for box in boxes:
            _box(axes, box, color=look, linewidth=1.5, alpha=alpha)
    _box(axes, scene.instances[scene.index], color=style.LIGHT.text, linewidth=2.2)
    axes.set(xlim=(x0, x1), ylim=(y1, y0), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(f'{TITLES[step]}: {len(own)}')


def _box(axes: Axes, box: np.ndarray, **look: object) -> None:
    from matplotlib.patches import Rectangle

    x0, y0, x1, y1 = box
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, clip_on=True, **look))
