"""What a reader is told beside the numbers: notes of the results, and how they were made."""

from __future__ import annotations

from collections.abc import Iterable

from mmhybrid.text import clean

from ..matching.settings import Settings
from ..results import OcclusionResult


def notes_of(results: Iterable[OcclusionResult]) -> list[str]:
    """The notes of some results, each once, led by the models that it is about if these are not all."""
    about: dict[str, dict[str, None]] = {}
    names = set()
    for result in results:
        names.add(result.name)
        for note in result.notes:
            about.setdefault(note, {})[result.name] = None
    return [clean(note if len(own) == len(names) else f'{", ".join(own)}: {note}') for note, own in about.items()]


def settings_of(result: OcclusionResult) -> str:
    """What is not as COCO evaluation has it; empty if nothing."""
    usual, settings = Settings(), result.settings
    parts = []
    if settings.iou_thrs != usual.iou_thrs:
        parts.append(f'IoU thresholds {", ".join(f"{each:g}" for each in settings.iou_thrs)}')
    if settings.max_dets != usual.max_dets:
        parts.append(f'at most {settings.max_dets:,} detections of an image and category')
    if settings.categories is not None:
        parts.append(f'categories {", ".join(clean(str(each)) for each in settings.categories)} alone')
    if settings.class_agnostic:
        parts.append('all categories taken for one')
    if result.ignore != 'region':
        parts.append("instances with 'ignore' set taken for any others")
    return '; '.join(parts)
