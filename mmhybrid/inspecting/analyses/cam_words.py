"""What is said of class activation maps: a sentence and a table of each model, and notes."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..drawing import cam as drawing
from ..findings import Table
from ..options.cam import EIGEN, GRAD
from ..subjects import DETECTOR, Subject
from .detection_maps import Looked

ABOUT = (
    'Each row is a detection (its box in the first column), each column a level of the network; bright is where the '
    'map is high, from 0 to its own maximum, over the image in grey. Below each map: the share of its mass within the '
    'box, where an even map would have the area that is given below the picture, and the level’s part of the sum of '
    '|gradient × activation| over those levels that are shown of the neck, or of the backbone; the largest is bold.'
)
ABOUT_EIGEN = (
    'Each row is an image with its best detections, each column a level; bright is where the first principal component '
    'of the level’s activations is high, from 0 to its own maximum, over the image in grey. Below each map: the '
    'component’s share of the variance of the activations.'
)


def summary(name: str, images: Sequence[Looked], args: argparse.Namespace) -> tuple[str, Table | None]:
    """A sentence on one model, and a table with a row a level."""
    targets = [target for image in images for target in image.targets]
    if args.method == EIGEN:
        means = {level: np.mean([image.variance[level] for image in images]) for level in images[0].variance}
        best = max(means, key=means.get)
        inside = {level: _mean(target.in_box.get(level, math.nan) for target in targets) for level in means}
        rows = [[level, percent(means[level]), percent(inside[level])] for level in means]
        area = percent(_mean(target.area for target in targets))
        title = f'{name}: mean over {_count(images, "image")}, in the box over {_count(targets, "detection")}'
        sentence = (
            f'{name}: the first principal component holds most of the variance on {best}, {percent(means[best])} '
            f'(mean of {_count(images, "image")}).'
        )
        if area != '–':
            sentence += (
                f' Its map has {percent(inside[best])} of its mass within the box of a detection, {area} of the area.'
            )
        return sentence, Table(title, ['level', 'variance held', 'in the box'], rows)
    if not targets:
        highest = max((image.highest for image in images if not math.isnan(image.highest)), default=0.0)
        return (
            f'{name}: no detection in {_count(images, "image")} has a score of {args.score_thr:g} or more; the highest '
            f'is {highest:.3f}.',
            None,
        )
    first = Counter(level for target in targets for level in target.first.values())
    levels = list(targets[0].maps)
    rows = [
        [
            level,
            percent(_mean(target.part[level] for target in targets)),
            str(first[level]),
            percent(_mean(target.in_box.get(level, math.nan) for target in targets)),
        ]
        for level in levels
    ]
    if targets[0].box is None:
        classes = ', '.join(f'{label} ({n})' for label, n in Counter(target.label for target in targets).most_common(5))
        return f'{name}: {_count(images, "image")}, classes predicted: {classes}.', None
    area = _mean(target.area for target in targets)
    sentence = f'{name}: {_count(targets, "detection")} in {_count(images, "image")}.'
    for part in dict.fromkeys(part for target in targets for part in target.first):
        most = ', '.join(f'{level} ({n})' for level, n in first.most_common() if level.startswith(f'{part}.'))
        inside = _mean(target.in_box[target.first[part]] for target in targets if part in target.first)
        sentence += (
            f' Of the levels of the {part}, the largest part is that of {most}; there a mean of {percent(inside)} of '
            f'the map’s mass is within the box, which covers a mean of {percent(area)} of the image.'
        )
    title = f'{name}: means over {_count(targets, "detection")}, whose boxes cover {percent(area)} of the image'
    return sentence, Table(title, ['level', 'mean part', 'largest of', 'in the box'], rows)


def notes(subjects: Sequence[Subject], found: Mapping[str, Sequence[Looked]], args: argparse.Namespace) -> list[str]:
    """What might mislead."""
    told = []
    gradients = args.method != EIGEN
    for subject in subjects:
        images = found[subject.name]
        empty = [image.sample.name for image in images if subject.kind == DETECTOR and not image.targets]
        if empty:
            names = ', '.join(empty[:3]) + (', ...' if len(empty) > 3 else '')
            told.append(
                f'{subject.name} finds nothing with a score of {args.score_thr:g} or more in {len(empty)} of '
                f'{_count(images, "image")} ({names}); --score-thr takes another.'
            )
        flat = sum(not target.first for image in images for target in image.targets)
        if gradients and flat:
            told.append(
                f'{subject.name}: the score of {_count(range(flat), "detection")} has no gradient on these levels; a '
                'score that float32 rounds to 1 has none on any.'
            )
        single = sorted({level for image in images for level, values in image.all_maps if values.numel() == 1})
        if single:
            told.append(
                f'{subject.name}: {", ".join(single)} has one cell, which shows no place; --levels takes others.'
            )
        drawn = len(images) if not gradients else sum(len(image.targets) for image in images)
        if drawn > drawing.MOST:
            told.append(f'{subject.name}: the figure shows {drawing.MOST} of {drawn} rows; the JSON has all.')
    if gradients and any(hasattr(subject.model, 'roi_head') for subject in subjects):
        told.append(
            'The regions of a two-stage detector are held where they are: what moves a box counts for nothing, and a '
            'level that only proposes regions has no part.'
        )
        if _necks(found):
            told.append(
                'It reads a score from the neck within one region alone (RoIAlign), so that on the neck’s levels '
                'gradients end near the box whatever was learned; --levels backbone.0 ... shows context.'
            )
    if args.method == GRAD and any(subject.kind == DETECTOR for subject in subjects):
        told.append(
            'Grad-CAM weighs whole channels, so that a map can be bright at other objects that excite the same '
            'channels; --method hires-cam keeps to where the gradient is.'
        )
    if not gradients:
        told.append(
            'A component has two ends: bright is the one where activations are longer, which may be the background.'
        )
    if len(subjects) > 1:
        told.append(
            'Each model’s own detections are shown, on few images and one training of each; the shares are no ranking.'
        )
    return told


def _necks(found: Mapping[str, Sequence[Looked]]) -> bool:
    targets = (target for images in found.values() for image in images for target in image.targets)
    return any(level.startswith('neck.') for target in targets for level in target.maps)


def _mean(values: Iterator[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan


def _count(items: Sequence[Any], what: str) -> str:
    return f'{len(items)} {what}{"" if len(items) == 1 else "s"}'


def percent(part: float) -> str:
    """``'<1%'`` of what would be rounded to nothing."""
    return '–' if math.isnan(part) else '<1%' if 0 < part < 0.005 else f'{100 * part:.0f}%'
