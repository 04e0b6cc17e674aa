"""Ids of images and categories: of our own, or those of a COCO annotation file."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read.files import read_json

from .pictures import Picture

Size = tuple[int, int] | None


class Ids:
    """Ids of images and categories.

    Without an annotation file images are counted from 1 in the order in which they come, and categories are 1 for the
    first class, 2 for the second and so on. With one, both are the file's: an image is the one whose ``file_name`` is
    the end of the picture's path, and a category the one with the class's name.

    Args:
        classes: The detector's, in order.
        ann: A COCO annotation file.

    Raises:
        InputError: If it cannot be used, or lacks one of the classes.
    """

    def __init__(self, classes: Sequence[str], ann: str | None = None):
        self._ann = ann
        self._given: dict[str, Mapping[str, Any]] = {}
        self._taken: dict[int, str] = {}
        self.categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
        if ann is None:
            return
        content = read_json(ann, 'annotation file')
        self._given = self._by_name(content, 'images', 'file_name', _normal)
        named = self._by_name(content, 'categories', 'name', str)
        if missing := [name for name in classes if name not in named]:
            raise InputError(
                f'--ann {ann} has no category {missing[0]!r}, which the detector was trained for ({len(missing)} of '
                f'{len(classes)} classes are missing); give the annotation file of the same classes, or none.'
            )
        self.categories = [dict(id=named[name]['id'], name=name) for name in classes]

    def _by_name(self, content: Any, kind: str, key: str, normal: Callable[[str], str]) -> dict[str, Mapping[str, Any]]:
        """The images or categories of the file by their names, both of which have to be unique, and their ids."""
        found: dict[str, Mapping[str, Any]] = {}
        numbers: set[int] = set()
        records = content.get(kind) if isinstance(content, dict) else None
        if not isinstance(records, list):
            raise InputError(f'--ann {self._ann} is no COCO annotation file (it has no list of {kind}); give one.')
        for record in records:
            name, number = (record.get(key), record.get('id')) if isinstance(record, dict) else (None, None)
            if not isinstance(name, str) or not name or type(number) is not int:
                shown = str(record)[:100]
                raise InputError(
                    f'--ann {self._ann}: {kind} have a {key} and a whole number as id, and one is {shown}; correct it.'
                )
            what = f'the {key} {name!r}' if normal(name) in found else f'the id {number}' if number in numbers else ''
            if what:
                raise InputError(f'--ann {self._ann} has two {kind} with {what}, which must be unique; correct it.')
            found[normal(name)] = record
            numbers.add(number)
        return found

    def check(self, places: Iterable[tuple[Path, Callable[[], Size]]]) -> None:
        """Look, before any is detected on, whether all pictures are images of the annotation file, each another.

        Args:
            places: Paths, and what gives the width and height of the picture, or None where they are not known.

        Raises:
            InputError: If some are not in it, if two are the same image, or if a size is not what the file says.
        """
        if self._ann is None:
            return
        places = list(places)
        records = [self._find(place) for place, _ in places]
        if missing := [place for (place, _), record in zip(places, records, strict=True) if record is None]:
            raise InputError(
                f'{len(missing)} of {len(places)} pictures are not in --ann {self._ann}, as {missing[0]}: no file_name '
                'there is the end of its path; leave these pictures out, or --ann.'
            )
        taken: dict[int, Path] = {}
        for (place, size), record in zip(places, records, strict=True):
            if (other := taken.setdefault(record['id'], place)) is not place:
                raise self._same(place, other)
            self._check_size(place, size(), record)

    def image(self, picture: Picture, size: Size) -> dict[str, Any]:
        """Id and ``file_name`` of a picture.

        Args:
            picture: The picture.
            size: Its width and height.

        Raises:
            InputError: As of :meth:`check`.
        """
        if self._ann is None:
            record: Mapping[str, Any] | None = dict(id=len(self._taken) + 1, file_name=picture.given)
        else:
            record = self._find(picture.place)
        if record is None:
            raise InputError(f'{picture.place} is not in --ann {self._ann}.')
        if record['id'] in self._taken:
            raise self._same(picture.place, self._taken[record['id']])
        self._check_size(picture.place, size, record)
        self._taken[record['id']] = str(picture.place)
        return dict(id=record['id'], file_name=record['file_name'])

    def _find(self, place: Path) -> Mapping[str, Any] | None:
        parts = place.absolute().parts
        ends = ('/'.join(parts[start:]) for start in range(1, len(parts)))
        return next((self._given[end] for end in ends if end in self._given), None)

    def _same(self, place: Path, other: Path | str) -> InputError:
        return InputError(f'{place} and {other} are the same image of --ann {self._ann}; give one of them.')

    def _check_size(self, place: Path, size: Size, record: Mapping[str, Any]) -> None:
        said = record.get('width'), record.get('height')
        if size is None or None in said or tuple(size) == said:
            return
        why = ', as its EXIF orientation turns it' if tuple(size) == said[::-1] else ''
        raise InputError(
            f'{place} is {size[0]}x{size[1]} pixels{why}, and --ann {self._ann} says {said[0]}x{said[1]}, so that its '
            'boxes are of another picture; give the picture that was annotated, or leave it or --ann out.'
        )


def _normal(name: str) -> str:
    # Of an absolute path the end of another may be the same: data sets are moved.
    return posixpath.normpath(name).lstrip('/')
