"""The backbones by name: a table of variants, and a ready ``nn.Module`` for each.

The names are the ones in the names of the config files. This module imports no torch until a backbone is made.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mmhybrid.errors import InputError

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn


@dataclass(frozen=True)
class Variant:
    """One named backbone.

    Attributes:
        type: Class name, under which MMDetection's registry knows it.
        family: Key of ``FAMILIES``.
        options: Arguments of the class.
    """

    type: str
    family: str
    options: Mapping[str, Any] = field(default_factory=dict)


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


def _variants(family: str, type: str, **variants: Mapping[str, Any]) -> dict[str, Variant]:
    return {name: Variant(type, family, MappingProxyType(dict(options))) for name, options in variants.items()}


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


def create_backbone(name: str, checkpoint: str | PathLike | None = None, **overrides: Any) -> nn.Module:
    """Make a variant as an ``nn.Module``, initialised, in training mode.

    Args:
        name: One of :func:`list_backbones`.
        checkpoint: Weights to begin with, a path or a URL: a backbone's file, .safetensors or .pth, or the checkpoint
            of a classifier or a detector with this backbone. One sentence in the log tells what was loaded.
        **overrides: Arguments of its class that differ, e.g. ``out_indices=(1, 2, 3)``. Batch norms learn their
            statistics unless ``norm_eval=True`` is given, which is MMDetection's default for pretrained weights.

    Returns:
        A module that maps (N, 3, H, W) to a tuple of feature maps, with ``out_channels`` and ``out_strides``.

    Raises:
        InputError: If there is no such variant, or if the weights are another's: with the first tensor that differs.
        ImportError: If MMDetection is not installed.
        TypeError, ValueError: If an override is unknown or cannot apply.
    """
    config = {'norm_eval': False} | backbone_config(name) | overrides
    import mmhybrid.registry  # noqa: F401  (registers the classes and plug-ins)
    from mmhybrid import backbones

    with _quiet():
        backbone = getattr(backbones, config.pop('type'))(**config)
        backbone.init_weights()
    if checkpoint is not None:
        from mmhybrid.checkpoints.backbone_files import load_backbone

        load_backbone(backbone, checkpoint)
    return backbone


def detector_parts(name: str, checkpoint: str | None = None) -> dict[str, Any]:
    """What a detector with an FPN says of its backbone, for ``model = dict(...)`` in an MMDetection config.

    Args:
        name: One of :func:`list_backbones`.
        checkpoint: Weights of the backbone, as of :func:`create_backbone`. With them, stage 1 and the batch norms are
            frozen, as the papers trained; with None, nothing is, since frozen random layers would ruin a run.

    Returns:
        ``backbone``, which replaces the one inherited, and ``neck`` with the backbone's channels.

    Raises:
        InputError: If there is no such variant.
    """
    config = backbone_config(name)
    return dict(
        backbone=dict(_delete_=True, **config, **freezing(checkpoint)),
        neck=dict(in_channels=list(_out_channels(config))),
    )


def freezing(checkpoint: str | None, freeze: bool = True) -> dict[str, Any]:
    """Arguments of a backbone that follow from whether it starts from a checkpoint, and is to be frozen then."""
    # Without one there is no init_cfg, not None: a config that inherits may give a dict then.
    init_cfg = dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)) if checkpoint else {}
    freeze = bool(checkpoint and freeze)
    return dict(frozen_stages=1 if freeze else -1, norm_eval=freeze, **init_cfg)


def _out_channels(config: Mapping[str, Any]) -> tuple[int, ...]:
    import torch

    import mmhybrid.registry  # noqa: F401
    from mmhybrid import backbones

    options = {key: value for key, value in config.items() if key != 'type'}
    with torch.device('meta'):  # no memory, no time
        return getattr(backbones, config['type'])(**options).out_channels


def _plain(plugin: Mapping[str, Any]) -> dict[str, Any]:
    return {key: dict(value) if isinstance(value, Mapping) else value for key, value in plugin.items()}


@contextmanager
def _quiet():
    """Without the line that MMEngine logs for each parameter it initialises."""
    from mmengine.logging import MMLogger

    # Not logging.disable(): what MMEngine's logger then remembers of a level outlasts it.
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
