"""What MMDetection does after the neck, written so that it can be traced for any size of the image, one at a time.

MMDetection's own functions work on Python objects and numbers. These compute the same from the same modules and test
settings, step by step; :mod:`mmhybrid.exporting.checking` compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models import (
    CascadeRoIHead,
    ConvFCBBoxHead,
    FCNMaskHead,
    RetinaHead,
    RPNHead,
    SingleRoIExtractor,
    StandardRoIHead,
)
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch import Tensor, nn

from mmhybrid.errors import InputError

from .operators import aligned_features, best_boxes

Found = tuple[Tensor, Tensor, Tensor]
_LARGEST_RATIO = abs(math.log(16 / 1000))  # of MMDetection's coder, where no config can set it


def require(condition: bool, what: str) -> None:
    """Raise ``InputError`` about a part that is not written here."""
    if not condition:
        raise InputError(
            f'{what} cannot be exported as a whole detector: --part neck exports the features before it, and MMDeploy '
            'exports more detectors.'
        )


def require_known(dense: nn.Module, roi_head: nn.Module | None) -> None:
    """Look whether all of a detector's heads are among those that are written here.

    Raises:
        InputError: If not.
    """
    require(type(dense) is (RetinaHead if roi_head is None else RPNHead), type(dense).__name__)
    parts = [dense]
    require(dense.use_sigmoid_cls and not getattr(dense.loss_cls, 'custom_cls_channels', False), 'Its dense head')
    if roi_head is not None:
        require(type(roi_head) in (StandardRoIHead, CascadeRoIHead), type(roi_head).__name__)
        require(not roi_head.with_shared_head, 'A shared head')
        heads = _stages(roi_head.bbox_head)
        require(
            all(isinstance(head, ConvFCBBoxHead) and not head.custom_cls_channels for head in heads), 'Its box head'
        )
        masks = _stages(roi_head.mask_head) if roi_head.with_mask else []
        require(all(type(head) is FCNMaskHead for head in masks), 'Its mask head')
        for extractor in (
            *_stages(roi_head.bbox_roi_extractor),
            *(_stages(roi_head.mask_roi_extractor) if masks else ()),
        ):
            require(type(extractor) is SingleRoIExtractor, type(extractor).__name__)
            layers = extractor.roi_layers
            require(all(getattr(layer, 'pool_mode', '') == 'avg' for layer in layers), type(layers[0]).__name__)
        parts += heads
    require(all(type(part.bbox_coder) is DeltaXYWHBBoxCoder for part in parts), 'Its coding of boxes')
    for cfg in [dense.test_cfg, *([] if roi_head is None else [roi_head.test_cfg])]:
        unknown = set(cfg.nms) - {'type', 'iou_threshold', 'class_agnostic', 'split_thr'}
        require(cfg.nms.get('type', 'nms') == 'nms' and not unknown, f'nms={dict(cfg.nms)}')


def detections(head: RetinaHead, features: Sequence[Tensor], limit: Tensor) -> Found:
    """Boxes, scores and labels of a RetinaNet's head.

    Args:
        head: The head.
        features: One map of one image for each level.
        limit: Width, height, width, height of the image, which boxes do not leave.
    """
    cfg, found = head.test_cfg, []
    for scores, deltas, priors in _levels(head, features):
        places, labels = (scores > cfg.get('score_thr', 0)).nonzero().unbind(1)
        best, order = _best_first(scores[places, labels], cfg)
        places = places[order]
        found.append((decode(head.bbox_coder, priors[places], deltas[places], limit), best, labels[order]))
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return _suppress(boxes, scores, labels, cfg)


def proposals(head: RPNHead, features: Sequence[Tensor], limit: Tensor) -> Tensor:
    """Boxes of a region proposal network; arguments as of :func:`detections`."""
    cfg, found = head.test_cfg, []
    for level, (scores, deltas, priors) in enumerate(_levels(head, features)):
        best, order = _best_first(scores[:, 0], cfg)
        found.append((decode(head.bbox_coder, priors[order], deltas[order], limit), best, torch.full_like(best, level)))
    boxes, scores, levels = (torch.cat(parts) for parts in zip(*found, strict=True))
    return _suppress(boxes, scores, levels, cfg)[0]


def regions(head: nn.Module, features: Sequence[Tensor], boxes: Tensor, limit: Tensor) -> Found:
    """Boxes, scores and labels of a head on regions, in one stage or several.

    Args:
        head: The head.
        features: As of :func:`detections`.
        boxes: Proposals.
        limit: As of :func:`detections`.
    """
    heads, extractors, logits = _stages(head.bbox_head), _stages(head.bbox_roi_extractor), []
    for stage, (box_head, extractor) in enumerate(zip(heads, extractors, strict=True)):
        scores, deltas = box_head(extract(extractor, features, boxes))
        logits.append(scores)
        # One box for each class, or one for all.
        deltas = deltas.reshape(-1, 1 if box_head.reg_class_agnostic else box_head.num_classes, 4)
        if stage < len(heads) - 1:
            if not box_head.reg_class_agnostic:
                label = scores[:, :-1].argmax(1)
                deltas = deltas.gather(1, label[:, None, None].expand(-1, 1, 4))
            boxes = decode(box_head.bbox_coder, boxes, deltas[:, 0], limit)
    scores = (sum(logits) / len(logits)).softmax(-1)[:, :-1]
    last = heads[-1]
    places, labels = (scores > head.test_cfg.score_thr).nonzero().unbind(1)
    deltas = deltas[places, torch.zeros_like(labels) if last.reg_class_agnostic else labels]
    boxes = decode(last.bbox_coder, boxes[places], deltas, limit)
    return _suppress(boxes, scores[places, labels], labels, head.test_cfg)


def masks(head: nn.Module, features: Sequence[Tensor], boxes: Tensor, labels: Tensor) -> Tensor:
    """Probabilities of the masks within their boxes, (n, 28, 28) with MMDetection's usual settings."""
    made = []
    for mask_head, extractor in zip(_stages(head.mask_head), _stages(head.mask_roi_extractor), strict=True):
        logits = mask_head(extract(extractor, features, boxes))
        if mask_head.class_agnostic:
            labels = torch.zeros_like(labels)
        number = torch.ones_like(labels).cumsum(0) - 1
        made.append(logits[number, labels].sigmoid())
    return sum(made) / len(made)


def extract(extractor: SingleRoIExtractor, features: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Features of regions, each from the level that its size belongs to."""
    features = features[: extractor.num_inputs]
    rois = torch.cat([torch.zeros_like(boxes[:, :1]), boxes], 1)
    levels = extractor.map_roi_levels(rois, len(features))
    made, places = [], []
    for level, (layer, feature) in enumerate(zip(extractor.roi_layers, features, strict=True)):
        place = (levels == level).nonzero()[:, 0]
        made.append(aligned_features(layer, feature, rois[place]))
        places.append(place)
    return torch.cat(made)[torch.cat(places).argsort()]  # in the order of the regions again


def decode(coder: DeltaXYWHBBoxCoder, boxes: Tensor, deltas: Tensor, limit: Tensor) -> Tensor:
    """Boxes moved and scaled by what a head predicts, within the image."""
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    centre, size = (boxes[:, :2] + boxes[:, 2:]) * 0.5, boxes[:, 2:] - boxes[:, :2]
    shift, ratio = size * deltas[:, :2], deltas[:, 2:].clamp(max=_LARGEST_RATIO)
    if coder.add_ctr_clamp:
        shift = shift.clamp(-coder.ctr_clamp, coder.ctr_clamp)
    else:
        ratio = ratio.clamp(min=-_LARGEST_RATIO)
    centre, half = centre + shift, size * ratio.exp() * 0.5
    moved = torch.cat([centre - half, centre + half], 1)
    return torch.minimum(moved.clamp(min=0), limit) if coder.clip_border else moved


def _levels(head: nn.Module, features: Sequence[Tensor]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each level scores (n, classes), deltas (n, 4) and priors (n, 4)."""
    logits, deltas = head(features)
    priors = head.prior_generator.grid_priors([level.shape[-2:] for level in logits], device=features[0].device)
    return [
        (
            score[0].permute(1, 2, 0).reshape(-1, head.cls_out_channels).sigmoid(),
            delta[0].permute(1, 2, 0).reshape(-1, 4),
            prior,
        )
        for score, delta, prior in zip(logits, deltas, priors, strict=True)
    ]


def _best_first(scores: Tensor, cfg: Any) -> tuple[Tensor, Tensor]:
    """The best scores of a level, and where they are; sorted, since a top-k of more than there are would fail."""
    best, order = scores.sort(descending=True)
    most = _most(cfg.get('nms_pre', -1))
    return best[:most], order[:most]


def _suppress(boxes: Tensor, scores: Tensor, groups: Tensor, cfg: Any) -> Found:
    smallest = cfg.get('min_bbox_size', -1)
    if smallest >= 0:
        large = ((boxes[:, 2:] - boxes[:, :2]) > smallest).all(1).nonzero()[:, 0]
        boxes, scores, groups = boxes[large], scores[large], groups[large]
    apart = None if cfg.nms.get('class_agnostic', False) else groups
    kept = best_boxes(boxes, scores, apart, float(cfg.nms.iou_threshold), _most(cfg.get('max_per_img', -1)))
    return boxes[kept], scores[kept], groups[kept]


def _most(number: int) -> int:
    return number if number > 0 else 2**31 - 1


def _stages(part: nn.Module | Sequence[nn.Module]) -> list[nn.Module]:
    return list(part) if isinstance(part, nn.ModuleList) else [part]
