"""What is told of a gate and of an attention map."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .gate_readers import CHANGE, GATES, Source

SHUT, OPEN = 0.1, 0.9
BINS = 20


def gate_statistics(values: np.ndarray) -> dict[str, Any]:
    """What is told of one gate.

    Args:
        values: (N, C), of N images and C channels, from 0 to 1.

    Returns:
        ``mean``; ``std_channels``, standard deviation over channels of their means over images; ``std_images``, root
        mean square over channels of their standard deviations over images, NaN for one image; ``image_share``, of the
        variance of all values, which is the sum of the squares of these two, the part that is between images;
        quantiles ``p05`` and ``p95`` of all values; the shares ``shut`` (below 0.1) and ``open`` (above 0.9) of them;
        ``channels``; and ``histogram``, shares in 20 bins from 0 to 1.
    """
    values = np.asarray(values, np.float64)
    between_channels, between_images = values.mean(0).var(), values.var(0).mean()
    total = between_channels + between_images
    several = len(values) > 1
    return {
        'mean': values.mean(),
        'std_channels': math.sqrt(between_channels),
        'std_images': math.sqrt(between_images) if several else math.nan,
        'image_share': between_images / total if several and total else math.nan,
        'p05': np.quantile(values, 0.05),
        'p95': np.quantile(values, 0.95),
        'shut': (values < SHUT).mean(),
        'open': (values > OPEN).mean(),
        'channels': values.shape[1],
        'histogram': np.histogram(values, BINS, (0, 1))[0] / values.size,
    }


def map_statistics(attention: np.ndarray) -> dict[str, float]:
    """What is told of an attention map (H, W) whose sum is 1.

    Returns:
        ``entropy``, relative to log(H W): 1 if all positions are alike, 0 if it is on one; NaN of a single position.
        ``area``, exp(entropy) / (H W): the share of a map over which it would be spread evenly with this entropy.
        ``peak``: its maximum over the mean.
    """
    p, size = np.asarray(attention, np.float64).ravel(), attention.size
    seen = p[p > 0]
    entropy = float(-(seen * np.log(seen)).sum())
    relative = entropy / math.log(size) if size > 1 else math.nan
    return {'entropy': relative, 'area': math.exp(entropy) / size, 'peak': float(p.max()) * size}


def inside(attention: np.ndarray, boxes: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Share of the attention, and of the positions, whose centres are inside of boxes.

    Args:
        attention: (H, W), sum 1.
        boxes: (n, 4), x0 y0 x1 y1 in pixels of what the network sees.
        size: Height and width of that.
    """
    (h, w), (height, width) = attention.shape, size
    y = ((np.arange(h) + 0.5) * height / h)[:, None, None]
    x = ((np.arange(w) + 0.5) * width / w)[None, :, None]
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).reshape(-1, 4).T
    within = ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1)).any(2)
    return float(attention[within].sum()), float(within.mean())


@dataclass
class Record:
    """What one gate or attention map was on the images.

    Attributes:
        source: Which.
        values: Of a gate (N, C) for some images at a time.
        maps: :func:`map_statistics` of each image, with ``inside`` and ``inside_area`` where boxes are known.
        drawn: The maps of the first images, (H, W).
    """

    source: Source
    values: list[np.ndarray] = field(default_factory=list)
    maps: list[dict[str, float]] = field(default_factory=list)
    drawn: list[np.ndarray] = field(default_factory=list)

    def statistics(self) -> dict[str, Any]:
        """Of all images: a gate's, or means of the maps' with quantiles of the entropy."""
        if self.source.type in GATES:
            return gate_statistics(np.concatenate(self.values))
        if self.source.type == CHANGE:
            return {'mean': np.concatenate(self.values).mean()}
        found = {name: float(np.mean([each[name] for each in self.maps])) for name in self.maps[0]}
        entropies = [each['entropy'] for each in self.maps]
        found |= {'entropy_min': min(entropies), 'entropy_max': max(entropies)}
        if found.get('inside_area'):
            found['lift'] = found['inside'] / found['inside_area']
        return found
