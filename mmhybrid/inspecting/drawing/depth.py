"""An axis along the depth of networks: as wide a part for each stage, however many modules it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmhybrid.figure_style import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stages_of(models: Sequence[Sequence[int | None]]) -> list[int | None]:
    """All stages of some networks, in order; None is what no name tells, and comes first."""
    return sorted({stage for stages in models for stage in stages}, key=lambda stage: -1 if stage is None else stage)


def places(stages: Sequence[int | None], known: Sequence[int | None]) -> np.ndarray:
    """Where the modules of these stages stand, those of one stage evenly within its part.

    Args:
        stages: Of each module in order.
        known: All stages of the axis.
    """
    counts = {stage: stages.count(stage) for stage in known}
    seen = dict.fromkeys(known, 0)
    x = []
    for stage in stages:
        x.append(known.index(stage) + (seen[stage] + 0.5) / counts[stage])
        seen[stage] += 1
    return np.array(x)


def set_depth_axis(axes: Axes, known: Sequence[int | None]) -> None:
    """Name the stages below and part them by lines."""
    axes.set_xlim(0, len(known))
    axes.set_xticks(np.arange(len(known)) + 0.5, ['module' if stage is None else f'stage {stage}' for stage in known])
    axes.tick_params(axis='x', length=0)
    for at in range(1, len(known)):
        axes.axvline(at, color=LIGHT.grid, linewidth=1, zorder=0)
