"""An annotation file as columns, whatever is wrong with its records.

Unlike :func:`mmhybrid.occlusion.read.ground_truth.load_ground_truth`, which refuses at the first fault, this sets aside
what cannot be used and tells how much that was. Ids are whatever MMDetection accepts, not only integers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.occlusion.read import files
from mmhybrid.occlusion.read.checks import to_float
from mmhybrid.occlusion.read.files import open_input, unpacked
from mmhybrid.text import clean, show

from .findings import Finding, found

_MISSING = object()
# In a text, the quotes around the name would be escaped.
_POLYGONS = re.compile(rb'"segmentation"\s*:\s*\[\s*\[[\[\]0-9eE+\-.,\s]*\]')
_SECTIONS = ('images', 'categories', 'annotations')


@dataclass(frozen=True, eq=False)
class Contents:
    """The usable records of an annotation file: I images, K categories, n annotations.

    Attributes:
        source: The file's name.
        image_rows: The image records.
        category_rows: The category records.
        rows: The annotation records.
        sizes: ``(I, 2)`` float64 width and height of the images.
        image_at: ``(n,)`` int64 index of each annotation's image, -1 for none; of several with one id the last.
        category_at: ``(n,)`` int64 index of each annotation's category, likewise.
        boxes: ``(n, 4)`` float64 ``x, y, width, height``.
        areas: ``(n,)`` float64.
        crowd: ``(n,)`` bool.
        ignored: ``(n,)`` bool, the field ``ignore``.
        findings: Of the records that cannot be used.
    """

    source: str
    image_rows: list[dict[str, Any]]
    category_rows: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    sizes: np.ndarray
    image_at: np.ndarray
    category_at: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray
    findings: list[Finding] = field(default_factory=list)

    @property
    def category_names(self) -> list[str]:
        """Of each category."""
        return [row['name'] for row in self.category_rows]

    def name(self, index: int) -> str:
        """How a message calls annotation ``index``."""
        image = self.image_at[index]
        place = name_image(self.image_rows[image]) if image >= 0 else f'image id {show(self.rows[index]["image_id"])}'
        return f'{place} annotation {show(self.rows[index]["id"])}'

    def found(
        self, kind: str, bad: np.ndarray, detail: Callable[[int], str] | None = None, hint: str = ''
    ) -> list[Finding]:
        """The finding of those annotations that ``bad`` ``(n,)`` marks."""
        indices = np.flatnonzero(bad)
        texts = (self.name(i) + (f' {detail(i)}' if detail else '') for i in indices.tolist())
        return found(kind, texts, len(indices), hint=hint)


def name_image(row: dict[str, Any]) -> str:
    """How a message calls an image."""
    return clean(row['file_name'])[:80] or "''"


def read_contents(source: str | PathLike[str] | dict[str, Any], polygons: bool = True) -> Contents:
    """Read an annotation file.

    Args:
        source: The file, plain or gzip, or what is in it.
        polygons: Whether their points are needed; parsing them takes most of the time and memory.

    Raises:
        InputError: It cannot be read, is no JSON or has not the shape of a COCO annotation file.
    """
    # Of millions of new records none is part of a cycle.
    with files.garbage_collector_paused():
        if isinstance(source, dict):
            return _contents(source, 'annotations')
        content = None if polygons else _without_points(Path(source))
        return _contents(files.read_json(source, 'annotation file') if content is None else content, str(source))


def _without_points(path: Path) -> Any:
    """A file's content with one point in place of all polygons; None where something is wrong with it."""
    with suppress(InputError, OSError, ValueError, RecursionError):
        with open_input(path) as file:
            raw = unpacked(file, path).read()
        raw = _POLYGONS.sub(b'"segmentation":[[0]]', raw)
        return json.loads(raw)
    return None


def _contents(content: Any, source: str) -> Contents:
    if not isinstance(content, dict):
        hint = 'that looks like a results file' if isinstance(content, list) else f'found {show(content)}'
        raise InputError(f'{source}: annotations must be a JSON object, {hint}; give a COCO annotation file.')
    for name in _SECTIONS:
        if not isinstance(content.get(name), list):
            problem = f"'{name}' is {show(content[name])}, not a list" if name in content else f"'{name}' is missing"
            raise InputError(f'{source}: {problem}; give a COCO annotation file with images, annotations, categories.')
    for name in ('images', 'categories'):
        if not content[name]:
            raise InputError(f"{source}: '{name}' is empty; give a COCO annotation file with images, categories.")
    images, bad_images = _usable(content['images'], 'image-record', _IMAGE)
    categories, bad_categories = _usable(content['categories'], 'category-record', _CATEGORY)
    for left, bad in ((images, bad_images), (categories, bad_categories)):
        if not left:
            raise InputError(f'{source}: {bad[0].examples[0]}, and no other is better; give a COCO annotation file.')
    rows, bad_rows = _usable(content['annotations'], 'annotation-record', _ANNOTATION)
    image_at = {row['id']: i for i, row in enumerate(images)}
    category_at = {row['id']: i for i, row in enumerate(categories)}
    sides = [side for row in images for side in (row['width'], row['height'])]
    return Contents(
        source=source,
        image_rows=images,
        category_rows=categories,
        rows=rows,
        sizes=to_float(sides).reshape(-1, 2),
        image_at=np.array([image_at.get(row['image_id'], -1) for row in rows], dtype=np.int64),
        category_at=np.array([category_at.get(row['category_id'], -1) for row in rows], dtype=np.int64),
        boxes=to_float(list(chain.from_iterable([row['bbox'] for row in rows]))).reshape(-1, 4),
        areas=to_float([row['area'] for row in rows]),
        crowd=np.array([bool(row.get('iscrowd')) for row in rows], dtype=bool),
        ignored=np.array([bool(row.get('ignore')) for row in rows], dtype=bool),
        findings=[*bad_images, *bad_categories, *bad_rows],
    )


@dataclass(frozen=True)
class _Field:
    """A field that records must have: whether all values are plainly right, whether one is, and what it should be."""

    name: str
    plain: Callable[[Sequence[Any]], bool]
    accepts: Callable[[Any], bool]
    noun: str


def _usable(rows: list[Any], kind: str, fields: Iterable[_Field]) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The records that are objects with all fields, and the finding of the others."""
    problems: dict[int, str] = {}
    if not _only(dict)(rows):
        problems = {i: f'is {show(row)}, no object' for i, row in enumerate(rows) if not isinstance(row, dict)}
    for each in fields:
        values = [row.get(each.name, _MISSING) if isinstance(row, dict) else None for row in rows]
        if each.plain(values):
            continue
        for i, value in enumerate(values):
            if not each.accepts(value) and i not in problems:
                problem = 'is missing' if value is _MISSING else f'is {show(value)}, not {each.noun}'
                problems[i] = f"'{each.name}' {problem}"
    section = {'image-record': 'images', 'category-record': 'categories', 'annotation-record': 'annotations'}[kind]
    order = sorted(problems)
    finding = found(kind, (f'{section}[{i}]: {clean(problems[i])}' for i in order), len(order))
    return [row for i, row in enumerate(rows) if i not in problems] if problems else rows, finding


def _only(*kinds: type) -> Callable[[Sequence[Any]], bool]:
    return lambda values: set(map(type, values)) <= set(kinds)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _plain_boxes(values: Sequence[Any]) -> bool:
    return _only(list)(values) and set(map(len, values)) <= {4} and _only(int, float)(list(chain.from_iterable(values)))


def _is_side(value: Any) -> bool:
    return _is_number(value) and 0 < value < float('inf')


def _plain_sides(values: Sequence[Any]) -> bool:
    return _only(int)(values) and min(values, default=1) > 0


def _id(name: str) -> _Field:
    return _Field(name, _only(int), _is_id, 'an id')


_IMAGE = (
    _id('id'),
    _Field('file_name', _only(str), lambda value: isinstance(value, str), 'a file name'),
    *(_Field(side, _plain_sides, _is_side, 'a length') for side in ('width', 'height')),
)
_CATEGORY = (_id('id'), _Field('name', _only(str), lambda value: isinstance(value, str), 'a name'))
_ANNOTATION = (
    *map(_id, ('id', 'image_id', 'category_id')),
    _Field('bbox', _plain_boxes, _is_box, 'four numbers'),
    _Field('area', _only(int, float), _is_number, 'a number'),
)
