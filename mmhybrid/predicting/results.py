"""Detections in COCO's results format, with the ids of an annotation file or ids of our own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results

from mmhybrid.checkpoints.files import write_durably
from mmhybrid.errors import InputError
from mmhybrid.occlusion.reading import read_json

from .pictures import Picture

BOXES, MASKS, IMAGES = 'results.bbox.json', 'results.segm.json', 'images.json'


class Ids:
    """Ids of images and categories.

    Without an annotation file images are counted from 1 in the order in which they come, and categories are 1 for the
    first class, 2 for the second and so on. With one, both are the file's: an image is the one whose ``file_name`` is
    the end of the picture's path, and a category the one with the class's name.

    Args:
        classes: The detector's, in order.
        ann: A COCO annotation file.

    Raises:
        InputError: If it cannot be used, or lacks one of the classes.
    """

    def __init__(self, classes: Sequence[str], ann: str | None = None):
        self._ann = ann
        self._given: dict[str, int] = {}
        self._taken: dict[int, str] = {}
        self.categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
        if ann is None:
            return
        content = read_json(ann, 'the annotation file')
        try:
            self._given = {str(image['file_name']): image['id'] for image in content['images']}
            named = {str(category['name']): category['id'] for category in content['categories']}
        except (KeyError, TypeError) as error:
            raise InputError(f'--ann {ann} is no COCO annotation file (it lacks {error}); give one.') from None
        if missing := [name for name in classes if name not in named]:
            raise InputError(
                f'--ann {ann} has no category {missing[0]!r}, which the detector was trained for ({len(missing)} of '
                f'{len(classes)} classes are missing); give the annotation file of the same classes, or none.'
            )
        self.categories = [dict(id=named[name], name=name) for name in classes]

    def check(self, places: Sequence[Path]) -> None:
        """Look whether all pictures are in the annotation file, before any is detected on.

        Raises:
            InputError: If some are not.
        """
        if missing := [place for place in places if self._ann is not None and self._find(place) is None]:
            raise InputError(
                f'{len(missing)} of {len(places)} pictures are not in --ann {self._ann}, as {missing[0]}: no file_name '
                'there is the end of its path; leave these pictures out, or --ann.'
            )

    def image(self, picture: Picture) -> int:
        """The id of a picture.

        Raises:
            InputError: If it is not in the annotation file, or if another picture was the same image of it.
        """
        number = len(self._taken) + 1 if self._ann is None else self._find(picture.place)
        if number is None:
            raise InputError(f'{picture.place} is not in --ann {self._ann}.')
        if number in self._taken:
            raise InputError(
                f'{picture.place} and {self._taken[number]} are the same image of --ann {self._ann}; give one of them.'
            )
        self._taken[number] = str(picture.place)
        return number

    def _find(self, place: Path) -> int | None:
        parts = place.absolute().parts
        ends = ('/'.join(parts[start:]) for start in range(1, len(parts)))
        return next((self._given[end] for end in ends if end in self._given), None)


class Results:
    """Gathers detections and writes them.

    Args:
        ids: Ids of images and categories.
    """

    def __init__(self, ids: Ids):
        self._ids = ids
        self.images: list[dict[str, Any]] = []
        self.boxes: list[dict[str, Any]] = []
        self.masks: list[dict[str, Any]] = []
        self._has_masks = False

    def add(self, picture: Picture, sample: DetDataSample) -> None:
        """Take what was detected on a picture."""
        number = self._ids.image(picture)
        height, width = sample.ori_shape[:2]
        image = dict(id=number, file_name=picture.name, width=int(width), height=int(height))
        if picture.frame is not None:
            image |= dict(video=picture.source.name, frame=picture.frame)
        self.images.append(image)
        found = sample.pred_instances.cpu()
        corners = found.bboxes.numpy()
        scores = found.scores.tolist()
        records = [
            dict(
                image_id=number,
                bbox=[float(x0), float(y0), float(x1) - float(x0), float(y1) - float(y0)],
                score=score,
                category_id=self._ids.categories[label]['id'],
            )
            for (x0, y0, x1, y1), score, label in zip(corners, scores, found.labels.tolist(), strict=True)
        ]
        self.boxes += records
        if 'masks' in found:
            self._has_masks = True
            # Some detectors score a mask apart from its box.
            scores = found.mask_scores.tolist() if 'mask_scores' in found else scores
            for record, score, mask in zip(records, scores, encode_mask_results(found.masks.numpy()), strict=True):
                rle = dict(size=list(mask['size']), counts=mask['counts'].decode())
                self.masks.append({**record, 'score': score, 'segmentation': rle})

    def files(self) -> dict[str, Any]:
        """What is written, by name."""
        masks = {MASKS: self.masks} if self._has_masks else {}
        images = dict(images=self.images, categories=self._ids.categories, annotations=[])
        return {BOXES: self.boxes, **masks, IMAGES: images}

    def write(self, folder: Path) -> list[Path]:
        """Write the files.

        Returns:
            Their paths.
        """
        written = []
        for name, content in self.files().items():
            write_durably((json.dumps(content) + '\n').encode(), folder / name)
            written.append(folder / name)
        return written
