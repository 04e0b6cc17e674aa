"""What can be pre-trained by name: every backbone of the zoo, and MMDetection's own as baselines."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mmhybrid import variants
from mmhybrid.errors import InputError

# MMDetection's classes, with the arguments of their usual variants.
BASELINES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **{f'resnet{depth}': dict(type='ResNet', depth=depth) for depth in (18, 34, 50, 101, 152)},
        'resnext50': dict(type='ResNeXt', depth=50, groups=32, base_width=4),
        'res2net50': dict(type='Res2Net', depth=50, scales=4, base_width=26),
        'resnest50': dict(type='ResNeSt', depth=50, stem_channels=64, radix=2, reduction_factor=4),
    }
)


def names() -> list[str]:
    """All names that ``--backbone`` takes."""
    return [*variants.VARIANTS, *BASELINES]


def backbone_config(name: str) -> dict[str, Any]:
    """MMDetection config of a backbone that is to be trained from scratch: its batch norms learn their statistics.

    Args:
        name: One of :func:`names`.

    Raises:
        InputError: If there is no such backbone.
    """
    if name in BASELINES:
        return {**BASELINES[name], 'norm_eval': False}
    if name not in variants.VARIANTS:
        close = difflib.get_close_matches(str(name), names(), n=3)
        hint = f'did you mean {" or ".join(close)}?' if close else f'choose from {", ".join(names())}.'
        raise InputError(f'There is no backbone {name!r}; {hint}')
    return {**variants.backbone_config(name), 'norm_eval': False}


def differing_options(name: str, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments by which a backbone differs from the variant of a name; None if it is of another class."""
    own = backbone_config(name)
    if config.get('type') != own['type']:
        return None
    differing = {key for key in {**own, **config} if config.get(key) != own.get(key)}
    return {key: config.get(key) for key in sorted(differing.difference(variants.USE))}
