"""A property of images that the user measured: crowding, night, rain; one number or one label an image."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .checks import repeats, to_float
from .files import open_input

if TYPE_CHECKING:
    from .ground_truth import GroundTruth

KEY_COLUMNS = ('image_id', 'id', 'file_name')
MAX_LABELS = 50
FORMS = "give JSON {image id or file name: value} or CSV with a column 'image_id' or 'file_name'"


class Property(NamedTuple):
    """A property of images.

    Attributes:
        name: What to call it.
        values: Image id -> value, in the ground truth's order: all numbers, or all labels.
        notes: How images were matched, and how many values are of none.
    """

    name: str
    values: dict[int, float | str]
    notes: tuple[str, ...]


def read_property(
    gt: GroundTruth, values: str | PathLike[str] | Mapping[Any, Any], column: str | None = None
) -> Property:
    """One value for every image of the ground truth, out of values for these images or more.

    Args:
        gt: Checked ground truth.
        values: A mapping image id or file name -> value; a ``.json`` file with such an object; or a ``.csv`` file with
            a heading, a column ``image_id`` (or ``id``) or ``file_name``, and a column for the value.
        column: Which column of a CSV file holds the value, needed if there are several; otherwise what to call the
            property, by default the file's name.

    Raises:
        InputError: A file that cannot be read, or without any known image, an image that is twice there or without a
            value, values of which only some are numbers, or more than 50 labels.
    """
    if isinstance(values, Mapping):
        return Property(column or 'value', *_by_image(gt, values.items(), 'values'))
    path, source = Path(values), str(Path(values))
    try:
        with open_input(path) as file:
            text = io.TextIOWrapper(file, encoding='utf-8-sig').read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'{path}: cannot be read ({error}); {FORMS}.') from None
    if path.suffix.lower() == '.csv':
        name, pairs = _read_csv(text, source, column)
    else:
        name, pairs = column or path.stem, _read_json(text, source)
    return Property(name, *_by_image(gt, pairs, source))


def _read_json(text: str, source: str) -> Iterable[tuple[str, Any]]:
    try:
        # As tuples of pairs: a dictionary would keep the last of two entries for one image, silently.
        content = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise InputError(f'{source}: not valid JSON ({error}); {FORMS}.') from None
    if not isinstance(content, tuple):
        raise InputError(f'{source}: no JSON object; {FORMS}.')
    return content


def _read_csv(text: str, source: str, column: str | None) -> tuple[str, list[tuple[str, Any]]]:
    try:
        rows = list(csv.reader(io.StringIO(text, newline='')))
    except csv.Error as error:
        raise InputError(f'{source}: not valid CSV ({error}); {FORMS}.') from None
    heading = [cell.strip() for cell in rows[0]] if rows else []
    key = next((name for name in KEY_COLUMNS if name in heading), None)
    others = [name for name in heading if name != key]
    if key is None or not others:
        raise InputError(f'{source}: the heading is {show(heading)}; {FORMS} and one for the value.')
    if column is None and len(others) > 1:
        raise InputError(f'{source}: has the columns {", ".join(others)}; say which one holds the value.')
    column = others[0] if column is None else column
    if heading.count(column) != 1:
        raise InputError(
            f'{source}: has {heading.count(column)} columns {column!r}; its columns are {", ".join(others)}.'
        )
    at, value_at = heading.index(key), heading.index(column)
    keys, cells = [], []
    for number, row in enumerate(rows[1:], start=2):
        if row and len(row) != len(heading):
            raise InputError(f'{source}: line {number} has {len(row)} cells, the heading {len(heading)}; repair it.')
        if row:
            keys.append(row[at].strip())
            cells.append(row[value_at].strip())
    return column, list(zip(keys, _numbers_or_text(cells), strict=True))


def _numbers_or_text(cells: list[str]) -> list[float | str]:
    """Numbers for cells that are; beside labels, ``nan`` and ``inf`` are labels too."""
    numbers: list[float | None] = []
    for cell in cells:
        try:
            numbers.append(None if '_' in cell else float(cell))  # for Python, 1_0 is ten
        except ValueError:
            numbers.append(None)
    has_labels = None in numbers
    return [
        cell if number is None or (has_labels and not math.isfinite(number)) else number
        for cell, number in zip(cells, numbers, strict=True)
    ]


def _by_image(
    gt: GroundTruth, pairs: Iterable[tuple[Any, Any]], source: str
) -> tuple[dict[int, float | str], tuple[str, ...]]:
    keys, values = map(list, zip(*pairs, strict=True)) if (pairs := list(pairs)) else ([], [])
    found = gt.ids.find(keys)
    notes = [f'{source}: {found.note}'] if found.note else []
    if unknown := int((~found.is_known).sum()):
        first = keys[int(np.argmin(found.is_known))]
        if unknown == len(keys):
            raise InputError(f'{source}: {show(first)} is no image of {gt.source}; use its image ids or file names.')
        notes.append(
            f'{source}: {unknown} of {len(keys)} entries are of no image of {gt.source}, the first is {show(first)}'
        )
    known = np.flatnonzero(found.is_known)
    ids = found.ids[known]
    if (twice := repeats(ids)).any():
        first = keys[known[int(np.argmax(twice))]]
        raise InputError(
            f'{source}: {twice.sum()} images have two values, the first is {show(first)}; give one an image.'
        )
    by_id = {i: _checked(values[at], keys[at], source) for i, at in zip(ids.tolist(), known.tolist(), strict=True)}
    names = dict(zip(gt.image_ids.tolist(), gt.image_names, strict=True))
    if missing := [name for i, name in names.items() if i not in by_id]:
        raise InputError(
            f'{source}: {len(missing)} of {len(names)} images have no value, the first is image {show(missing[0])}; '
            'give every image of the ground truth one.'
        )
    labels = {value for value in by_id.values() if isinstance(value, str)}
    odd = next((i for i in names if isinstance(by_id[i], str)), None)
    if odd is not None and len(set(map(type, by_id.values()))) > 1:
        raise InputError(
            f'{source}: some values are numbers, but image {show(names[odd])} has {show(by_id[odd])}; give numbers or '
            'labels.'
        )
    if len(labels) > MAX_LABELS:
        raise InputError(f'{source}: {len(labels)} different labels; give at most {MAX_LABELS}, or numbers.')
    return {i: by_id[i] for i in names}, tuple(notes)


def _checked(value: Any, key: Any, source: str) -> float | str:
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, Real) and math.isfinite(number := float(to_float([value])[0])):
        return number
    if value == 'all':
        raise InputError(f"{source}: image {show(key)} has the label 'all', which names all images; use another.")
    if isinstance(value, str) and value:
        return str(value)
    raise InputError(f'{source}: image {show(key)} has the value {show(value)}; give a finite number or a label.')
