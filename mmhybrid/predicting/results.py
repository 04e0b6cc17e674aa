"""Detections in COCO's results format."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from mmdet.structures import DetDataSample
from mmdet.structures.mask import encode_mask_results

from mmhybrid.checkpoints.files import write_durably

from .ids import Ids
from .pictures import Picture

BOXES, MASKS, IMAGES = 'results.bbox.json', 'results.segm.json', 'images.json'


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

    def add(self, picture: Picture, sample: DetDataSample) -> dict[str, Any]:
        """Take what was detected on a picture.

        Returns:
            What is written about the picture, to which more can be added.
        """
        height, width = map(int, sample.ori_shape[:2])
        image = self._ids.image(picture, (width, height)) | dict(width=width, height=height)
        number = image['id']
        image['path'] = os.path.abspath(picture.source.path)  # noqa: PTH100 (as it was given, but for ..)
        if picture.frame is not None:
            image |= dict(video=picture.source.given, frame=picture.frame)
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
        return image

    def write(self, folder: Path, complete: bool) -> list[Path]:
        """Write the files; one of an earlier run that this one has nothing for goes.

        Args:
            folder: Where to.
            complete: Whether all pictures are among them.

        Returns:
            Their paths.
        """
        masks = {MASKS: self.masks} if self._has_masks else {}
        images = dict(complete=complete, images=self.images, categories=self._ids.categories, annotations=[])
        files = {BOXES: self.boxes, **masks, IMAGES: images}
        for name in {BOXES, MASKS, IMAGES} - set(files):
            (folder / name).unlink(missing_ok=True)
        for name, content in files.items():
            write_durably((json.dumps(content) + '\n').encode(), folder / name)
        return [folder / name for name in files]
