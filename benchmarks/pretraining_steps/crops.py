"""Pictures of single objects, cut out of the occluded shapes: a folder of class folders to pre-train on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

# Of the box's size, on each side: what lies around an object is seen as well.
MARGIN = 0.1
# Sides in pixels below which nothing is to be seen.
MIN_SIDE = 8


def cut(data_root: Path, folder: Path, splits: Mapping[str, str]) -> dict[str, int]:
    """Write ``folder/SPLIT/CLASS/IMAGE_ANNOTATION.png`` for each visible box of a data set; once done, it is kept.

    Args:
        data_root: Of the occluded shapes: ``annotations/instances_SPLIT.json`` and ``SPLIT/``.
        folder: Where the pictures go.
        splits: The data set's splits, and what each is called in ``folder``.

    Returns:
        The number of pictures in each split of ``folder``.
    """
    done = folder / 'pictures.json'
    if done.exists():
        return json.loads(done.read_text())
    counts = {}
    for split, name in splits.items():
        content = json.loads((data_root / 'annotations' / f'instances_{split}.json').read_text())
        counts[name] = _cut_split(content, data_root / split, folder / name)
    done.write_text(json.dumps(counts))
    return counts


def _cut_split(content: Mapping[str, Any], images: Path, folder: Path) -> int:
    classes = {each['id']: each['name'] for each in content['categories']}
    by_image: dict[int, list[Mapping[str, Any]]] = {}
    for row in content['annotations']:
        by_image.setdefault(row['image_id'], []).append(row)
    for name in classes.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    count = 0
    for image in content['images']:
        with Image.open(images / image['file_name']) as opened:
            picture = opened.convert('RGB')
        for row in by_image.get(image['id'], ()):
            x, y, w, h = row['bbox']
            if min(w, h) < MIN_SIDE:
                continue
            box = (x - MARGIN * w, y - MARGIN * h, x + (1 + MARGIN) * w, y + (1 + MARGIN) * h)
            inside = (max(0, box[0]), max(0, box[1]), min(picture.width, box[2]), min(picture.height, box[3]))
            path = folder / classes[row['category_id']] / f'{image["id"]}_{row["id"]}.png'
            picture.crop(tuple(map(round, inside))).save(path)
            count += 1
    return count
