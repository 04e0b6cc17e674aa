"""Detections, in COCO's results format or as MMDetection pickles them, read and checked before anything is computed.

Whatever is wrong with a file raises ``InputError`` in one sentence: which file, which record, which field, what to do.
Nothing is dropped and nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from mmhybrid.errors import InputError

from . import elsewhere, pickled, reading, typed
from . import segmentations as masks
from .checks import Records
from .columns import Block, join, positions, to_rows
from .ground_truth import GroundTruth
from .runlengths import Masks

IOU_TYPES = ('bbox', 'segm')
# Records of a loaded list that are made columns at a time.
SLICE = 100_000


@dataclass(frozen=True, eq=False)
class Detections:
    """Checked results: n detections in the file's order.

    Attributes:
        source: File name for messages.
        image_ids: ``(n,)`` int64.
        category_ids: ``(n,)`` int64.
        scores: ``(n,)`` float64.
        boxes: ``(n, 4)`` float64 ``x, y, width, height``; None unless ``bbox`` is evaluated.
        masks: n run-length encodings; None unless ``segm`` is evaluated.
    """

    source: str
    image_ids: np.ndarray
    category_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None
    masks: Masks | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def rows(self, iou_type: str, start: int, stop: int) -> list[dict[str, Any]]:
        """Fresh COCO results of the detections from ``start`` up to ``stop``, with what matching by ``iou_type`` reads.

        For ``segm`` there is no ``bbox``: pycocotools would take a detection's area from it instead of the mask.
        """
        part = slice(start, stop)
        columns = {
            'image_id': self.image_ids[part].tolist(),
            'category_id': self.category_ids[part].tolist(),
            'score': self.scores[part].tolist(),
        }
        if iou_type == 'segm':
            columns['segmentation'] = self.masks.rles(start, stop)
        else:
            columns['bbox'] = self.boxes[part].tolist()
        return to_rows(columns)

    def to_coco(self, iou_type: str) -> list[dict[str, Any]]:
        """:meth:`rows` of all detections."""
        return self.rows(iou_type, 0, len(self))


class Reader:
    """Results to be loaded, once; as a context, other processes begin at once with a large file.

    Arguments are those of :func:`load_detections`.
    """

    def __init__(
        self,
        dt: str | PathLike[str] | list[dict[str, Any]],
        iou_types: Sequence[str] = ('bbox',),
        block_size: int = reading.BLOCK,
    ) -> None:
        self._dt, self._iou_types, self._block_size = dt, iou_types, block_size
        self._is_path = isinstance(dt, str | PathLike)
        self._is_pickle = self._is_path and pickled.is_pickle(dt)
        self._calls = elsewhere.Calls(typed.columns, [])
        if self._is_path and not self._is_pickle:
            self._calls = typed.begin(Path(dt), iou_types, block_size)

    def __enter__(self) -> Reader:
        self._calls.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._calls.__exit__(*error)

    def load(self, gt: GroundTruth) -> Detections:
        """The detections; errors are those of :func:`load_detections`."""
        source = str(self._dt) if self._is_path else 'results'
        with reading.garbage_collector_paused():
            columns = self._columns(source, gt)
        if columns is None:
            raise InputError(f'{source}: the results are an empty list; give at least one detection.')
        return Detections(source=source, **columns)

    def _columns(self, source: str, gt: GroundTruth) -> Block | None:
        dt, iou_types = self._dt, self._iou_types
        if self._is_pickle:
            return join(pickled.blocks(dt, gt, iou_types))
        if not self._is_path and not isinstance(dt, list):
            reading.not_a_list(source, dt)
        known = _known(gt, iou_types)
        columns = typed.finish(self._calls, known)
        if columns is not None:
            return columns
        if self._is_path:
            parts = reading.stream_list(dt, 'results', self._block_size)
        else:
            parts = (dt[start : start + SLICE] for start in range(0, len(dt), SLICE))
        return join(_blocks(source, parts, known, gt.source, iou_types))


def load_detections(
    dt: str | PathLike[str] | list[dict[str, Any]],
    gt: GroundTruth,
    iou_types: Sequence[str] = ('bbox',),
    block_size: int = reading.BLOCK,
) -> Detections:
    """Read and check detections, block by block, so that the memory is little more than the result's.

    Args:
        dt: Path of COCO results (``.json`` or ``.json.gz``) or of predictions that MMDetection's ``tools/test.py
            --out`` pickled (``.pkl`` or ``.pickle``, see :mod:`mmhybrid.occlusion.read.pickled`); or the loaded list of
            COCO results, which is not changed.
        gt: The ground truth that images and categories must be in.
        iou_types: Which of ``bbox`` and ``segm`` are needed.
        block_size: Bytes of JSON that are made objects at a time.

    Raises:
        InputError: The file or a record cannot be used.
    """
    with Reader(dt, iou_types, block_size) as reader:
        return reader.load(gt)


def _blocks(
    source: str, parts: Iterable[list[Any]], known: typed.Known, gt_source: str, iou_types: Sequence[str]
) -> Iterator[Block]:
    """Columns of each part of a list of COCO results."""
    remedy = f'evaluate results and ground truth of the same data set ({gt_source})'
    category_remedy = f'give the category ids of {gt_source}, not class indices'
    done = 0
    for part in parts:
        results = Records(source, 'results', part, offset=done)
        results.check_objects()
        image_ids = results.references('image_id', known.image_ids, 'image of the ground truth', remedy)
        category_ids = results.references(
            'category_id', known.category_ids, 'category of the ground truth', category_remedy
        )
        block: Block = {
            'image_ids': image_ids,
            'category_ids': category_ids,
            'scores': results.numbers('score', 'give every detection a finite score'),
        }
        if 'bbox' in iou_types:
            block['boxes'] = results.boxes('give [x, y, width, height] in pixels')
        if 'segm' in iou_types:
            block['masks'] = masks.check_detections(results, known.sizes[positions(known.image_ids, image_ids)])
        done += len(part)
        del results, part  # before the next part is parsed
        yield block


def _known(gt: GroundTruth, iou_types: Sequence[str]) -> typed.Known:
    sizes = None
    if 'segm' in iou_types:
        images = Records(gt.source, 'images', gt.images, has_id=True)
        sizes = masks.image_sizes(images) if gt.sizes is None else gt.sizes
    category_ids = np.array([category['id'] for category in gt.categories], dtype=np.int64)
    return typed.Known(gt.image_ids, category_ids, sizes)
