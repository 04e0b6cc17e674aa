"""Records of detections as columns: typed by msgspec where they are of the usual form, else one by one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np

from mmhybrid.errors import InputError

from . import segmentations
from .checks import Records, box_faults
from .columns import Block, join, positions
from .ground_truth import GroundTruth, any_sizes
from .ids import ImageIds
from .runlengths import MAX_SIDE, Encodings, Masks


class Known:
    """What results may refer to.

    Attributes:
        gt: The ground truth.
        source: Its name, for messages.
        images: Its images.
        category_ids: ``(K,)`` int64, in the file's order.
        category_names: K names.
        sizes: ``(I, 2)`` heights and widths of images, NaN where they are unknown, which they are not for masks.
    """

    def __init__(self, gt: GroundTruth, iou_types: Sequence[str]) -> None:
        self.gt, self.source, self.images = gt, gt.source, gt.ids or ImageIds(gt.images, gt.source)
        self.category_ids = np.array([category['id'] for category in gt.categories], dtype=np.int64)
        self.category_names = [category.get('name') for category in gt.categories]
        self.sizes = any_sizes(gt.images) if gt.sizes is None else gt.sizes
        if gt.sizes is None and 'segm' in iou_types:
            self.sizes = segmentations.image_sizes(Records(gt.source, 'images', gt.images))

    def sizes_of(self, image_ids: np.ndarray) -> np.ndarray:
        """``(n, 2)`` height and width of images."""
        return self.sizes[positions(self.images.numbers, image_ids)]

    @property
    def person(self) -> int | None:
        """The category that results of persons mean, which name none: the one numbered 1, or the only one."""
        ids = self.category_ids.tolist()
        return 1 if 1 in ids else ids[0] if len(ids) == 1 else None


class Results:
    """Detections of one file, put together block by block; more than ``limit`` are refused.

    Attributes:
        notes: On how the file was read.
        label: What the file's list is called, in messages.
        is_resolved: Whether ``image_ids`` of the blocks are the ground truth's numbers already.
        classes: ``(K,)`` category ids, if ``category_ids`` of the blocks are indices of these.
    """

    def __init__(self, source: str, known: Known, iou_types: Sequence[str], limit: float = float('inf')) -> None:
        self.source, self.known, self.iou_types, self.limit = source, known, tuple(iou_types), limit
        self.notes: list[str] = []
        self.label, self.is_resolved = 'results', False
        self.classes: np.ndarray | None = None
        few = f' ({", ".join(map(str, known.category_ids[:5].tolist()))})' if len(known.category_ids) <= 5 else ''
        self._category_remedy = f'give the category ids of {known.source}{few}, not class indices'
        self._count = 0
        self._blocks: list[Block] = []
        self._file_names: list[str | None] = []
        self._masks: list[Encodings] = []
        self._late: list[dict[str, Any]] = []  # the last detections, from the first on whose mask is unusual
        self.add(_columns([], self.iou_types))  # no detection is a result too

    def __len__(self) -> int:
        return self._count

    def take_typed(self, text: bytes) -> bool:
        """Add the records of a JSON list, if all of them are usual in every way; whether they are.

        Nothing may be taken here that :meth:`take_rows` reads as another value. Fields that are not needed are skipped:
        of those, msgspec sees only that they are JSON.
        """
        import msgspec

        try:
            block = _columns(_decoder(self.iou_types)(text), self.iou_types)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return False
        self.add(block)
        return True

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
            block['boxes'] = records.boxes()
        if 'segm' in self.iou_types:
            block['masks'] = list(rows)
        self.add(block)

    def add(self, block: Block) -> None:
        """Add columns that are checked but for what they refer to.

        ``image_ids`` are as the file has them; so may ``masks`` be, as records with the field ``segmentation``, since
        only the whole file shows the images, and so the sizes, that they are of.
        """
        count = len(block['scores'])
        self._count += count
        if self._count > self.limit:
            raise InputError(
                f'{self.source}: holds more detections than bytes, parts shared among images; give COCO results as '
                'JSON.'
            )
        self._file_names += block.pop('file_names')
        if isinstance(ids := block['image_ids'], list):  # of which many are the same
            block['image_ids'] = [sys.intern(each) if type(each) is str else each for each in ids]
        masks = block.pop('masks', [])
        if isinstance(masks, Encodings) and not self._late:
            self._masks.append(masks)
        else:
            self._late += masks.rows() if isinstance(masks, Encodings) else masks
        self._blocks.append(block)

    def finish(self) -> Block:
        """All columns, checked against the ground truth.

        Raises:
            InputError: Images or categories that it does not have, or masks of another size than their image.
        """
        block = join(self._blocks)
        if not self.is_resolved:
            names = self._file_names if any(self._file_names) else None
            block['image_ids'], notes = self.known.images.resolve(block['image_ids'], self.source, self.label, names)
            self.notes += notes
        block['image_ids'] = np.asarray(block['image_ids'], dtype=np.int64)
        block['category_ids'] = self._categories(block['category_ids'])
        if 'segm' in self.iou_types:
            block['masks'] = self._checked_masks(self.known.sizes_of(block['image_ids']))
        return block

    def _categories(self, given: np.ndarray) -> np.ndarray:
        records, source = Records(self.source, self.label, ()), self.known.source
        if self.classes is not None:
            records.fail_where(
                (given < 0) | (given >= len(self.classes)),
                lambda i: f'the class {given[i]} is none of the {len(self.classes)} categories, counted from 0',
                f'give ground truth with the classes of the model in place of {source}',
            )
            return self.classes[given]
        bad = ~np.isin(given, self.known.category_ids)
        records.refuse('category_id', given, bad, f'which is no category of {source}', self._category_remedy)
        return given

    def _checked_masks(self, sizes: np.ndarray) -> Masks:
        """All masks, in images of ``sizes`` ``(n, 2)``."""
        given = Encodings.joined(self._masks)
        self._masks.clear()
        masks = given.measured()  # all at once: that is quicker than block by block
        late, first = self._late, len(masks)
        if (masks.areas < 0).any() or not np.array_equal(masks.sizes, sizes[:first]):
            # Another form of encoding, or an error, told as for any other record.
            late, first, masks = given.rows() + late, 0, Encodings.joined([]).measured()
        if not late:
            return masks
        records = Records(self.source, self.label, late, offset=first)
        others, notes = segmentations.check_detections(records, sizes[first:])
        self.notes += notes
        return Masks.joined([masks, others])


@cache
def _decoder(iou_types: tuple[str, ...]) -> Callable[[bytes], list[Any]]:
    import msgspec

    plain = {'gc': False, 'kw_only': True}
    rle = msgspec.defstruct('Rle', [('size', tuple[int, int]), ('counts', str)], **plain)
    fields: list[Any] = [('image_id', int | str), ('category_id', int), ('score', float)]
    fields.append(('file_name', str | None, None))
    if 'bbox' in iou_types:
        fields.append(('bbox', tuple[float, float, float, float]))
    if 'segm' in iou_types:
        fields.append(('segmentation', rle))
    # Freed at once: from then on, glibc keeps freed memory for the next piece, where it would return it to the system
    # and have it back page by page. That took a third of the time.
    np.empty(2**24, dtype=np.uint8)
    return msgspec.json.Decoder(list[msgspec.defstruct('Result', fields, **plain)]).decode


def _columns(rows: list[Any], iou_types: tuple[str, ...]) -> Block:
    """Columns of typed records; a ``ValueError`` where one is unusual, though it may be right."""
    ids = [row.image_id for row in rows]
    block: Block = {
        'image_ids': _integers(ids) if set(map(type, ids)) <= {int} else ids,
        'file_names': [row.file_name for row in rows],
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
        _expect(all(counts))
        lengths = np.fromiter(map(len, counts), np.int64, len(counts))
        block['masks'] = Encodings(''.join(counts).encode('ascii'), lengths, sizes)
    return block


def _integers(values: Iterable[int]) -> np.ndarray:
    array = np.array(values if values else np.zeros(0, np.int64))
    _expect(array.dtype.kind == 'i')  # numbers beyond 64 bits have another kind
    return array.astype(np.int64, copy=False)


def _expect(condition: Any) -> None:
    if not condition:
        raise ValueError('unusual')
