"""Checks on the records of an annotation file: ids, references, boxes, repetitions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmhybrid.text import plural, show

from .contents import Contents, name_image
from .dropped import overlaps
from .findings import Finding, found

# Pixels that a box may leave its image by without a word: COCO's own are rounded so.
TOLERANCE = 1
# Share of the boxes from which on a fault is taken for one of the whole file's.
MANY = 0.2


def check_records(contents: Contents) -> list[Finding]:
    """Ids, names and references."""
    images, rows = contents.image_rows, contents.rows
    names = [row['file_name'] for row in images]
    return [
        *contents.findings,
        *found('duplicate-image-id', [name_image(images[i]) for i in _repeated([row['id'] for row in images])]),
        *found(
            'duplicate-file-name', [f'{name_image(images[i])} id {show(images[i]["id"])}' for i in _repeated(names)]
        ),
        *contents.found('duplicate-annotation-id', _marked(_repeated([row['id'] for row in rows]), len(rows))),
        *contents.found('unlisted-image', contents.image_at < 0),
        *contents.found(
            'unknown-category',
            contents.category_at < 0,
            lambda i: f'category_id {show(rows[i]["category_id"])}',
        ),
        *_duplicate_annotations(contents),
    ]


def check_boxes(contents: Contents) -> list[Finding]:
    """Boxes and areas of annotations on listed images."""
    boxes, listed = contents.boxes, contents.image_at >= 0
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(contents.areas)
    with np.errstate(invalid='ignore'):
        degenerate = listed & finite & (boxes[:, 2:] < 1).any(axis=1)
        sound = listed & finite & ~degenerate
        outside = sound & (overlaps(contents) == 0)
        sizes = contents.sizes[contents.image_at] if len(contents.rows) else np.empty((0, 2))
        beyond = (boxes[:, :2] < -TOLERANCE) | (boxes[:, :2] + boxes[:, 2:] > sizes + TOLERANCE)
        partly = sound & ~outside & beyond.any(axis=1)
        no_area = listed & finite & (contents.areas <= 0)

    def box(i: int) -> str:
        return show(contents.rows[i]['bbox'])

    def on_image(i: int) -> str:
        width, height = sizes[i]
        return f'{box(i)} on {width:g} x {height:g}'

    hint = ''
    if (outside | partly).sum() > MANY * max(sound.sum(), 1) and (boxes[sound, 2:] >= boxes[sound, :2]).all():
        hint = 'are they [x1, y1, x2, y2]? COCO has [x, y, width, height]'
    small = ''
    if degenerate.sum() > MANY * max(listed.sum(), 1) and boxes[listed & finite].max(initial=0) <= 1:
        small = 'are they shares of the image? COCO has pixels'
    return [
        *contents.found('box-not-finite', listed & ~finite, lambda i: f'{box(i)} area {contents.areas[i]:g}'),
        *contents.found('box-degenerate', degenerate, box, small),
        *contents.found('box-outside', outside, on_image, hint),
        *contents.found('box-partly-outside', partly, on_image, hint),
        *contents.found('area-not-positive', no_area, lambda i: f'area {contents.areas[i]:g}'),
    ]


def check_images(contents: Contents, kept: np.ndarray) -> list[Finding]:
    """Images without instances.

    Args:
        contents: The annotation file, n annotations.
        kept: ``(n,)`` bool, the annotations that are learned from.
    """
    filled = np.bincount(contents.image_at[kept], minlength=len(contents.image_rows)) > 0
    empty = np.flatnonzero(~filled)
    if len(empty) == len(filled):
        return found('no-instances', [plural(len(contents.rows), 'annotation')])
    return found('image-empty', (name_image(contents.image_rows[i]) for i in empty.tolist()), len(empty))


def _repeated(values: Sequence[Any]) -> list[int]:
    """Indices of those that an earlier one equals."""
    if len(set(values)) == len(values):
        return []
    seen: set[Any] = set()
    return [i for i, value in enumerate(values) if value in seen or seen.add(value)]


def _marked(indices: Sequence[int], count: int) -> np.ndarray:
    marks = np.zeros(count, dtype=bool)
    marks[list(indices)] = True
    return marks


def _duplicate_annotations(contents: Contents) -> list[Finding]:
    """Annotations equal to an earlier one in all but the id; few have the same image, category and box."""
    if not contents.rows:
        return []
    known = np.column_stack([contents.image_at, contents.category_at, contents.boxes, contents.areas])
    candidates = np.flatnonzero((contents.image_at >= 0) & np.isfinite(known).all(axis=1))
    order = candidates[np.lexsort(known[candidates].T)]
    same = (known[order[1:]] == known[order[:-1]]).all(axis=1)
    suspects = sorted({*order[1:][same].tolist(), *order[:-1][same].tolist()})
    texts = [
        json.dumps(
            {name: value for name, value in contents.rows[i].items() if name != 'id'}, sort_keys=True, default=repr
        )
        for i in suspects
    ]
    return contents.found('duplicate-annotation', _marked([suspects[i] for i in _repeated(texts)], len(contents.rows)))
