"""The boxes of a detector at each step: proposals of its RPN, before non-maximum suppression (NMS), and after it.

The detector's own code makes them, up to ``predict_by_feat`` of its last box head. What that is called with is kept;
it is then called twice: with the detector's own test settings, which gives its detections, and with a copy of them that
removes nothing. Neither the model nor its settings are changed. The copy's boxes come from one level at a time, the
scores of all other levels saying background.
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
from .proposal_levels import MADE_BY, levels_kept, matched, single_levels, strides_of, union

NEVER = 2.0  # an IoU that no two boxes have
ALL = 10**9  # detections an image


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
        levels: Names of the FPN's levels; empty if these cannot be told. A proposal's, and with one stage any box's, is
            the level whose anchor or point made it. With two stages, that of a box with a class is the level which its
            RoI was pooled from (``map_roi_levels`` of the extractor of RoIs; FPN, equation 1), in the last stage of a
            cascade.
        iou_thr: Of the NMS; NaN if it has none.
        least_score: Above which the detector itself counts boxes.
        score_thr: Above which boxes count here: what was given, but no less than ``least_score``.

    Raises:
        InputError: If the model is of another kind.
    """

    def __init__(self, subject: Subject, score_thr: float) -> None:
        model, name = subject.model, subject.name
        if subject.kind != DETECTOR:
            raise InputError(f'{name} is a {subject.kind}, which proposes no boxes; give the config of a detector.')
        self.model = model
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
        self.score_thr = max(score_thr, self.least_score)
        made = strides_of(getattr(model.rpn_head if self.two_stages else head, 'prior_generator', None))
        extractor = getattr(part, 'bbox_roi_extractor', None)
        extractor = extractor[-1] if isinstance(extractor, nn.ModuleList) else extractor
        self.extractor = extractor if hasattr(extractor, 'map_roi_levels') else None
        pooled = strides_of(self.extractor) if self.two_stages else made
        # RPN and RoIs need not share all levels.
        self.levels, (self._made, self._pooled) = union([made, pooled])

    @torch.no_grad()
    def __call__(self, inputs: Tensor, samples: Sequence[Any]) -> list[Steps]:
        """The steps of each image of normalised ``inputs`` (N, 3, H, W) and their MMDetection samples."""
        features = self.model.extract_feat(inputs)
        proposals = [None] * len(samples)
        if self.two_stages:
            with levels_kept(self.model.rpn_head):
                given = self.model.rpn_head.predict(features, samples, rescale=False)
            proposals = [self._proposals(each) for each in given]
            called = arguments_of(self.head, lambda: self.part.predict(features, given, samples, rescale=False))
        else:
            called = arguments_of(self.head, lambda: self.part.predict(features, samples, rescale=False))
        if called is None:  # no image has a proposal
            none = Boxes(np.zeros((0, 4)), *(np.zeros(0, kind) for kind in (np.int64, np.float64, np.int64)))
            return [Steps(each, none, none, False) for each in proposals]
        own = self._predict(called, called.arguments.get(self.setting) or self.settings)
        after = [self._boxes(each) for each in own]
        before = self._before(called)
        after = [
            Boxes(each.boxes, each.labels, each.scores, matched(each.boxes, each.labels, each.scores, other))
            for each, other in zip(after, before, strict=True)
        ]
        limit = self.settings.get('max_per_img', ALL)
        capped = [len(each) >= limit > 0 and float(each.scores.min()) > self.score_thr for each in own]
        return [Steps(*each) for each in zip(proposals, before, after, capped, strict=True)]

    def _predict(self, called: inspect.BoundArguments, settings: Any) -> list[Any]:
        bound = inspect.BoundArguments(called.signature, called.arguments | {self.setting: settings})
        return self.head.predict_by_feat(*bound.args, **bound.kwargs)

    def _before(self, called: inspect.BoundArguments) -> list[Boxes]:
        settings = copy.deepcopy(called.arguments.get(self.setting) or self.settings)
        settings.update(nms=dict(type='nms', iou_threshold=NEVER), max_per_img=ALL)
        settings.update(score_thr=self.score_thr)  # boxes of lower scores would be left out afterwards
        found = [self._boxes(each) for each in self._predict(called, settings)]
        if not self._separable(called.arguments):
            return found
        sigmoid, classes = (getattr(self.head, name, None) for name in ('use_sigmoid_cls', 'cls_out_channels'))
        runs = []
        for level, arguments in enumerate(
            single_levels(called.arguments, self.extractor, len(self._pooled), sigmoid is not False, classes)
        ):
            bound = inspect.BoundArguments(called.signature, arguments)
            runs.append([self._boxes(each, level=int(self._pooled[level])) for each in self._predict(bound, settings)])
        split = [_joined(parts) for parts in zip(*runs, strict=True)]
        # A head that does not treat levels one by one is not taken apart.
        return [part if len(part.boxes) == len(all_.boxes) else all_ for part, all_ in zip(split, found, strict=True)]

    def _separable(self, arguments: dict[str, Any]) -> bool:
        """Whether what the head is called with can be taken apart by level."""
        if not self.two_stages:
            first = next(iter(arguments.values()))
            return isinstance(first, list | tuple) and len(self._pooled) == len(first)
        scores = arguments.get('cls_scores') or [None]
        known = 'rois' in arguments and all(isinstance(each, Tensor) for each in scores)
        return self.extractor is not None and known

    def _proposals(self, found: Any) -> Boxes:
        """All that the RPN gives for an image."""
        levels = np.full(len(found.scores), -1)
        if MADE_BY in found:
            made = found.pop(MADE_BY).cpu().numpy()  # no business of the heads
            levels = self._made[made] if len(self._made) > made.max(initial=-1) else levels
        boxes = get_box_tensor(found.bboxes).double().cpu().numpy()
        return Boxes(boxes, None, found.scores.double().cpu().numpy(), levels)

    def _boxes(self, found: Any, level: int = -1) -> Boxes:
        """What MMDetection gives for an image, above the threshold of scores."""
        kept = found.scores > self.score_thr
        boxes, scores = get_box_tensor(found.bboxes)[kept].double().cpu().numpy(), found.scores[kept]
        labels = found.labels[kept].long().cpu().numpy()
        return Boxes(boxes, labels, scores.double().cpu().numpy(), np.full(len(boxes), level))


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
