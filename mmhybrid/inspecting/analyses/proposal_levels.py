"""Which level of the FPN a box comes from: that of the anchor that made it, or that which its RoI was pooled from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MADE_BY = 'made_by'  # field of proposals: index of the RPN's level
_LEAST = -1e4  # a logit whose probability is 0, in half precision, too


@contextmanager
def levels_kept(rpn: nn.Module) -> Iterator[None]:
    """Within, what ``rpn`` predicts has the field :data:`MADE_BY`, if it suppresses a level at a time as RPNHead does.

    RPNHead hands ``_bbox_post_process`` the level of each box (``level_ids``), which drops it after NMS; a second field
    of the same content stays.
    """
    head = rpn.stages[-1] if isinstance(getattr(rpn, 'stages', None), nn.ModuleList) else rpn  # cascade RPN
    original = getattr(head, '_bbox_post_process', None)
    if original is None:
        yield
        return

    def keeping(*args: Any, **kwargs: Any) -> Any:
        results = kwargs['results'] if 'results' in kwargs else args[0]
        if 'level_ids' in results:
            results.set_field(results.level_ids.clone(), MADE_BY)
        return original(*args, **kwargs)

    head._bbox_post_process = keeping
    try:
        yield
    finally:
        del head._bbox_post_process  # its class's own shows again


def strides_of(module: Any) -> list[float]:
    """Strides of the levels of a generator of anchors or points, or of an extractor of RoIs; empty if it has none."""
    strides = getattr(module, 'strides', None) or getattr(module, 'featmap_strides', None) or []
    return [float(each[0] if isinstance(each, list | tuple) else each) for each in strides]


def single_levels(
    arguments: Mapping[str, Any], extractor: Any, levels: int, sigmoid: bool = True, classes: int = 0
) -> Iterator[dict[str, Any]]:
    """For each level, the arguments of ``predict_by_feat`` with scores that say background on all other levels.

    Args:
        arguments: Of a head of one stage: first the logits of each level (N, anchors * classes, H, W). Of two stages:
            ``rois``, (n, 5) of each image, and ``cls_scores``, (n, classes + 1) of each, background last.
        extractor: Of RoIs, whose ``map_roi_levels`` says where each RoI was pooled from (FPN, equation 1); None of one
            stage.
        levels: How many there are.
        sigmoid: Whether a head of one stage has no class for background.
        classes: With background, if it has.
    """
    if extractor is None:
        name = next(iter(arguments))
        scores = arguments[name]
        for level in range(len(scores)):
            masked = [each if i == level else _silent(each, sigmoid, classes) for i, each in enumerate(scores)]
            yield {**arguments, name: masked}
        return
    pooled = [extractor.map_roi_levels(rois, levels) for rois in arguments['rois']]
    for level in range(levels):
        masked = []
        for scores, own in zip(arguments['cls_scores'], pooled, strict=True):
            silent = torch.full_like(scores, _LEAST)
            silent[:, -1] = -_LEAST
            masked.append(torch.where((own == level)[:, None], scores, silent))
        yield {**arguments, 'cls_scores': tuple(masked)}


def matched(boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, before: Any) -> np.ndarray:
    """Levels (n,) of detections (n, 4): those of the boxes before NMS that they are; -1 where there is none.

    Of several equal boxes of a class it is the one with the nearest score.
    """
    levels = np.full(len(boxes), -1)
    if not len(before.boxes):
        return levels
    for i, (box, label, score) in enumerate(zip(boxes, labels, scores, strict=True)):
        distance = np.abs(before.boxes - box).max(axis=1) + np.where(before.labels == label, 0, np.inf)
        nearest = np.lexsort((np.abs(before.scores - score), distance))[0]
        if distance[nearest] < 1e-3:
            levels[i] = before.levels[nearest]
    return levels


def union(strides: Sequence[Sequence[float]]) -> tuple[list[str], list[np.ndarray]]:
    """Names of all strides, ascending, and for each list the index of each of its strides in them."""
    every = sorted({stride for each in strides for stride in each})
    return [f'stride {stride:g}' for stride in every], [
        np.array([every.index(stride) for stride in each], np.int64) for each in strides
    ]


def _silent(scores: Tensor, sigmoid: bool, classes: int) -> Tensor:
    """Logits (N, anchors * classes, H, W) that say background everywhere."""
    silent = torch.full_like(scores, _LEAST)
    if not sigmoid:
        n, _, height, width = scores.shape
        silent.view(n, -1, classes, height, width)[:, :, -1] = -_LEAST
    return silent
