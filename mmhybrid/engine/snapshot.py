"""A batch as plain data: which images it has, and a file to look at it."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.structures.bbox import BaseBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmhybrid.checkpoints.files import write_durably

from .saving import plain


def images_of(batch: Any) -> list[str]:
    """Ids and paths of a batch's images, as far as its samples tell them."""
    found = (sample for sample in _samples(batch) if 'img_id' in sample or 'img_path' in sample)
    return [' '.join(str(sample[key]) for key in ('img_id', 'img_path') if key in sample) for sample in found]


def save_batch(path: Path, batch: Any, losses: Mapping[str, Any], iteration: int) -> None:
    """Write a batch, as its model was given it, into a file that :func:`mmhybrid.checkpoints.reading.read` reads.

    The file holds ``iteration`` (from 1), ``losses`` and ``batch``. MMDetection's batches have ``inputs``, a list of
    ``(3, H, W)`` images, and ``data_samples``, of each image its metainfo and ``gt_instances`` with ``bboxes``
    ``(N, 4)`` in pixels, ``labels`` ``(N,)`` and ``masks`` ``(N, H, W)``. What is no tensor and not plain becomes None.

    Raises:
        OSError: If it cannot be written.
    """
    content = {'iteration': iteration, 'losses': _data(losses), 'batch': _data(batch)}
    file = io.BytesIO()
    torch.save(plain(content, 'batch', []), file)
    write_durably(file.getvalue(), path)


def _samples(batch: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(batch, BaseDataElement):
        yield dict(batch.metainfo_items())
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from _samples(part)
    elif isinstance(batch, (list, tuple)):
        for part in batch:
            yield from _samples(part)


def _data(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, BaseBoxes):
        return _data(value.tensor)
    if isinstance(value, (BitmapMasks, PolygonMasks)):
        return value.to_tensor(torch.bool, 'cpu')
    if isinstance(value, BaseDataElement):
        return {'metainfo': _data(dict(value.metainfo_items())), **_data(dict(value.items()))}
    if isinstance(value, Mapping):
        return {str(key): _data(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        made = [_data(part) for part in value]
        return tuple(made) if isinstance(value, tuple) else made
    return value
