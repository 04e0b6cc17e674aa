"""Transforms of pictures for classification that mmcv does not have. ``size`` is the side of what comes out.

Random numbers are NumPy's global ones, as of all of mmcv's transforms, which the data loader seeds for each batch.
"""

import math
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.registry import TRANSFORMS
from mmengine.structures import BaseDataElement


def _resized(results: dict[str, Any], image: np.ndarray, size: int) -> dict[str, Any]:
    if image.shape[:2] != (size, size):
        image = mmcv.imresize(image, (size, size))
    results['img'], results['img_shape'] = image, image.shape[:2]
    return results


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """A random part of the picture, resized: the augmentation of ImageNet training since Inception.

    The part has a share of the area and an aspect ratio (width to height) that are drawn evenly, the latter by its
    logarithm. If none of ten draws fits the picture, it is the largest part in the middle whose ratio is allowed.

    Args:
        size: Side of the square that comes out.
        scale: Least and largest share of the area.
        ratio: Least and largest aspect ratio.
    """

    def __init__(
        self, size: int, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
    ):
        self.size, self.scale, self.ratio = size, tuple(scale), tuple(ratio)

    @cache_randomness
    def box(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw left, top, width and height of a part of a picture."""
        random = np.random  # what mmcv's transforms draw from
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            ratio = math.exp(random.uniform(*map(math.log, self.ratio)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                return random.randint(width - w + 1), random.randint(height - h + 1), w, h
        ratio = min(max(width / height, self.ratio[0]), self.ratio[1])
        w, h = min(width, max(round(height * ratio), 1)), min(height, max(round(width / ratio), 1))
        return (width - w) // 2, (height - h) // 2, w, h

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop and resize ``results['img']``."""
        left, top, w, h = self.box(*results['img'].shape[:2])
        return _resized(results, results['img'][top : top + h, left : left + w], self.size)


@TRANSFORMS.register_module()
class ResizedCenterCrop(BaseTransform):
    """The square in the middle of the picture, resized.

    Args:
        size: Side of the square that comes out.
        fraction: Side of the square as a share of the picture's shorter side; 1 keeps a square picture whole, 0.875 is
            ImageNet's 224 of 256.
    """

    def __init__(self, size: int, fraction: float = 1.0):
        self.size, self.fraction = size, fraction

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop and resize ``results['img']``."""
        image = results['img']
        height, width = image.shape[:2]
        # Resized first, as those do whose numbers are compared: a crop is then at whole pixels of the result.
        edge = max(round(self.size / self.fraction), self.size)
        short = min(height, width)
        shape = (max(round(width * edge / short), edge), max(round(height * edge / short), edge))
        if shape != (width, height):
            image = mmcv.imresize(image, shape)
        top, left = (image.shape[0] - self.size) // 2, (image.shape[1] - self.size) // 2
        return _resized(results, image[top : top + self.size, left : left + self.size], self.size)


@TRANSFORMS.register_module()
class PaddedRandomCrop(BaseTransform):
    """A random square of the picture with a black border: the augmentation of CIFAR.

    Args:
        size: Side of the square that comes out, and of the square picture that comes in.
        padding: Width of the border as a share of ``size``; 0.125 is 4 pixels for 32.
    """

    def __init__(self, size: int, padding: float = 0.125):
        self.size, self.padding = size, padding

    @cache_randomness
    def corner(self, height: int, width: int) -> tuple[int, int]:
        """Draw the top and the left of the square in the padded picture."""
        random = np.random
        return random.randint(height - self.size + 1), random.randint(width - self.size + 1)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pad and crop ``results['img']``."""
        border = round(self.size * self.padding)
        padded = mmcv.impad(results['img'], padding=border, pad_val=0)
        top, left = self.corner(*padded.shape[:2])
        return _resized(results, padded[top : top + self.size, left : left + self.size], self.size)


@TRANSFORMS.register_module()
class PackImageLabel(BaseTransform):
    """The end of a pipeline: a picture as bytes (3, H, W), its label, and a sample that names it."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack ``img``, ``label`` (if there is one) and ``img_path``."""
        image = results['img']
        if image.dtype != np.uint8:  # after a change of colours; as bytes, a batch is a quarter as large
            image = image.round().clip(0, 255).astype(np.uint8)
        packed = dict(
            inputs=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            data_samples=BaseDataElement(metainfo=dict(img_path=results.get('img_path'))),
        )
        if 'label' in results:
            packed['labels'] = int(results['label'])
        return packed
