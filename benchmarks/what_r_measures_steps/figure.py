"""The figure: a panel a data set, a row a measure, its rank correlation with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmhybrid.figure_style import (
    LIGHT,
    SMALL_SIZE,
    Series,
    add_legend,
    drawing,
    model_series,
    new_figure,
    settle,
)

from .correlations import LABEL, LARGEST, MEAN, NUMBER, WIDER
from .sources import SOURCES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Document = Mapping[str, Any]

OWN = 'own covered fraction'
ROWS = {
    OWN: 'instances:\ncovered fraction',
    NUMBER: 'images:\nnumber of instances',
    'covered': 'r covered',
    'multi': 'r multi',
    'pairwise': 'r pairwise',
    'max-iou': 'max-iou',
    'mean fraction': 'mean fraction',
    'largest fraction': 'largest fraction',
}
LOOKS = {
    OWN: 'hidden share of the instance',
    MEAN: "mean hidden share of the image's instances",
    LARGEST: 'their largest hidden share',
    LABEL: 'label of the image',
}
COLUMNS = 2


def draw(documents: Mapping[str, Document]) -> Figure:
    """Correlations of what is measured with what is annotated; full marks are of boxes, hollow ones of masks.

    Args:
        documents: The records by name, at least one.
    """
    from matplotlib.lines import Line2D

    columns = min(COLUMNS, len(documents))
    rows = -(-len(documents) // columns)
    with drawing():
        looks = dict(zip(LOOKS, model_series(list(LOOKS.values())).values(), strict=True))
        figure = new_figure(1.6 + 3.9 * columns, 1.0 + 3.6 * rows)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        used: dict[str, bool] = {}
        for axes, document in zip(grid.flat, documents.values(), strict=False):
            _panel(axes, document, looks, used)
        for axes in grid.flat[len(documents) :]:
            axes.set_visible(False)
        for column in range(columns):
            lowest = grid[(len(documents) - 1 - column) // columns, column]
            lowest.set_xlabel("Spearman's correlation with annotated occlusion")
            lowest.tick_params(labelbottom=True)
        handles = [_handle(Line2D, looks[key]) for key in LOOKS if key in used]
        if used.get('masks'):
            handles.append(_handle(Line2D, Series('of masks', LIGHT.muted, 'o', '-'), hollow=True))
        add_legend(figure, handles)
        return settle(figure)


def _handle(line: type, look: Series, hollow: bool = False) -> Any:
    face = LIGHT.background if hollow else look.colour
    return line([], [], color=look.colour, marker=look.marker, linewidth=1.2, label=look.label, markerfacecolor=face)


def _panel(axes: Axes, document: Document, looks: Mapping[str, Series], used: dict[str, bool]) -> None:
    """Marks side by side in each row; ``used`` learns which looks there are."""
    series = [
        (OWN, geometry != 'bbox', [{'measure': OWN, **row}])
        for row in document['by_instance']
        for geometry in [row['geometry']]
        if geometry != WIDER
    ]
    for target, rows in document['by_image'].items():
        for is_mask in (False, True):
            part = [row for row in rows if (row['geometry'] not in ('', 'bbox')) == is_mask]
            series += [(target, is_mask, part)] if part else []
    places = list(ROWS)
    of_row = {name: [s for s in series if any(row['measure'] == name for row in s[2])] for name in ROWS}
    for each in series:
        key, is_mask, rows = each
        look = looks[key]
        used |= {key: True} | ({'masks': True} if is_mask else {})
        for row in (row for row in rows if row['value'] is not None):
            beside = of_row[row['measure']]
            y = places.index(row['measure']) + 0.18 * (beside.index(each) - (len(beside) - 1) / 2)
            if row['low'] is not None:
                axes.plot([row['low'], row['high']], [y, y], '-', color=look.colour, linewidth=1.4)
            face = LIGHT.background if is_mask else look.colour
            axes.plot(row['value'], y, look.marker, color=look.colour, markerfacecolor=face, markersize=5)
    axes.axvline(0, color=LIGHT.muted, linewidth=0.8, zorder=1)
    axes.axhline(0.5, color=LIGHT.grid, linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(places)), ROWS.values())
    axes.set_ylim(len(places) - 0.4, -0.6)
    axes.set_xlim(right=1.04)
    axes.grid(True, axis='x')
    source = SOURCES[document['name']]
    part = 'a sample of ' if source.images is not None and document['images_of_file'] < source.images else ''
    instances = f', {document["by_instance"][0]["n"]:,} instances' if document['by_instance'] else ''
    axes.set_title(f'{source.title}\n{part}{document["images_of_file"]:,} images{instances}', fontsize=SMALL_SIZE + 1)
