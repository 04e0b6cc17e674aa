"""Detections that a file keeps image by image, as lists or arrays of boxes, labels and scores.

Boxes are ``x1, y1, x2, y2`` or ``x, y, width, height``. The name of their field says which, if it ends in ``xyxy`` or
``xywh``, and ``bbox`` are the latter, as in COCO. Otherwise the file must show it: more than one in a hundred cannot be
corners; or else, more than one in twenty would leave its image as ``x, y, width, height``. Labels are category ids,
unless a program is known to count classes from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import unpickling
from .checks import Records, box_faults, whole_numbers
from .columns import Block
from .records import Results

IMAGES = ('image_id', 'img_id', 'image', 'file_name')
SCORES = ('scores', 'score', 'confidences', 'confidence')
LABELS = ('labels', 'category_ids', 'category_id', 'classes', 'class_ids', 'pred_classes')
MASKS = ('masks', 'segmentations', 'segmentation', 'rles')
BOXES = ('bboxes', 'boxes', 'bbox', 'pred_boxes', 'boxes_xyxy', 'boxes_xywh', 'bboxes_xyxy', 'bboxes_xywh')
BOX_REMEDY = "call the field of boxes 'boxes_xywh' or 'boxes_xyxy'"


@dataclass(frozen=True)
class Instances:
    """The detections of one image: entry ``index`` of ``records``, what it holds, and what to do if that is wrong."""

    records: Records
    index: int
    fields: Mapping[str, Any]
    remedy: str

    def add_to(self, results: Results, image: int, *, corners: bool) -> str:
        """Check the detections and add them: the name of the field of boxes, '' without detections.

        With ``corners``, boxes are made ``x, y, width, height``, as MMDetection does; else they are left.
        """
        scores = self._numbers(self._name(SCORES))
        if not len(scores):
            for name in map(self._name, (BOXES, LABELS, MASKS)):
                values = self.fields.get(name)
                values = values if (held := unpickling.array(values)) is None else held
                if isinstance(values, list | tuple | np.ndarray) and len(values):
                    self._fail(f"field '{name}' has {len(values)} entries and '{self._name(SCORES)}' none")
            return ''
        name = self._name(LABELS)
        labels = self._array(name)
        categories, is_whole = whole_numbers(labels.tolist() if labels.shape == scores.shape else [None])
        if not is_whole.all():
            self._fail(f"field '{name}' of shape {labels.shape} and type {labels.dtype} is not one integer a score")
        block: Block = {'image_ids': np.full(len(scores), image), 'category_ids': categories}
        if 'bbox' in results.iou_types:
            block['boxes'] = self._boxes(len(scores), corners)
        if 'segm' in results.iou_types:
            name = self._name(MASKS)
            masks = self.fields.get(name)
            if not isinstance(masks, list) or len(masks) != len(scores):
                remedy = 'evaluating segm needs the predictions of a model with masks'
                self._fail(f"field '{name}' is {show(masks)}, not one run-length encoding a score", remedy)
            label = f'{self.records.label}[{self.records.offset + self.index}].masks'
            rles = Records(self.records.source, label, [{'segmentation': mask} for mask in masks])
            block['masks'] = results.masks(rles, block['image_ids'] if results.is_resolved else None)
            if 'mask_scores' in self.fields:
                if 'bbox' in results.iou_types:
                    self._fail('masks have scores of their own', 'evaluate bbox and segm one at a time')
                scores = self._numbers('mask_scores')
                if scores.shape != categories.shape:
                    self._fail("field 'mask_scores' is not one number a score")
        results.add({**block, 'scores': scores})
        return self._name(BOXES)

    def _fail(self, problem: str, remedy: str = '') -> None:
        self.records.fail(self.index, problem, remedy or self.remedy)

    def _name(self, names: tuple[str, ...]) -> str:
        return next((name for name in names if name in self.fields), names[0])

    def _boxes(self, count: int, corners: bool) -> np.ndarray:
        name = self._name(BOXES)
        boxes = self._array(name)
        if boxes.shape != (count, 4) or boxes.dtype.kind not in 'iuf':
            self._fail(f"field '{name}' of shape {boxes.shape} and type {boxes.dtype} is not four numbers a score")
        boxes = boxes.astype(np.float64)
        for bad, problem in box_faults(boxes, boxes[:, :2] if corners else -np.inf):
            if bad.any():
                box = boxes[int(np.argmax(bad.any(axis=1)))]
                self._fail(f"field '{name}' has {show(box.tolist())}, with {problem}")
        return to_sides(boxes) if corners else boxes

    def _numbers(self, name: str) -> np.ndarray:
        values = self._array(name)
        if values.ndim != 1 or values.dtype.kind not in 'iuf':
            self._fail(f"field '{name}' of shape {values.shape} and type {values.dtype} is not a row of numbers")
        if not np.isfinite(values).all():
            self._fail(f"field '{name}' has {values[~np.isfinite(values)][0]}, not a finite number")
        return values.astype(np.float64)

    def _array(self, name: str) -> np.ndarray:
        value = self.fields.get(name)
        values = unpickling.array(value)
        if values is None and isinstance(value, list | tuple):
            try:
                values = np.array(value if _is_small(value) else [None])
            except ValueError:  # rows of several lengths
                values = np.array([None])
        if values is None:
            self._fail(f"there is no list or tensor '{name}'")
        return values


def _is_small(values: Any, depth: int = 1) -> bool:
    """Whether entries are numbers, short text, or rows of a few: a small pickle may share a large one among many."""
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return True
    if kinds <= {list, tuple}:
        return depth > 0 and max(map(len, values)) <= 5 and _is_small(list(chain.from_iterable(values)), depth - 1)
    return not kinds & {list, tuple} and all(
        each.size <= 5 if isinstance(each, np.ndarray) else not isinstance(each, str) or len(each) < 99
        for each in values
    )


def is_per_image(row: Mapping[str, Any]) -> bool:
    """Whether a record holds lists of boxes, labels and scores."""
    values = [row[name] for name in SCORES if name in row]
    return any(isinstance(value, list | tuple) or unpickling.array(value) is not None for value in values)


def has_corners(names: set[str], boxes: np.ndarray, sizes: np.ndarray, source: str) -> bool:
    """Whether the boxes of a file ``(n, 4)`` are corners, by the names of their fields, or their images' ``(n, 2)``
    heights and widths, NaN where unknown. An ``InputError`` if they may be either."""
    if len(names) > 1:
        raise InputError(f'{source}: has boxes in the fields {" and ".join(sorted(names))}; {BOX_REMEDY} everywhere.')
    (name,) = names
    if name.endswith(('xyxy', 'xywh')) or name == 'bbox':
        return name.endswith('xyxy')
    no_corners = int((boxes[:, 2:] < boxes[:, :2]).any(axis=1).sum())
    outside = int((boxes[:, :2] + boxes[:, 2:] > sizes[:, ::-1] + 1).any(axis=1).sum())
    if 100 * no_corners <= len(boxes) and 20 * outside <= len(boxes):
        raise InputError(
            f'{source}: has a list of boxes an image, which may be x1, y1, x2, y2 ({no_corners} of {len(boxes)} are no '
            f'corners) or x, y, width, height ({outside} would leave their image); {BOX_REMEDY}.'
        )
    return 100 * no_corners <= len(boxes)


def to_sides(boxes: np.ndarray) -> np.ndarray:
    """``x, y, width, height`` of corners ``(n, 4)``, as MMDetection computes them."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
