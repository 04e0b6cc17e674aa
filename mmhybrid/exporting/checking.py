"""Whether an ONNX file gives in onnxruntime what MMDetection gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmhybrid.text import plural

from .parts import Part

# Convolutions round differently in onnxruntime: boxes in pixels, scores, and of a mask's pixels the share.
BOX_TOLERANCE, SCORE_TOLERANCE, MASK_TOLERANCE, FEATURE_TOLERANCE = 0.1, 1e-3, 0.02, 1e-3
# Pixels by which two boxes may differ and be taken for the same detection, computed otherwise.
_SAME = 5.0
# Masks are computed on a grid of 28x28: of a smaller one in the image, a pixel says nothing.
_SMALLEST_MASK = 28 * 28
# How often a score threshold is divided by four, for want of detections: 0.05 comes to a millionth.
_LOWERINGS = 8


@dataclass(frozen=True)
class Difference:
    """What differs on one image.

    Attributes:
        size: The image's height and width.
        compared: How many detections, or feature maps, were compared.
        unmatched: How many detections only one of the two has, where no rounding explains it.
        box: The largest difference of a box's edge in pixels.
        score: The largest difference of scores.
        mask: The largest share of a mask's pixels that differ, of those in either, 28x28 at least; None without masks.
        features: The largest difference of features, of each map's largest value; None of a detector.
    """

    size: tuple[int, int]
    compared: int
    unmatched: int = 0
    box: float = 0.0
    score: float = 0.0
    mask: float | None = None
    features: float | None = None

    @property
    def is_small(self) -> bool:
        """Whether rounding explains it."""
        return (
            self.unmatched == 0
            and self.box <= BOX_TOLERANCE
            and self.score <= SCORE_TOLERANCE
            and (self.mask or 0) <= MASK_TOLERANCE
            and (self.features or 0) <= FEATURE_TOLERANCE
        )

    def __str__(self) -> str:
        height, width = self.size
        if self.features is not None:
            return (
                f'{height}x{width}: {plural(self.compared, "feature map")}, off by {self.features:.1g} of the largest'
            )
        masks = '' if self.mask is None else f', masks by {100 * self.mask:.2g}% of their pixels'
        only = (
            f'; {plural(self.unmatched, "detection is", "detections are")} in one of the two only'
            if self.unmatched
            else ''
        )
        return (
            f'{height}x{width}: {plural(self.compared, "detection")}, whose boxes differ by {self.box:.1g} '
            f'pixels, scores by {self.score:.1g}{masks}{only}'
        )


def compare(part: Part, file: bytes, image: np.ndarray) -> Difference:
    """Run both on an image.

    Args:
        part: What was exported; its detector is run as MMDetection runs it.
        file: The ONNX file.
        image: Pixels, BGR, (height, width, 3).
    """
    session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
    pixels = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
    outputs = [torch.from_numpy(out) for out in session.run(None, {'image': pixels})]
    size = image.shape[:2]
    if part.part == 'detector':
        return _detections(part, outputs, _expected(part.detector, image), size)
    inputs, _ = _inputs(part.detector, image)
    with torch.no_grad():
        features = part.detector.backbone(inputs) if part.part == 'backbone' else part.detector.extract_feat(inputs)
    pairs = list(zip(outputs, features, strict=True))
    worst = max(((out - want).abs().max() / want.abs().max().clamp(min=1e-6)).item() for out, want in pairs)
    return Difference(size, len(pairs), features=worst)


def lower_threshold(part: Part, images: Sequence[np.ndarray]) -> float:
    """Lower a detector's score threshold until it detects something on one of the images.

    Args:
        part: Whose detector is changed.
        images: Pixels, BGR.

    Returns:
        The threshold; the lowest that was tried if nothing is detected with it, either.
    """
    settings = _head(part).test_cfg
    for _ in range(_LOWERINGS):
        settings.score_thr = settings.get('score_thr', 0) / 4
        if any(len(_expected(part.detector, image)) for image in images):
            break
    return settings.score_thr


def generated_image(height: int, width: int, seed: int) -> np.ndarray:
    """A picture of blurred spots at several scales, for want of a real one."""
    random = np.random.default_rng(seed)
    layers = [
        cv2.resize(random.uniform(0, 255, (height // cell + 2, width // cell + 2, 3)), (width, height))
        for cell in (8, 24, 64)
    ]
    return np.mean(layers, 0).astype(np.uint8)


def _inputs(detector: nn.Module, image: np.ndarray) -> tuple[Tensor, DetDataSample]:
    sample = DetDataSample(
        metainfo=dict(img_shape=image.shape[:2], ori_shape=image.shape[:2], scale_factor=(1.0, 1.0), img_id=0)
    )
    pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    data = detector.data_preprocessor(dict(inputs=[pixels], data_samples=[sample]), False)
    return data['inputs'], data['data_samples'][0]


def _expected(detector: nn.Module, image: np.ndarray) -> InstanceData:
    inputs, sample = _inputs(detector, image)
    with torch.no_grad():
        return detector.predict(inputs, [sample], rescale=False)[0].pred_instances


def _detections(part: Part, outputs: list[Tensor], expected: InstanceData, size: tuple[int, int]) -> Difference:
    boxes, scores, labels = outputs[:3]
    # By distance and not by overlap, which boxes without an area lack.
    apart = (expected.bboxes[:, None] - boxes[None]).abs().amax(-1)
    apart = apart.masked_fill(expected.labels[:, None] != labels[None], torch.inf)
    # Of boxes at one place, the one with the score.
    order = (apart / BOX_TOLERANCE + (expected.scores[:, None] - scores[None]).abs() / SCORE_TOLERANCE).argsort(1)
    pairs, taken = [], set()
    for i, nearest in enumerate(order.tolist()):
        j = next((j for j in nearest if j not in taken), None)
        if j is not None and apart[i, j] <= _SAME:
            pairs.append((i, j))
            taken.add(j)
    rows, columns = ([pair[k] for pair in pairs] for k in (0, 1))
    alone = [*expected.scores[[i for i in range(len(expected)) if i not in set(rows)]].tolist()]
    alone += scores[[j for j in range(len(scores)) if j not in taken]].tolist()
    mask = None
    if part.has_masks:
        mask = _mask_difference(part, outputs[3][columns], boxes[columns], expected.masks[rows], size)
    edge = _edge(part, scores)
    return Difference(
        size,
        len(pairs),
        sum(abs(score - edge) > SCORE_TOLERANCE for score in alone),
        (expected.bboxes[rows] - boxes[columns]).abs().max().item() if pairs else 0.0,
        (expected.scores[rows] - scores[columns]).abs().max().item() if pairs else 0.0,
        mask,
    )


def _edge(part: Part, scores: Tensor) -> float:
    """The score below which detections were left out, at which rounding decides."""
    settings = _head(part).test_cfg
    most = settings.get('max_per_img', -1)
    return scores.min().item() if 0 < most <= len(scores) else settings.get('score_thr', 0)


def _head(part: Part) -> nn.Module:
    return getattr(part.detector, 'roi_head', None) or part.detector.bbox_head


def _mask_difference(part: Part, masks: Tensor, boxes: Tensor, expected: Tensor, size: tuple[int, int]) -> float:
    if not len(masks):
        return 0.0
    ours = torch.zeros_like(expected)
    for i, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        # One by one and within the box alone, as MMDetection does on a CPU: a box without an area has no other inside.
        pasted, place = _do_paste_mask(mask[None, None], box[None], *size, skip_empty=True)
        ours[(i, *place)] = pasted[0] >= part.detector.roi_head.test_cfg.mask_thr_binary
    either = (ours | expected).flatten(1).sum(1).clamp(min=_SMALLEST_MASK)
    return ((ours ^ expected).flatten(1).sum(1) / either).max().item()
