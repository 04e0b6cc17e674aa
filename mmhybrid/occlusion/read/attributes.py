"""What was annotated of each instance: its visible share, a level of occlusion, its height.

Data sets name and measure these differently; here each becomes one number an instance, NaN where it is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmhybrid.text import plural

from .checks import Records
from .segmentations import AMODAL_FIELDS

# Fields with the visible share itself: CityPersons and MOT.
SHARES = ('vis_ratio', 'visibility')
# With the box of the visible part, `bbox` being the whole: CityPersons, CrowdHuman, and COCO files made of these.
VISIBLE_BOXES = ('vis_bbox', 'vbox', 'visible_bbox', 'vis_box')
# With a level, from 0 on: KAIST and VisDrone, KITTI.
LEVELS = ('occlusion', 'occluded', 'occlusion_level')
# A visible box that sticks out of its whole box, or was rounded, makes a share of little more than 1.
MOST = 1.1


class Attribute(NamedTuple):
    """One number of each of n annotations: ``(n,)`` float64, NaN where it is not known; what it was read from, in a few
    words; and what to tell a reader."""

    values: np.ndarray
    origin: str
    notes: tuple[str, ...] = ()


def needs(annotations: Records, wanted: Mapping[str, str | None]) -> set[str]:
    """What else must be read of the annotations for these attributes: ``'bbox'`` or ``'amodal'`` masks, or neither."""
    if 'visibility' in wanted and _field(annotations, (*SHARES, *VISIBLE_BOXES), wanted['visibility']) is None:
        given = _fields(annotations)
        if any(set(pair) <= given for pair in AMODAL_FIELDS):
            return {'amodal'}
    return {'bbox'} if wanted.keys() & {'visibility', 'height'} else set()


def read(
    annotations: Records,
    boxes: np.ndarray,
    areas: np.ndarray,
    counted: np.ndarray,
    wanted: Mapping[str, str | None],
) -> dict[str, Attribute]:
    """Attributes of n annotations by name, but for a visibility that masks tell.

    Args:
        annotations: The annotations.
        boxes: ``(n, 4)`` their whole boxes.
        areas: ``(n,)`` their areas.
        counted: ``(n,)`` bool, those that are no region: what is wrong with others does not matter.
        wanted: Names of attributes, and the field that each is read from, None for the first known one.

    Raises:
        InputError: No annotation has such a field, or a value is none.
    """
    if not annotations.rows:
        return {name: Attribute(np.zeros(0), '') for name in wanted}
    found = {}
    for name, field in wanted.items():
        if name == 'visibility' and needs(annotations, wanted) != {'amodal'}:
            found[name] = _visibility(annotations, boxes, counted, field)
        elif name == 'level':
            found[name] = _level(annotations, counted, field)
        elif name == 'height':
            found[name] = _height(annotations, boxes, counted)
        elif name == 'area':
            found[name] = Attribute(areas, 'the area')
    return found


def _visibility(annotations: Records, boxes: np.ndarray, counted: np.ndarray, field: str | None) -> Attribute:
    """Visible share v in [0, 1], from a field with it or with the box of the visible part."""
    remedy = "give each instance's visible share, from 0 to 1, or the box of its visible part"
    names = (*SHARES, *VISIBLE_BOXES)
    field = _needed(annotations, names, field, f'visible share, and no whole and visible masks: {remedy}')
    values = [row.get(field) if counts else None for row, counts in zip(annotations.rows, counted, strict=True)]
    if any(isinstance(value, list | tuple) for value in values):
        return _of_boxes(annotations, values, boxes, field)
    shares = _alone(annotations, field, values).numbers(field, remedy, may_miss=True)
    annotations.refuse(field, shares, (shares < 0) | (shares > MOST), 'not from 0 to 1', remedy)
    return Attribute(np.minimum(shares, 1), f"'{field}'", _missing(annotations.source, field, shares, counted))


def _of_boxes(annotations: Records, values: Sequence[Any], boxes: np.ndarray, field: str) -> Attribute:
    """Visible over whole area. Four zeros stand for an instance that is not occluded, as in Caltech's annotations."""
    known = np.array([value is not None for value in values], dtype=bool)
    given = [[0, 0, 0, 0] if value is None else value for value in values]
    visible = _alone(annotations, field, given).boxes(field)
    shares = np.full(len(values), np.nan)
    whole = boxes[:, 2:].prod(axis=1)
    np.divide(visible[:, 2:].prod(axis=1), whole, out=shares, where=known & (whole > 0))
    unoccluded = known & ~visible.any(axis=1)
    shares[unoccluded] = 1
    notes = list(_missing(annotations.source, field, shares, known))
    if unoccluded.any():
        notes.append(
            f"{annotations.source}: {plural(int(unoccluded.sum()), 'instance has', 'instances have')} a '{field}' of "
            'four zeros, which stands for fully visible'
        )
    if too_large := np.count_nonzero(shares > MOST):
        notes.append(
            f"{annotations.source}: '{field}' of {plural(too_large, 'instance')} is larger than the 'bbox': "
            'taken for fully visible; see whether both are x, y, width, height'
        )
    return Attribute(np.minimum(shares, 1), f"area of '{field}' over that of 'bbox'", tuple(notes))


def _level(annotations: Records, counted: np.ndarray, field: str | None) -> Attribute:
    """Level of occlusion, a whole number as the data set counts them."""
    remedy = "give each instance's level of occlusion, a whole number from 0 on"
    name = _needed(annotations, LEVELS, field, f'level of occlusion: {remedy}')
    values = [row.get(name) if counts else None for row, counts in zip(annotations.rows, counted, strict=True)]
    levels = _alone(annotations, name, values).numbers(name, remedy, may_miss=True)
    is_none = (levels < 0) | (~np.isnan(levels) & (levels != np.round(levels)))
    annotations.refuse(name, levels, is_none, 'no whole number from 0 on', remedy)
    return Attribute(levels, f"'{name}'", _missing(annotations.source, name, levels, counted))


def _height(annotations: Records, boxes: np.ndarray, counted: np.ndarray) -> Attribute:
    """The field ``height`` in pixels, as the scripts of CityPersons and KAIST read it, or else the box's."""
    if not all(type(row.get('height')) in (int, float) for row in annotations.rows):
        return Attribute(boxes[:, 3].copy(), "height of 'bbox'")
    heights, notes = annotations.numbers('height', 'give the height in pixels'), ()
    if count := int((abs(heights - boxes[:, 3]) > 1)[counted].sum()):
        told = f"{annotations.source}: 'height' of {count} of {int(counted.sum())} instances is not that of their box"
        notes = (f"{told}; strata go by 'height', as the scripts of CityPersons and KAIST do",)
    return Attribute(heights, "'height'", notes)


def _alone(annotations: Records, field: str, values: Sequence[Any]) -> Records:
    """The annotations with ``values`` ``(n,)`` of one field, and the ids to name them by."""
    rows = zip(annotations.rows, values, strict=True)
    own = [{'id': row['id'], field: value} if 'id' in row else {field: value} for row, value in rows]
    return Records(annotations.source, annotations.label, own)


def _fields(annotations: Records) -> set[str]:
    return set().union(*(row.keys() for row in annotations.rows))


def _field(annotations: Records, names: Sequence[str], asked: str | None) -> str | None:
    """The field asked for, or the first of ``names`` that any annotation has."""
    given = _fields(annotations)
    return next((name for name in ((asked,) if asked else names) if name in given), None)


def _needed(annotations: Records, names: Sequence[str], asked: str | None, what: str) -> str:
    """:func:`_field`, which must be there; ``what`` is missing otherwise, and what to do about it."""
    field = _field(annotations, names, asked)
    if field is None:
        missing, _, remedy = what.partition(': ')
        looked = f'{missing} (looked for as {" or ".join(map(repr, names))})'
        annotations.fail(0, f'has no {repr(asked) if asked else looked}', remedy, len(annotations.rows))
    return field


def _missing(source: str, field: str, values: np.ndarray, counted: np.ndarray) -> tuple[str, ...]:
    if count := int((np.isnan(values) & counted).sum()):
        told = f"{source}: {count} of {int(counted.sum())} instances have no '{field}'"
        return (f'{told}: they are in no stratum that is made by it',)
    return ()
