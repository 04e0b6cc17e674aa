"""mmcv's non-maximum suppression and RoIAlign as the operators of ONNX of these names.

mmcv's own RoIAlign is written for ONNX before opset 16, where small regions are made larger and where a half pixel has
to be taken off by hand; later the operator does it, and doing both would shift every region.
"""

from __future__ import annotations

from typing import Any

import torch
from mmcv.ops import RoIAlign, nms, roi_align
from torch import Tensor

# The first with RoiAlign as mmcv aligns.
FIRST_OPSET = 16


class _Nms(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou_threshold: float, most: int) -> Tensor:
        return nms(boxes, scores, iou_threshold)[1][:most]

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou_threshold: float, most: int) -> Any:
        def constant(value: Any, kind: torch.dtype) -> Any:
            return g.op('Constant', value_t=torch.tensor(value, dtype=kind))

        chosen = g.op(
            'NonMaxSuppression',
            g.op('Unsqueeze', boxes, constant([0], torch.int64)),
            g.op('Unsqueeze', scores, constant([0, 1], torch.int64)),
            constant([most], torch.int64),
            constant([iou_threshold], torch.float32),
        )  # rows of image, class and box, the best first
        return g.op('Gather', chosen, constant(2, torch.int64), axis_i=1)


class _RoiAlign(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, rois: Tensor, size: tuple[int, int], scale: float, samples: int, aligned: bool
    ) -> Tensor:
        return roi_align(features, rois, size, scale, samples, 'avg', aligned)

    @staticmethod
    def symbolic(
        g: Any, features: Any, rois: Any, size: tuple[int, int], scale: float, samples: int, aligned: bool
    ) -> Any:
        def columns(*numbers: int) -> Any:
            return g.op('Gather', rois, g.op('Constant', value_t=torch.tensor(numbers)), axis_i=1)

        image = g.op('Squeeze', columns(0), g.op('Constant', value_t=torch.tensor([1])))
        return g.op(
            'RoiAlign',
            features,
            columns(1, 2, 3, 4),
            g.op('Cast', image, to_i=7),  # int64
            output_height_i=size[0],
            output_width_i=size[1],
            spatial_scale_f=scale,
            sampling_ratio_i=samples,
            mode_s='avg',
            coordinate_transformation_mode_s='half_pixel' if aligned else 'output_half_pixel',
        )


def best_boxes(boxes: Tensor, scores: Tensor, groups: Tensor | None, iou_threshold: float, most: int) -> Tensor:
    """Indices of the boxes that non-maximum suppression keeps, the best first; boxes of different groups do not meet.

    As mmcv's ``batched_nms`` does it: each group is moved to a place of its own.
    """
    if groups is not None:
        # Without any box there is no largest coordinate.
        farthest = torch.cat([boxes.reshape(-1), boxes.new_zeros(1)]).max() + 1
        boxes = boxes + (groups.to(boxes) * farthest)[:, None]
    return _Nms.apply(boxes, scores, iou_threshold, most)


def aligned_features(layer: RoIAlign, features: Tensor, rois: Tensor) -> Tensor:
    """What a RoIAlign layer gives."""
    size = tuple(map(int, layer.output_size))
    return _RoiAlign.apply(
        features, rois, size, float(layer.spatial_scale), max(int(layer.sampling_ratio), 0), bool(layer.aligned)
    )
