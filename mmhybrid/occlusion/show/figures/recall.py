"""Recall by the instances' own occlusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...results import MIN_IMAGES, OcclusionResult
from ..tables import side_by_side
from .panels import PANEL_WIDTH, Curve, draw_counts, draw_curves, few_key, finish_percent, label_places, range_label
from .style import add_legend, check_results, drawing, get_theme, model_series, new_figure, settle, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS = {'recall50': 'IoU 0.50', 'recall75': 'IoU 0.75'}


def plot_recall(
    results: Sequence[OcclusionResult],
    theme: str = 'light',
    metrics: Sequence[str] = tuple(METRICS),
    width: float = PANEL_WIDTH,
    min_instances: int = MIN_IMAGES,
) -> Figure:
    """Draw recall at IoU 0.50 and 0.75 against the covered or invisible fraction, one line a model.

    One column of panels for each IoU type; below, the number of instances. Bands are the bootstrap intervals. All
    recalls in percent; the axis starts at 0 for one model, and below the lowest value for several.

    Args:
        results: Those without ``instances`` are passed over.
        theme: ``'light'`` or ``'dark'``.
        metrics: ``'recall50'``, ``'recall75'`` or both: a row of panels each.
        width: Of a column in inches.
        min_instances: Marks of fewer instances are hollow.

    Raises:
        InputError: No result has ``instances``, or the theme is unknown.
    """
    results = [result for result in results if result.instances]
    check_results(results, 'recall by instance')
    look = get_theme(theme)
    panels = side_by_side(results)
    with drawing(look):
        series = model_series([result.name for result in results], look)
        figure = new_figure(width * len(panels), 1.6 + 0.2 * len(series) + 2.6 * len(metrics))
        heights = [3] * len(metrics) + [1.2]
        grid = figure.subplots(len(heights), len(panels), sharex='col', squeeze=False, height_ratios=heights)
        keys, any_few = {}, False
        for column, panel in enumerate(panels):
            ranges = panel[0].instances
            counts = [row.num_instances for row in ranges]
            few = [count < min_instances for count in counts]
            for axes, metric in zip(grid[:, column], metrics, strict=False):
                curves = [Curve.of(series[result.name], result.instances, metric) for result in panel]
                draw_curves(axes, curves, few, look, banded=True)
                finish_percent(axes, curves, any(len(each) > 1 for each in panels))
                axes.set_title(f'{panel[0].iou_type} recall, {METRICS[metric]}')
                keys |= {curve.look.label: curve.key for curve in curves}
            draw_counts(grid[-1, column], counts, few, look)
            label_places(grid[-1, column], [range_label(row.name, row.lower, row.upper) for row in ranges], width)
            grid[-1, column].set_xlabel(wrap(f'{panel[0].fraction or "occlusion"} of the instance', int(10 * width)))
            any_few = any_few or any(few)
        for axes in grid[:-1, 0]:
            axes.set_ylabel('recall (%)')
        grid[-1, 0].set_ylabel('instances')
        add_legend(figure, [*keys.values(), *([few_key(min_instances, 'instances', look)] if any_few else [])])
        return settle(figure)
