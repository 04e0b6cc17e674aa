"""A property of images that the user measured: crowding, night, rain; one number or one label an image."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from .checks import Records, repeats, to_float
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
        return Property(column or 'value', *_by_image(gt, list(values.items()), 'values'))
    path = Path(values)
    try:
        with open_input(path) as file:
            text = io.TextIOWrapper(file, encoding='utf-8-sig').read()
        name, pairs = (_read_csv if path.suffix.lower() == '.csv' else _read_json)(text, column)
    except InputError:
        raise
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise InputError(f'{path}: cannot be read ({error}); {FORMS}.') from None
    return Property(name or path.stem, *_by_image(gt, pairs, str(path)))


def _read_json(text: str, column: str | None) -> tuple[str | None, list[tuple[str, Any]]]:
    # As tuples of pairs: a dictionary would keep the last of two entries for one image, silently.
    content = json.loads(text, object_pairs_hook=tuple)
    if not isinstance(content, tuple):
        raise ValueError('it is no JSON object')
    return column, list(content)


def _read_csv(text: str, column: str | None) -> tuple[str, list[tuple[str, Any]]]:
    heading, *rows = list(csv.reader(io.StringIO(text, newline=''))) or [[]]
    heading = [cell.strip() for cell in heading]
    key = next((name for name in KEY_COLUMNS if name in heading), None)
    others = [name for name in heading if name != key]
    name = others[0] if column is None and len(others) == 1 else column
    if key is None or heading.count(name) != 1:
        wanted = 'one of values, or the name of one' if column is None else f'one {column!r}'
        raise ValueError(f"the heading is {show(heading)}, which needs a column 'image_id' or 'file_name' and {wanted}")
    pairs = []
    for number, row in enumerate(rows, start=2):
        if len(row) not in (0, len(heading)):
            raise ValueError(f'line {number} has {len(row)} cells, the heading {len(heading)}')
        if row:
            pairs.append((row[heading.index(key)].strip(), _number_or_text(row[heading.index(name)].strip())))
    return name, pairs


def _number_or_text(cell: str) -> float | str:
    """A finite number where the cell is one; for Python, 1_0 is ten."""
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) and '_' not in cell else cell


def _by_image(
    gt: GroundTruth, pairs: list[tuple[Any, Any]], source: str
) -> tuple[dict[int, float | str], tuple[str, ...]]:
    keys, values = [key for key, _ in pairs], [_value(value) for _, value in pairs]
    found = gt.ids.find(keys)
    known = np.flatnonzero(found.is_known)
    notes = [f'{source}: {found.note}'] if found.note else []
    if unknown := len(keys) - len(known):
        first = show(keys[int(np.argmin(found.is_known))])
        if unknown == len(keys):
            raise InputError(f'{source}: {first} is no image of {gt.source}; use its image ids or file names.')
        notes.append(f'{source}: {unknown} of {len(keys)} entries are of no image of {gt.source}, the first is {first}')

    def fail_where(bad: list[bool] | np.ndarray, problem: str, remedy: str) -> None:
        at = known[np.asarray(bad, dtype=bool)].tolist()
        if at:
            value = show(pairs[at[0]][1])
            Records(source, 'entries', pairs).fail(
                at[0], f'image {show(keys[at[0]])} has the value {value}{problem}', remedy, len(at)
            )

    given = [values[at] for at in known.tolist()]
    ids = found.ids[known]
    fail_where(repeats(ids), ', and another before', 'give every image one')
    remedy = "give a finite number, or a label other than 'all', which names all images"
    fail_where([value is None for value in given], '', remedy)
    is_label = [isinstance(value, str) for value in given]
    if not all(is_label):
        fail_where(is_label, ', while others have numbers', 'give numbers or labels')
    by_id = dict(zip(ids.tolist(), given, strict=True))
    names = dict(zip(gt.image_ids.tolist(), gt.image_names, strict=True))
    if missing := [name for i, name in names.items() if i not in by_id]:
        raise InputError(
            f'{source}: {len(missing)} of {len(names)} images have no value, the first is image {show(missing[0])}; '
            'give every image of the ground truth one.'
        )
    labels = set(given) if any(is_label) else ()
    if len(labels) > MAX_LABELS:
        raise InputError(f'{source}: {len(labels)} different labels; give at most {MAX_LABELS}, or numbers.')
    return {i: by_id[i] for i in names}, tuple(notes)


def _value(value: Any) -> float | str | None:
    """A finite number or a label; None for what is neither."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, Real):
        number = float(to_float([value])[0])
        return number if math.isfinite(number) else None
    return str(value) if isinstance(value, str) and value not in ('', 'all') else None
