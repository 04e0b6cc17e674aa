"""The backbones' names: a table of variants and of the papers that they come from. Imports no torch.

The names are the ones in the names of the config files.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from mmhybrid.errors import InputError


@dataclass(frozen=True)
class Variant:
    """One named backbone.

    Attributes:
        type: Class name, under which MMDetection's registry knows it.
        family: Key of ``FAMILIES``.
        options: Arguments of the class.
        out_channels: Channels of each of its feature maps, finest first.
    """

    type: str
    family: str
    options: Mapping[str, Any]
    out_channels: tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """Where a group of variants comes from.

    Attributes:
        title: The paper's title.
        arxiv: The paper's arXiv number.
        docs: Heading of its section in ``docs/backbones.md``.
    """

    title: str
    arxiv: str
    docs: str


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        'tbc': Family(
            'Tied Block Convolution: Leaner and Better CNNs with Shared Thinner Filters', '2009.12021', 'TiedResNet'
        ),
        'hcgnet': Family('Gated Convolutional Networks with Hybrid Connectivity', '1908.09699', 'HCGNet'),
        'dsnet': Family('ResNet or DenseNet? Introducing Dense Shortcuts to ResNet', '2010.12496', 'DSNet'),
        'hsresnet': Family(
            'HS-ResNet: Hierarchical-Split Block on Convolutional Neural Network', '2010.07621', 'HS-ResNet'
        ),
        'senetv2': Family(
            'SENetV2: Aggregated dense layer for channelwise and global representations', '2311.10807', 'SENetV2'
        ),
    }
)

# Arguments of a backbone that change neither its tensors nor what they compute, but how it is used.
USE = (
    'type', '_delete_', 'out_indices', 'frozen_stages', 'norm_eval', 'init_cfg', 'pretrained', 'with_cp',
    'zero_init_residual',
)  # fmt: skip

_TIED_SE = (dict(cfg=dict(type='TiedSE', blocks=8), position='after_conv3'),)
# GCNet's best: c3 to c5, all blocks.
_TIED_GCB = (dict(cfg=dict(type='TiedGCB', blocks=2), stages=(False, True, True, True), position='after_conv3'),)
_D = dict(deep_stem=True, avg_down=True)


# Channels of the feature maps of those that have others than ResNet-50.
_CHANNELS = {
    'hcgnet_b': (160, 368, 952, 1244),
    'hcgnet_c': (352, 848, 1720, 2428),
    'hcgnet_a1': (120, 252, 414),
    'hcgnet_a2': (240, 408, 716),
    'hcgnet_a3': (504, 828, 1374),
    'sae_resnet18': (64, 128, 256, 512),
}


def _variants(family: str, type: str, **variants: Mapping[str, Any]) -> dict[str, Variant]:
    return {
        name: Variant(type, family, MappingProxyType(dict(options)), _CHANNELS.get(name, (256, 512, 1024, 2048)))
        for name, options in variants.items()
    }


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    _variants(
        'tbc',
        'TiedResNet',
        tiedresnet50=dict(depth=50),
        tiedresnet50_s=dict(depth=50, base_width=18),
        tiedresnet101=dict(depth=101),
        tiedresnet101_s=dict(depth=101, base_width=18),
        tiedresnet152=dict(depth=152),
        tiedsenet50=dict(depth=50, plugins=_TIED_SE),
        tiedsenet101=dict(depth=101, plugins=_TIED_SE),
        tiedresnet50_tiedgcb=dict(depth=50, plugins=_TIED_GCB),
        tiedresnet101_tiedgcb=dict(depth=101, plugins=_TIED_GCB),
    )
    | _variants(
        'tbc',
        'TiedResNeXt',
        tiedresnext50=dict(depth=50),
        tiedresnext50_s=dict(depth=50, base_width=36),
        tiedresnext101=dict(depth=101),
        tiedresnext101_s=dict(depth=101, base_width=36),
    )
    | _variants(
        'tbc',
        'TiedResNeSt',
        tiedresnest50=dict(depth=50),
        tiedresnest50_s=dict(depth=50, avd_first=True),
        tiedresnest101=dict(depth=101, stem_channels=128),
    )
    | _variants(
        'tbc',
        'SEResNet',
        resnet50_tiedse=dict(depth=50, blocks=8),
    )
    | _variants(
        'hcgnet',
        'HCGNet',
        hcgnet_b=dict(arch='B'),
        hcgnet_c=dict(arch='C'),
        hcgnet_a1=dict(arch='A1'),
        hcgnet_a2=dict(arch='A2'),
        hcgnet_a3=dict(arch='A3'),
    )
    | _variants(
        'dsnet',
        'DSNet',
        dsnet50=dict(depth=50),
        dsnet101=dict(depth=101),
        ds2net50=dict(depth=50, inner_shortcut=True),
        ds2net101=dict(depth=101, inner_shortcut=True),
        resnet50_dense=dict(depth=50, shortcut='identity_dense'),
    )
    | _variants('dsnet', 'DS2Res2Net', ds2res2net50=dict(depth=50))
    | _variants(
        'hsresnet',
        'HSResNet',
        hsresnet50=dict(depth=50),
        hsresnet50_d=dict(depth=50, **_D),
        hsresnet50_28w6s=dict(depth=50, base_width=28),
        # The size that is said to be the paper's; unverified.
        hsresnet50_d_24w4s=dict(depth=50, splits=4, base_width=24, **_D),
        hsresnet101=dict(depth=101),
        hsresnet101_d=dict(depth=101, **_D),
    )
    | _variants(
        'senetv2',
        'SaEResNet',
        sae_resnet18=dict(depth=18),
        sae_resnet50=dict(depth=50),
        sae_resnet101=dict(depth=101),
        sae_resnext50=dict(depth=50, groups=32, base_width=4),
    )
    | _variants('senetv2', 'SEResNet', se_resnet50=dict(depth=50))
)


def list_backbones(family: str | None = None) -> list[str]:
    """Names of the variants, of one family or of all.

    Raises:
        InputError: If there is no such family.
    """
    if family is not None and family not in FAMILIES:
        raise InputError(f'There is no family {family!r}; choose from {", ".join(FAMILIES)}.')
    return [name for name, variant in VARIANTS.items() if family in (None, variant.family)]


def backbone_config(name: str) -> dict[str, Any]:
    """MMDetection config of a variant: its class name as ``type``, and its arguments.

    Raises:
        InputError: If there is no such variant.
    """
    if name not in VARIANTS:
        close = difflib.get_close_matches(name, VARIANTS, n=3)
        hint = f'did you mean {" or ".join(close)}?' if close else 'mmhybrid.list_backbones() gives all names.'
        raise InputError(f'There is no backbone {name!r}; {hint}')
    variant = VARIANTS[name]
    options = {key: [_plain(p) for p in value] if key == 'plugins' else value for key, value in variant.options.items()}
    return dict(type=variant.type, **options)


def _plain(plugin: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in plugin.items()}
