"""Results of the usual form, decoded to columns by msgspec (https://github.com/jcrist/msgspec) where it is installed.

msgspec makes typed objects of JSON in a third of the time that dictionaries take. Only what is usual in every way is
taken here; all else, and with it every fault, is left to the general path, which accepts it or says what is wrong. So
nothing may be taken here that the general path refuses or reads as another value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from typing import Any

import numpy as np

from .columns import Block, positions
from .counts import Masks, pixel_counts
from .records import MAX_VALUE


@dataclass(frozen=True)
class Known:
    """What results may refer to.

    Attributes:
        image_ids: ``(I,)`` int64.
        category_ids: ``(K,)`` int64.
        sizes: ``(I, 2)`` int64 height and width of the images; None unless masks are needed.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    sizes: np.ndarray | None = None


def decoder(known: Known, iou_types: Sequence[str]) -> Callable[[str], list[Any] | Block]:
    """What makes checked columns of the text of a list of results, or plain objects where something is unusual.

    Args:
        known: What the results may refer to.
        iou_types: Which of ``bbox`` and ``segm`` are needed.
    """
    return _Decoder(known, iou_types) if find_spec('msgspec') else json.loads


class _Decoder:
    def __init__(self, known: Known, iou_types: Sequence[str]) -> None:
        import msgspec

        # A field that is not declared would be skipped over, numbers of any length included, which JSON forbids here.
        strict = {'gc': False, 'kw_only': True, 'forbid_unknown_fields': True}
        rle = msgspec.defstruct('Rle', [('size', tuple[int, int]), ('counts', str)], **strict)
        box = tuple[float, float, float, float]
        fields = [
            ('image_id', int),
            ('category_id', int),
            ('bbox', box) if 'bbox' in iou_types else ('bbox', Any, None),
            ('score', float),
            ('segmentation', rle) if 'segm' in iou_types else ('segmentation', Any, None),
            *((name, Any, None) for name in ('id', 'area', 'iscrowd')),  # as pycocotools adds them
        ]
        self._known, self._iou_types = known, iou_types
        self._decode = msgspec.json.Decoder(list[msgspec.defstruct('Result', fields, **strict)]).decode
        self._error = msgspec.MsgspecError
        self._usual = True

    def __call__(self, text: str) -> list[Any] | Block:
        """Columns of a JSON list; plain objects from the first list on that is not as usual."""
        block = self._block(text) if self._usual else None
        if block is not None:
            return block
        self._usual = False
        return json.loads(text)

    def _block(self, text: str) -> Block | None:
        try:
            rows = self._decode(text)
        except (self._error, ValueError, RecursionError):
            return None
        known = self._known
        image_ids = np.array([row.image_id for row in rows])
        category_ids = np.array([row.category_id for row in rows])
        if not (_among(image_ids, known.image_ids) and _among(category_ids, known.category_ids)):
            return None
        scores = np.array([row.score for row in rows])
        if not np.isfinite(scores).all():
            return None
        block: Block = {'image_ids': image_ids, 'category_ids': category_ids, 'scores': scores}
        if 'bbox' in self._iou_types:
            numbers = chain.from_iterable([row.bbox for row in rows])
            boxes = np.fromiter(numbers, np.float64, 4 * len(rows)).reshape(-1, 4)
            if not ((abs(boxes) <= MAX_VALUE).all() and (boxes[:, 2:] >= 0).all()):
                return None
            block['boxes'] = boxes
        if 'segm' in self._iou_types:
            masks = _masks([row.segmentation for row in rows], known.sizes[positions(known.image_ids, image_ids)])
            if masks is None:
                return None
            block['masks'] = masks
        return block


def _among(values: np.ndarray, known: np.ndarray) -> bool:
    # Numbers beyond 64 bits have another type.
    return values.dtype == np.int64 and bool(np.isin(values, known).all())


def _masks(rles: list[Any], sizes: np.ndarray) -> Masks | None:
    """Encodings of masks that have these ``(n, 2)`` sizes."""
    given = np.array(list(chain.from_iterable([rle.size for rle in rles])))
    if given.dtype != np.int64 or not np.array_equal(given, sizes.ravel()):
        return None
    counts = [rle.counts for rle in rles]
    text = ''.join(counts)
    if not (text.isascii() and all(counts)):
        return None
    text = text.encode('ascii')
    offsets = np.cumsum([0, *map(len, counts)])
    areas = pixel_counts(text, offsets, sizes.prod(axis=1))
    return Masks(sizes.astype(np.int32), text, offsets, areas) if (areas >= 0).all() else None
