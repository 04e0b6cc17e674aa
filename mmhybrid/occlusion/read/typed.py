"""Results of the usual form, decoded to columns by msgspec (https://github.com/jcrist/msgspec) where it is installed.

msgspec makes typed objects of JSON in a third of the time that dictionaries take, and a large file is divided among
processes. A file is taken only if it is usual in every way; all others, and with them every fault, are left to the
general path, which accepts them or says what is wrong. So nothing may be taken here that the general path refuses or
reads as another value.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mmhybrid.errors import InputError

from . import elsewhere, shares
from .checks import MAX_VALUE
from .columns import Block, join, positions
from .runlengths import MAX_SIDE, Masks, measure
from .shares import Unusual


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


def begin(path: Path, iou_types: Sequence[str], block_size: int) -> elsewhere.Calls:
    """The calls that read a results file; none where msgspec is not installed.

    Args:
        path: The file, which may be compressed by gzip.
        iou_types: Which of ``bbox`` and ``segm`` are needed.
        block_size: How many bytes are decoded at a time.
    """
    calls = []
    if find_spec('msgspec'):
        with suppress(Unusual, InputError, OSError):
            calls = [(path, begin, end, iou_types, block_size) for begin, end in shares.divide(path)]
    return elsewhere.Calls(columns, calls)


def finish(calls: elsewhere.Calls, known: Known) -> Block | None:
    """Checked columns of the file that was begun; None where something is unusual, anywhere in it.

    Args:
        calls: What :func:`begin` gave.
        known: What the results may refer to.
    """
    block = join(calls.results() or ())
    return block if block is not None and _refers_to(known, block) else None


def columns(path: Path, begin: int, end: int | None, iou_types: Sequence[str], block_size: int) -> Block | None:
    """Columns of a share of a file, as :func:`shares.divide` gives it; None where something is unusual.

    Images, categories and the sizes of masks are yet to be compared with the ground truth.
    """
    # Freed at once: from then on, glibc keeps freed memory for the next piece, where it would return it to the system
    # and have it back page by page. That took a third of the time.
    np.empty(2**24, dtype=np.uint8)
    with suppress(Unusual, InputError, OSError, EOFError, zlib.error):
        return join(map(_decoder(tuple(iou_types)), shares.pieces(path, begin, end, block_size)))
    return None


@cache
def _decoder(iou_types: tuple[str, ...]) -> Callable[[bytes], Block]:
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
    rows_of = msgspec.json.Decoder(list[msgspec.defstruct('Result', fields, **strict)]).decode

    def decode(text: bytes) -> Block:
        try:
            rows = rows_of(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Unusual from None
        _expect(rows)
        return _checked(rows, iou_types)

    return decode


def _expect(condition: Any) -> None:
    if not condition:
        raise Unusual


def _checked(rows: list[Any], iou_types: Sequence[str]) -> Block:
    block: Block = {
        'image_ids': _integers([row.image_id for row in rows]),
        'category_ids': _integers([row.category_id for row in rows]),
        'scores': np.array([row.score for row in rows]),
    }
    _expect(np.isfinite(block['scores']).all())
    if 'bbox' in iou_types:
        numbers = chain.from_iterable([row.bbox for row in rows])
        boxes = block['boxes'] = np.fromiter(numbers, np.float64, 4 * len(rows)).reshape(-1, 4)
        _expect((abs(boxes) <= MAX_VALUE).all() and (boxes[:, 2:] >= 0).all())
    if 'segm' in iou_types:
        block['masks'] = _masks([row.segmentation for row in rows])
    return block


def _integers(values: list[Any]) -> np.ndarray:
    array = np.array(values)
    _expect(array.dtype.kind == 'i')  # numbers beyond 64 bits have another kind
    return array.astype(np.int64, copy=False)


def _masks(rles: list[Any]) -> Masks:
    sizes = _integers(list(chain.from_iterable([rle.size for rle in rles]))).reshape(-1, 2)
    _expect(((sizes >= 1) & (sizes <= MAX_SIDE)).all())
    counts = [rle.counts for rle in rles]
    text = ''.join(counts)
    _expect(text.isascii() and all(counts))
    text = text.encode('ascii')
    offsets = np.cumsum([0, *map(len, counts)])
    areas, margins = measure(text, offsets, sizes.prod(axis=1))
    _expect((areas >= 0).all())
    return Masks(sizes.astype(np.int32), text, offsets, areas, margins)


def _refers_to(known: Known, block: Block) -> bool:
    return bool(
        np.isin(block['image_ids'], known.image_ids).all()
        and np.isin(block['category_ids'], known.category_ids).all()
        and (
            'masks' not in block
            or np.array_equal(block['masks'].sizes, known.sizes[positions(known.image_ids, block['image_ids'])])
        )
    )
