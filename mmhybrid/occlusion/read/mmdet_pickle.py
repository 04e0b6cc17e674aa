"""Results that programs pickled: MMDetection 3 and 2, Detectron2, and lists as JSON has them.

- MMDetection 3 (``tools/test.py --out x.pkl``): a dictionary for each image with ``img_id`` and ``pred_instances``,
  which holds ``bboxes`` (``(n, 4)`` corners), ``scores`` and ``labels`` (``(n,)``) and, of models with masks,
  ``masks``, and ``mask_scores`` if it scores them apart.
- MMDetection 2 (``--out x.pkl``): for each image, a list with ``(n, 5)`` corners and scores for each class; or the pair
  of that and of such a list of run-length encodings, or of a pair of these and their scores. No image has an id: they
  are in the annotation file's order.
- Detectron2 (``instances_predictions.pth``): for each image ``image_id`` and ``instances``, which are COCO results.

A label is an index into the model's classes. MMDetection's ``CocoDataset`` takes them in the order of the categories in
the annotation file, Detectron2 in that of their ids, and so does this module: the ground truth must hence be the file
(or one with the same categories) that the model was tested on, with all of its classes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import IO, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import plural, show

from . import unpickling
from .checks import Records
from .files import PICKLES, ZIP
from .records import Known, Results
from .wrappers import Unwrapper

# Detections of any file; a larger one has some bytes for each.
FREE = 2**20
REMEDY = 'give predictions that MMDetection wrote by tools/test.py --out, or COCO results as JSON'


def is_pickle(head: bytes) -> bool:
    """Whether a file is pickled or PyTorch's, by its first bytes."""
    return head.startswith((*PICKLES, *ZIP))


def read(file: IO[bytes], source: str, known: Known, iou_types: Sequence[str]) -> Unwrapper:
    """Read a pickle's detections, in its order. Nothing that it names is run."""
    if not file.seekable():  # a pipe
        file = io.BytesIO(file.read())
    results = Results(source, known, iou_types, limit=max(file.seek(0, os.SEEK_END), FREE))
    file.seek(0)
    unwrapper = Unwrapper(results)
    content, is_zip = _load(file, source)
    first = next((each for each in content if each is not None), None) if isinstance(content, list) else None
    if isinstance(first, list | tuple):
        unwrapper.form, unwrapper.box_remedy, content = 'per image', REMEDY, _mmdet2(content, results)
    elif isinstance(first, Mapping) and ('pred_instances' in first or 'img_id' in first):
        results.classes, unwrapper.box_remedy = known.category_ids, REMEDY
        unwrapper.form, content = 'per image', [_mmdet3(row) if isinstance(row, Mapping) else row for row in content]
    elif isinstance(first, Mapping) and 'instances' in first and is_zip:
        results.classes = np.sort(known.category_ids)
        results.notes.append(
            f'{source}: categories were taken as indices in the order of the ids in {known.source}, as Detectron2 '
            'counts them'
        )
    unwrapper.content(content)
    return unwrapper


def _load(file: IO[bytes], source: str) -> tuple[Any, bool]:
    try:
        return unpickling.load(file)
    except OSError:
        raise
    except Exception as error:  # unpickling what is no pickle can raise anything
        problem = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
        raise InputError(f'{source}: cannot be read as a pickle ({problem}); {REMEDY}.') from None


def _mmdet3(row: Mapping[str, Any]) -> dict[str, Any]:
    """An image's predictions as one record."""
    found = row.get('pred_instances')
    fields = dict(found) if isinstance(found, Mapping) else {}
    shape = row.get('ori_shape')
    size = dict(zip(('height', 'width'), shape, strict=False)) if isinstance(shape, tuple | list) else {}
    return {'image_id': row.get('img_id'), 'boxes_xyxy': fields.pop('bboxes', None), **size, **fields}


def _mmdet2(content: list[Any], results: Results) -> list[dict[str, Any]]:
    """Predictions as one record an image, with the images' numbers."""
    known, records = results.known, Records(results.source, 'results', content)
    if len(content) != len(known.sizes):
        raise InputError(
            f'{results.source}: holds predictions of {plural(len(content), "image")} without ids, as MMDetection 2 '
            f'writes them, and {known.source} has {plural(len(known.sizes), "image")}; give the ground truth that the '
            'model was tested on.'
        )
    results.is_resolved, results.classes = True, known.category_ids
    results.notes.append(
        f'{results.source}: images have no ids, as MMDetection 2 writes them; their order was taken to be that of '
        f'{known.source}'
    )
    rows = []
    for index, (image, row) in enumerate(zip(known.images.numbers.tolist(), content, strict=True)):
        boxes, masks = row if isinstance(row, tuple) and len(row) == 2 else (row, None)
        masks, mask_scores = masks if isinstance(masks, tuple) and len(masks) == 2 else (masks, None)
        is_whole = isinstance(boxes, list) and len(boxes) == len(known.category_ids)
        if not is_whole or any(not isinstance(each, np.ndarray) or each.shape[1:] != (5,) for each in boxes):
            problem = f'{show(boxes)} is not one array of x1, y1, x2, y2 and score for each of the'
            records.fail(index, f'{problem} {len(known.category_ids)} categories of {known.source}', REMEDY)
        counts, joined = list(map(len, boxes)), np.concatenate(boxes)
        labels = np.repeat(np.arange(len(counts)), counts)
        fields = {'image_id': image, 'boxes_xyxy': joined[:, :4], 'scores': joined[:, 4], 'labels': labels}
        for name, values in (('masks', masks), ('mask_scores', mask_scores)):
            if not isinstance(values, list):
                continue
            lists = [each for each in values if isinstance(each, list) or getattr(each, 'ndim', 0) == 1]
            if list(map(len, lists)) != counts:
                records.fail(index, f'it has not one entry of {name} a box', REMEDY)
            fields[name] = list(chain.from_iterable(values))
        rows.append(fields)
    return rows
