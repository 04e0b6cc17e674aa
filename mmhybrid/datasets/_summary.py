"""What a generated data set holds, by occlusion ratio."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmhybrid.datasets._coco import annotation_path, read_split_names
from mmhybrid.occlusion.strata import all_images, bins


@dataclass(frozen=True)
class Summary:
    """Statistics of the images in one stratum of achieved occlusion ratio.

    ``name`` names the stratum as the evaluation does; ``images`` counts images by split. The means over objects are of
    their number an image, the longer side of the amodal box in pixels and the visible fraction. ``mean_error`` and
    ``max_error`` are of the absolute difference between achieved and target ratio.
    """

    name: str
    images: dict[str, int]
    objects: float
    extent: float
    visible_fraction: float
    mean_error: float
    max_error: float


def summarise(root: str | Path) -> list[Summary]:
    """Summaries of a complete data set: the evaluation's bins that hold images, then all images.

    Raises:
        InputError: ``root`` holds no complete data set.
    """
    root = Path(root)
    splits = read_split_names(root)
    images, objects = [], []
    for number, split in enumerate(splits):
        content = json.loads(annotation_path(root, split).read_text(encoding='ascii'))
        ratios = {image['id']: image['occlusion_ratio'] for image in content['images']}
        images += [(number, r['occlusion_ratio'], r['occlusion_target']) for r in content['images']]
        objects += [
            (ratios[r['image_id']], max(r['amodal_bbox'][2:]), r['visible_fraction']) for r in content['annotations']
        ]
    image_table, object_table = np.array(images), np.array(objects)

    summaries = []
    for stratum in (*bins(), all_images()):
        chosen = image_table[[stratum.contains(ratio) for ratio in image_table[:, 1]]]
        if len(chosen):
            within = object_table[[stratum.contains(ratio) for ratio in object_table[:, 0]]]
            error = np.abs(chosen[:, 1] - chosen[:, 2])
            summaries.append(
                Summary(
                    name=stratum.name,
                    images={split: int((chosen[:, 0] == number).sum()) for number, split in enumerate(splits)},
                    objects=len(within) / len(chosen),
                    extent=float(within[:, 1].mean()),
                    visible_fraction=float(within[:, 2].mean()),
                    mean_error=float(error.mean()),
                    max_error=float(error.max()),
                )
            )
    return summaries
