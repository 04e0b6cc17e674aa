"""All that is found out about one annotation file and its images."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhybrid.occlusion.selection import Selection

from . import annotations, categories, images, segmentations
from .contents import Contents, read_contents
from .dropped import dropped
from .findings import ERROR, Finding

if TYPE_CHECKING:
    from mmhybrid.occlusion.read.ground_truth import GroundTruth
    from mmhybrid.occlusion.selection import Stratification


@dataclass(frozen=True)
class Report:
    """What is in an annotation file, and what is wrong with it.

    Attributes:
        source: The file's name.
        num_images: Usable image records.
        num_annotations: Usable annotation records.
        num_crowds: Those of crowd regions.
        num_categories: Usable category records.
        instances: Instances that are learned from, by category or class.
        dropped: Annotations that MMDetection leaves out, by reason; see ``dropped.REASONS``.
        findings: The faults.
        opened: Images that were opened.
        seconds: It took.
    """

    source: str
    num_images: int
    num_annotations: int
    num_crowds: int
    num_categories: int
    instances: dict[str, int]
    dropped: dict[str, int]
    findings: tuple[Finding, ...]
    opened: int = 0
    seconds: float = 0.0
    contents: Contents | None = field(default=None, repr=False, compare=False)

    @property
    def errors(self) -> list[Finding]:
        """The findings that are errors."""
        return [each for each in self.findings if each.severity == ERROR]

    def allowing(self, kinds: Sequence[str]) -> Report:
        """The same with errors of these kinds as warnings."""
        softer = (replace(each, severity='warning') if each.kind in kinds else each for each in self.findings)
        return replace(self, findings=tuple(softer))

    def without(self, kinds: Sequence[str]) -> Report:
        """The same without what was found of these kinds."""
        return replace(self, findings=tuple(each for each in self.findings if each.kind not in kinds))

    def to_json(self) -> dict[str, Any]:
        """As JSON's types."""
        names = (
            'source',
            'num_images',
            'num_annotations',
            'num_crowds',
            'num_categories',
            'instances',
            'dropped',
            'opened',
        )
        return {name: getattr(self, name) for name in names} | {'findings': [each.to_json() for each in self.findings]}


def check_annotations(
    source: str | PathLike[str] | dict[str, Any],
    classes: Any = None,
    *,
    need_masks: bool = False,
    masks: bool = True,
) -> Report:
    """Check an annotation file without opening an image; needs neither torch nor MMDetection.

    Args:
        source: The file, plain or gzip, or what is in it.
        classes: The setting ``metainfo.classes`` of the data set; by default the file's own categories.
        need_masks: Whether training or evaluation reads segmentations, so that a missing one is an error.
        masks: Whether to check the segmentations, which takes longest, and not only for missing ones.

    Raises:
        InputError: The file cannot be read, or is no COCO annotation file.
    """
    start = time.monotonic()
    contents = read_contents(source, polygons=masks)
    found = annotations.check_records(contents) + categories.check_categories(contents)
    names: Sequence[str] | None = None
    if classes is not None:
        malformed = categories.check_classes(classes)
        found += malformed
        if not malformed:
            names = classes
            found += categories.compare(contents, classes)
    reasons = dropped(contents, names)
    kept = ~np.logical_or.reduce(list(reasons.values()))
    found += annotations.check_boxes(contents)
    found += annotations.check_images(contents, kept & ~contents.crowd)
    instances = categories.instances(contents, kept)
    instances = {name: instances.get(name, 0) for name in (contents.category_names if names is None else names)}
    found += categories.without_instances(instances)
    found += segmentations.check_missing(contents, kept, need_masks)
    if masks:
        found += segmentations.check_segmentations(contents)
    return Report(
        source=contents.source,
        num_images=len(contents.image_rows),
        num_annotations=len(contents.rows),
        num_crowds=int(contents.crowd.sum()),
        num_categories=len(contents.category_rows),
        instances=instances,
        dropped={reason: int(bad.sum()) for reason, bad in reasons.items()},
        findings=tuple(found),
        seconds=time.monotonic() - start,
        contents=contents,
    )


def open_images(
    report: Report, folder: str | PathLike[str], wanted: int | None, workers: int, done: Callable[[int], None]
) -> Report:
    """The report with what the image files show.

    Args:
        report: Of :func:`check_annotations`.
        folder: What ``file_name`` is relative to.
        wanted: How many images to open, evenly spread; None for all.
        workers: Threads.
        done: Is told how many more images are done.
    """
    start = time.monotonic()
    chosen = images.sample(report.num_images, wanted)
    found = images.check_images(report.contents, Path(folder), chosen, workers, done)
    seconds = report.seconds + time.monotonic() - start
    return replace(report, findings=report.findings + tuple(found), opened=len(chosen), seconds=seconds)


def stratify(report: Report) -> tuple[Stratification, GroundTruth] | None:
    """Images by occlusion ratio, on the annotations that MMDetection learns from; None where there are none."""
    from mmhybrid.occlusion.read.ground_truth import load_ground_truth

    contents = report.contents
    reasons = dropped(contents)
    sound = ~np.logical_or.reduce(list(reasons.values())) & np.isfinite(contents.boxes).all(axis=1)
    indices = np.flatnonzero(sound & (abs(contents.boxes) < 1e9).all(axis=1)).tolist()
    if not indices:
        return None
    # Numbered anew: ids may be repeated, or no integers.
    content = {
        'images': [{'id': i} for i in range(len(contents.image_rows))],
        'categories': [{'id': i, 'name': name} for i, name in enumerate(contents.category_names)],
        'annotations': [
            {
                'id': i + 1,
                'image_id': int(contents.image_at[i]),
                'category_id': int(contents.category_at[i]),
                'bbox': contents.boxes[i].tolist(),
                'area': 1,
                'iscrowd': int(contents.crowd[i]),
            }
            for i in indices
        ],
    }
    gt = replace(load_ground_truth(content), source=Path(report.source).name)
    return Selection().apply(gt), gt
