"""The forms in which results come, led back to records of detections, or of images with lists of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import plural, show

from . import per_image, stream
from .checks import Records
from .columns import Block, positions
from .ground_truth import any_sizes
from .records import Results

# Under which key an image is.
IMAGES = ('image_id', 'img_id', 'ID', 'image', 'file_name')
# Under which key detections are: of a whole file, of an image.
KEYS = ('predictions', 'results', 'detections', 'instances', 'annotations')
# Rows that are made columns at a time.
SLICE = 100_000
SIDES = {'height', 'width'}
FORM = 'give COCO results, a list of {"image_id", "category_id", "bbox" and/or "segmentation", "score"}'
_SPACE = b' \t\n\r'
_SECOND_LINE = re.compile(rb'\n\s*\S')
_LINES = re.compile(rb'\s*\{.*\}\s*\n\s*[^\s,\]}]')  # which no JSON object begins with


class Unwrapper:
    """Reads results of any of the known forms into the columns of ``results``.

    Attributes:
        form: Of all rows, as the first has it: ``'records'``; ``'nested'``, an image with a list of records; ``'per
            image'``, an image with lists of boxes, labels and scores; or ``'persons'``, one in CrowdHuman's layout.
        box_remedy: What to do about boxes that are none, where images have lists of them.
    """

    def __init__(self, results: Results) -> None:
        self.results, self.form, self.box_remedy = results, '', per_image.BOX_REMEDY
        self._images: list[str] = []  # of rows that are of an image
        self._num_contrary = 0  # records within an image's that have another's id
        self._box_fields: set[str] = set()
        self._sizes: list[dict[str, Any]] = []  # 'height' and 'width' of images that have both

    def text(self, chunks: Iterator[bytes]) -> None:
        """Read a file's text: a list, JSON lines, or an object around a list.

        Raises:
            ValueError: It is no JSON.
            InputError: It is no form of results.
        """
        head = next((chunk for chunk in chunks if chunk.strip(_SPACE)), b'')
        begin = head.lstrip(_SPACE)[:1]
        if not begin:
            raise ValueError('it is empty')
        if begin == b'[':
            return stream.of_list(chain([head], chunks), self._take)
        if begin == b'{':
            pieces, tail = [head], head.lstrip(_SPACE)
            while not _SECOND_LINE.search(tail) and (chunk := next(chunks, b'')):
                pieces.append(chunk)
                tail = b'\n' * (b'\n' in tail) + chunk
            head = b''.join(pieces)
            if _LINES.match(head):
                return stream.of_lines(chain([head], chunks), self._take)
        return self._whole(b''.join([head, *chunks]))

    def content(self, content: Any) -> None:
        """Read loaded results."""
        if isinstance(content, Mapping):
            return self._mapping(content)
        if not isinstance(content, list | tuple):
            self._refuse(f'found {show(content)}')
        for start in range(0, len(content), SLICE):
            self._rows(content[start : start + SLICE], start + SLICE < len(content))
        return None

    def finish(self) -> Block:
        """The columns; errors are those of :meth:`Results.finish`."""
        results = self.results
        block, source = results.finish(), results.source
        if count := len(self._images) - len(set(self._images)):
            results.notes.append(
                f'{source}: {plural(count, "record is", "records are")} of an image that another is of '
                'too, and all count'
            )
        if self._num_contrary:
            results.notes.append(
                f"{source}: {plural(self._num_contrary, 'detection has', 'detections have')} another 'image_id' than "
                'the record that holds it; its own was used'
            )
        note = 'one record an image was read' + ', its labels as category ids' * (self.form == 'per image')
        if self._box_fields and 'boxes' in block:
            sizes, records = results.known.sizes_of(block['image_ids']), Records(source, results.label, ())
            block['boxes'], corners = per_image.sides(self._box_fields, block['boxes'], sizes, records, self.box_remedy)
            note += f' and its boxes as {corners}' if self.form == 'per image' else ", in CrowdHuman's layout"
        if self._images and len(results) and results.classes is None:
            results.notes.append(f'{source}: {note}')
        return block

    def sizes(self) -> np.ndarray | None:
        """``(I, 2)`` height and width of the ground truth's images, NaN where the results do not have them."""
        if not self._sizes:
            return None
        images = self.results.known.images
        found = images.find([each['image_id'] for each in self._sizes])
        sizes = np.full((len(images.numbers), 2), np.nan)
        sizes[positions(images.numbers, found.ids[found.is_known])] = any_sizes(self._sizes)[found.is_known]
        return sizes

    def _take(self, text: bytes, is_part: bool) -> None:
        if self.form in ('', 'records') and self.results.take_typed(text):
            self.form = 'records'
        else:
            self._rows(json.loads(text), is_part)

    def _whole(self, text: bytes) -> None:
        """An object. A long list under one of the keys is not decoded as a whole, but as if it were the file."""
        import msgspec

        found: dict[str, msgspec.Raw] = {}
        with suppress(msgspec.MsgspecError, RecursionError):
            found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        keys = [key for key in KEYS if key in found]
        if len(keys) == 1 and not {'annotations', 'images', 'categories', *IMAGES[:3]} & set(found):
            view = memoryview(found[keys[0]])
            if view[:1] == b'[':
                self._note(f'under {keys[0]!r}')
                chunks = (bytes(view[at : at + stream.BLOCK]) for at in range(0, len(view), stream.BLOCK))
                return stream.of_list(chunks, self._take)
        return self.content(json.loads(text))

    def _mapping(self, content: Mapping[Any, Any]) -> None:
        if _is_row(content):
            return self._rows([content])
        keys = [key for key in KEYS if isinstance(content.get(key), list | tuple)]
        if 'annotations' in keys and (rows := content['annotations']):
            if not isinstance(rows[0], Mapping) or 'score' not in rows[0]:
                keys.remove('annotations')
            if not keys and 'images' in content:
                self._refuse('that looks like a ground-truth file')
        if len(keys) == 1:
            self._note(f'under {keys[0]!r}')
            return self.content(self._by_own_lists(content, content[keys[0]]))
        if content and not self.results.known.images.find(list(content)).is_known.any():
            self._refuse(f'found an object with {show(list(content))}')
        self._note('under the id of each image')
        rows: list[Any] = []
        for image, value in content.items():
            rows += self._within({'image_id': image}, value if isinstance(value, list | tuple) else [value])
        return self.content(rows)

    def _by_own_lists(self, content: Mapping[str, Any], rows: Sequence[Any]) -> Sequence[Any]:
        """Records of a whole set, where its own images or categories contradict the ground truth's: names count."""
        known, source = self.results.known, self.results.source
        for section, field, name in ('images', 'image_id', 'file_name'), ('categories', 'category_id', 'name'):
            if not isinstance(content.get(section), list):
                continue
            used = {str(row.get(field)) for row in rows if isinstance(row, Mapping)}
            own = {
                str(each.get('id')): each[name]
                for each in content[section]
                if isinstance(each, Mapping) and isinstance(each.get(name), str) and str(each.get('id')) in used
            }
            if section == 'images':
                meant: dict[str, Any] = own
                by_id, by_name = (known.images.find(list(values)) for values in (own, own.values()))
                is_known, is_same = by_name.is_known, by_id.is_known & (by_id.ids == by_name.ids)
            else:
                ids = dict(zip(known.category_names, known.category_ids.tolist(), strict=False))
                meant = {key: ids.get(value) for key, value in own.items()}
                is_known = np.array([value is not None for value in meant.values()], dtype=bool)
                is_same = np.array([str(value) == key for key, value in meant.items()], dtype=bool)
            wrong = is_known & ~is_same
            if not wrong.any():
                continue
            count = f'{wrong.sum()} of {len(own)}'
            told = f"{source}: its own '{section}' have other ids for {count} names than {known.source}"
            if not is_known.all():
                raise InputError(f'{told}, which lacks {(~is_known).sum()} of them; give the ids of {known.source}.')
            rows = [{**row, field: meant.get(str(row.get(field)))} if isinstance(row, Mapping) else row for row in rows]
            self.results.notes.append(f"{told}, so '{name}' was used")
        return rows

    def _within(self, image: dict[str, Any], rows: Sequence[Any]) -> list[Any]:
        """Records within an image's, with that image where they name none."""
        rows = [{**image, **row} if isinstance(row, Mapping) else row for row in rows]
        ids = [image['image_id'], *(row['image_id'] for row in rows if isinstance(row, Mapping))]
        if len(set(map(str, ids))) > 1 and (found := self.results.known.images.find(ids)).is_known[0]:
            self._num_contrary += int((found.is_known & (found.ids != found.ids[0])).sum())
        return rows

    def _rows(self, rows: Sequence[Any], is_part: bool = False) -> None:
        """Read some of the list's elements; ``is_part`` says whether others follow."""
        if not rows:
            return
        self.form = self.form or _form(rows[0])
        results = self.results
        if self.form == 'records':
            return results.take_rows(rows, is_part)
        results.label = 'detections'
        records = Records(results.source, 'results', rows, offset=len(self._images))
        records.check_objects()
        found: list[Any] = []
        is_of_persons = self.form == 'persons'
        form = per_image.PERSONS_FORM if is_of_persons else FORM
        for index, row in enumerate(rows):
            image = {'image_id': next((row[name] for name in IMAGES if name in row), None)}
            if isinstance(row.get('file_name'), str):
                image['file_name'] = row['file_name']
            self._images.append(str(image['image_id']))
            if row.keys() >= SIDES:
                self._sizes.append({key: row[key] for key in SIDES} | image)
            if self.form == 'nested':
                inner = next((row[key] for key in KEYS if isinstance(row.get(key), list)), None)
                if inner is None:
                    records.fail(index, f'{show(row)} has no list of detections', FORM)
                found += self._within(image, inner)
                if len(found) >= SLICE:
                    results.take_rows(found, is_part=True)
                    found = []
                continue
            if not (_is_of_persons(row) if is_of_persons else per_image.is_per_image(row)):
                what = f"list '{per_image.PERSONS}'" if is_of_persons else 'list of scores'
                records.fail(index, f'it has no {what}, as the first record has', form)
            try:
                if is_of_persons:
                    block = per_image.of_persons(row, results.iou_types, results.known.person)
                else:
                    block = per_image.columns(row, results.iou_types)
            except ValueError as error:
                records.fail(index, str(error), form)
            if count := len(block['scores']):
                ids = {'image_ids': [image['image_id']] * count, 'file_names': [image.get('file_name')] * count}
                results.add(block | ids)
                self._box_fields.add(per_image.BOX if is_of_persons else per_image.field(row, per_image.BOXES))
        results.take_rows(found, is_part)

    def _note(self, where: str) -> None:
        self.results.notes.append(f'{self.results.source}: detections are those {where}')

    def _refuse(self, hint: str) -> NoReturn:
        raise InputError(f'{self.results.source}: results must be a JSON list of detections, {hint}; {FORM}.')


def _form(row: Any) -> str:
    if not isinstance(row, Mapping):
        return 'records'
    if _is_of_persons(row):
        return 'persons'
    if per_image.is_per_image(row):
        return 'per image'
    return 'nested' if 'score' not in row and any(isinstance(row.get(key), list) for key in KEYS) else 'records'


def _is_of_persons(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get(per_image.PERSONS), list | tuple)


def _is_row(content: Mapping[Any, Any]) -> bool:
    """Whether an object is one record: of a detection or of an image."""
    return any(name in content for name in IMAGES[:3])
