"""Predictions that MMDetection pickled: ``tools/test.py --out predictions.pkl``, its ``DumpDetResults``.

The file is a list with a dictionary for each image: ``img_id`` and ``pred_instances``, which holds ``bboxes``
(``(n, 4)`` corners ``x1, y1, x2, y2``), ``scores`` and ``labels`` (``(n,)``) and, of models with masks, ``masks``
(n run-length encodings).

A label is an index into the model's classes. MMDetection's ``CocoDataset`` takes them in the order of the categories in
the annotation file, and so does this module: label i is category i of the ground truth, which must hence be the file
(or one with the same categories in the same order) that the model was tested on, with all of its classes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import segmentations as masks
from . import unpickling
from .checks import MAX_VALUE, Records
from .columns import Block, positions
from .inputs import open_input

if TYPE_CHECKING:
    from .ground_truth import GroundTruth

SUFFIXES = ('.pkl', '.pickle')
# Detections of any file; a larger one has some bytes for each.
FREE = 2**20
REMEDY = 'give predictions that MMDetection 3 wrote by tools/test.py --out, or COCO results as JSON'


def is_pickle(path: str | PathLike[str]) -> bool:
    """Whether the file's name says so."""
    return Path(path).suffix.lower() in SUFFIXES


def blocks(path: str | PathLike[str], gt: GroundTruth, iou_types: Sequence[str]) -> Iterator[Block]:
    """Columns of each image's detections, in the file's order.

    Boxes are those that MMDetection's ``CocoMetric`` writes: corners as float64, then width and height as differences.
    Where the model scores masks apart (``mask_scores``), these are the scores of ``segm``.

    Args:
        path: The pickle. Nothing that it names is run, see :mod:`mmhybrid.occlusion.read.unpickling`.
        gt: The ground truth that images and labels must be of.
        iou_types: Which of ``bbox`` and ``segm`` are needed.

    Raises:
        InputError: The file or a prediction cannot be used.
    """
    source = str(path)
    content, size = _load(path)
    predictions = Records(source, 'predictions', content)
    predictions.check_objects()
    remedy = f'evaluate predictions and ground truth of the same data set ({gt.source})'
    image_ids = predictions.references('img_id', gt.image_ids, 'image of the ground truth', remedy)
    predictions.unique_integers('img_id', 'give every image once')
    categories = np.array([category['id'] for category in gt.categories], dtype=np.int64)
    sizes = None
    if 'segm' in iou_types:
        all_sizes = gt.sizes
        if all_sizes is None:
            all_sizes = masks.image_sizes(Records(gt.source, 'images', gt.images, has_id=True))
        sizes = all_sizes[positions(gt.image_ids, image_ids)]
    total = 0
    for index, image_id in enumerate(image_ids.tolist()):
        block = _Image(predictions, index).columns(categories, gt.source, iou_types)
        count = len(block['scores'])
        total += count
        if total > max(size, FREE):
            raise InputError(f'{source}: holds more detections than bytes, tensors shared among images; {REMEDY}.')
        block = {'image_ids': np.full(count, image_id), **block}
        if sizes is not None:
            rles = Records(source, f'predictions[{index}].masks', block['masks'])
            block['masks'] = masks.check_detections(rles, np.repeat(sizes[index : index + 1], count, axis=0))
        if count:
            yield block


class _Image:
    """The prediction of one image."""

    def __init__(self, predictions: Records, index: int) -> None:
        self._predictions, self._index = predictions, index
        instances = predictions.rows[index].get('pred_instances')
        if not isinstance(instances, dict):
            self._fail(f"field 'pred_instances' is {show(instances)}, not a dictionary")
        self._instances = instances

    def columns(self, categories: np.ndarray, gt_source: str, iou_types: Sequence[str]) -> dict[str, Any]:
        """Checked columns but for the masks, which are as :func:`masks.check_detections` takes them."""
        scores = self._numbers('scores')
        labels = self._array('labels')
        if labels.shape != scores.shape or labels.dtype.kind not in 'iu':
            self._fail(f"field 'labels' of shape {labels.shape} and type {labels.dtype} is not one integer a score")
        outside = (labels < 0) | (labels >= len(categories))
        if outside.any():
            label = labels[outside][0]
            remedy = (
                f"labels count the {len(categories)} categories of {gt_source} from 0; give the model's own data set"
            )
            self._fail(f"field 'labels' has {label}, for which there is no category", remedy)
        columns: dict[str, Any] = {'category_ids': categories[labels], 'scores': scores}
        if 'bbox' in iou_types:
            columns['boxes'] = self._boxes(len(scores))
        if 'segm' in iou_types:
            columns['masks'] = self._masks(len(scores))
            if 'mask_scores' in self._instances:
                if 'bbox' in iou_types:
                    self._fail('masks have scores of their own', 'evaluate bbox and segm one at a time')
                columns['scores'] = self._numbers('mask_scores')
                if columns['scores'].shape != scores.shape:
                    self._fail("field 'mask_scores' is not one number a score")
        return columns

    def _boxes(self, count: int) -> np.ndarray:
        corners = self._array('bboxes')
        if corners.shape != (count, 4) or corners.dtype.kind not in 'iuf':
            self._fail(f"field 'bboxes' of shape {corners.shape} and type {corners.dtype} is not four numbers a score")
        corners = corners.astype(np.float64)

        def check(bad: np.ndarray, problem: str) -> None:
            rows = bad.any(axis=1)
            if rows.any():
                self._fail(f"field 'bboxes' has {show(corners[int(np.argmax(rows))].tolist())}, {problem}")

        check(~np.isfinite(corners), 'with a value that is not finite')
        check(abs(corners) > MAX_VALUE, 'with a value beyond 1e9')
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        check(boxes[:, 2:] < 0, 'with a negative width or height')
        return boxes

    def _masks(self, count: int) -> list[dict[str, Any]]:
        values = self._instances.get('masks')
        if not isinstance(values, list) or len(values) != count:
            remedy = 'evaluating segm needs the predictions of a model with masks'
            self._fail(f"field 'masks' is {show(values)}, not one run-length encoding a score", remedy)
        return [{'segmentation': value} for value in values]

    def _numbers(self, field: str) -> np.ndarray:
        values = self._array(field)
        if values.ndim != 1 or values.dtype.kind not in 'iuf':
            self._fail(f"field '{field}' of shape {values.shape} and type {values.dtype} is not a row of numbers")
        if not np.isfinite(values).all():
            self._fail(f"field '{field}' has {values[~np.isfinite(values)][0]}, not a finite number")
        return values.astype(np.float64)

    def _array(self, field: str) -> np.ndarray:
        values = unpickling.array(self._instances.get(field))
        if values is None:
            self._fail(f"field 'pred_instances' has no tensor '{field}'")
        return values

    def _fail(self, problem: str, remedy: str = REMEDY) -> None:
        self._predictions.fail(self._index, problem, remedy)


def _load(path: str | PathLike[str]) -> tuple[list[Any], int]:
    """The predictions, and how many bytes they are in the file."""
    try:
        with open_input(path) as opened:
            file = opened if opened.seekable() else io.BytesIO(opened.read())  # a pipe
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            content = unpickling.load(file)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f'{path}: no such file; {REMEDY}.') from None
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error}); {REMEDY}.') from None
    except unpickling.RefusedError as error:
        message = f"names '{error}', which predictions do not need and which might do harm"
        raise InputError(f'{path}: {message}, so it was not loaded; {REMEDY}.') from None
    except Exception as error:  # unpickling what is no pickle can raise anything
        problem = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
        raise InputError(f'{path}: not a whole pickle ({problem}); {REMEDY}.') from None
    if not isinstance(content, list):
        raise InputError(f'{path}: predictions must be a list with one dictionary for each image; {REMEDY}.')
    return content, size
