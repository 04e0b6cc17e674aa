"""Detections, in COCO's results format or as programs pickle them, read and checked before anything is computed.

Whatever is wrong with a file raises ``InputError`` in one sentence: which file, which record, which field, what to do.
Nothing is dropped; how a file was read that is not a plain list of results, a note says.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from . import files, mmdet_pickle, segmentations, stream
from .checks import Records
from .columns import Columns, to_rows
from .formats import refuse_foreign
from .ground_truth import GroundTruth, any_sizes
from .ids import ImageIds
from .notes import box_notes
from .records import Known, Results
from .runlengths import Masks
from .wrappers import Unwrapper

IOU_TYPES = ('bbox', 'segm')


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
        notes: On how they were read, one line each.
    """

    source: str
    image_ids: np.ndarray
    category_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None
    masks: Masks | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def to_coco(self, iou_type: str) -> list[dict[str, Any]]:
        """Fresh COCO results, with what matching by ``iou_type`` reads.

        For ``segm`` there is no ``bbox``: pycocotools would take a detection's area from it instead of the mask.
        """
        columns = {
            'image_id': self.image_ids.tolist(),
            'category_id': self.category_ids.tolist(),
            'score': self.scores.tolist(),
        }
        if iou_type == 'segm':
            columns['segmentation'] = self.masks.take(np.arange(len(self)))
        else:
            columns['bbox'] = self.boxes.tolist()
        return to_rows(columns)


def load_detections(
    dt: str | PathLike[str] | Sequence[str | PathLike[str]] | Sequence[dict[str, Any]] | dict[str, Any],
    gt: GroundTruth,
    iou_types: Sequence[str] = ('bbox',),
    block_size: int = stream.BLOCK,
) -> Detections:
    """Read and check detections, block by block, so that the memory is little more than the result's.

    Args:
        dt: Path of COCO results as JSON, packed as :func:`files.unpacked` takes it or not, or JSON lines, or in an
            object, or with lists of boxes, labels and scores an image (see :mod:`mmhybrid.occlusion.read.per_image`);
            path of what MMDetection or Detectron2 pickled (see :mod:`mmhybrid.occlusion.read.mmdet_pickle`); several
            such paths, the shards of one model; or the loaded results, which are not changed.
        gt: The ground truth that images and categories must be in.
        iou_types: Which of ``bbox`` and ``segm`` are needed.
        block_size: Bytes of JSON that are made objects at a time.

    Raises:
        InputError: A file or a record cannot be used.
    """
    known = _known(gt, iou_types)
    with files.garbage_collector_paused():
        if isinstance(dt, str | PathLike):
            return _detections(str(dt), [_read(dt, known, iou_types, block_size)], known)
        if isinstance(dt, list | tuple) and dt and all(isinstance(each, str | PathLike) for each in dt):
            name = f'{dt[0]} and {len(dt) - 1} more' if len(dt) > 1 else str(dt[0])
            return _detections(name, (_read(path, known, iou_types, block_size) for path in dt), known)
        unwrapper = Unwrapper(Results('results', known, iou_types))
        unwrapper.content(dt)
        return _detections('results', [unwrapper], known)


def _read(path: str | PathLike[str], known: Known, iou_types: Sequence[str], block_size: int) -> Unwrapper:
    """One file's detections."""
    source = str(path)
    with files.explained(path, 'results'), files.open_input(path) as packed:
        file = files.unpacked(packed, path)
        head = file.peek(300)
        if mmdet_pickle.is_pickle(source, head):
            return mmdet_pickle.read(file, source, known, iou_types)
        refuse_foreign(head, path)
        unwrapper = Unwrapper(Results(source, known, iou_types))
        unwrapper.text(stream.utf8(file, block_size))
        return unwrapper


def _detections(source: str, shards: Iterable[Unwrapper], known: Known) -> Detections:
    blocks, notes = [], []
    for shard in shards:
        blocks.append(shard.finish())
        notes += shard.results.notes
    block = blocks[0]
    if len(blocks) > 1:
        images = [np.unique(each['image_ids']) for each in blocks]
        if repeated := sum(map(len, images)) - len(np.unique(np.concatenate(images))):
            notes.append(
                f'{source}: {repeated} images have detections in more than one of the files, all of which count; give '
                "each image's once"
            )
        columns = Columns()
        for each in blocks:
            columns.add(each)
        block = columns.joined()
    if 'boxes' in block:
        notes += box_notes(
            block['boxes'], known.sizes_of(block['image_ids']), source if source == 'results' else f'{source}: results'
        )
    return Detections(source=source, **block, notes=tuple(dict.fromkeys(notes)))


def _known(gt: GroundTruth, iou_types: Sequence[str]) -> Known:
    sizes = gt.sizes
    if sizes is None and 'segm' in iou_types:
        sizes = segmentations.image_sizes(Records(gt.source, 'images', gt.images, has_id=True))
    category_ids = np.array([category['id'] for category in gt.categories], dtype=np.int64)
    names = [category.get('name') for category in gt.categories]
    images = gt.ids or ImageIds(gt.images, gt.source)
    return Known(images, category_ids, any_sizes(gt.images) if sizes is None else sizes, names)
