"""Lists of instances that a detector should find, as Occluded COCO and Separated COCO are published.

Zhan, Xie and Zisserman, A Tri-Layer Plugin to Improve Occluded Detection, BMVC 2022 (https://arxiv.org/abs/2210.10046):
``occluded_coco.pkl`` and ``separated_coco.pkl`` hold an entry an instance of COCO's val2017, with the file name of its
image, the name of its class, a number of its annotation, a box and the mask as run lengths. Number and box are not
looked at: the box is corners in one file and not in the other, and recall goes by masks.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import files, mmdet_pickle, segmentations, unpickling
from .checks import REPEATED, Records, repeats
from .ground_truth import GroundTruth
from .ids import BY_NAME, ImageIds

ENTRY = '[file name, class name, number, box, run-length mask]'
REMEDY = 'give occluded_coco.pkl or separated_coco.pkl as published, or the same as JSON'
# One pixel that is not inside: stands for the mask of an entry that is left out, whose image's size is not known.
_EMPTY = {'size': [1, 1], 'counts': b'1'}


@dataclass(frozen=True, eq=False)
class InstanceList:
    """The m entries of a list whose image and class the ground truth has.

    Attributes:
        source: The file.
        image_ids: ``(m,)`` int64.
        category_ids: ``(m,)`` int64.
        masks: m sound run-length encodings, ``{'size': [height, width], 'counts': bytes}``.
        num_entries: How many entries the file has.
        missing_images: File names that the ground truth lacks, in the file's order.
        missing_classes: Likewise names of classes.
        notes: What to tell a reader, one line each.
    """

    source: str
    image_ids: np.ndarray
    category_ids: np.ndarray
    masks: list[dict[str, Any]]
    num_entries: int
    missing_images: tuple[str, ...] = ()
    missing_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def load_instance_list(path: str | PathLike[str], gt: GroundTruth) -> InstanceList:
    """Read and check a list; a pickle without running anything that it names.

    Args:
        path: A pickle, or JSON with lists in place of tuples; packed or not.
        gt: What the entries' images and classes must be in, with the images' sizes. Entries of others are left out,
            which a note says.

    Raises:
        InputError: The file or an entry cannot be used, or no entry is of an image and class of the ground truth.
    """
    source, rows = str(path), _read(path)
    if not isinstance(rows, list | tuple) or not rows:
        raise InputError(f'{source}: holds {show(rows)}, not a filled list; {REMEDY}.')
    entries = Records(source, 'instances', rows)
    entries.fail_where((not _is_entry(row) for row in rows), lambda i: f'{show(rows[i])} is not {ENTRY}', REMEDY)
    images, classes = [row[0] for row in rows], [row[1] for row in rows]
    found = (gt.ids or ImageIds(gt.images, gt.source)).find(images)
    category_ids = _categories(gt, classes)
    is_known = np.array([name in category_ids for name in classes])
    kept = np.flatnonzero(found.is_known & is_known)
    missing = _names(images, ~found.is_known), _names(classes, ~is_known)
    if not len(kept):
        raise InputError(
            f'{source}: of none of its {len(rows)} instances are image and class in {gt.source} (the first is of '
            f'{show(images[0])}, {show(classes[0])}); give the ground truth that the list is of, such as '
            'instances_val2017.json.'
        )
    notes = [f'{source}: {found.note}'] if found.note not in ('', BY_NAME) else []
    for what, names, bad in (('images', missing[0], ~found.is_known), ('classes', missing[1], ~is_known)):
        if names:
            notes.append(
                f'{source}: {bad.sum():,} of {len(rows):,} instances are left out, since {gt.source} lacks '
                f'{len(names):,} of their {what}: {show(list(names))}'
            )
    image_ids = found.ids[kept]
    masks, told = _masks(source, rows, kept, image_ids, gt)
    return InstanceList(
        source=source,
        image_ids=image_ids,
        category_ids=np.array([category_ids[classes[i]] for i in kept.tolist()], dtype=np.int64),
        masks=masks,
        num_entries=len(rows),
        missing_images=missing[0],
        missing_classes=missing[1],
        notes=(*notes, *told),
    )


def _read(path: str | PathLike[str]) -> Any:
    what = 'list of instances, pickled or'  # "as COCO JSON", as the message ends
    with files.explained(path, what), files.garbage_collector_paused(), files.open_input(path) as packed:
        raw = files.unpacked(packed, path).read()
        if not mmdet_pickle.is_pickle(raw[:8]):
            files.refuse_foreign(raw[:300], path)
            return files.loads(raw)
    try:
        return unpickling.load(io.BytesIO(raw))[0]
    except Exception as error:  # unpickling what is no pickle can raise anything
        problem = ' '.join(f'{type(error).__name__}: {error}'.split())[:200]
        raise InputError(f'{path}: cannot be read as a pickle ({problem}); {REMEDY}.') from None


def _is_entry(row: Any) -> bool:
    if not isinstance(row, list | tuple) or len(row) != 5:
        return False
    return isinstance(row[0], str) and isinstance(row[1], str) and isinstance(row[4], dict)


def _categories(gt: GroundTruth, classes: Sequence[str]) -> dict[str, int]:
    """Ids of categories by their names, of which those listed must have one each."""
    names = [row['name'] for row in gt.categories]
    is_again = repeats(names) & np.isin(names, list(set(classes)))
    Records(gt.source, 'categories', gt.categories).refuse(
        'name', names, is_again, REPEATED, 'give every listed class one category'
    )
    return {row['name']: row['id'] for row in gt.categories}


def _masks(
    source: str, rows: Sequence[Any], kept: np.ndarray, image_ids: np.ndarray, gt: GroundTruth
) -> tuple[list[dict[str, Any]], list[str]]:
    """Checked masks of the entries ``kept``, in images of ``image_ids``."""
    of_images = segmentations.image_sizes(Records(gt.source, 'images', gt.images))
    at = dict(zip(gt.image_ids.tolist(), range(len(of_images)), strict=True))
    given, sizes = [{'segmentation': _EMPTY}] * len(rows), np.ones((len(rows), 2), dtype=np.int64)
    for i, image_id in zip(kept.tolist(), image_ids.tolist(), strict=True):
        given[i], sizes[i] = {'segmentation': rows[i][4]}, of_images[at[image_id]]
    masks, notes = segmentations.check_detections(Records(source, 'instances', given), sizes)
    return masks.take(kept), notes


def _names(names: Sequence[str], chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names[i] for i in np.flatnonzero(chosen).tolist()))
