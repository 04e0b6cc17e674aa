"""Ground truth of chosen images as COCO annotations, for an evaluation by occlusion."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.fileio import get_local_path

from mmhybrid.errors import InputError

from ..samples import Sample
from ..subjects import Subject, test_dataset


@dataclass(frozen=True)
class Truth:
    """COCO ground truth.

    Attributes:
        annotations: The loaded dictionary, of all images of the data set's file, or of the chosen ones alone.
        category_ids: Id of the category of each label.
    """

    annotations: dict[str, Any]
    category_ids: list[int]

    def of(self, image_ids: Sequence[Any]) -> dict[str, Any]:
        """The part that is about some images."""
        kept = set(image_ids)
        images = [each for each in self.annotations['images'] if each['id'] in kept]
        instances = [each for each in self.annotations['annotations'] if each['image_id'] in kept]
        return {**self.annotations, 'images': images, 'annotations': instances}


def load(subject: Subject, samples: Sequence[Sample]) -> Truth:
    """The annotation file of a detector's test data set, or where it is not COCO's what the samples tell.

    Labels are numbered as MMDetection does: by the order of the file's categories, of those that the data set has.

    Raises:
        InputError: If the model has other classes than the data set.
    """
    with contextlib.redirect_stdout(sys.stderr):
        dataset = DATASETS.build({**test_dataset(subject.cfg), 'test_mode': True})
    if not hasattr(dataset, 'cat_ids'):
        return from_samples(samples, dataset.metainfo.get('classes') or subject.classes)
    if subject.classes and len(dataset.cat_ids) != len(subject.classes):
        raise InputError(
            f'{subject.name} has {len(subject.classes)} classes, and {len(dataset.cat_ids)} categories of '
            f'{dataset.ann_file} have the names of its data set; give a model and a data set that belong together.'
        )
    with get_local_path(dataset.ann_file, backend_args=dataset.backend_args) as path:
        return Truth(json.loads(Path(path).read_text(encoding='utf-8')), list(dataset.cat_ids))


def from_samples(samples: Sequence[Sample], classes: Sequence[str]) -> Truth:
    """Ground truth of the samples alone, with the labels as ids of categories; what is to be ignored is a crowd."""
    images = [
        dict(id=sample.image_id, width=sample.info['width'], height=sample.info['height'], file_name=sample.name)
        for sample in samples
    ]
    annotations: list[dict[str, Any]] = []
    for sample in samples:
        for each in sample.info.get('instances', ()):
            x0, y0, x1, y1 = map(float, each['bbox'])
            annotations.append(
                dict(
                    id=len(annotations) + 1,  # pycocotools takes 0 for none
                    image_id=sample.image_id,
                    category_id=int(each['bbox_label']),
                    bbox=[x0, y0, x1 - x0, y1 - y0],
                    area=(x1 - x0) * (y1 - y0),
                    iscrowd=int(each.get('ignore_flag', 0)),
                )
            )
    categories = [dict(id=label, name=name) for label, name in enumerate(classes)]
    return Truth(dict(images=images, annotations=annotations, categories=categories), list(range(len(classes))))
