"""Occluded shapes: a seeded COCO-format data set whose occlusion is known exactly.

Each image shows 3 to 7 textured objects of ten categories on a textured background, stacked in depth. The silhouette
alone tells a category; colours, textures, sizes and rotations follow the same distributions for all. The images'
occlusion ratios (`mmhybrid.occlusion.ratios`, definition ``covered``, on the visible boxes) cover a range evenly, and
the numbers and sizes of objects are drawn without regard to the ratio asked for.

Layout of the files, as COCO's::

    root/train/000000000001.jpg ...
    root/val/000000000001.jpg ...
    root/annotations/instances_train.json, instances_val.json
    root/dataset.json               parameters; written last, so a folder without it is incomplete

Image records add ``occlusion_target`` and ``occlusion_ratio``. Annotations describe the visible part (``segmentation``
as compressed RLE, ``bbox`` x, y, width, height, ``area``) and add

- ``amodal_segmentation``, ``amodal_bbox``, ``amodal_area``: the whole object, hidden parts included. Objects lie wholly
  inside the image, so the border cuts nothing off.
- ``depth_order``: 0 for the furthest object of the image; an object covers every object of lower order.
- ``visible_fraction``: visible over amodal pixels, at least 0.15 (and at least 40 pixels). Nothing is drawn that is not
  annotated: a scene that hides an object further is drawn anew.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from mmhybrid.datasets._coco import (
    CATEGORIES,
    GENERATOR_VERSION,
    build_manifest,
    claim_folder,
    image_file_name,
    mark_complete,
    scene_records,
    write_annotations,
)
from mmhybrid.datasets._scene import MAX_RATIO, Instance, Scene, check_size, render_scene
from mmhybrid.datasets._workers import map_in_order, progress_reporter
from mmhybrid.errors import InputError

__all__ = [
    'CATEGORIES',
    'DEFAULT_SPLITS',
    'GENERATOR_VERSION',
    'Generated',
    'Instance',
    'Scene',
    'generate',
    'image_rng',
    'render_scene',
    'target_ratio',
]

DEFAULT_SPLITS = {'train': 1500, 'val': 500}

_JPEG_QUALITY = 92
_CHUNK = 16  # images a job
_STRATA = 10
_EDGE = 0.12


@dataclass(frozen=True)
class Generated:
    """What `generate` did: the folder, whether it was there already, the images drawn and the seconds they took."""

    root: Path
    reused: bool
    images: int
    seconds: float


class _Job(NamedTuple):
    folder: str
    split_index: int
    start: int
    stop: int
    size: int
    seed: int
    ratio_range: tuple[float, float]


def image_rng(seed: int, split_index: int, image_index: int) -> np.random.Generator:
    """The generator of one image (indices start at 0): images depend on no other image and on no process."""
    return np.random.default_rng(np.random.SeedSequence([seed, split_index, image_index]))


def target_ratio(seed: int, split_index: int, image_index: int, ratio_range: tuple[float, float] = (0.0, 0.9)) -> float:
    """The occlusion ratio that an image asks for.

    Every ten images in a row hold one from each of ten strata, in random order: if the range starts at 0, one image of
    exactly 0 and one uniform draw from each ninth of the range, otherwise one draw from each tenth. So every split is
    even, and a split's first images are the same however many follow.
    """
    low, high = ratio_range
    block, position = divmod(image_index, _STRATA)
    # The fourth word keeps this stream apart from every image's own.
    rng = np.random.default_rng(np.random.SeedSequence([seed, split_index, block, 1]))
    # Draws keep off their stratum's edges, so that the small miss of the target seldom moves an image to the next one.
    stratum = rng.permutation(_STRATA)[position]
    place = rng.uniform(_EDGE, 1 - _EDGE, _STRATA)[position]
    if low > 0:
        return float(low + (high - low) * (stratum + place) / _STRATA)
    return 0.0 if stratum == 0 else float(high * (stratum - 1 + place) / (_STRATA - 1))


def generate(
    root: str | Path,
    splits: Mapping[str, int] | None = None,
    size: int = 256,
    seed: int = 0,
    workers: int = 1,
    ratio_range: tuple[float, float] = (0.0, 0.9),
    force: bool = False,
    progress: bool = True,
) -> Generated:
    """Write the data set, or find that it is there already.

    The same arguments give the same bytes, whatever the number of workers (and as long as the versions of NumPy and
    Pillow stay the same). With more than one worker, call it from a script under ``if __name__ == '__main__':``, as
    any code that starts processes needs.

    Args:
        root: folder to write; new, empty, or made by this function.
        splits: split name -> number of images; 1,500 ``train`` and 500 ``val`` by default. Their order matters.
        size: image side in pixels, 96 to 2048.
        seed: 0 to 2**32 - 1.
        workers: processes to draw with.
        ratio_range: occlusion ratios to cover evenly, within 0 to 0.95; a range from 0 gives a tenth of the images
            exactly 0.
        force: replace a data set that this function made with other arguments.
        progress: report progress on standard error.

    Returns:
        What was done.

    Raises:
        InputError: an argument is out of range, or the folder holds something else. An interrupted run's folder is
            written anew.
    """
    root, splits = Path(root), dict(DEFAULT_SPLITS if splits is None else splits)
    ratio_range = (float(ratio_range[0]), float(ratio_range[1]))
    _check(splits, size, seed, workers, ratio_range)
    began = time.perf_counter()
    if claim_folder(root, build_manifest(splits, size, seed, ratio_range), force):
        return Generated(root, reused=True, images=0, seconds=time.perf_counter() - began)

    jobs = []
    for split_index, (split, count) in enumerate(splits.items()):
        (root / split).mkdir(exist_ok=True)
        for start in range(0, count, _CHUNK):
            stop = min(start + _CHUNK, count)
            jobs.append(_Job(str(root / split), split_index, start, stop, size, seed, ratio_range))
    records: list[list] = [[] for _ in splits]
    total = sum(splits.values())
    with progress_reporter(total, 'drawing images', progress) as report:
        for job, drawn in zip(jobs, map_in_order(_draw, jobs, workers), strict=True):
            records[job.split_index].extend(drawn)
            report(len(drawn))
    for split, of_split in zip(splits, records, strict=True):
        write_annotations(root, split, seed, of_split)
    mark_complete(root)
    return Generated(root, reused=False, images=total, seconds=time.perf_counter() - began)


def _draw(job: _Job) -> list[tuple[dict, list[dict]]]:
    """Draw and save a run of images; their COCO records."""
    records = []
    for index in range(job.start, job.stop):
        target = target_ratio(job.seed, job.split_index, index, job.ratio_range)
        scene = render_scene(image_rng(job.seed, job.split_index, index), target, job.size)
        Image.fromarray(scene.image).save(Path(job.folder, image_file_name(index + 1)), quality=_JPEG_QUALITY)
        records.append(scene_records(scene, index + 1))
    return records


def _check(splits: dict[str, int], size: int, seed: int, workers: int, ratio_range: tuple[float, float]) -> None:
    check_size(size)
    if not splits:
        raise InputError('there is no split to generate; give at least one name with a number of images.')
    for split, count in splits.items():
        if not re.fullmatch(r'[A-Za-z0-9_-]+', split) or split == 'annotations':
            raise InputError(f'{split!r} cannot name a split; use letters, digits, - and _, and not "annotations".')
        if not isinstance(count, int) or count < 1:
            raise InputError(f'the split {split} needs a whole number of images from 1 on, not {count}.')
    if not (isinstance(seed, int) and 0 <= seed < 2**32):
        raise InputError(f'the seed must be a whole number from 0 to 2**32 - 1, not {seed}.')
    if not isinstance(workers, int) or workers < 1:
        raise InputError(f'the number of workers must be a whole number from 1 on, not {workers}.')
    if not 0 <= ratio_range[0] <= ratio_range[1] <= MAX_RATIO:
        raise InputError(
            f'the ratio range must rise within 0 to {MAX_RATIO}, not run from {ratio_range[0]} to {ratio_range[1]}.'
        )
