"""Ids of images, however a file writes them: whole numbers, text, names of picture files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmhybrid.text import show

from .checks import REPEATED, Records, repeats, whole_numbers

# Of COCO, CityPersons and KAIST, and LVIS.
NAME_FIELDS = ('file_name', 'im_name', 'coco_url')
BY_NAME = "images were matched by 'file_name'"
WITHOUT_FOLDERS = f'{BY_NAME} without folders'


def file_name(image: Mapping[str, Any]) -> str:
    """What a record of ground truth calls the picture; empty if nothing."""
    return next((str(image[field]) for field in NAME_FIELDS if image.get(field)), '')


class Found(NamedTuple):
    """Images that n values name: numbers ``(n,)`` int64, 0 where there is none; ``(n,)`` bool, whether there is one;
    and by what they were matched, if not by the ground truth's own ids."""

    ids: np.ndarray
    is_known: np.ndarray
    note: str = ''


class ImageIds:
    """The images of ground truth, and what files may call them.

    Ids that are whole numbers stay what they are, also where they are written as ``7.0`` or ``"0007"``. If one is any
    other text, the images are numbered from 0 on in the file's order.

    Attributes:
        numbers: ``(I,)`` int64, one an image, in the file's order.
        names: I ids as the file has them: ``str`` where they are text, else ``int``.
        has_numbers: Whether all of them are whole numbers.
        source: The file's name.
    """

    def __init__(self, images: Sequence[Mapping[str, Any]], source: str = 'ground truth') -> None:
        """Of image records, and the name of their file for messages.

        Raises:
            InputError: An image without an id, with one that is neither a whole number nor text, or with another's.
        """
        records, remedy = Records(source, 'images', images), 'give every image its own id'
        values = records.column('id', remedy)
        numbers, is_whole = whole_numbers(values)
        is_text = np.array([isinstance(value, str) for value in values], dtype=bool)
        records.refuse('id', values, ~is_whole & ~is_text, 'neither an integer of 64 bits nor text', remedy)
        self.source, self._images = source, images
        self.names: list[int | str] = [
            value if isinstance(value, str) else number for value, number in zip(values, numbers.tolist(), strict=True)
        ]
        # '7' and '07' are two, 7 and 7.0 are not.
        self.has_numbers = bool(is_whole.all() and not (is_text.any() and repeats(numbers).any()))
        keys = numbers if self.has_numbers else list(map(str, self.names))
        records.refuse('id', values, repeats(keys), REPEATED, remedy)
        self.numbers = numbers if self.has_numbers else np.arange(len(values))

    def resolve(
        self,
        values: Sequence[Any],
        source: str,
        label: str = 'results',
        file_names: Sequence[Any] | None = None,
        remedy: str = 'evaluate results and ground truth of the same data set',
    ) -> tuple[np.ndarray, list[str]]:
        """Numbers of the images that a file's records name, all of them by one rule.

        The first of these rules that knows every value is taken: the id, as a whole number if those of the ground truth
        are (``7``, ``7.0``, ``"7"``, ``"0007"``), else as text; ``file_name``; both without folders; its stem; and the
        whole number that is its stem. But text with leading zeros that is a name or a stem to the letter is that, and
        where ids are taken though a later rule knows every value too, as other images, a note says so; not so in the
        ground truth's own file.

        Args:
            values: n ids: integers, integral floats or text; an array of integers is quickest.
            source: The file's name; with ``label``, what its list is called, for messages.
            file_names: What the n records have as ``file_name`` beside their ids, None for a record without it. They
                decide where the ids are unknown, and must not contradict them silently.
            remedy: What to do about records that name no image, which are an ``InputError``.

        Returns:
            ``(n,)`` int64, out of ``numbers``; and notes.
        """
        found = self.find(values, is_own=source == self.source)
        named = None if file_names is None else self.find(file_names)
        if named is not None and not found.is_known.all() and named.is_known.all():
            return named.ids, [
                f"{source}: images were matched by the records' 'file_name', their 'image_id' is unknown"
            ]
        fault = f'which is no image of {self.source}, whose ids are such as {show(self.names[0])}'
        Records(source, label, values).refuse('image_id', values, ~found.is_known, fault, remedy)
        notes = [f'{source}: {found.note}'] if found.note else []
        if named is not None and len(other := np.flatnonzero(named.is_known & (named.ids != found.ids))):
            notes.append(
                f"{source}: {len(other)} of {len(values)} records have the 'file_name' of another image than their "
                f"'image_id', the first is {label}[{other[0]}]; ids were used, so see which are right"
            )
        return found.ids, notes

    def find(self, values: Sequence[Any], is_own: bool = False) -> Found:
        """Images that values name, by the rule of :meth:`resolve` that knows most of them."""
        distinct, place = _distinct(values)
        numbers, is_whole = whole_numbers(distinct)
        texts = [
            value if isinstance(value, str) else str(number) if is_number else None
            for value, number, is_number in zip(distinct, numbers.tolist(), is_whole.tolist(), strict=True)
        ]
        best = Found(np.zeros(len(texts), dtype=np.int64), np.zeros(len(texts), dtype=bool))
        for table, note in self._rules():
            is_number = isinstance(next(iter(table), None), int)
            keys = numbers.tolist() if is_number else map(_base, texts) if note == WITHOUT_FOLDERS else texts
            image = np.array([table.get(key, -1) for key in keys], dtype=np.int64)
            is_known = (image >= 0) & (is_whole | (not is_number))
            found = Found(np.where(is_known, self.numbers[image], 0), is_known, note)
            if not best.is_known.all():
                best = found if is_known.sum() > best.is_known.sum() else best
            elif is_known.all() and (others := int((found.ids != best.ids).sum())):
                is_padded = any(isinstance(value, str) and value[:1] == '0' != value for value in distinct)
                if is_padded and not is_number:
                    best = found
                else:
                    note = f'ids were used, which as names of files would be other images ({others} of {len(texts)})'
                    best = best._replace(note=f'{note}; see that they are those of {self.source}')
                break
            if best.is_known.all() and (is_own or best.note):
                break
        return Found(best.ids[place], best.is_known[place], best.note)

    def _rules(self) -> Iterator[tuple[dict[Any, int], str]]:
        """Position of an image by what it may be called, and what to note if it is called so."""
        yield _unique(self.numbers.tolist() if self.has_numbers else map(str, self.names)), ''
        fields = ([image.get(field) for field in NAME_FIELDS] for image in self._images)
        names = [next((name for name in given if isinstance(name, str)), None) for given in fields]
        yield _unique(names), BY_NAME
        names = list(map(_base, names))
        yield _unique(names), WITHOUT_FOLDERS
        stems = [name and (name.rpartition('.')[0] or name) for name in names]
        yield _unique(stems), f'{WITHOUT_FOLDERS} and ending'
        numbers, is_whole = whole_numbers(stems)
        of_stems = (number if good else None for number, good in zip(numbers.tolist(), is_whole, strict=True))
        yield _unique(of_stems), f'{BY_NAME}, the number that it is'


def _unique(keys: Iterable[Any]) -> dict[Any, int]:
    """Position of each key but None; without those that are there twice."""
    counts = Counter(keys := list(keys))
    return {key: position for position, key in enumerate(keys) if key is not None and counts[key] == 1}


def _distinct(values: Sequence[Any]) -> tuple[Sequence[Any], np.ndarray]:
    """Values without repeats, as far as that is quick, and the ``(n,)`` position there of each."""
    if isinstance(values, np.ndarray) and values.dtype == np.int64:
        return np.unique(values, return_inverse=True)
    if set(map(type, values)) not in ({str}, {int}):
        return values, np.arange(len(values))
    position = {value: at for at, value in enumerate(dict.fromkeys(values))}
    return list(position), np.array([position[value] for value in values])


def _base(name: str | None) -> str | None:
    return name and name.replace('\\', '/').rpartition('/')[2]
