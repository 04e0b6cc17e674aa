"""Records of detections as columns: typed by msgspec where they are of the usual form, else one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import segmentations
from .checks import Records, box_faults, repeats, whole_numbers
from .columns import Block, Columns, positions
from .ids import ImageIds
from .runlengths import MAX_SIDE, Masks


@dataclass(frozen=True)
class Known:
    """What results may refer to: images, ``(K,)`` int64 category ids in the file's order, and ``(I, 2)`` heights and
    widths, NaN where they are unknown, which they are not for masks; and the categories' names."""

    images: ImageIds
    category_ids: np.ndarray
    sizes: np.ndarray
    category_names: Sequence[Any] = ()

    @property
    def source(self) -> str:
        """The ground truth's name, for messages."""
        return self.images.source

    def sizes_of(self, image_ids: np.ndarray) -> np.ndarray:
        """``(n, 2)`` height and width of images."""
        return self.sizes[positions(self.images.numbers, image_ids)]


class Results:
    """Detections of one file, put together block by block; more than ``limit`` are refused.

    Attributes:
        notes: On how the file was read.
        label: What the file's list is called, in messages.
        is_resolved: Whether ``image_ids`` of the blocks are the ground truth's numbers already.
        per_image: What the file's records of images have as id and as ``file_name``, if ``image_ids`` of the blocks
            are positions in these.
        inner_ids: Positions of records, and ids that are in them though the record is under another id.
        classes: ``(K,)`` category ids, if ``category_ids`` of the blocks are indices of these.
    """

    def __init__(self, source: str, known: Known, iou_types: Sequence[str], limit: float = float('inf')) -> None:
        self.source, self.known, self.iou_types, self.limit = source, known, tuple(iou_types), limit
        self.notes: list[str] = []
        self.label, self.is_resolved = 'results', False
        self.classes: np.ndarray | None = None
        self._category_remedy = f'give the category ids of {known.source}, not class indices'
        self._columns = Columns()
        self._interned: dict[Any, Any] = {}
        self._file_names: list[str | None] = []
        self.per_image: tuple[list[Any], list[Any]] | None = None
        self.inner_ids: list[tuple[int, Any]] = []
        self._masks = Columns()
        self._late: list[dict[str, Any]] = []  # the last detections, if their masks wait for their images' sizes
        self.add(_checked([], self.iou_types))  # no detection is a result too

    def __len__(self) -> int:
        return self._columns.count

    def take_typed(self, text: bytes) -> bool:
        """Add the records of a JSON list, if all of them are of the usual form; whether they are."""
        block = None if self._late else _typed(text, self.iou_types)
        if block is not None:
            self.add(block)
        return block is not None

    def take_rows(self, rows: Sequence[Any], is_part: bool = False) -> None:
        """Add records of the results format, with ids as :class:`ImageIds` knows them; ``is_part``: others follow."""
        if not rows:
            return
        records = Records(self.source, self.label, rows, offset=len(self), is_part=is_part)
        records.check_objects()
        names = [row.get('file_name') for row in rows]
        block: Block = {
            'image_ids': records.column('image_id', f'give every detection the id of its image in {self.known.source}'),
            'file_names': [name if isinstance(name, str) else None for name in names],
            'category_ids': records.integers('category_id', self._category_remedy),
            'scores': records.numbers('score', 'give every detection a finite score'),
        }
        if 'bbox' in self.iou_types:
            block['boxes'] = records.boxes('give [x, y, width, height] in pixels')
        if 'segm' in self.iou_types:
            block['masks'] = self.masks(records)
        self.add(block)

    def masks(self, records: Records, image_ids: np.ndarray | None = None) -> Masks | None:
        """Checked field ``segmentation`` of records; None if it waits for :meth:`finish`, since only the whole file
        shows which images they are of. Run lengths have their image's size with them."""
        values = [row.get('segmentation') for row in records.rows]
        if set(map(type, values)) <= {dict} and not self._late:
            if image_ids is not None:
                return segmentations.check_detections(records, self.known.sizes_of(image_ids))
            with suppress(InputError):  # then what is wrong may be the size
                return segmentations.check_detections(records, _own_sizes(values))
        self._late += records.rows
        return None

    def add(self, block: Block) -> None:
        """Add checked columns, but for what they refer to: ``image_ids`` are as the file has them."""
        count, names = len(block['scores']), block.pop('file_names', ())
        if any(names) or self._file_names:
            self._file_names += [None] * (len(self) - len(self._file_names)) + list(names)
        if self.is_resolved or self.per_image is not None:
            block['image_ids'] = np.array(block['image_ids'], dtype=np.int64)
        elif isinstance(block['image_ids'], list):
            ids = block['image_ids']
            is_plain = set(map(type, ids)) <= {int, str}  # of 7, 7.0 and True one key is made
            block['image_ids'] = [self._interned.setdefault(each, each) for each in ids] if is_plain else ids
        if len(self) + count > self.limit:
            raise InputError(
                f'{self.source}: holds more detections than bytes, parts shared among images; give COCO results as '
                'JSON.'
            )
        if (masks := block.pop('masks', None)) is not None:
            self._masks.add({'masks': masks, 'scores': block['scores']})
        self._columns.add(block)

    def finish(self) -> Block:
        """All columns, checked against the ground truth.

        Raises:
            InputError: Images or categories that it does not have, or masks of another size than their image.
        """
        block = self._columns.joined()
        records = Records(self.source, self.label, ())
        block['image_ids'] = ids = self._images(block['image_ids'])
        if 'segm' in self.iou_types:
            if self._late:
                start = len(ids) - len(self._late)
                late = Records(self.source, self.label, self._late, offset=start)
                masks = segmentations.check_detections(late, self.known.sizes_of(ids[start:]), self.notes)
                self._masks.add({'masks': masks, 'scores': masks.areas})
            block['masks'] = self._masks.joined()['masks']
        block['category_ids'] = self._categories(records, block['category_ids'])
        if 'masks' in block:
            given, sizes = block['masks'].sizes, self.known.sizes_of(ids)
            records.fail_where(
                (given != sizes).any(axis=1),
                lambda i: (
                    f"field 'segmentation' has the size {given[i].tolist()}, where the image's [height, width] is "
                    f'{sizes[i].tolist()}{": width and height are swapped" * bool((given[i] == sizes[i][::-1]).all())}'
                ),
                segmentations.RLE_REMEDY,
            )
        return block

    def _images(self, ids: Any) -> np.ndarray:
        """The ground truth's numbers of what the blocks have as ``image_ids``."""
        images, source, remedy = self.known.images, self.source, f'see which are those of {self.known.source}'
        if self.per_image is not None:
            given, names = self.per_image
            of_rows, notes = images.resolve(given, source, 'results', names if any(names) else None)
            if count := int(repeats(of_rows).sum()):
                notes.append(f'{source}: {count} records are of an image that another is of too, and all count')
        elif not self.is_resolved:
            names = self._file_names + [None] * (len(self) - len(self._file_names)) if self._file_names else None
            of_rows, notes = images.resolve(ids, source, self.label, names)
        else:
            of_rows, notes = ids, []
        self.notes += notes
        if self.inner_ids:
            at, inner = map(list, zip(*self.inner_ids, strict=True))
            found = images.find(inner)
            bad = np.flatnonzero(~found.is_known | (found.ids != of_rows[at]))
            if len(bad):
                problem = f"has detections of another image than its own: 'image_id' is {show(inner[bad[0]])} there"
                Records(source, 'results', ()).fail(at[bad[0]], problem, remedy, len(bad))
        return of_rows if self.per_image is None else of_rows[ids]

    def _categories(self, records: Records, given: np.ndarray) -> np.ndarray:
        source = self.known.source
        if self.classes is not None:
            records.fail_where(
                (given < 0) | (given >= len(self.classes)),
                lambda i: f'the class {given[i]} is none of the {len(self.classes)} categories, counted from 0',
                f'give ground truth with the classes of the model in place of {source}',
            )
            return self.classes[given]
        records.fail_where(
            ~np.isin(given, self.known.category_ids),
            lambda i: f"field 'category_id' is {given[i]}, which is no category of {source}",
            self._category_remedy,
        )
        return given


def _own_sizes(rles: list[dict[str, Any]]) -> np.ndarray:
    """``(n, 2)`` height and width that run lengths have with them, 1 where they have none that may be."""
    sizes = np.ones((len(rles), 2), dtype=np.int64)
    for i, size in enumerate(rle.get('size') for rle in rles):
        if isinstance(size, list | tuple) and len(size) == 2 and all(whole_numbers(size)[1]):
            sizes[i] = np.clip(whole_numbers(size)[0], 1, MAX_SIDE)
    return sizes


def _typed(text: bytes, iou_types: tuple[str, ...]) -> Block | None:
    """Columns of a JSON list of records that are usual in every way; None where one is not, or it is no JSON.

    Nothing may be taken here that the way record by record reads as another value. Fields that are not needed are
    skipped: of those, msgspec sees only that they are JSON.
    """
    import msgspec

    try:
        has_names = b'"file_name"' in text
        return _checked(_decoder(iou_types, has_names)(text), iou_types, has_names)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


@cache
def _decoder(iou_types: tuple[str, ...], has_names: bool) -> Callable[[bytes], list[Any]]:
    import msgspec

    plain = {'gc': False, 'kw_only': True}
    rle = msgspec.defstruct('Rle', [('size', tuple[int, int]), ('counts', str)], **plain)
    fields: list[Any] = [('image_id', int | str), ('category_id', int), ('score', float)]
    if has_names:
        fields.append(('file_name', str | None, None))
    if 'bbox' in iou_types:
        fields.append(('bbox', tuple[float, float, float, float]))
    if 'segm' in iou_types:
        fields.append(('segmentation', rle))
    # Freed at once: from then on, glibc keeps freed memory for the next piece, where it would return it to the system
    # and have it back page by page. That took a third of the time.
    np.empty(2**24, dtype=np.uint8)
    return msgspec.json.Decoder(list[msgspec.defstruct('Result', fields, **plain)]).decode


def _checked(rows: list[Any], iou_types: tuple[str, ...], has_names: bool = False) -> Block:
    """Columns of typed records; a ``ValueError`` where one is unusual, though it may be right."""
    ids = [row.image_id for row in rows]
    block: Block = {
        'image_ids': _integers(ids) if set(map(type, ids)) <= {int} else ids,
        'file_names': [row.file_name for row in rows] if has_names else (),
        'category_ids': _integers([row.category_id for row in rows]),
        'scores': np.array([row.score for row in rows], dtype=np.float64),
    }
    _expect(np.isfinite(block['scores']).all())
    if 'bbox' in iou_types:
        numbers = chain.from_iterable([row.bbox for row in rows])
        block['boxes'] = np.fromiter(numbers, np.float64, 4 * len(rows)).reshape(-1, 4)
        _expect(not any(bad.any() for bad, _ in box_faults(block['boxes'])))
    if 'segm' in iou_types:
        rles = [row.segmentation for row in rows]
        sizes = _integers(list(chain.from_iterable([rle.size for rle in rles]))).reshape(-1, 2)
        _expect(((sizes >= 1) & (sizes <= MAX_SIDE)).all())
        counts = [rle.counts for rle in rles]
        text = ''.join(counts)
        _expect(text.isascii() and all(counts))
        block['masks'] = Masks.measured(text.encode('ascii'), list(map(len, counts)), sizes)
        _expect((block['masks'].areas >= 0).all())
    return block


def _integers(values: Iterable[int]) -> np.ndarray:
    array = np.array(values if values else np.zeros(0, np.int64))
    _expect(array.dtype.kind == 'i')  # numbers beyond 64 bits have another kind
    return array.astype(np.int64, copy=False)


def _expect(condition: Any) -> None:
    if not condition:
        raise ValueError('unusual')
