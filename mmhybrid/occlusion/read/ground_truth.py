"""Ground truth in COCO format, read and checked before anything is computed.

Whatever is wrong with it raises ``InputError`` in one sentence: which file, which record, which field, what to do.
Fields that are not needed are not looked at. No record is dropped, and where one is read otherwise than it is written,
a note says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from types import MappingProxyType
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show, writable

from . import amodal, attributes, layouts, segmentations
from .checks import REPEATED, Records, repeats, whole_numbers
from .columns import positions, to_rows
from .files import garbage_collector_paused, read_json
from .ids import ImageIds
from .notes import box_notes, federated_note
from .shapes import any_sizes, areas_of, boxes_of, image_records

GEOMETRIES = ('bbox', 'segm', 'amodal')
IGNORE = ('region', 'as-instances')
# Fields that say so: of pedestrians' data sets, and of those made of PASCAL VOC's annotations.
IGNORE_FIELDS = ('ignore', 'difficult')


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Checked ground truth: I images, n annotations.

    Segmentations are polygons, or compressed run lengths as ``{'size': [height, width], 'counts': bytes}``.

    Attributes:
        source: File name for messages.
        images: The image records, whole, with ids and sizes as below.
        categories: The category records, whole, each with an ``int`` as ``id`` and text as ``name``.
        image_ids: ``(I,)`` int64, in the file's order: the ids, or if they are text, numbers from 0 on.
        annotation_ids: ``(n,)`` int64, from 1 on if the file's are missing, repeated or text.
        annotation_image_ids: ``(n,)`` int64.
        category_ids: ``(n,)`` int64.
        boxes: ``(n, 4)`` float64 ``x, y, width, height`` in pixels.
        areas: ``(n,)`` float64, the field ``area``; where it is missing, of mask or box.
        is_crowd: ``(n,)`` bool.
        is_ignored: ``(n,)`` bool, the field ``ignore`` or ``difficult``, which pycocotools does not read; nowhere true
            if that was asked for.
        sizes: ``(I, 2)`` int64 height and width of the images; None unless masks are loaded.
        segmentations: n of the field ``segmentation``; None unless ``segm`` was asked for.
        extents: ``(n, 4)`` float64 ``x1, y1, x2, y2`` in pixels that each of these stays within; None without them.
        amodal_segmentations: n whole shapes, hidden parts included; None unless ``amodal`` was asked for.
        visible_segmentations: n visible parts; None unless ``amodal`` was asked for.
        attributes: By name those asked for, ``(n,)`` float64, NaN where unknown (see
            :mod:`mmhybrid.occlusion.read.attributes`); without a ``visibility`` that only masks tell.
        origins: What each of these was read from.
        ids: What other files may call the images.
        notes: What to tell a reader, one line each.
    """

    source: str
    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    image_ids: np.ndarray
    annotation_ids: np.ndarray
    annotation_image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray
    is_ignored: np.ndarray
    sizes: np.ndarray | None = None
    segmentations: list[Any] | None = None
    extents: np.ndarray | None = None
    amodal_segmentations: list[Any] | None = None
    visible_segmentations: list[Any] | None = None
    attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    ids: ImageIds | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def image_names(self) -> list[int | str]:
        """I ids as the file has them, to be shown."""
        names = self.image_ids.tolist() if self.ids is None else self.ids.names
        return [writable(name) if isinstance(name, str) else name for name in names]

    @cached_property
    def is_region(self) -> np.ndarray:
        """``(n,)`` bool, crowds and ignored: on such a region a detection is neither right nor wrong."""
        return self.is_crowd | self.is_ignored

    def to_coco(self, iou_type: str) -> dict[str, list[dict[str, Any]]]:
        """A fresh COCO data set with what matching by ``iou_type`` reads.

        Annotations are numbered from 1 on: pycocotools keeps ids as float64, which rounds large ones. ``iscrowd``
        stands for ``ignore`` too, which it overwrites.
        """
        columns = {
            'id': range(1, len(self.annotation_ids) + 1),
            'image_id': self.annotation_image_ids.tolist(),
            'category_id': self.category_ids.tolist(),
            'bbox': self.boxes.tolist(),
            'area': self.areas.tolist(),
            'iscrowd': self.is_region.astype(int).tolist(),
        }
        if iou_type == 'segm':
            columns['segmentation'] = self.segmentations
        return {
            'images': [dict(image) for image in self.images],
            'categories': [dict(category) for category in self.categories],
            'annotations': to_rows(columns),
        }


def load_ground_truth(
    gt: str | PathLike[str] | dict[str, Any],
    geometries: Sequence[str] = ('bbox',),
    iou_types: Sequence[str] = ('bbox',),
    ignore: str = 'region',
    wanted: Mapping[str, str | None] = MappingProxyType({}),
    masks: str | None = None,
) -> GroundTruth:
    """Read and check COCO ground truth.

    Args:
        gt: Path of a ``.json`` file, which may be packed, or of CrowdHuman's ``.odgt``; or its content, which is not
            changed.
        geometries: What is measured: ``'bbox'``, ``'segm'`` for the field ``segmentation``, ``'amodal'`` for whole and
            visible masks, in one of the pairs of fields of ``segmentations.AMODAL_FIELDS``. In the latter, an instance
            without the field of the visible mask is fully visible.
        iou_types: What is evaluated: ``'bbox'`` needs boxes, ``'segm'`` masks; any of them needs areas, which are taken
            from masks, if they are evaluated, or boxes where the field ``area`` is missing.
        ignore: What instances with the field ``ignore`` or ``difficult`` set are: ``'region'``, where a detection is
            neither right nor wrong; or ``'as-instances'``, as any other, as in plain pycocotools.
        wanted: Attributes of instances, ``visibility``, ``level``, ``height`` or ``area``, and the field that each is
            read from, or None for the usual ones.
        masks: ``'amodal'`` or ``'visible'`` where the file has both: ``segmentations``, ``areas`` and ``boxes`` are of
            these (see :mod:`mmhybrid.occlusion.read.amodal`), and ``visibility`` is left to the masks, unless its field
            is named; None for the fields ``segmentation``, ``area`` and ``bbox``, whichever masks these are of.

    Raises:
        InputError: The file or a record cannot be used.
    """
    for value, what, known in (
        *((geometry, 'geometry', GEOMETRIES) for geometry in geometries),
        *((iou_type, 'IoU type', GEOMETRIES[:2]) for iou_type in iou_types),
        (ignore, 'ignore', IGNORE),
        *([(masks, 'masks', amodal.MASKS)] if masks is not None else ()),
    ):
        if value not in known:
            raise InputError(f'unknown {what} {value!r}; choose from {", ".join(known)}.')
    with garbage_collector_paused():
        source = 'ground truth'
        if isinstance(gt, str | PathLike):
            source, gt = str(gt), read_json(gt, 'ground truth')
        return _checked(layouts.as_coco(gt, source), source, geometries, iou_types, ignore, wanted, masks)


def _checked(
    content: Any,
    source: str,
    geometries: Sequence[str],
    iou_types: Sequence[str],
    ignore: str,
    wanted: Mapping[str, str | None],
    masks: str | None,
) -> GroundTruth:
    if not isinstance(content, dict):
        hint = 'that looks like a results file' if isinstance(content, list) else f'found {show(content)}'
        raise InputError(f'{source}: ground truth must be a JSON object, {hint}; give a COCO annotation file.')
    images = _section(content, 'images', source)
    categories = _section(content, 'categories', source)
    annotations = _section(content, 'annotations', source, may_be_empty=True)
    remedy = 'give every category its own integer id'
    category_ids = categories.integers('id', remedy)
    categories.refuse('id', category_ids, repeats(category_ids), REPEATED, remedy)
    ids = ImageIds(images.rows, source)
    notes = [] if annotations.rows else [f'{source}: there are no annotations']

    remedy = "list the image under 'images' or remove the annotation"
    of_image, told = ids.resolve(annotations.column('image_id', remedy), source, 'annotations', remedy=remedy)
    notes += told
    at = positions(ids.numbers, of_image)
    remedy = "list the category under 'categories' or remove the annotation"
    of_category = annotations.integers('category_id', remedy)
    bad = ~np.isin(of_category, category_ids)
    annotations.refuse('category_id', of_category, bad, "which is no category of 'categories'", remedy)
    is_crowd, is_ignored = annotations.flags('iscrowd'), np.zeros(len(at), dtype=bool)
    for name in IGNORE_FIELDS if ignore == 'region' else ():
        is_set = annotations.flags(name)
        is_ignored |= is_set
        if count := (is_set & ~is_crowd).sum():
            notes.append(
                f"{source}: {count} of {len(at)} instances have '{name}' set: no occlusion ratio counts them, and a "
                'detection on them is neither right nor wrong; with --ignore as-instances they are taken as any other, '
                'as by plain pycocotools'
            )

    counted = ~(is_crowd | is_ignored)
    if masks is not None:
        wanted = {name: field for name, field in wanted.items() if (name, field) != ('visibility', None)}
    needed = {*geometries, *iou_types, *attributes.needs(annotations, wanted)}
    if iou_types:
        amodal.check(annotations, counted, masks, needed)
    if masks is not None:
        needed = needed - {'segm'} | {'amodal'}
    sizes, sizes_of, shapes = None, None, {}
    if needed & {'segm', 'amodal'}:
        sizes = segmentations.image_sizes(images)
        sizes_of = sizes[at]
        shapes, told = segmentations.load(annotations, sizes_of, needed, counted)
        notes += told
    if masks is not None:
        chosen = amodal.choose(annotations, shapes, masks, sizes_of, counted)
        boxes, whole, areas, told = chosen.boxes, chosen.boxes, chosen.areas, list(chosen.notes)
        if masks == 'visible' and wanted:  # v and h describe the whole instance
            whole = amodal.choose(annotations, shapes, 'amodal', sizes_of, counted).boxes
        shapes |= {'segmentations': chosen.segmentations, 'extents': chosen.extents}
    else:
        own = shapes.get('segmentations')
        boxes = whole = annotations.boxes() if 'bbox' in needed else boxes_of(annotations, own, sizes_of)
        areas, told = boxes[:, 2:].prod(axis=1), []
        if iou_types or 'area' in wanted:
            areas, told = areas_of(annotations, boxes, own if 'segm' in iou_types else None, sizes_of)
    if 'bbox' in needed:
        notes += box_notes(boxes, any_sizes(images.rows)[at], f'{source}: annotations')
    notes += told
    if iou_types:
        notes += federated_note(images.rows, source)
    found = attributes.read(annotations, whole, areas, counted, wanted)
    notes += [note for each in found.values() for note in each.notes]
    numbers, is_whole = whole_numbers([row.get('id') for row in annotations.rows])
    has_ids = is_whole.all() and not repeats(numbers).any()
    return GroundTruth(
        source=source,
        images=image_records(images.rows, ids, sizes),
        categories=[
            row | {'id': number, 'name': writable(str(row.get('name') or number))}
            for row, number in zip(categories.rows, category_ids.tolist(), strict=True)
        ],
        image_ids=ids.numbers,
        annotation_ids=numbers if has_ids else np.arange(1, len(numbers) + 1),
        annotation_image_ids=of_image,
        category_ids=of_category,
        boxes=boxes,
        areas=areas,
        is_crowd=is_crowd,
        is_ignored=is_ignored,
        sizes=sizes,
        attributes={name: each.values for name, each in found.items()},
        origins={name: each.origin for name, each in found.items()},
        ids=ids,
        notes=tuple(notes),
        **shapes,
    )


def _section(content: dict[str, Any], name: str, source: str, may_be_empty: bool = False) -> Records:
    rows = content.get(name)
    if not isinstance(rows, list) or not (rows or may_be_empty):
        problem = f"'{name}' is missing" if name not in content else f"'{name}' is {show(rows)}, not a filled list"
        raise InputError(f'{source}: {problem}; give COCO ground truth with images, annotations and categories.')
    records = Records(source, name, rows)
    records.check_objects()
    return records
