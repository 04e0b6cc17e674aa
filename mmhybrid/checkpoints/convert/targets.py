"""What weights are converted for: a variant by name, or the backbone of a config."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmhybrid.errors import InputError
from mmhybrid.paths import PREFIX, expanded, given_config
from mmhybrid.variants import USE, VARIANTS, backbone_config

# Classes whose trunk no other network has, and why.
_TIED = 'its convolutions share thin filters over blocks of channels, a shape that no file of another network has'
NO_WAY: Mapping[str, str] = {
    'TiedResNet': _TIED,
    'TiedResNeXt': _TIED,
    'TiedResNeSt': _TIED,
    'HSResNet': 'its hierarchical splits have widths that no file of another network has',
}
# Arguments of a backbone that are about a run, not about what its weights compute.
RUN = USE
# The images of the configs here, and of torchvision's and most of timm's ResNets.
INPUT = 'RGB, mean (123.675, 116.28, 103.53), standard deviation (58.395, 57.12, 57.375), of the configs here'


@dataclass(frozen=True)
class Target:
    """A backbone that weights are converted for.

    Attributes:
        name: Of the variant, the config or the class.
        config: The backbone's class as ``type``, and its arguments.
        variant: Name of the variant if it is one, and nothing besides; or None.
        images: What images the model of which it is a part gives it, a phrase.
    """

    name: str
    config: dict[str, Any]
    variant: str | None = None
    images: str = INPUT


def targets() -> list[str]:
    """Names of the variants that weights can be converted for."""
    return [name for name, variant in VARIANTS.items() if variant.type not in NO_WAY]


def kind_of(config: Mapping[str, Any]) -> str:
    """Class name of a backbone's config, without the scope of a registry."""
    return str(config.get('type')).rpartition('.')[2]


def find_target(target: str | Mapping[str, Any]) -> Target:
    """Find the backbone that weights are to be converted for.

    Args:
        target: Name of a variant, path of a config of MMDetection, or the config of a backbone itself.

    Raises:
        InputError: If there is no such variant, the config has no backbone, or no weights fit it.
    """
    found = _find(target)
    if why := NO_WAY.get(kind_of(found.config)):
        raise InputError(f'No weights can be carried over to {found.name}: {why}; train it from the beginning.')
    return found


def _find(target: str | Mapping[str, Any]) -> Target:
    if isinstance(target, Mapping):
        return Target(str(target.get('type', 'the backbone')), dict(target))
    path = expanded(given_config(target) if target.startswith(PREFIX) else target)
    if target in VARIANTS or not (path.suffix in ('.py', '.json', '.yaml', '.yml') or path.is_file()):
        return Target(target, backbone_config(target), target)
    if not path.is_file():
        raise InputError(f'There is no config {target}; give the name of a backbone, or the path of a .py file.')
    from mmhybrid import launch

    model = launch.load_config(launch.make_parser('', '').parse_args([str(path)])).get('model') or {}
    inner = model.get('detector') or model
    backbone = inner.get('backbone')
    if not backbone:
        raise InputError(f'--to {target}: its model has no backbone; give the config of a detector.')
    config = backbone.to_dict() if hasattr(backbone, 'to_dict') else dict(backbone)
    return Target(path.stem, config, None, _images(model.get('data_preprocessor') or {}, inner, path.name))


def _images(outer: Mapping[str, Any], detector: Mapping[str, Any], file: str) -> str:
    # That of semi-supervised detectors is around another one.
    given = outer.get('data_preprocessor') or outer or detector.get('data_preprocessor')
    if not given:
        return f'not stated in {file}'
    order = 'RGB' if given.get('bgr_to_rgb') else 'BGR'  # as which MMDetection loads them
    mean, std = (given.get(key) for key in ('mean', 'std'))
    if mean is None or std is None:
        return f'{order}, not normalised, of {file}'
    mean, std = (f'({", ".join(f"{value:g}" for value in values)})' for values in (mean, std))
    return f'{order}, mean {mean}, standard deviation {std}, of {file}'
