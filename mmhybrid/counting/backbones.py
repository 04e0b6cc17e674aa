"""The named backbones, counted: what ``mmhybrid models`` shows and ``docs/backbones.md`` lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.resources import files

from mmhybrid.variants import FAMILIES, VARIANTS, backbone_config, list_backbones

from .modules import count

KEPT = 'models.json'  # beside this file, written by tools/make_docs.py
# Variants that are made for other images than ImageNet's.
CIFAR = ('hcgnet_a1', 'hcgnet_a2', 'hcgnet_a3')


@dataclass(frozen=True)
class Row:
    """One variant, counted; ``shape`` is the height and width of the image."""

    name: str
    type: str
    family: str
    shape: tuple[int, int]
    parameters: int
    multiply_adds: int
    operators: dict[str, int]
    out_channels: tuple[int, ...]
    out_strides: tuple[int, ...]
    arxiv: str


def count_models(
    family: str | None = None,
    shape: tuple[int, int] | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Iterator[Row]:
    """Count the variants of one family, or of all.

    Args:
        family: Key of ``mmhybrid.zoo.FAMILIES``.
        shape: Height and width of the image; None is 224x224, and 32x32 for the variants made for CIFAR.
        progress: Called with one line before each variant.
    """
    names = list_backbones(family)
    for i, name in enumerate(names, 1):
        size = shape or ((32, 32) if name in CIFAR else (224, 224))
        progress(f'[{i}/{len(names)}] {name} at {size[0]}x{size[1]}')
        yield count_model(name, size)


def kept_models(family: str | None = None) -> list[Row]:
    """The same rows as :func:`count_models` gives by default, as they were counted when this package was made."""
    rows = json.loads(files('mmhybrid.counting').joinpath(KEPT).read_text(encoding='utf-8'))['models']
    names = list_backbones(family)
    tuples = ('shape', 'out_channels', 'out_strides')
    return [Row(**{**row, **{key: tuple(row[key]) for key in tuples}}) for row in rows if row['name'] in names]


def count_model(name: str, shape: tuple[int, int]) -> Row:
    """Count one variant, with zeros for weights, on an image of ``shape``."""
    import torch

    # What counts traces, and on `meta` a traced convolution fails; made there, the backbone needs no initialisation.
    with torch.device('meta'):
        backbone = build(name).eval()
    backbone.to_empty(device='cpu')
    with torch.no_grad():
        for tensor in (*backbone.parameters(), *backbone.buffers()):
            tensor.zero_()
    counts = count(backbone, torch.zeros(1, 3, *shape))
    variant = VARIANTS[name]
    return Row(
        name=name,
        type=variant.type,
        family=variant.family,
        shape=shape,
        parameters=counts.parameters,
        multiply_adds=counts.multiply_adds,
        operators=dict(counts.operators),
        out_channels=tuple(backbone.out_channels),
        out_strides=tuple(backbone.out_strides),
        arxiv=FAMILIES[variant.family].arxiv,
    )


def build(name: str):
    """Make a variant without initialising it, on the default device."""
    import mmhybrid.registry  # noqa: F401
    from mmhybrid import backbones

    config = backbone_config(name)
    return getattr(backbones, config.pop('type'))(**config)
