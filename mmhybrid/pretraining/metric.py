"""Top-k accuracy."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from torch import Tensor


def rank_of(scores: Tensor, label: int) -> int:
    """How many classes come before ``label``, by score and, where scores are the same, by number.

    Scores that are not finite name no class: all come before.
    """
    if not torch.isfinite(scores).all():
        return len(scores)
    own = scores[label]
    return int((scores > own).sum() + (scores[:label] == own).sum())


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """Share of the pictures, in percent, whose class is among the k that have the highest scores.

    MMEngine gathers the results of several processes and leaves out the pictures that fill up the last batches.

    Args:
        topk: Values of k; those that all classes would reach are left out.
        **kwargs: Of MMEngine's ``BaseMetric``.
    """

    default_prefix = 'accuracy'

    def __init__(self, topk: Sequence[int] = (1, 5), **kwargs: Any):
        super().__init__(**kwargs)
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note the rank of each picture's class."""
        for sample in data_samples:
            self.results.append((rank_of(sample['scores'], sample['label']), len(sample['scores'])))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """Accuracy by name, ``top1`` and so on."""
        classes = max((count for _, count in results), default=0)
        return {
            f'top{k}': 100 * sum(rank < k for rank, _ in results) / len(results)
            for k in self.topk
            if k == 1 or k < classes
        }
