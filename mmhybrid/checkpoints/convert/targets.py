"""What weights are converted for: a variant by name, or the backbone of a config."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.zoo import VARIANTS, backbone_config

# Classes whose trunk no other network has, and why.
_TIED = 'its convolutions share thin filters over blocks of channels, a shape that no file of another network has'
NO_WAY: Mapping[str, str] = {
    'TiedResNet': _TIED,
    'TiedResNeXt': _TIED,
    'TiedResNeSt': _TIED,
    'HSResNet': 'its hierarchical splits have widths that no file of another network has',
}


def targets() -> list[str]:
    """Names of the variants that weights can be converted for."""
    return [name for name, variant in VARIANTS.items() if variant.type not in NO_WAY]


def kind_of(config: Mapping[str, Any]) -> str:
    """Class name of a backbone's config, without the scope of a registry."""
    return str(config.get('type')).rpartition('.')[2]


def config_of(target: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and config of a backbone.

    Args:
        target: Name of a variant, path of a config of MMDetection, or the config of a backbone itself.

    Raises:
        InputError: If there is no such variant, the config has no backbone, or no weights fit it.
    """
    name, config = _find(target)
    if why := NO_WAY.get(kind_of(config)):
        raise InputError(f'No weights can be carried over to {name}: {why}; train it from the beginning.')
    return name, config


def _find(target: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    if isinstance(target, Mapping):
        return str(target.get('type', 'the backbone')), dict(target)
    path = Path(target).expanduser()
    if target in VARIANTS or not (path.suffix in ('.py', '.json', '.yaml', '.yml') or path.is_file()):
        return target, backbone_config(target)
    if not path.is_file():
        raise InputError(f'There is no config {target}; give the name of a backbone, or the path of a .py file.')
    from mmhybrid import launch

    model = launch.load_config(launch.make_parser('', '').parse_args([str(path)])).get('model') or {}
    backbone = (model.get('detector') or model).get('backbone')
    if not backbone:
        raise InputError(f'--to {target}: its model has no backbone; give the config of a detector.')
    return path.stem, backbone.to_dict() if hasattr(backbone, 'to_dict') else dict(backbone)
