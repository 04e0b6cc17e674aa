"""Ground truth and results in COCO format, read and checked before anything is computed.

Whatever is wrong with a file raises ``InputError`` in one sentence: which file, which record, which field, what to do.
Nothing is dropped and nothing is repaired, with one exception: a ground-truth record without ``iscrowd`` counts as 0.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from mmhybrid.errors import InputError

from . import masks
from .records import Records, show

IOU_TYPES = ('bbox', 'segm')


@dataclass(frozen=True)
class GroundTruth:
    """Checked ground truth: I images, n annotations.

    Attributes:
        source: File name for messages.
        images: The image records.
        categories: The category records.
        image_ids: ``(I,)`` int64, in the file's order.
        annotation_ids: ``(n,)`` int64.
        annotation_image_ids: ``(n,)`` int64.
        category_ids: ``(n,)`` int64.
        boxes: ``(n, 4)`` float64 ``x, y, width, height`` in pixels.
        areas: ``(n,)`` float64, the field ``area``.
        is_crowd: ``(n,)`` bool.
        is_ignored: ``(n,)`` bool, the field ``ignore``, which pycocotools does not read.
        segmentations: Polygons or run-length encodings; None unless ``segm`` is evaluated.
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
    segmentations: list[Any] | None = None

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
            'annotations': _rows(columns),
        }


@dataclass(frozen=True)
class Detections:
    """Checked results: n detections.

    Attributes:
        source: File name for messages.
        image_ids: ``(n,)`` int64.
        category_ids: ``(n,)`` int64.
        scores: ``(n,)`` float64.
        boxes: ``(n, 4)`` float64 ``x, y, width, height``; None unless ``bbox`` is evaluated.
        segmentations: Run-length encodings; None unless ``segm`` is evaluated.
    """

    source: str
    image_ids: np.ndarray
    category_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray | None = None
    segmentations: list[dict[str, Any]] | None = None

    def to_coco(self, iou_type: str) -> list[dict[str, Any]]:
        """Fresh COCO results with what matching by ``iou_type`` reads.

        For ``segm`` there is no ``bbox``: pycocotools would take a detection's area from it instead of the mask.
        """
        columns = {
            'image_id': self.image_ids.tolist(),
            'category_id': self.category_ids.tolist(),
            'score': self.scores.tolist(),
        }
        if iou_type == 'segm':
            columns['segmentation'] = self.segmentations
        else:
            columns['bbox'] = self.boxes.tolist()
        return _rows(columns)


def load_ground_truth(gt: str | PathLike[str] | dict[str, Any], with_masks: bool = False) -> GroundTruth:
    """Read and check COCO ground truth.

    Args:
        gt: Path of a ``.json`` or ``.json.gz`` file, or its content, which is not changed.
        with_masks: Whether segmentations are needed.

    Raises:
        InputError: The file or a record cannot be used.
    """
    content, source = _read(gt, 'ground truth')
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
    segmentations = None
    if with_masks:
        sizes = masks.image_sizes(images)[_positions(image_ids, annotation_image_ids)]
        segmentations = masks.check_ground_truth(annotations, sizes)
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
        is_crowd=annotations.flags('iscrowd'),
        is_ignored=annotations.flags('ignore'),
        segmentations=segmentations,
    )


def load_detections(
    dt: str | PathLike[str] | list[dict[str, Any]], gt: GroundTruth, iou_types: tuple[str, ...] = ('bbox',)
) -> Detections:
    """Read and check COCO results.

    Args:
        dt: Path of a ``.json`` or ``.json.gz`` file, or its content, which is not changed.
        gt: The ground truth that images and categories must be in.
        iou_types: Which of ``bbox`` and ``segm`` are needed.

    Raises:
        InputError: The file or a record cannot be used.
    """
    content, source = _read(dt, 'results')
    if not isinstance(content, list):
        ground_truth = isinstance(content, dict) and 'annotations' in content
        hint = 'that looks like a ground-truth file' if ground_truth else f'found {show(content)}'
        raise InputError(f'{source}: results must be a JSON list of detections, {hint}; give COCO results.')
    if not content:
        raise InputError(f'{source}: the results are an empty list; give at least one detection.')
    results = Records(source, 'results', content)
    results.check_objects()
    remedy = f'evaluate results and ground truth of the same data set ({gt.source})'
    image_ids = results.references('image_id', gt.image_ids, 'image of the ground truth', remedy)
    known = np.array([category['id'] for category in gt.categories], dtype=np.int64)
    category_remedy = f'give the category ids of {gt.source}, not class indices'
    masks_wanted = 'segm' in iou_types
    return Detections(
        source=source,
        image_ids=image_ids,
        category_ids=results.references('category_id', known, 'category of the ground truth', category_remedy),
        scores=results.numbers('score', 'give every detection a finite score'),
        boxes=results.boxes('give [x, y, width, height] in pixels') if 'bbox' in iou_types else None,
        segmentations=masks.check_detections(results, _sizes(gt, image_ids)) if masks_wanted else None,
    )


def _read(data: Any, what: str) -> tuple[Any, str]:
    """Content and name of a file, or of what is loaded already."""
    if not isinstance(data, str | PathLike):
        return data, what
    path = Path(data)
    try:
        raw = path.read_bytes()
        if raw.startswith(b'\x1f\x8b'):
            raw = gzip.decompress(raw)
        return json.loads(raw), str(path)
    except FileNotFoundError:
        raise InputError(f'{path}: no such file; give the path of the {what} as COCO JSON.') from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'{path}: not valid JSON ({error}); give the {what} as COCO JSON.') from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f'{path}: cannot be read ({error}); give the {what} as COCO JSON.') from None


def _section(content: dict[str, Any], name: str, source: str) -> Records:
    rows = content.get(name)
    if not isinstance(rows, list) or not rows:
        problem = f"'{name}' is missing" if name not in content else f"'{name}' is {show(rows)}, not a filled list"
        raise InputError(f'{source}: {problem}; give COCO ground truth with images, annotations and categories.')
    records = Records(source, name, rows, has_id=True)
    records.check_objects()
    return records


def _sizes(gt: GroundTruth, image_ids: np.ndarray) -> np.ndarray:
    sizes = masks.image_sizes(Records(gt.source, 'images', gt.images, has_id=True))
    return sizes[_positions(gt.image_ids, image_ids)]


def _positions(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Position in ``known`` (unique) of each of ``values``."""
    order = np.argsort(known)
    return order[np.searchsorted(known, values, sorter=order)]


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
