"""Detections, in COCO's results format or as programs pickle them, read and checked before anything is computed.

Whatever is wrong with a file raises ``InputError`` in one sentence: which file, which record, which field, what to do.
Nothing is dropped; how a file was read that is not a plain list of results, a note says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from mmhybrid.text import plural

from . import files, mmdet_pickle, number_rows, stream
from .columns import join, to_rows
from .ground_truth import GroundTruth
from .notes import box_notes
from .records import Known, Results
from .runlengths import Masks
from .wrappers import Unwrapper

IOU_TYPES = ('bbox', 'segm')
LOADED = 'results'  # what results that are no file are called


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
        sizes: ``(I, 2)`` float64 height and width in pixels of the ground truth's images, NaN where results that are
            kept image by image do not have them; None if none has.
    """

    source: str
    image_ids: np.ndarray
    category_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None
    masks: Masks | None = None
    notes: tuple[str, ...] = ()
    sizes: np.ndarray | None = None

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
            columns['segmentation'] = self.masks.take()
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
            path of rows of numbers (see :mod:`mmhybrid.occlusion.read.number_rows`) or of what MMDetection or
            Detectron2 pickled (see :mod:`mmhybrid.occlusion.read.mmdet_pickle`); several such paths, the shards of one
            model; or the loaded results, which are not changed.
        gt: The ground truth that images and categories must be in.
        iou_types: Which of ``bbox`` and ``segm`` are needed.
        block_size: Bytes of JSON that are made objects at a time.

    Raises:
        InputError: A file or a record cannot be used.
    """
    known = Known(gt, iou_types)
    is_shards = isinstance(dt, list | tuple) and bool(dt) and all(isinstance(each, str | PathLike) for each in dt)
    sources, blocks, notes, sizes = [], [], [], None
    with files.garbage_collector_paused():
        for shard in dt if is_shards else [dt]:
            unwrapper = _read(shard, known, iou_types, block_size)
            blocks.append(unwrapper.finish())
            sources.append(unwrapper.results.source)
            notes += unwrapper.results.notes
            if (own := unwrapper.sizes()) is not None:
                sizes = own if sizes is None else np.where(np.isnan(own), sizes, own)
    source, block = sources[0], blocks[0]
    if len(blocks) > 1:
        source += f' and {len(blocks) - 1} more'
        images = [np.unique(each['image_ids']) for each in blocks]
        if repeated := sum(map(len, images)) - len(np.unique(np.concatenate(images))):
            notes.append(
                f'{source}: {plural(repeated, "image has", "images have")} detections in more than one of the '
                "files, all of which count; give each image's once"
            )
        block = join(blocks)
    if 'boxes' in block:
        what = source if source == LOADED else f'{source}: results'
        notes += box_notes(block['boxes'], known.sizes_of(block['image_ids']), what)
    return Detections(source=source, **block, notes=tuple(dict.fromkeys(notes)), sizes=sizes)


def _read(dt: Any, known: Known, iou_types: Sequence[str], block_size: int) -> Unwrapper:
    """Detections of one file, or loaded."""
    if not isinstance(dt, str | PathLike):
        unwrapper = Unwrapper(Results(LOADED, known, iou_types))
        unwrapper.content(dt)
        return unwrapper
    source = str(dt)
    with files.explained(dt, 'results'), files.open_input(dt) as packed:
        file = files.unpacked(packed, dt)
        head = file.peek(300)
        if mmdet_pickle.is_pickle(head):
            return mmdet_pickle.read(file, source, known, iou_types)
        files.refuse_foreign(head, dt)
        unwrapper = Unwrapper(Results(source, known, iou_types))
        if number_rows.is_rows(head):
            number_rows.read(file, unwrapper.results)
        else:
            number_rows.refuse_others(head, source)
            unwrapper.text(stream.utf8(file, block_size))
        return unwrapper
