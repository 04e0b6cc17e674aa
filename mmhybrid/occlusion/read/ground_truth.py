"""Ground truth in COCO format, read and checked before anything is computed.

Whatever is wrong with it raises ``InputError`` in one sentence: which file, which record, which field, what to do.
Nothing is dropped and nothing is repaired, with one exception: a record without ``iscrowd`` counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from mmhybrid.errors import InputError
from mmhybrid.text import show

from . import reading
from . import segmentations as masks
from .checks import Records
from .columns import positions, to_rows

GEOMETRIES = ('bbox', 'segm', 'amodal')


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Checked ground truth: I images, n annotations.

    Segmentations are polygons, or compressed run lengths as ``{'size': [height, width], 'counts': bytes}``.

    Attributes:
        source: File name for messages.
        images: The image records, whole.
        categories: The category records, whole.
        image_ids: ``(I,)`` int64, in the file's order.
        annotation_ids: ``(n,)`` int64.
        annotation_image_ids: ``(n,)`` int64.
        category_ids: ``(n,)`` int64.
        boxes: ``(n, 4)`` float64 ``x, y, width, height`` in pixels.
        areas: ``(n,)`` float64, the field ``area``.
        is_crowd: ``(n,)`` bool.
        is_ignored: ``(n,)`` bool, the field ``ignore``, which pycocotools does not read.
        sizes: ``(I, 2)`` int64 height and width of the images; None unless masks are loaded.
        segmentations: n of the field ``segmentation``; None unless ``segm`` was asked for.
        extents: ``(n, 4)`` float64 ``x1, y1, x2, y2`` in pixels that each of these stays within; None without them.
        amodal_segmentations: n whole shapes, hidden parts included; None unless ``amodal`` was asked for.
        visible_segmentations: n visible parts; None unless ``amodal`` was asked for.
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

    def to_coco(self, iou_type: str) -> dict[str, list[dict[str, Any]]]:
        """A fresh COCO data set with what matching by ``iou_type`` reads."""
        columns = {
            'id': self.annotation_ids.tolist(),
            'image_id': self.annotation_image_ids.tolist(),
            'category_id': self.category_ids.tolist(),
            'bbox': self.boxes.tolist(),
            'area': self.areas.tolist(),
            'iscrowd': self.is_crowd.astype(int).tolist(),
        }
        if iou_type == 'segm':
            columns['segmentation'] = self.segmentations
        return {
            'images': [dict(image) for image in self.images],
            'categories': [dict(category) for category in self.categories],
            'annotations': to_rows(columns),
        }


def load_ground_truth(gt: str | PathLike[str] | dict[str, Any], geometries: Sequence[str] = ('bbox',)) -> GroundTruth:
    """Read and check COCO ground truth.

    Args:
        gt: Path of a ``.json`` or ``.json.gz`` file, or its content, which is not changed.
        geometries: What is needed beside boxes, which always are: ``'segm'`` for the field ``segmentation``,
            ``'amodal'`` for whole and visible masks, in one of the pairs of fields of ``masks.AMODAL_FIELDS``.

    Raises:
        InputError: The file or a record cannot be used.
    """
    unknown = [geometry for geometry in geometries if geometry not in GEOMETRIES]
    if unknown:
        raise InputError(f'unknown geometry {unknown[0]!r}; choose from {", ".join(GEOMETRIES)}.')
    # Searching millions of new records for cycles, of which there are none, takes as long as making them.
    with reading.garbage_collector_paused():
        if isinstance(gt, str | PathLike):
            return _checked_ground_truth(reading.read_json(gt, 'ground truth'), str(gt), geometries)
        return _checked_ground_truth(gt, 'ground truth', geometries)


def _checked_ground_truth(content: Any, source: str, geometries: Sequence[str]) -> GroundTruth:
    if not isinstance(content, dict):
        hint = 'that looks like a results file' if isinstance(content, list) else f'found {show(content)}'
        raise InputError(f'{source}: ground truth must be a JSON object, {hint}; give a COCO annotation file.')
    images = _section(content, 'images', source)
    categories = _section(content, 'categories', source)
    annotations = _section(content, 'annotations', source)

    image_ids = images.unique_integers('id', 'give every image its own integer id')
    category_ids = categories.unique_integers('id', 'give every category its own integer id')
    ids = annotations.unique_integers('id', 'give every annotation its own integer id')
    annotations.fail_where(
        ids == 0, lambda i: "field 'id' is 0, which COCO evaluation reads as 'no match'", 'number them from 1'
    )
    image_remedy = "list the image under 'images' or remove the annotation"
    annotation_image_ids = annotations.references('image_id', image_ids, "image of 'images'", image_remedy)
    category_remedy = "list the category under 'categories' or remove the annotation"
    areas = annotations.numbers('area', "give the instance's area in square pixels")
    annotations.fail_where(areas < 0, lambda i: f"field 'area' is {areas[i]:g}, negative", 'give square pixels')
    is_crowd, is_ignored = annotations.flags('iscrowd'), annotations.flags('ignore')

    sizes, fields = None, {}
    if 'segm' in geometries:
        fields['segmentations'] = ('segmentation', masks.SEGM_REMEDY)
    if 'amodal' in geometries:
        amodal, visible = masks.amodal_fields(annotations, ~(is_crowd | is_ignored))
        fields['amodal_segmentations'] = (amodal, masks.AMODAL_REMEDY)
        fields['visible_segmentations'] = (visible, masks.AMODAL_REMEDY)
    segmentations, extents = {}, None
    if fields:
        sizes = masks.image_sizes(images)
        size_of_each = sizes[positions(image_ids, annotation_image_ids)]
        loaded: dict[str, tuple[list[Any], np.ndarray]] = {}
        for name, (field, remedy) in fields.items():
            if field not in loaded:
                loaded[field] = masks.check_ground_truth(annotations, size_of_each, field, remedy)
            segmentations[name] = loaded[field][0]
            if name == 'segmentations':
                extents = loaded[field][1]
    return GroundTruth(
        source=source,
        images=list(images.rows),
        categories=list(categories.rows),
        image_ids=image_ids,
        annotation_ids=ids,
        annotation_image_ids=annotation_image_ids,
        category_ids=annotations.references('category_id', category_ids, "category of 'categories'", category_remedy),
        boxes=annotations.boxes('give [x, y, width, height] in pixels'),
        areas=areas,
        is_crowd=is_crowd,
        is_ignored=is_ignored,
        sizes=sizes,
        extents=extents,
        **segmentations,
    )


def _section(content: dict[str, Any], name: str, source: str) -> Records:
    rows = content.get(name)
    if not isinstance(rows, list) or not rows:
        problem = f"'{name}' is missing" if name not in content else f"'{name}' is {show(rows)}, not a filled list"
        raise InputError(f'{source}: {problem}; give COCO ground truth with images, annotations and categories.')
    records = Records(source, name, rows, has_id=True)
    records.check_objects()
    return records
