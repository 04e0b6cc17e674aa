"""The forms in which results come, led back to records or to lists of each image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NoReturn

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import per_image, stream
from .checks import Records
from .columns import Block
from .records import Results

# Under which key detections are: of a whole file, of an image.
KEYS = ('predictions', 'results', 'detections', 'instances', 'annotations')
# Rows that are made columns at a time.
SLICE = 100_000
FORM = 'give COCO results, a list of {"image_id", "category_id", "bbox" and/or "segmentation", "score"}'
_SPACE = b' \t\n\r'


class Unwrapper:
    """Reads results of any of the known forms into the columns of ``results``."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self._form = ''  # of all rows, as the first has it
        self._num_images = 0
        self._box_fields: set[str] = set()

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
            pieces = [head]
            while b'\n' not in pieces[-1].lstrip(_SPACE) and (chunk := next(chunks, b'')):
                pieces.append(chunk)
            head = b''.join(pieces)
            line, _, more = head.strip(_SPACE).partition(b'\n')
            row = None
            with suppress(ValueError, RecursionError):
                row = json.loads(line)
            if isinstance(row, dict) and (more or _is_row(row)):
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
        block = results.finish()
        if self._form in ('', 'records') or not len(results):
            return block
        note = f'{results.source}: one record an image was read'
        if self._form == 'per image':
            note += ', its labels as category ids'
            if 'boxes' in block:
                given = block['boxes']
                sizes = results.known.sizes_of(block['image_ids'])
                corners = per_image.has_corners(self._box_fields, given, sizes, results.source)
                block['boxes'] = per_image.to_sides(given) if corners else given
                note += f' and its boxes as {"x1, y1, x2, y2" if corners else "x, y, width, height"}'
                Records(results.source, results.label, ()).fail_where(
                    (block['boxes'][:, 2:] < 0).any(axis=1),
                    lambda i: f'box {given[i].tolist()} has a negative width or height',
                    per_image.BOX_REMEDY,
                )
        results.notes.append(note)
        return block

    def _take(self, text: bytes, is_part: bool) -> None:
        if self._form in ('', 'records') and self.results.take_typed(text):
            self._form = 'records'
        else:
            self._rows(json.loads(text), is_part)

    def _whole(self, text: bytes) -> None:
        """An object. A long list under one of the keys is not decoded as a whole, but as if it were the file."""
        import msgspec

        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            views = {key: memoryview(found[key]) for key in KEYS if key in found}
            if len(views) == 1 and 'annotations' not in views and not _is_row(found):
                ((key, view),) = views.items()
                if view[:1] == b'[':
                    self._note(f'under {key!r}')
                    chunks = (bytes(view[at : at + stream.BLOCK]) for at in range(0, len(view), stream.BLOCK))
                    return stream.of_list(chunks, self._take)
        return self.content(json.loads(text))

    def _mapping(self, content: Mapping[Any, Any]) -> None:
        if _is_row(content):
            return self._rows([content])
        keys = [key for key in KEYS if isinstance(content.get(key), list | tuple)]
        if 'annotations' in keys and not any('score' in row for row in content['annotations'][:1]):
            keys.remove('annotations')
            if not keys and 'images' in content:
                self._refuse('that looks like a ground-truth file')
        if len(keys) == 1:
            self._note(f'under {keys[0]!r}')
            return self.content(content[keys[0]])
        if not content or not self.results.known.images.find(list(content)).is_known.any():
            self._refuse(f'found an object with {show(list(content))}')
        self._note('under the id of each image')
        rows: list[Any] = []
        for image, value in content.items():
            found = value if isinstance(value, list | tuple) else [value]
            rows += [{'image_id': image, **row} if isinstance(row, Mapping) else row for row in found]
        return self.content(rows)

    def _rows(self, rows: Sequence[Any], is_part: bool = False) -> None:
        """Read some of the list's elements; ``is_part`` says whether others follow."""
        if not rows:
            return
        self._form = self._form or _form(rows[0])
        results = self.results
        if self._form == 'records':
            return results.take_rows(rows, is_part)
        records = Records(results.source, 'results', rows, offset=self._num_images)
        records.check_objects()
        ids = [next((row[name] for name in per_image.IMAGES if name in row), None) for row in rows]
        images, notes = results.known.images.resolve(ids, results.source, 'results', begin=self._num_images)
        results.notes += notes
        results.label, results.is_resolved = 'detections', True
        found: list[Any] = []
        for index, (image, row) in enumerate(zip(images.tolist(), rows, strict=True)):
            if self._form == 'per image':
                name = per_image.Instances(records, index, row, FORM).add_to(results, image, corners=False)
                self._box_fields |= {name} - {''}
                continue
            inner = next((row[key] for key in KEYS if isinstance(row.get(key), list)), None)
            if inner is None:
                records.fail(index, f'{show(row)} has no list of detections', FORM)
            found += [{**each, 'image_id': image} if isinstance(each, Mapping) else each for each in inner]
            if len(found) >= SLICE:
                results.take_rows(found, is_part=True)
                found = []
        results.take_rows(found, is_part)
        self._num_images += len(rows)

    def _note(self, where: str) -> None:
        self.results.notes.append(f'{self.results.source}: detections are those {where}')

    def _refuse(self, hint: str) -> NoReturn:
        raise InputError(f'{self.results.source}: results must be a JSON list of detections, {hint}; {FORM}.')


def _form(row: Any) -> str:
    if not isinstance(row, Mapping):
        return 'records'
    if per_image.is_per_image(row):
        return 'per image'
    return 'nested' if 'score' not in row and any(isinstance(row.get(key), list) for key in KEYS) else 'records'


def _is_row(content: Mapping[Any, Any]) -> bool:
    """Whether an object is one record: of a detection or of an image."""
    return any(name in content for name in per_image.IMAGES[:2])
