"""What was annotated of each instance: its visible share, a level of occlusion, its height.

Data sets name and measure these differently; here each becomes one number an instance, NaN where it is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .checks import Records

# Fields with the visible share itself: CityPersons and MOT.
SHARES = ('vis_ratio', 'visibility')
# With the box of the visible part, `bbox` being the whole: CityPersons, CrowdHuman, and COCO files made of these.
VISIBLE_BOXES = ('vis_bbox', 'vbox', 'visible_bbox', 'vis_box')
# With a level, from 0 on: KAIST and VisDrone, KITTI.
LEVELS = ('occlusion', 'occluded', 'occlusion_level')
# A visible box that sticks out of its whole box, or was rounded, makes a share of little more than 1.
MOST = 1.1


class Attribute(NamedTuple):
    """One number of each of n annotations.

    Attributes:
        values: ``(n,)`` float64, NaN where it is not known.
        origin: What it was read from, in a few words.
        notes: What to tell a reader.
    """

    values: np.ndarray
    origin: str
    notes: tuple[str, ...] = ()


def visibility_field(rows: Iterable[dict[str, Any]], field: str | None = None) -> str | None:
    """Which field visible shares can be read from, without masks: the one asked for, or the first known one that any
    annotation has."""
    if field is not None:
        return field
    given = set().union(*(row.keys() for row in rows))
    return next((name for name in (*SHARES, *VISIBLE_BOXES) if name in given), None)


def read_visibility(annotations: Records, boxes: np.ndarray, counted: np.ndarray, field: str) -> Attribute:
    """Visible share v in [0, 1] of each instance, from a field with the share or with the box of the visible part.

    A visible box of four zeros stands for an instance that is not occluded, as in the annotations of Caltech.

    Args:
        annotations: n annotations.
        boxes: ``(n, 4)`` their whole boxes.
        counted: ``(n,)`` bool, those that are no region: what is wrong with others does not matter.
        field: What to read.

    Raises:
        InputError: A value that is no share and no box.
    """
    values = [row.get(field) if counts else None for row, counts in zip(annotations.rows, counted, strict=True)]
    if any(isinstance(value, list | tuple) for value in values):
        return _of_boxes(annotations, values, boxes, field)
    remedy = 'give the visible share of the instance, from 0 to 1'
    own = Records(annotations.source, annotations.label, [{field: value} for value in values])
    shares = own.numbers(field, remedy, may_miss=True)
    annotations.refuse(field, shares, (shares < 0) | (shares > MOST), 'not from 0 to 1', remedy)
    return Attribute(np.minimum(shares, 1), f"'{field}'", _missing(annotations.source, field, shares, counted))


def _of_boxes(annotations: Records, values: Sequence[Any], boxes: np.ndarray, field: str) -> Attribute:
    known = np.array([value is not None for value in values], dtype=bool)
    rows = [{'bbox': value} if value is not None else {'bbox': [0, 0, 0, 0]} for value in values]
    visible = Records(annotations.source, annotations.label, rows).boxes()
    shares = np.full(len(values), np.nan)
    whole = boxes[:, 2:].prod(axis=1)
    np.divide(visible[:, 2:].prod(axis=1), whole, out=shares, where=known & (whole > 0))
    unoccluded = known & ~visible.any(axis=1)
    shares[unoccluded] = 1
    notes = list(_missing(annotations.source, field, shares, known))
    if unoccluded.any():
        notes.append(
            f"{annotations.source}: {unoccluded.sum()} instances have a '{field}' of four zeros, which stands for "
            'fully visible'
        )
    return Attribute(np.minimum(shares, 1), f"the area of '{field}' over that of 'bbox'", tuple(notes))


def read_level(annotations: Records, counted: np.ndarray, field: str | None = None) -> Attribute:
    """Level of occlusion of each instance, a whole number as the data set counts them.

    Raises:
        InputError: No annotation has such a field, or a value is no whole number.
    """
    rows = annotations.rows
    names = LEVELS if field is None else (field,)
    given = set().union(*(row.keys() for row in rows))
    name = next((each for each in names if each in given), None)
    looked = ' or '.join(f"'{each}'" for each in names)
    remedy = "strata by level need each instance's level of occlusion, a whole number from 0 on"
    if name is None:
        annotations.fail(0, f'has no level of occlusion, looked for as {looked}', remedy, len(rows))
    own = Records(annotations.source, annotations.label, [
        row if counts else {} for row, counts in zip(rows, counted, strict=True)
    ])  # fmt: skip
    levels = own.numbers(name, remedy, may_miss=True)
    annotations.refuse(name, levels, ~np.isnan(levels) & (levels != np.round(levels)), 'no whole number', remedy)
    return Attribute(levels, f"'{name}'", _missing(annotations.source, name, levels, counted))


def read_heights(annotations: Records, boxes: np.ndarray) -> Attribute:
    """The field ``height`` in pixels, as the scripts of CityPersons and KAIST read it, or else the box's."""
    values = [row.get('height') for row in annotations.rows]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values) and values:
        heights = annotations.numbers('height', 'give the height in pixels')
        return Attribute(heights, "'height'")
    return Attribute(boxes[:, 3].copy(), "the height of 'bbox'")


def _missing(source: str, field: str, values: np.ndarray, counted: np.ndarray) -> tuple[str, ...]:
    if count := int((np.isnan(values) & counted).sum()):
        told = f"{source}: {count} of {int(counted.sum())} instances have no '{field}'"
        return (f'{told}: they are in no stratum that is made by it',)
    return ()
