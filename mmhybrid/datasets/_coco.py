"""COCO records of scenes, and the folder that holds a generated data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmhybrid.datasets._layout import (
    MAX_OBJECTS,
    MIN_OBJECTS,
    MIN_VISIBLE_FRACTION,
    MIN_VISIBLE_PIXELS,
)
from mmhybrid.datasets._scene import Scene
from mmhybrid.datasets._silhouettes import SILHOUETTES
from mmhybrid.errors import InputError

#: Raised whenever the same parameters would give other files.
GENERATOR_VERSION = 1
GENERATOR = 'mmhybrid.datasets.occluded_shapes'
MANIFEST = 'dataset.json'
#: The manifest while files are still being written: a folder without `MANIFEST` is not a complete data set.
PARTIAL = 'dataset.json.partial'

CATEGORIES: list[dict[str, Any]] = [
    {'id': number, 'name': name, 'supercategory': 'shape'} for number, name in enumerate(SILHOUETTES, start=1)
]
_CATEGORY_IDS = {category['name']: category['id'] for category in CATEGORIES}


def image_file_name(image_id: int) -> str:
    """COCO's file name of an image: twelve digits."""
    return f'{image_id:012d}.jpg'


def annotation_path(root: Path, split: str) -> Path:
    """Where the annotations of a split lie."""
    return root / 'annotations' / f'instances_{split}.json'


def scene_records(scene: Scene, image_id: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The image record and the annotation records of a scene; annotation ids are given later, over the whole split."""
    height, width = scene.image.shape[:2]
    image = {
        'id': image_id,
        'file_name': image_file_name(image_id),
        'width': width,
        'height': height,
        'occlusion_target': round(scene.target, 9),
        'occlusion_ratio': round(scene.ratio, 9),
    }
    visible = _encode([instance.visible_mask for instance in scene.instances])
    amodal = _encode([instance.amodal_mask for instance in scene.instances])
    annotations = [
        {
            'image_id': image_id,
            'category_id': _CATEGORY_IDS[instance.category],
            'bbox': list(instance.visible_box),
            'area': int(np.count_nonzero(instance.visible_mask)),
            'iscrowd': 0,
            'segmentation': visible[i],
            'amodal_bbox': list(instance.amodal_box),
            'amodal_area': int(np.count_nonzero(instance.amodal_mask)),
            'amodal_segmentation': amodal[i],
            'depth_order': instance.depth_order,
            'visible_fraction': round(instance.visible_fraction, 6),
        }
        for i, instance in enumerate(scene.instances)
    ]
    return image, annotations


def _encode(masks: list[np.ndarray]) -> list[dict[str, Any]]:
    """Compressed RLE with text counts, as JSON needs them."""
    # pycocotools wants (height, width, n) in column-major order: fill the transposed array, which copies only once.
    stack = np.stack([mask.T for mask in masks]).astype(np.uint8, order='C')
    return [
        {'size': rle['size'], 'counts': rle['counts'].decode('ascii')}
        for rle in coco_mask.encode(stack.transpose(2, 1, 0))
    ]


def write_annotations(root: Path, split: str, seed: int, records: list[tuple[dict, list[dict]]]) -> None:
    """Write a split's annotation file. It holds nothing that changes from run to run, so equal data are equal bytes."""
    annotations = [annotation for _, of_image in records for annotation in of_image]
    content = {
        'info': {
            'description': 'Occluded shapes: synthetic scenes with known occlusion',
            'version': str(GENERATOR_VERSION),
            'seed': seed,
            'split': split,
        },
        'licenses': [],
        'categories': CATEGORIES,
        'images': [image for image, _ in records],
        'annotations': [{'id': number, **record} for number, record in enumerate(annotations, start=1)],
    }
    path = annotation_path(root, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, separators=(',', ':')) + '\n', encoding='ascii')


def build_manifest(splits: dict[str, int], size: int, seed: int, ratio_range: tuple[float, float]) -> dict[str, Any]:
    """Everything that decides the data set's content."""
    return {
        'generator': GENERATOR,
        'generator_version': GENERATOR_VERSION,
        'seed': seed,
        'size': size,
        'splits': [[name, count] for name, count in splits.items()],
        'ratio_range': list(ratio_range),
        'objects_per_image': [MIN_OBJECTS, MAX_OBJECTS],
        'min_visible_fraction': MIN_VISIBLE_FRACTION,
        'min_visible_pixels': MIN_VISIBLE_PIXELS,
        'categories': list(SILHOUETTES),
    }


def claim_folder(root: Path, manifest: dict[str, Any], force: bool) -> bool:
    """Make ``root`` ready to be written, unless it already holds the data set.

    Args:
        root: the data set's folder; it may be missing.
        manifest: what `build_manifest` gave.
        force: replace a data set of this generator that was made with other parameters.

    Returns:
        True when the complete data set is there and nothing has to be done.

    Raises:
        InputError: the folder holds something else. Files that this generator did not make are never removed.
    """
    if root.exists() and not root.is_dir():
        raise InputError(f'{root} is a file; give a folder that is new or empty.')
    if root.is_dir() and any(root.iterdir()):
        found, complete = _read_manifest(root)
        if found is None:
            raise InputError(
                f'{root} is not empty and was not made by this generator; give a folder that is new or empty.'
            )
        if found == manifest:
            if complete and _is_whole(root, manifest):
                return True
        elif not force:
            raise InputError(
                f'{root} holds a data set made with other parameters ({_difference(found, manifest)}); give another '
                'folder, or force (--force) to replace it.'
            )
        # From here on the folder is incomplete, whatever happens.
        if complete:
            (root / MANIFEST).replace(root / PARTIAL)
        if found != manifest:
            _remove_files(root, found)
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / PARTIAL).write_text(json.dumps(manifest, indent=2) + '\n', encoding='ascii')
    except OSError as error:
        raise InputError(f'cannot write to {root}: {error.strerror}.') from error
    return False


def mark_complete(root: Path) -> None:
    """Give the manifest its final name, the last step of a generation."""
    (root / PARTIAL).replace(root / MANIFEST)


def read_split_names(root: Path) -> list[str]:
    """The splits of a complete data set."""
    found, complete = _read_manifest(root)
    if found is None or not complete:
        raise InputError(f'{root} holds no complete data set of this generator.')
    return [name for name, _ in found['splits']]


def _read_manifest(root: Path) -> tuple[dict[str, Any] | None, bool]:
    """The folder's manifest, or None if it has none of ours, and whether it says that the data set is complete."""
    for name, complete in ((PARTIAL, False), (MANIFEST, True)):
        try:
            found = json.loads((root / name).read_text(encoding='ascii'))
        except (OSError, ValueError):
            continue
        if isinstance(found, dict) and found.get('generator') == GENERATOR:
            return found, complete
    return None, False


def _difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    key = next(key for key in {**wanted, **found} if found.get(key) != wanted.get(key))
    return f'{key} {found.get(key)}, not {wanted.get(key)}'


def _is_whole(root: Path, manifest: dict[str, Any]) -> bool:
    """Whether every annotation file and every image is still there."""
    return all(
        annotation_path(root, split).is_file()
        and sum(path.suffix == '.jpg' for path in (root / split).glob('*')) == count
        for split, count in manifest['splits']
    )


def _remove_files(root: Path, manifest: dict[str, Any]) -> None:
    """Remove what a generation with ``manifest`` writes, and the folders that this leaves empty."""
    for split, count in manifest['splits']:
        annotation_path(root, split).unlink(missing_ok=True)
        for image_id in range(1, count + 1):
            (root / split / image_file_name(image_id)).unlink(missing_ok=True)
        _remove_if_empty(root / split)
    _remove_if_empty(root / 'annotations')


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
