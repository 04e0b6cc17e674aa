"""The maps of one image: those of its best detections or of the class predicted, level by level."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch.nn.functional as F
from torch import Tensor

from mmhybrid.errors import InputError

from ..options.cam import EIGEN, GRAD
from ..samples import Sample
from ..subjects import CLASSIFIER, Subject
from . import activation_maps as maps
from .score_gradients import Prediction, gradients_of, has_neck, predict


@dataclass
class Target:
    """One detection or class, and what its maps say.

    Attributes:
        label: The class's name.
        score: From 0 to 1.
        box: x0 y0 x1 y1 in pixels of the image as the model sees it; None of a classifier.
        area: Share of the image that the box covers.
        in_box: Level -> share of the map's mass within the box.
        part: Level -> its share of ``sum |gradient x activation|``, of the levels of the neck or of those of the
            backbone; none with Eigen-CAM. Neck and backbone follow each other, and do not add up to one score.
        maps: Level -> map, (h, w); none with Eigen-CAM.
    """

    label: str
    score: float
    box: Tensor | None
    area: float = math.nan
    in_box: dict[str, float] = field(default_factory=dict)
    part: dict[str, float] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)

    @property
    def first(self) -> dict[str, str]:
        """``'backbone'`` and ``'neck'`` -> the level with the largest part, where there is a gradient."""
        there = sorted((part, level) for level, part in self.part.items() if part > 0)
        return {level.partition('.')[0]: level for _, level in there}


@dataclass
class Looked:
    """One image as one model sees it.

    Attributes:
        sample: The image.
        shape: Height and width at which the model sees it, without padding.
        padded: With it.
        picture: (3, H, W) BGR, from 0 to 255.
        targets: Best first.
        highest: The best score, whether or not it is high enough.
        maps, variance: Of Eigen-CAM: level -> map (h, w) and the component's share of the variance.
    """

    sample: Sample
    shape: tuple[int, int]
    padded: tuple[int, int]
    picture: Tensor
    targets: list[Target]
    highest: float
    maps: dict[str, Tensor] = field(default_factory=dict)
    variance: dict[str, float] = field(default_factory=dict)

    @property
    def all_maps(self) -> list[tuple[str, Tensor]]:
        """Level and map of each map."""
        return [pair for found in (self.maps, *(target.maps for target in self.targets)) for pair in found.items()]


def look(subject: Subject, sample: Sample, args: argparse.Namespace) -> Looked:
    """One image: its detections and the maps of each; ``args`` gives ``method``, ``detections``, ``score_thr`` and
    ``levels``.

    Raises:
        InputError: If the model has no such levels, or no scores that gradients can be taken of.
    """
    batch = subject.prepare([sample])
    inputs, data_samples = subject.normalised(batch)
    gradients = args.method != EIGEN
    whole = not has_neck(subject) or any(level.startswith('backbone.') for level in args.levels)
    seen = predict(subject, inputs, data_samples, whole, gradients)
    levels = {name: seen.levels[name] for name in _chosen(subject, seen.levels, args.levels)}
    picture, padded = batch.pixels[0], tuple(inputs.shape[-2:])
    shape = getattr(data_samples[0], 'img_shape', None) if data_samples else None
    shape = tuple(min(a, b) for a, b in zip(picture.shape[-2:], (shape or picture.shape[-2:])[:2], strict=True))
    looked = Looked(
        sample, shape, padded, picture[:, : shape[0], : shape[1]].cpu(), [], float(max(seen.scores, default=math.nan))
    )
    if not gradients:
        for name, level in levels.items():
            rows, columns = maps.unpadded_cells(tuple(level.shape[-2:]), padded, shape)
            # Padding would be a component of its own.
            values, looked.variance[name] = maps.eigen_cam(level[0, :, :rows, :columns].detach())
            # What is cut away looks like the edge, so that places at the edge are not darkened.
            below, right = (n - m for n, m in zip(level.shape[-2:], values.shape, strict=True))
            looked.maps[name] = F.pad(values[None, None], (0, right, 0, below), mode='replicate')[0, 0]
    for i in _kept(subject, seen, args):
        looked.targets.append(_target(subject, seen, i, levels, looked, args.method))
    return looked


def _kept(subject: Subject, seen: Prediction, args: argparse.Namespace) -> range:
    if subject.kind == CLASSIFIER:
        return range(1)
    return range(min(int((seen.scores >= args.score_thr).sum()), args.detections))


def _target(
    subject: Subject, seen: Prediction, i: int, levels: dict[str, Tensor], looked: Looked, method: str
) -> Target:
    number = int(seen.labels[i])
    label = subject.classes[number] if number < len(subject.classes) else f'class {number}'
    target = Target(label, float(seen.scores[i]), None if seen.boxes is None else seen.boxes[i].cpu())
    found = looked.maps
    if method != EIGEN:
        gradients = gradients_of(seen.targets[i], list(levels.values()))
        make = maps.grad_cam if method == GRAD else maps.hires_cam
        pairs = {
            name: (level[0].detach(), gradient[0])
            for (name, level), gradient in zip(levels.items(), gradients, strict=True)
        }
        found = target.maps = {name: make(*pair).cpu() for name, pair in pairs.items()}
        parts = {name: maps.contribution(*pair) for name, pair in pairs.items()}
        for name, part in parts.items():
            group = name.partition('.')[0]
            total = sum(each for other, each in parts.items() if other.partition('.')[0] == group)
            target.part[name] = part / total if total else 0.0
    if target.box is not None:
        target.area = maps.area_share(looked.shape, target.box)
        for name, values in found.items():
            target.in_box[name] = maps.share_in_box(maps.place(values, looked.padded, looked.shape).cpu(), target.box)
    return target


def _chosen(subject: Subject, there: Mapping[str, Tensor], wanted: Sequence[str]) -> list[str]:
    """Names of the levels to show.

    Raises:
        InputError: If one is not there.
    """
    for name in wanted:
        if name not in there:
            raise InputError(f'--levels {name}: {subject.name} has no such level; it has {", ".join(there)}.')
    if wanted:
        return list(dict.fromkeys(wanted))
    if subject.kind == CLASSIFIER:  # the last that shows a place
        return [([name for name, level in there.items() if level[0, 0].numel() > 1] or list(there))[-1]]
    return [name for name in there if name.startswith('neck.')] or list(there)
