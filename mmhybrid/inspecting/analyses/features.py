"""Features of images at levels or modules of a model, averaged over a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmhybrid.errors import InputError

from ..samples import Sample, batches
from ..subjects import BACKBONE, DETECTOR, Batch, Subject

_BACKBONE, _NECK = 'backbone', 'neck'


def pool(maps: Tensor, grid: int, shares: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Feature maps (N, C, H, W) -> (N, C * grid * grid), the average of each part; (N, C) stays.

    ``shares`` of height and width are what an image takes of its map, from the upper left; padding is left out. Where a
    map has fewer than ``grid`` cells a side, cells come again.

    Raises:
        ValueError: Other shapes.
    """
    if maps.dim() == 2:
        return maps
    if maps.dim() != 4:
        raise ValueError(f'a feature map has 4 dimensions, and this one {maps.dim()}')
    height, width = (
        max(1, min(side, int(np.ceil(round(side * share, 6)))))
        for side, share in zip(maps.shape[-2:], shares, strict=True)
    )
    return functional.adaptive_avg_pool2d(maps[:, :, :height, :width], grid).flatten(1)


class Recorder:
    """Runs backbone and neck of a model and gives their features.

    Args:
        subject: The model.
        layers: Levels and modules, of which those count that it has; all levels if none is named.
    """

    def __init__(self, subject: Subject, layers: Sequence[str] = ()):
        self.subject = subject
        self._layers = list(dict.fromkeys(layers))
        self._modules = dict(_named_modules(subject))

    @property
    def example(self) -> str:
        """Name of a module."""
        inner = [name for name in self._modules if name.count('.') == 2] or list(self._modules)
        return inner[0]

    def has(self, name: str) -> bool:
        """Whether this is a level or a module of the model."""
        part, _, index = name.partition('.')
        if index.isascii() and index.isdigit() and part in (_BACKBONE, _NECK):
            return part == _BACKBONE or self._with_neck
        return name in self._modules

    def __call__(self, batch: Batch, grid: int) -> dict[str, Tensor]:
        """Features (N, p) by level or module of images of one size.

        Raises:
            InputError: If a layer does not run, runs more than once, or gives no features.
        """
        inputs, _ = self.subject.normalised(batch)
        shares = tuple(own / padded for own, padded in zip(batch.pixels[0].shape[-2:], inputs.shape[-2:], strict=True))
        found: dict[str, Tensor] = {}
        hooks = []

        def take(name: str, output: Any) -> None:
            if name in found:
                raise InputError(f'{self.subject.name}: {name} runs more than once for an image; name another layer.')
            if isinstance(output, tuple | list) and len(output) == 1:
                (output,) = output
            if not isinstance(output, Tensor) or output.dim() not in (2, 4):
                raise InputError(f'{self.subject.name}: {name} gives no feature map (N, C, H, W); name another layer.')
            found[name] = pool(output.float(), grid, shares)

        try:
            for name in (name for name in self._layers if name in self._modules):
                # At once: activations that follow may change it in place.
                hooks.append(
                    self._modules[name].register_forward_hook(lambda _, __, output, name=name: take(name, output))
                )
            with torch.no_grad():
                levels = self.subject.levels(inputs)
        finally:
            for hook in hooks:
                hook.remove()
        for name, level in levels.items():
            if (not self._layers or name in self._layers) and name not in found:
                take(name, level)
        for name in filter(self.has, self._layers):
            if name not in found:
                known = f'; its levels are {", ".join(levels)}' if name not in self._modules else ''
                raise InputError(f'{self.subject.name}: {name} gives nothing for an image{known}; name another layer.')
        order = [name for name in self._layers if name in found] or list(levels)
        return {name: found[name] for name in order}

    @property
    def _with_neck(self) -> bool:
        return self.subject.kind == DETECTOR and bool(getattr(self.subject.model, 'with_neck', False))


def read(
    recorder: Recorder,
    samples: Sequence[Sample],
    grid: int,
    batch_size: int = 1,
    done: Callable[[int], object] = lambda count: None,
) -> dict[str, np.ndarray]:
    """Features (images, p), float32, by level, in the order of ``samples``; ``done`` is told how many more are read.

    Images of a batch are of one size, so that no image's features depend on the others'.
    """
    found: dict[str, list[Tensor]] = {}
    for some in batches(samples, batch_size):
        batch = recorder.subject.prepare(some)
        for part in _of_one_size(batch):
            for name, values in recorder(part, grid).items():
                found.setdefault(name, []).extend(values.cpu())
        done(len(some))
    return {name: torch.stack(values).numpy() for name, values in found.items()}


def _of_one_size(batch: Batch) -> Iterator[Batch]:
    """The batch in runs of images of one size, in order."""
    start = 0
    for end in range(1, len(batch) + 1):
        if end == len(batch) or batch.pixels[end].shape != batch.pixels[start].shape:
            yield Batch(batch.pixels[start:end], batch.data_samples[start:end])
            start = end


def _named_modules(subject: Subject) -> Iterator[tuple[str, nn.Module]]:
    """Modules of the backbone, called so whether it is alone or within a model, and of the neck."""
    parts = {_BACKBONE: subject.backbone}
    if subject.kind != BACKBONE and isinstance(getattr(subject.model, _NECK, None), nn.Module):
        parts[_NECK] = subject.model.neck
    for part, module in parts.items():
        for name, each in module.named_modules():
            yield f'{part}.{name}' if name else part, each
