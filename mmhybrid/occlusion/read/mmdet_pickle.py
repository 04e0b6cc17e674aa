"""Results that programs pickled: MMDetection 3 and 2, Detectron2, and lists as JSON has them.

- MMDetection 3 (``tools/test.py --out x.pkl``): a dictionary for each image with ``img_id`` and ``pred_instances``,
  which holds ``bboxes`` (``(n, 4)`` corners), ``scores`` and ``labels`` (``(n,)``) and, of models with masks,
  ``masks``.
- MMDetection 2 (``--out x.pkl``): for each image, a list with ``(n, 5)`` corners and scores for each class; or the pair
  of that and of such a list of run-length encodings. No image has an id: they are in the annotation file's order.
- Detectron2 (``instances_predictions.pth``): for each image ``image_id`` and ``instances``, which are COCO results.

A label is an index into the model's classes. MMDetection's ``CocoDataset`` takes them in the order of the categories in
the annotation file, Detectron2 in that of their ids, and so does this module: the ground truth must hence be the file
(or one with the same categories) that the model was tested on, with all of its classes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import unpickling
from .checks import Records, repeats
from .formats import PICKLES, ZIP
from .per_image import Instances
from .records import Known, Results
from .wrappers import Unwrapper

SUFFIXES = ('.pkl', '.pickle', '.pth', '.pt')
# Detections of any file; a larger one has some bytes for each.
FREE = 2**20
REMEDY = 'give predictions that MMDetection wrote by tools/test.py --out, or COCO results as JSON'


def is_pickle(name: str, head: bytes) -> bool:
    """Whether a file is pickled or PyTorch's, by its name or its first bytes."""
    is_json = head.removeprefix(b'\xef\xbb\xbf').lstrip()[:1] in (b'[', b'{')
    return head.startswith((*PICKLES, *ZIP)) or (name.lower().endswith(SUFFIXES) and not is_json)


def read(file: IO[bytes], source: str, known: Known, iou_types: Sequence[str]) -> Unwrapper:
    """Read a pickle's detections, in its order. Nothing that it names is run.

    Boxes are those that MMDetection's ``CocoMetric`` writes: corners as float64, then width and height as differences.
    Where the model scores masks apart (``mask_scores``), these are the scores of ``segm``.
    """
    content, size, is_zip = _load(file, source)
    results = Results(source, known, iou_types, limit=max(size, FREE))
    unwrapper = Unwrapper(results)
    first = next((each for each in content if each is not None), None)
    if isinstance(first, Mapping) and ('pred_instances' in first or 'img_id' in first):
        _mmdet3(content, results)
    elif isinstance(first, list | tuple):
        _mmdet2(content, results)
    else:
        if is_zip and isinstance(first, Mapping) and 'instances' in first:
            results.classes = np.sort(known.category_ids)
            results.notes.append(
                f'{source}: categories were taken as indices in the order of the ids in {known.source}, as Detectron2 '
                'counts them'
            )
        unwrapper.content([_plain(row) for row in content])
    return unwrapper


def _mmdet3(content: list[Any], results: Results) -> None:
    predictions = Records(results.source, 'predictions', content)
    predictions.check_objects()
    ids = predictions.column('img_id', f'evaluate predictions of the images of {results.known.source}')
    images, notes = results.known.images.resolve(ids, results.source, predictions.label)
    results.notes += notes
    predictions.fail_where(
        repeats(images), lambda i: f"field 'img_id' repeats the value {show(ids[i])}", 'give every image once'
    )
    _known_order(results)
    for index, (image, row) in enumerate(zip(images.tolist(), content, strict=True)):
        fields = row.get('pred_instances')
        if not isinstance(fields, Mapping):
            predictions.fail(index, f"field 'pred_instances' is {show(fields)}, not a dictionary", REMEDY)
        Instances(predictions, index, fields, REMEDY).add_to(results, image, corners=True)


def _mmdet2(content: list[Any], results: Results) -> None:
    predictions, known = Records(results.source, 'predictions', content), results.known
    if len(content) != len(known.sizes):
        raise InputError(
            f'{results.source}: holds predictions of {len(content)} images without ids, as MMDetection 2 writes them, '
            f'and {known.source} has {len(known.sizes)} images; give the ground truth that the model was tested on.'
        )
    _known_order(results)
    for index, (image, row) in enumerate(zip(known.images.numbers.tolist(), content, strict=True)):
        boxes, masks = row if isinstance(row, tuple) and len(row) == 2 else (row, None)
        masks, mask_scores = masks if isinstance(masks, tuple) and len(masks) == 2 else (masks, None)
        if not isinstance(boxes, list) or len(boxes) != len(known.category_ids):
            problem = f'{show(boxes)} is not one array for each of the {len(known.category_ids)} categories'
            predictions.fail(index, f'{problem} of {known.source}', REMEDY)
        arrays = list(map(unpickling.array, boxes))
        if any(each is None or each.ndim != 2 or each.shape[1] != 5 for each in arrays):
            predictions.fail(index, 'a class has no array of x1, y1, x2, y2 and score a detection', REMEDY)
        counts, joined = list(map(len, arrays)), np.concatenate(arrays)
        labels = np.repeat(np.arange(len(counts)), counts)
        fields: dict[str, Any] = {'bboxes': joined[:, :4], 'scores': joined[:, 4], 'labels': labels}
        for name, values in (('masks', masks), ('mask_scores', mask_scores)):  # the latter of Mask Scoring R-CNN
            if values is None:
                continue
            values = [_listed(each) for each in values] if isinstance(values, list) else []
            if list(map(len, values)) != counts:
                predictions.fail(index, f'it has not one entry of {name} a box', REMEDY)
            fields[name] = [value for each in values for value in each]
        Instances(predictions, index, fields, REMEDY).add_to(results, image, corners=True)
    results.notes.append(
        f'{results.source}: images have no ids, as MMDetection 2 writes them; their order was taken to be that of '
        f'{known.source}'
    )


def _known_order(results: Results) -> None:
    results.label, results.is_resolved, results.classes = 'detections', True, results.known.category_ids


def _listed(value: Any) -> list[Any]:
    values = unpickling.array(value)
    return values.tolist() if values is not None and values.ndim else value if isinstance(value, list) else []


def _plain(row: Any) -> Any:
    """A record with the arrays that stand-ins hold."""
    if not isinstance(row, Mapping):
        return row
    return {key: value if (held := unpickling.array(value)) is None else held for key, value in row.items()}


def _load(file: IO[bytes], source: str) -> tuple[list[Any], int, bool]:
    """The predictions, how many bytes they are in the file, and whether it is PyTorch's zip file."""
    try:
        if not file.seekable():  # a pipe
            file = io.BytesIO(file.read())
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        is_zip = file.read(4).startswith(ZIP)
        file.seek(0)
        content = unpickling.load_zip(file) if is_zip else unpickling.load(file)
    except (InputError, OSError):
        raise
    except unpickling.RefusedError as error:
        message = f"names '{error}', which predictions do not need and which might do harm"
        raise InputError(f'{source}: {message}, so it was not loaded; {REMEDY}.') from None
    except Exception as error:  # unpickling what is no pickle can raise anything
        problem = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
        raise InputError(f'{source}: not a whole pickle ({problem}); {REMEDY}.') from None
    if content == unpickling.MAGIC_NUMBER:
        raise InputError(f'{source}: is in the format of PyTorch before 1.6; load it and save it by a newer PyTorch.')
    if not isinstance(content, list):
        raise InputError(f'{source}: predictions must be a list with one dictionary for each image; {REMEDY}.')
    return content, size, is_zip
