"""What is exported: a backbone, the features of the neck, or the whole detector, from the pixels on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from . import heads


class Part(nn.Module):
    """A detector up to one of its parts, for one image of any size.

    The image is what MMDetection's test pipeline gives before its preprocessor: BGR as OpenCV reads it, 0 to 255, at
    the size at which the detector is to see it. Channels, mean, deviation and padding are part of this module.

    Args:
        detector: MMDetection's, in evaluation mode.
        part: One of :data:`mmhybrid.exporting.PARTS`.

    Raises:
        InputError: If it has a head that is not known here.
    """

    def __init__(self, detector: nn.Module, part: str):
        super().__init__()
        self.detector, self.part = detector, part
        roi_head = getattr(detector, 'roi_head', None)
        if part == 'detector':
            dense = detector.bbox_head if roi_head is None else getattr(detector, 'rpn_head', None)
            heads.require_known(dense, roi_head)
        self.has_masks = part == 'detector' and roi_head is not None and roi_head.with_mask

    @property
    def output_names(self) -> list[str]:
        """Names of a detector's outputs; of feature maps, whose number depends on the detector, none."""
        if self.part != 'detector':
            return []
        return ['boxes', 'scores', 'labels', *(['masks'] if self.has_masks else [])]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Detect, or compute features.

        Args:
            image: (1, 3, height, width).

        Returns:
            boxes (n, 4) in the image, x0 y0 x1 y1; scores (n,); labels (n,); and masks (n, 28, 28), probabilities
            within the boxes, of a detector with masks. Of the other parts the feature maps.
        """
        prepared = self._prepare(image)
        if self.part == 'backbone':
            return tuple(self.detector.backbone(prepared))
        features = tuple(self.detector.extract_feat(prepared))
        if self.part == 'neck':
            return features
        limit = torch._shape_as_tensor(image)[[3, 2, 3, 2]].to(prepared)
        roi_head = getattr(self.detector, 'roi_head', None)
        if roi_head is None:
            return heads.detections(self.detector.bbox_head, features, limit)
        boxes = heads.proposals(self.detector.rpn_head, features, limit)
        boxes, scores, labels = heads.regions(roi_head, features, boxes, limit)
        if not self.has_masks:
            return boxes, scores, labels
        return boxes, scores, labels, heads.masks(roi_head, features, boxes, labels)

    def _prepare(self, image: Tensor) -> Tensor:
        made_by = self.detector.data_preprocessor
        if made_by._channel_conversion:
            image = image[:, [2, 1, 0]]
        if made_by._enable_normalize:
            image = (image - made_by.mean) / made_by.std
        divisor = made_by.pad_size_divisor
        height, width = image.shape[-2:]
        bottom, right = (divisor - height % divisor) % divisor, (divisor - width % divisor) % divisor
        return functional.pad(image, (0, right, 0, bottom), value=made_by.pad_value)
