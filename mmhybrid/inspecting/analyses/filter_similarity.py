"""Similarity of a layer's filters: by their patterns or their weights, for each pair and in sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmhybrid.errors import InputError

from .backward import fixed_weights
from .filter_patterns import cosines, patterns, responses

BINS = np.linspace(-1, 1, 41)
HIGH = 0.5  # a similarity above is told


@dataclass(frozen=True)
class Layer:
    """Similarities of one layer.

    Attributes:
        name: In the model.
        depth: Its place among the model's convolutions, from 0, the first, to 1, the last; NaN of what is none.
        filters: How many it has.
        chosen: Indices of those that were compared, K ascending.
        similarity: (K, K) float64, 1 on the diagonal; NaN where a filter is dead or two never respond to one image.
        normed: Whether responses are taken after a norm; None of weights.
    """

    name: str
    depth: float
    filters: int
    chosen: np.ndarray
    similarity: np.ndarray
    normed: bool | None = None

    @property
    def short(self) -> str:
        """The name within the backbone."""
        return self.name.removeprefix('backbone.')

    @property
    def dead(self) -> list[int]:
        """Indices of the filters that have no pattern, or no weights."""
        return self.chosen[np.isnan(np.diag(self.similarity))].tolist()

    @property
    def pairs(self) -> np.ndarray:
        """Similarity of each two different filters, (P,), without NaN."""
        values = self.similarity[np.triu_indices(len(self.chosen), 1)]
        return values[~np.isnan(values)]

    @property
    def counts(self) -> np.ndarray:
        """Pairs in each of :data:`BINS`."""
        return np.histogram(self.pairs, BINS)[0]

    @property
    def density(self) -> np.ndarray:
        """Histogram whose area is 1; zeros without pairs."""
        return self.counts / max(self.counts.sum(), 1) / np.diff(BINS)

    def summary(self) -> dict[str, float]:
        """Mean, median, quartiles and share above :data:`HIGH` of the absolute similarity; NaN without pairs."""
        size = np.abs(self.pairs)
        if not len(size):
            return dict.fromkeys(
                ('mean', 'lower_quartile', 'median', 'upper_quartile', 'share_high', 'mean_signed'), np.nan
            )
        low, middle, high = np.quantile(size, (0.25, 0.5, 0.75))
        return {
            'mean': size.mean(), 'lower_quartile': low, 'median': middle, 'upper_quartile': high,
            'share_high': (size > HIGH).mean(), 'mean_signed': self.pairs.mean(),
        }  # fmt: skip


def choose(filters: int, most: int, seed: int, place: int) -> np.ndarray:
    """Indices of at most ``most`` of ``filters``, ascending, drawn by the seed and the layer's place in the list."""
    return np.sort(np.random.default_rng([seed, place]).permutation(filters)[:most])


def weight_similarity(module: nn.Module, chosen: Sequence[int]) -> np.ndarray:
    """Cosine similarity (K, K) of the flattened weights of K of a convolution's filters, in float64."""
    with torch.no_grad():
        return cosines(module.weight.double()[list(chosen)].flatten(1)).cpu().numpy()


def pattern_similarity(
    model: nn.Module,
    inputs: Iterable[tuple[Sequence[Tensor], Callable[[Sequence[Tensor]], Any]]],
    layers: Sequence[str],
    most: int,
    seed: int = 0,
    reduce: str = 'sum',
    done: Callable[[int], None] = lambda count: None,
) -> tuple[list[np.ndarray], list[int], list[np.ndarray], list[bool]]:
    """Similarity of guided back-propagation patterns, the mean over images.

    Args:
        model: In evaluation mode.
        inputs: For each batch its images (3, H, W), of one size if none is to depend on the others by what pads them,
            and a function that runs the model on them.
        layers: Names of modules that give maps (N, C, H, W).
        most: Filters of a layer, drawn by ``seed``.
        seed: Of the draw.
        reduce: As of :func:`~mmhybrid.inspecting.analyses.filter_patterns.patterns`.
        done: Is told of each pattern of an image.

    Returns:
        For each layer the similarity (K, K), its number of filters, the indices of the K that were drawn, and whether
        the responses come after a norm.

    Raises:
        InputError: If a layer does not run, or gives no map.
    """
    sums: list[Tensor] = []
    shared: list[Tensor] = []
    drawn: list[np.ndarray] = []
    channels: list[int] = []
    normed: list[bool] = []
    for images, run_model in inputs:
        pixels = [image.detach().clone().requires_grad_() for image in images]
        with fixed_weights(model), responses(model, layers) as found:
            run_model(pixels)
            for place, name in enumerate(layers):
                if name not in found:
                    raise InputError(f'{name} does not run when the model is shown an image; name another layer.')
                response = found[name]
                if len(drawn) == place:
                    channels.append(response.channels)
                    normed.append(response.normed)
                    drawn.append(choose(response.channels, most, seed, place))
                    size = (len(drawn[-1]),) * 2
                    sums.append(torch.zeros(size, dtype=torch.float64))
                    shared.append(torch.zeros(size, dtype=torch.float64))
                rows = []
                for channel in drawn[place]:
                    rows.append(patterns(response, pixels, int(channel), reduce))
                    done(len(pixels))
                for image in zip(*rows, strict=True):
                    similarity = cosines(torch.stack([row.flatten() for row in image])).cpu()
                    shared[place] += ~similarity.isnan()
                    sums[place] += similarity.nan_to_num()
    means = [(total / count).numpy() for total, count in zip(sums, shared, strict=True)]  # 0 / 0 is NaN
    return means, channels, drawn, normed
