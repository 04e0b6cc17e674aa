"""Detections that a file keeps image by image, as lists or arrays of boxes, labels and scores.

Boxes are ``x1, y1, x2, y2`` or ``x, y, width, height``. The name of their field says which, if it ends in ``xyxy`` or
``xywh``, and ``bbox`` are the latter, as in COCO. Otherwise the file must show it: more than one in a hundred cannot be
corners; or else, more than one in twenty would leave its image as ``x, y, width, height``. Labels are category ids,
unless a program is known to count classes from 0.

CrowdHuman's layout is another: an image's ``dtboxes`` are a list of ``{'box': [x, y, width, height], 'score', 'tag'}``,
as MMDetection's ``CrowdHumanMetric`` (with ``outfile_prefix``) and CrowdDet write them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from numbers import Real
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .checks import Records, box_faults, whole_numbers
from .columns import Block

SCORES = ('scores', 'score', 'confidences', 'confidence')
LABELS = ('labels', 'category_ids', 'category_id', 'classes', 'class_ids', 'pred_classes')
MASKS = ('masks', 'segmentations', 'segmentation', 'rles')
BOXES = ('bboxes', 'boxes', 'bbox', 'pred_boxes', 'boxes_xyxy', 'boxes_xywh', 'bboxes_xyxy', 'bboxes_xywh')
BOX_REMEDY = "call the field of boxes 'boxes_xywh' or 'boxes_xyxy'"
PERSONS, BOX = 'dtboxes', 'box'
PERSONS_FORM = "give {'ID', 'dtboxes': [{'box': [x, y, width, height], 'score'}, ...]} for every image"
# What CrowdHuman's results call a person, if anything.
PERSON_TAGS = (None, 1, 'person')


def is_per_image(row: Mapping[str, Any]) -> bool:
    """Whether a record holds lists of boxes, labels and scores."""
    return any(isinstance(row.get(name), list | tuple | np.ndarray) for name in SCORES)


def field(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Which of the names of a field a record has; the usual one, if none."""
    return next((name for name in names if name in row), names[0])


def columns(row: Mapping[str, Any], iou_types: Sequence[str]) -> Block:
    """What evaluating needs of one image's detections, boxes as they are; a ``ValueError`` says what is wrong."""
    scores = _numbers(row, SCORES)
    count = len(scores)
    labels = _values(row, LABELS, count)
    categories, is_whole = whole_numbers(labels.tolist() if isinstance(labels, np.ndarray) else labels)
    if not is_whole.all():
        raise ValueError(f"field '{field(row, LABELS)}' is {show(labels)}, not whole numbers")
    block: Block = {'category_ids': categories, 'scores': scores}
    if 'bbox' in iou_types:
        block['boxes'] = _numbers(row, BOXES, count, width=4)
    if 'segm' in iou_types:
        block['masks'] = [{'segmentation': mask} for mask in _values(row, MASKS, count)]
        if 'mask_scores' in row:
            block['scores'] = _numbers(row, ('mask_scores',), count)
            if 'bbox' in iou_types:
                raise ValueError('masks have scores of their own, so evaluate bbox and segm one at a time')
    return block


def of_persons(row: Mapping[str, Any], iou_types: Sequence[str], person: int | None) -> Block:
    """:func:`columns` of an image's ``dtboxes``; ``person`` is the category of those that are tagged as persons or not
    at all, other tags are category ids."""
    found = row[PERSONS]
    for each in found:
        if not isinstance(each, Mapping) or not {BOX, 'score'} <= each.keys():
            raise ValueError(f"'{PERSONS}' has {show(each)}, without '{BOX}' and 'score'")
    if 'segm' in iou_types:
        raise ValueError(f"'{PERSONS}' has no masks, so evaluate bbox")
    tags = [each.get('tag') for each in found]
    is_person = [type(tag) is not bool and tag in PERSON_TAGS for tag in tags]
    if person is None and any(is_person):
        raise ValueError(
            "the ground truth has several categories, of which none is 1, so that of 'person' is not known"
        )
    categories, is_whole = whole_numbers([person if own else tag for own, tag in zip(is_person, tags, strict=True)])
    if not is_whole.all():
        odd = tags[int(np.argmin(is_whole))]
        raise ValueError(f"'tag' is {show(odd)}, neither 1 or 'person' nor the id of a category")
    fields = {name: [each[name] for each in found] for name in (BOX, 'score')}
    scores = _numbers(fields, ('score',))
    return {'category_ids': categories, 'scores': scores, 'boxes': _numbers(fields, (BOX,), len(found), width=4)}


def _values(row: Mapping[str, Any], names: tuple[str, ...], count: int | None) -> Any:
    """A field, as long as there are scores; where there is none, it may be missing."""
    name = field(row, names)
    value = [] if count == 0 and row.get(name) is None else row.get(name)
    if not _is_row(value) or (count is not None and len(value) != count):
        number = '' if count is None else f' of {count}, as many as there are scores'
        raise ValueError(f"field '{name}' is {show(value)}, not a list{number}")
    return value


def _numbers(row: Mapping[str, Any], names: tuple[str, ...], count: int | None = None, width: int = 1) -> np.ndarray:
    """A field as ``(n,)`` or ``(n, width)`` float64."""
    array = values = _values(row, names, count)
    if not isinstance(values, np.ndarray):
        is_right = width == 1 or all(_is_row(each) and len(each) == width for each in values)
        flat = list(values if width == 1 else chain.from_iterable(values)) if is_right else [None]
        # A small pickle may share a large value among many: only numbers are copied.
        array = np.array(flat if all(issubclass(kind, Real) for kind in set(map(type, flat))) else None)
    shape = (len(values),) if width == 1 else (len(values), width)
    if array.dtype.kind not in 'iuf' or array.size != math.prod(shape) or not np.isfinite(array).all():
        rows = 'finite numbers' if width == 1 else f'rows of {width} finite numbers'
        raise ValueError(f"field '{field(row, names)}' is {show(values)}, not {rows}")
    return array.astype(np.float64).reshape(shape)


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def sides(
    names: set[str], boxes: np.ndarray, sizes: np.ndarray, records: Records, remedy: str = BOX_REMEDY
) -> tuple[np.ndarray, str]:
    """Boxes of a file ``(n, 4)`` as ``x, y, width, height``, and what they were: told by the names of their fields, or
    by the ``(n, 2)`` heights and widths of their images, NaN where unknown. An ``InputError`` if neither shows it, with
    the ``remedy`` for boxes that are none."""
    source, (name, *others) = records.source, sorted(names)
    if others:
        raise InputError(f'{source}: has boxes in the fields {name} and {others[0]}; {BOX_REMEDY} everywhere.')
    has_corners = name.endswith('xyxy')
    if not has_corners and not name.endswith('xywh') and name not in ('bbox', BOX):
        no_corners = int((boxes[:, 2:] < boxes[:, :2]).any(axis=1).sum())
        outside = int((boxes[:, :2] + boxes[:, 2:] > sizes[:, ::-1] + 1).any(axis=1).sum())
        has_corners = 100 * no_corners <= len(boxes)
        if has_corners and 20 * outside <= len(boxes):
            raise InputError(
                f'{source}: has a list of boxes an image, which may be x1, y1, x2, y2 ({no_corners} of {len(boxes)} '
                f'are no corners) or x, y, width, height ({outside} would leave their image); {BOX_REMEDY}.'
            )
    # As MMDetection computes them.
    found = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1) if has_corners else boxes
    remedy = "give 'box' as x, y, width, height" if name == BOX else remedy
    for bad, problem in box_faults(found):
        problem = f'has {problem}'
        records.fail_where(bad.any(axis=1), lambda i: f'box {boxes[i].tolist()} {problem}', remedy)  # noqa: B023
    return found, 'x1, y1, x2, y2' if has_corners else 'x, y, width, height'
