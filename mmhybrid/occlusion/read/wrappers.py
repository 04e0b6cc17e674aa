"""The forms in which results come, led back to records or to lists of each image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NoReturn

import numpy as np

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
            if (row := _fields(line)) is not None and (more or _is_row(row)):
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

        found = _fields(text) or {}
        keys = [key for key in KEYS if key in found]
        if len(keys) == 1 and not _is_row(found) and not {'annotations', 'images', 'categories'} & set(found):
            value = found[keys[0]]
            if isinstance(value, msgspec.Raw) and (view := memoryview(value))[:1] == b'[':
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
        rows = []
        for image, value in content.items():
            for row in value if isinstance(value, list | tuple) else [value]:
                rows.append(self._within(image, row, len(rows)))
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
                by_id, by_name = (known.images.find(list(values)) for values in (own, own.values()))
                wrong = by_name.is_known & (~by_id.is_known | (by_id.ids != by_name.ids))
                lacking, meant = ~by_name.is_known, own
            else:
                ids = dict(zip(known.category_names, known.category_ids.tolist(), strict=False))
                meant = {key: ids.get(value) for key, value in own.items()}
                lacking = np.array([each is None for each in meant.values()], dtype=bool)
                wrong = ~lacking & np.array([str(value) != key for key, value in meant.items()], dtype=bool)
            if not wrong.any():
                continue
            if lacking.any():
                raise InputError(
                    f"{source}: its own '{section}' have other ids for {wrong.sum()} of the names that {known.source} "
                    f'has too, and {lacking.sum()} names that it lacks; give the ids of {known.source}.'
                )
            rows = [{**row, field: meant.get(str(row.get(field)))} if isinstance(row, Mapping) else row for row in rows]
            self.results.notes.append(
                f"{source}: its own '{section}' have other ids for {wrong.sum()} of {len(own)} names than "
                f"{known.source}, so '{name}' was used"
            )
        return rows

    def _within(self, image: Any, row: Any, position: int) -> Any:
        """A record within an image's, with that image; an id of its own is kept to be compared with it."""
        if not isinstance(row, Mapping):
            return row
        inner = row.get('image_id', image)
        if inner != image and str(inner) != str(image):
            self.results.inner_ids.append((position, inner))
        return {**row, 'image_id': image}

    def _rows(self, rows: Sequence[Any], is_part: bool = False) -> None:
        """Read some of the list's elements; ``is_part`` says whether others follow."""
        if not rows:
            return
        self._form = self._form or _form(rows[0])
        results = self.results
        if self._form == 'records':
            return results.take_rows(rows, is_part)
        if results.per_image is None:
            results.label, results.per_image = 'detections', ([], [])
        given, names = results.per_image
        records = Records(results.source, 'results', rows, offset=len(given))
        records.check_objects()
        found: list[Any] = []
        for index, row in enumerate(rows):
            position, image = len(given), next((row[name] for name in per_image.IMAGES if name in row), None)
            given.append(image)
            names.append(name if isinstance(name := row.get('file_name'), str) else None)
            if self._form == 'per image':
                if not per_image.is_per_image(row):
                    records.fail(index, 'it has no list of scores, as the first record has', FORM)
                name = per_image.Instances(records, index, row, FORM).add_to(results, position, corners=False)
                self._box_fields |= {name} - {''}
                continue
            inner = next((row[key] for key in KEYS if isinstance(row.get(key), list)), None)
            if inner is None:
                records.fail(index, f'{show(row)} has no list of detections', FORM)
            for each in inner:
                each = self._within(image, each, position)
                found.append({**each, 'image_id': position} if isinstance(each, Mapping) else each)
            if len(found) >= SLICE:
                results.take_rows(found, is_part=True)
                found = []
        results.take_rows(found, is_part)

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


def _fields(text: bytes) -> dict[str, Any] | None:
    """The fields of a JSON object, their values not decoded if msgspec takes the text; None if it is none."""
    import msgspec

    with suppress(msgspec.MsgspecError, RecursionError):
        return msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        return content if isinstance(content, dict) else None
    return None


def _is_row(content: Mapping[Any, Any]) -> bool:
    """Whether an object is one record: of a detection or of an image."""
    return any(name in content for name in per_image.IMAGES[:2])
