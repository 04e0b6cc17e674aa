"""Results as rows of six numbers, ``image, x, y, width, height, score``, as KAIST's devkit and detectors write them."""

from __future__ import annotations

import re
from typing import IO

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import plural, show

from .checks import Records
from .columns import positions
from .ground_truth import GroundTruth
from .records import Results

_NUMBER = rb'[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?'
_FIRST = re.compile(rb'\s*\d+(?:\.0*)?(?:\s*,\s*' + _NUMBER + rb'){5}\s*(?:\r?\n|$)')
_NUMBERS = re.compile(rb'\s*' + _NUMBER + rb'(?:[\s,;]+' + _NUMBER + rb')+[\s,;]*$')
REMEDY = 'give rows of image, x, y, width, height, score, separated by commas'
# IoU of a detection with an instance that it matches.
MATCHED = 0.5


def is_rows(head: bytes) -> bool:
    """Whether a file begins with such a row."""
    return _FIRST.match(head) is not None


def refuse_others(head: bytes, source: str) -> None:
    """Raise an ``InputError`` if a file begins with a row of other numbers, or is an empty text file."""
    line = head.strip().partition(b'\n')[0].strip()
    if _NUMBERS.match(line):
        raise InputError(f'{source}: begins with {show(line.decode("ascii"))}; {REMEDY}, or COCO results as JSON.')
    if not line and '.txt' in source.lower():
        raise InputError(f'{source}: is empty; {REMEDY}, or COCO results as JSON.')


def read(file: IO[bytes], results: Results) -> None:
    """Read the rows of a text file. Its images count from 1 on, in the order of the ground truth's ids.

    The category is the one numbered 1, or the only one.

    Raises:
        InputError: A row that is none, or one of an image or category that the ground truth does not have.
    """
    known, lines = results.known, file.read().splitlines()
    filled = [number for number, line in enumerate(lines) if line.strip()]
    cells = [lines[number].decode('ascii', 'replace').split(',') for number in filled]
    records = Records(results.source, 'rows', cells)
    faults = [None if len(row) == 6 else f'has {len(row)} numbers' for row in cells]
    records.fail_where([fault is not None for fault in faults], lambda i: faults[i], REMEDY)
    values = np.array([[_number(cell) for cell in row] for row in cells]).reshape(-1, 6)
    records.fail_where(~np.isfinite(values).all(axis=1), lambda i: f'is {",".join(cells[i])!r}', REMEDY)
    ids = np.sort(known.images.numbers)
    at = values[:, 0]
    is_image = (at == np.round(at)) & (at >= 1) & (at <= len(ids))
    remedy = f'{known.source} has {plural(len(ids), "image")}, which rows number from 1 on'
    records.fail_where(~is_image, lambda i: f'is of image {at[i]:g}', remedy)
    category = known.person
    if category is None:
        count = len(known.category_ids)
        records.fail(0, 'has no category', f'{known.source} has {count}; give COCO results, which name it')
    results.notes.append(
        f'{results.source}: rows of image, box and score were read; images were counted from 1 on in the order of '
        f'their ids, and the category is {category}'
    )
    at = at.astype(np.int64)
    results.is_resolved = True
    rows = zip(ids[at - 1].tolist(), values[:, 1:5].tolist(), values[:, 5].tolist(), strict=True)
    results.take_rows([
        {'image_id': image, 'category_id': category, 'bbox': box, 'score': score} for image, box, score in rows
    ])  # fmt: skip
    # Of rows that count from 0, none is of the last image, and none of the first where nothing was detected on it.
    if at.max() < len(ids):
        as_read, shifted = (_num_matched(known.gt, ids[at - 1 + more], values) for more in (0, 1))
        if shifted > max(2, 2 * as_read):
            results.notes.append(
                f'{results.source}: the best detection matches an instance on {as_read} images, but on {shifted} if '
                'images were counted from 0; see that rows count from 1'
            )


def _num_matched(gt: GroundTruth, image_ids: np.ndarray, rows: np.ndarray) -> int:
    """On how many images the best of the rows ``(n, 6)``, on ``(n,)`` images, matches an instance by IoU."""
    order = np.lexsort((-rows[:, 5], image_ids))
    images, first = np.unique(image_ids[order], return_index=True)
    is_on = np.isin(gt.annotation_image_ids, images)
    own, found = gt.boxes[is_on], rows[order[first]][positions(images, gt.annotation_image_ids[is_on]), 1:5]
    start, end = np.maximum(own[:, :2], found[:, :2]), np.minimum(own[:, :2] + own[:, 2:], found[:, :2] + found[:, 2:])
    both = np.maximum(end - start, 0).prod(axis=1)
    is_match = both > MATCHED * (own[:, 2:].prod(axis=1) + found[:, 2:].prod(axis=1) - both)
    return len(np.unique(gt.annotation_image_ids[is_on][is_match]))


def _number(cell: str) -> float:
    try:
        return np.nan if '_' in cell else float(cell)  # for Python, 1_0 is ten
    except ValueError:
        return np.nan
