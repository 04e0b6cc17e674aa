"""The boxes of a detector at each step: proposals of its RPN, before non-maximum suppression (NMS), and after it.

The detector's own code makes them, up to ``predict_by_feat`` of its last box head. What that is called with is kept;
it is then called twice: with the detector's own test settings, which gives its detections, and with a copy of them that
removes nothing. Neither the model nor its settings are changed. With one stage, the copy's boxes come from one level at
a time, the scores of all other levels saying background.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet.structures.bbox import get_box_tensor
from torch import Tensor, nn

from mmhybrid.errors import InputError

from ..subjects import DETECTOR, Subject

NEVER = 2.0  # an IoU that no two boxes have
ALL = 10**9  # detections an image
_LEAST = -1e4  # a logit whose probability is 0, in half precision, too


@dataclass(frozen=True)
class Boxes:
    """Boxes of one image at one step, those of the highest scores first unless they are instances.

    Attributes:
        boxes: (n, 4) float64, x0 y0 x1 y1 in pixels of the image as the model sees it.
        labels: (n,) classes; -1 where the data set does not have the class. None: of no class, as proposals are.
        scores: (n,) from 0 to 1.
        levels: (n,) index of the FPN's level; -1 where it is not known.
    """

    boxes: np.ndarray
    labels: np.ndarray | None = None
    scores: np.ndarray | None = None
    levels: np.ndarray | None = None


@dataclass(frozen=True)
class Steps:
    """Boxes of one image at each step.

    Attributes:
        proposals: Of the RPN, after its own NMS; None of a detector with one stage.
        before: Above the threshold of scores, before NMS.
        after: Detections above the threshold of scores.
        capped: Whether the limit of detections an image (``max_per_img``) may have removed some of these, too.
    """

    proposals: Boxes | None
    before: Boxes
    after: Boxes
    capped: bool


class Reader:
    """Reads the steps of one detector.

    Args:
        subject: A detector that ends with NMS, of two stages (``rpn_head`` and ``roi_head``) or of one (``bbox_head``).
        score_thr: Boxes of a class count above it.

    Attributes:
        levels: Names of the FPN's levels that boxes come from; empty if these cannot be told. With two stages it is
            the level that a box is pooled from (``map_roi_levels`` of the extractor of RoIs; FPN, equation 1), with
            one the level whose anchor or point made the box.
        iou_thr: Of the NMS; NaN if it has none.
        least_score: Above which the detector itself counts boxes.

    Raises:
        InputError: If the model is of another kind.
    """

    def __init__(self, subject: Subject, score_thr: float) -> None:
        model, name = subject.model, subject.name
        if subject.kind != DETECTOR:
            raise InputError(f'{name} is a {subject.kind}, which proposes no boxes; give the config of a detector.')
        self.model, self.score_thr = model, score_thr
        self.two_stages = hasattr(model, 'roi_head')
        if self.two_stages and not hasattr(model, 'rpn_head'):
            raise InputError(f'{name}: {type(model).__name__} has no RPN, whose proposals are counted here.')
        part = getattr(model, 'roi_head', None) if self.two_stages else getattr(model, 'bbox_head', None)
        settings = getattr(part, 'test_cfg', None) or {}
        head = getattr(part, 'bbox_head', None) if self.two_stages else part
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        taken = inspect.signature(head.predict_by_feat).parameters if hasattr(head, 'predict_by_feat') else {}
        self.setting = next((each for each in ('rcnn_test_cfg', 'cfg') if each in taken), '')
        if not settings.get('nms') or not self.setting or hasattr(head, 'rpn_cls'):
            raise InputError(
                f'{name}: {type(model).__name__} does not end with non-maximum suppression of boxes with classes '
                '(test_cfg.nms), whose work is counted here; give Faster, Mask or Cascade R-CNN, RetinaNet, FCOS, ...'
            )
        self.part, self.head, self.settings = part, head, settings
        self.iou_thr = float(settings['nms'].get('iou_threshold', np.nan))
        self.least_score = float(settings.get('score_thr', 0) or 0)
        self.levels = self._names()

    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: Sequence[Any]) -> list[Steps]:
        """The steps of each image of normalised ``inputs`` (N, 3, H, W) and their MMDetection samples."""
        features = self.model.extract_feat(inputs)
        proposals = [None] * len(samples)
        if self.two_stages:
            given = self.model.rpn_head.predict(features, samples, rescale=False)
            proposals = [self._boxes(each, proposals=True) for each in given]
            called = arguments_of(self.head, lambda: self.part.predict(features, given, samples, rescale=False))
        else:
            called = arguments_of(self.head, lambda: self.part.predict(features, samples, rescale=False))
        if called is None:  # no image has a proposal
            none = Boxes(np.zeros((0, 4)), *(np.zeros(0, kind) for kind in (np.int64, np.float64, np.int64)))
            return [Steps(each, none, none, False) for each in proposals]
        own = self._predict(called, called.arguments.get(self.setting) or self.settings)
        after = [self._boxes(each) for each in own]
        before = self._before(called)
        if not self.two_stages:
            after = [self._with_levels(*pair) for pair in zip(after, before, strict=True)]
        limit = self.settings.get('max_per_img', ALL)
        capped = [len(each) >= limit > 0 and float(each.scores.min()) > self.score_thr for each in own]
        return [Steps(*each) for each in zip(proposals, before, after, capped, strict=True)]

    def _predict(self, called: inspect.BoundArguments, settings: Any) -> list[Any]:
        bound = inspect.BoundArguments(called.signature, called.arguments | {self.setting: settings})
        return self.head.predict_by_feat(*bound.args, **bound.kwargs)

    def _before(self, called: inspect.BoundArguments) -> list[Boxes]:
        settings = copy.deepcopy(called.arguments.get(self.setting) or self.settings)
        settings.update(nms=dict(type='nms', iou_threshold=NEVER), max_per_img=ALL)
        # Boxes of lower scores would be left out afterwards.
        settings.update(score_thr=max(self.least_score, self.score_thr))
        found = [self._boxes(each) for each in self._predict(called, settings)]
        if self.two_stages or not self.levels:
            return found
        first = next(iter(called.arguments))
        scores = called.arguments[first]
        runs = []
        for level in range(len(scores)):
            masked = [each if i == level else self._silent(each) for i, each in enumerate(scores)]
            bound = inspect.BoundArguments(called.signature, called.arguments | {first: masked})
            runs.append([self._boxes(each, level=level) for each in self._predict(bound, settings)])
        split = [_joined(parts) for parts in zip(*runs, strict=True)]
        # A head that does not treat levels one by one is not taken apart.
        return [part if len(part.boxes) == len(all_.boxes) else all_ for part, all_ in zip(split, found, strict=True)]

    def _silent(self, scores: Tensor) -> Tensor:
        """Logits (N, anchors * classes, H, W) that say background everywhere."""
        silent = torch.full_like(scores, _LEAST)
        if not getattr(self.head, 'use_sigmoid_cls', True):
            n, _, height, width = scores.shape
            silent.view(n, -1, self.head.cls_out_channels, height, width)[:, :, -1] = -_LEAST
        return silent

    def _boxes(self, found: Any, proposals: bool = False, level: int = -1) -> Boxes:
        """What MMDetection gives for an image; proposals all, else above the threshold of scores."""
        boxes, scores = get_box_tensor(found.bboxes), found.scores
        kept = torch.ones_like(scores, dtype=torch.bool) if proposals else scores > self.score_thr
        boxes, scores = boxes[kept], scores[kept]
        levels = torch.full((len(boxes),), level, dtype=torch.long, device=boxes.device)
        if self.two_stages and self.levels and len(boxes):
            levels = self._extractor().map_roi_levels(
                torch.cat([boxes.new_zeros(len(boxes), 1), boxes], dim=1), len(self.levels)
            )
        labels = None if proposals else found.labels[kept].long().cpu().numpy()
        return Boxes(boxes.double().cpu().numpy(), labels, scores.double().cpu().numpy(), levels.cpu().numpy())

    def _extractor(self) -> Any:
        found = getattr(self.part, 'bbox_roi_extractor', None)
        return found[0] if isinstance(found, nn.ModuleList) else found

    def _names(self) -> list[str]:
        if self.two_stages:
            extractor = self._extractor()
            strides = extractor.featmap_strides if hasattr(extractor, 'map_roi_levels') else []
        else:
            strides = getattr(getattr(self.head, 'prior_generator', None), 'strides', [])
            strides = [each[0] if isinstance(each, list | tuple) else each for each in strides]
        return [f'stride {stride:g}' for stride in strides]

    @staticmethod
    def _with_levels(after: Boxes, before: Boxes) -> Boxes:
        """Detections with the levels of the boxes before NMS that they are."""
        levels = np.full(len(after.boxes), -1)
        for i, (box, label) in enumerate(zip(after.boxes, after.labels, strict=True)):
            distance = np.abs(before.boxes - box).max(axis=1) + np.where(before.labels == label, 0, np.inf)
            if len(distance) and distance.min() < 1e-3:
                levels[i] = before.levels[distance.argmin()]
        return Boxes(after.boxes, after.labels, after.scores, levels)


def arguments_of(head: nn.Module, run: Callable[[], object]) -> inspect.BoundArguments | None:
    """What ``run`` calls ``head.predict_by_feat`` with, at which it is stopped; None if it ends without doing so."""
    original = head.predict_by_feat

    def reached(*args: Any, **kwargs: Any) -> None:
        raise _Reached(inspect.signature(original).bind(*args, **kwargs))

    head.predict_by_feat = reached
    try:
        run()
    except _Reached as stop:
        return stop.args[0]
    finally:
        del head.predict_by_feat  # its class's own shows again
    return None


class _Reached(Exception):
    """Nothing is wrong: what was wanted is known."""


def _joined(parts: Sequence[Boxes]) -> Boxes:
    fields = [
        np.concatenate([getattr(part, name) for part in parts]) for name in ('boxes', 'labels', 'scores', 'levels')
    ]
    order = np.argsort(-fields[2], kind='stable')
    return Boxes(*(each[order] for each in fields))
