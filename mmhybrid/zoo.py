"""The backbones by name: a ready ``nn.Module``, or what a detector's config says of one.

This module imports no torch until a backbone is made.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmhybrid.variants import FAMILIES, USE, VARIANTS, Family, Variant, backbone_config, list_backbones

if TYPE_CHECKING:
    from os import PathLike

    from torch import nn

__all__ = [
    'FAMILIES',
    'USE',
    'VARIANTS',
    'Family',
    'Variant',
    'backbone_config',
    'create_backbone',
    'detector_parts',
    'freezing',
    'list_backbones',
]


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

    with quiet():
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
    backbone = dict(_delete_=True, **backbone_config(name), **freezing(checkpoint))
    return dict(backbone=backbone, neck=dict(in_channels=list(VARIANTS[name].out_channels)))


def freezing(checkpoint: str | None, freeze: bool = True) -> dict[str, Any]:
    """Arguments of a backbone that follow from whether it starts from a checkpoint, and is to be frozen then."""
    # Without one there is no init_cfg, not None: a config that inherits may give a dict then.
    init_cfg = dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)) if checkpoint else {}
    freeze = bool(checkpoint and freeze)
    return dict(frozen_stages=1 if freeze else -1, norm_eval=freeze, **init_cfg)


@contextmanager
def quiet():
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
