"""Results as rows of six numbers, ``image, x, y, width, height, score``, as KAIST's devkit and detectors write them."""

from __future__ import annotations

import re
from typing import IO

import numpy as np

from .checks import Records
from .records import Results

_NUMBER = rb'[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?'
_FIRST = re.compile(rb'\s*\d+(?:\.0*)?(?:\s*,\s*' + _NUMBER + rb'){5}\s*(?:\r?\n|$)')
REMEDY = 'give rows of image, x, y, width, height, score, separated by commas'


def is_rows(head: bytes) -> bool:
    """Whether a file begins with such a row."""
    return _FIRST.match(head) is not None


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
    remedy = f'{known.source} has {len(ids)} images, which rows number from 1 on'
    records.fail_where(~is_image, lambda i: f'is of image {at[i]:g}', remedy)
    category = known.person
    if category is None:
        count = len(known.category_ids)
        records.fail(0, 'has no category', f'{known.source} has {count}; give COCO results, which name it')
    results.notes.append(
        f'{results.source}: rows of image, box and score were read; images were counted from 1 on in the order of '
        f'their ids, and the category is {category}'
    )
    images = ids[at.astype(np.int64) - 1].tolist()
    results.is_resolved = True
    rows = zip(images, values[:, 1:5].tolist(), values[:, 5].tolist(), strict=True)
    results.take_rows([
        {'image_id': image, 'category_id': category, 'bbox': box, 'score': score} for image, box, score in rows
    ])  # fmt: skip


def _number(cell: str) -> float:
    try:
        return np.nan if '_' in cell else float(cell)  # for Python, 1_0 is ten
    except ValueError:
        return np.nan
