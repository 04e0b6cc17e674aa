"""Class activation maps of single detections, level by level.

One forward pass an image, with gradients, and one backward pass a detection: MMDetection's scores after NMS are still
functions of the feature maps. Which function of the score is differentiated does not matter: those that grow with it,
such as its logarithm or log odds, have the same gradient up to a factor, and each map is shown relative to its own
maximum. What matters is that a score of 1 in float32 has no gradient at all, which a note tells. A classifier's target
is the logit of the predicted class, as in Grad-CAM's article.

The package grad-cam (pytorch_grad_cam 1.5.7), which gives the same maps of a classifier (tested), does not serve here:
its targets are functions of the tensor that ``model(x)`` returns, so that a detector has to be wrapped until it returns
one; it runs a forward pass a target, after which a detection has to be found again by its box; and all levels are
averaged into one map.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from mmhybrid.errors import InputError

from ..drawing import cam as drawing
from ..findings import Findings
from ..options.cam import EIGEN, GRAD, HIRES
from ..samples import Sample, progress
from ..subjects import BACKBONE, DETECTOR, Subject
from . import activation_maps as maps
from .cam_words import ABOUT, ABOUT_EIGEN, notes, percent, summary
from .detection_maps import Looked, Target, look

SIDE = 24  # at most so many cells of a map, on its longer side, go into the JSON


def run(subjects: Sequence[Subject], samples: Sequence[Sample], args: argparse.Namespace) -> Findings:
    """Maps of all images; ``args`` gives ``method``, ``detections``, ``score_thr`` and ``levels``.

    Raises:
        InputError: If a model has no such levels, or no scores that gradients can be taken of.
    """
    # Of one detection's gradient, which lies in a small place, the mean over the map says little.
    usual = HIRES if any(subject.kind == DETECTOR for subject in subjects) else GRAD
    args = argparse.Namespace(**{**vars(args), 'method': args.method or usual})
    for subject in subjects:
        if subject.kind == BACKBONE and args.method != EIGEN:
            raise InputError(
                f'{subject.name} is a backbone, which has no score to explain: use --method eigen-cam, or give the '
                'config of a detector or classifier.'
            )
    found: dict[str, list[Looked]] = {}
    with progress(len(subjects) * len(samples), 'images') as done:
        for subject in subjects:
            found[subject.name] = []
            for sample in samples:
                found[subject.name].append(look(subject, sample, args))
                done(1)
    figures, tables, answer = {}, [], []
    for i, (name, images) in enumerate(found.items()):
        sentence, table = summary(name, images, args)
        answer.append(sentence)
        tables += [table] if table else []
        rows = list(_rows(images, args.method))
        if rows:
            title = f'{name}, {args.method}'
            figures[f'{i + 1}' if i else ''] = drawing.plot(rows[: drawing.MOST], title)
    numbers = {
        'method': args.method,
        'score_thr': args.score_thr,
        'models': {name: [_as_json(each, args.method) for each in images] for name, images in found.items()},
    }
    about = ABOUT_EIGEN if args.method == EIGEN else ABOUT
    return Findings(answer, about, numbers, figures, tables, notes(subjects, found, args))


def _rows(images: Sequence[Looked], method: str) -> Iterator[drawing.Row]:
    """What is drawn."""
    for image in images:
        picture = _thumbnail(image.picture.flip(0), image.shape).permute(1, 2, 0).round().byte().numpy()
        scale = picture.shape[1] / image.shape[1]
        name = image.sample.name
        if method == EIGEN:
            boxes = [(target.box * scale).tolist() for target in image.targets if target.box is not None]
            texts = {level: f'{percent(held)} of variance' for level, held in image.variance.items()}
            cells = _cells(image, image.maps, texts, ())
            yield drawing.Row(picture, boxes, name, _lines(image.targets), cells)
            continue
        for target in image.targets:
            boxes = [] if target.box is None else [(target.box * scale).tolist()]
            texts = {level: _caption(target, level) for level in target.maps}
            cells = _cells(image, target.maps, texts, target.first.values())
            yield drawing.Row(picture, boxes, name, _lines([target]), cells)


def _lines(targets: Sequence[Target]) -> str:
    words = [f'{target.label} {target.score:.2f}' for target in targets[:3]]
    if len(targets) > 3:
        words.append(f'and {len(targets) - 3} more')
    if len(targets) == 1 and targets[0].box is not None:
        words.append(f'{percent(targets[0].area)} of the area')
    return '\n'.join(words)


def _cells(
    image: Looked, found: Mapping[str, Tensor], texts: Mapping[str, str], strong: Collection[str]
) -> list[drawing.Cell]:
    return [
        drawing.Cell(f'{level}, {len(values)} × {len(values[0])}', _drawn(values, image), texts[level], level in strong)
        for level, values in found.items()
    ]


def _caption(target: Target, level: str) -> str:
    if not target.part[level]:
        return 'no gradient'
    if target.box is None:
        return ''
    inside = target.in_box[level]
    if math.isnan(inside):
        return f'nothing positive\npart {percent(target.part[level])}'
    return f'in box {percent(inside)}\npart {percent(target.part[level])}'


def _thumbnail(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """(C, H, W) with a longer side of :data:`drawing.SIDE`."""
    factor = drawing.SIDE / max(shape)
    size = [max(round(side * factor), 1) for side in shape]
    how = dict(mode='area') if factor < 1 else dict(mode='nearest')
    return F.interpolate(picture[None].float(), size=size, **how)[0]


def _drawn(values: Tensor, image: Looked) -> np.ndarray | None:
    """A map on the thumbnail, from 0 to 1; None of a map of zeros."""
    placed = maps.place(values.float(), image.padded, image.shape)
    placed = F.interpolate(placed[None, None], size=_thumbnail(placed[None], image.shape).shape[-2:], mode='area')[0, 0]
    return (placed / placed.max()).numpy() if placed.max() > 0 else None


def _as_json(image: Looked, method: str) -> dict[str, Any]:
    scales = [image.picture.shape[-1], image.picture.shape[-2]]
    found: dict[str, Any] = {
        'image': image.sample.name, 'width': scales[0], 'height': scales[1], 'highest_score': image.highest,
        'detections': [],
    }  # fmt: skip
    for target in image.targets:
        one: dict[str, Any] = {'class': target.label, 'score': target.score}
        if target.box is not None:
            one |= {'box': target.box.round(decimals=1), 'area_share': target.area, 'in_box': target.in_box}
        if method != EIGEN:
            one |= {'part': target.part, 'largest_part': target.first}
            one['maps'] = {level: _coarse(values, image) for level, values in target.maps.items()}
        found['detections'].append(one)
    if method == EIGEN:
        found['variance'] = image.variance
        found['maps'] = {level: _coarse(values, image) for level, values in image.maps.items()}
    return found


def _coarse(values: Tensor, image: Looked) -> dict[str, Any]:
    """A map's maximum, and the cells of the unpadded image relative to it, at most :data:`SIDE` a side."""
    rows, columns = maps.unpadded_cells(tuple(values.shape), image.padded, image.shape)
    cells, maximum = values[:rows, :columns].float(), float(values[:rows, :columns].max())
    factor = min(SIDE / max(rows, columns), 1)
    size = [max(round(rows * factor), 1), max(round(columns * factor), 1)]
    cells = F.adaptive_avg_pool2d(cells[None], size)[0] / (maximum or 1)
    return {'maximum': maximum, 'level_size': list(values.shape), 'relative': cells.double().round(decimals=3)}
