"""Refuse to train a detector whose frozen layers were never loaded."""

from collections.abc import Iterator

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, Runner
from torch import nn

from mmhybrid.errors import InputError

Shapes = dict[str, torch.Size]


@HOOKS.register_module()
class FrozenStagesHook(Hook):
    """Check, before the first iteration, that what cannot be learned was loaded.

    MMDetection's base configs freeze the backbone's first stage and all its batch norms, which is right for a
    pretrained backbone and silently ruins a run from random weights. The hook looks at the backbone's parameters
    without gradient and, if ``norm_eval`` is set, at its batch norms' statistics; each must have been in a
    checkpoint, in the right shape: the one of ``init_cfg=dict(type='Pretrained', ...)`` of the backbone or the
    detector, ``load_from``, or the one resumed from.

    Raises:
        InputError: In ``before_train``, if some of them were in none.
    """

    def __init__(self):
        self._loaded: Shapes = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note what ``load_from`` or ``resume`` brings."""
        self._loaded.update(_shapes(checkpoint))

    def before_train(self, runner: Runner) -> None:
        """Compare what is frozen with what was loaded."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'backbone'):
            return
        frozen = {f'backbone.{name}': tensor.shape for name, tensor in _frozen(model.backbone)}
        if not frozen:
            return
        loaded = self._loaded | _pretrained(model, '') | _pretrained(model.backbone, 'backbone.')
        missing = [name for name, shape in frozen.items() if loaded.get(name) != shape]
        if missing:
            raise InputError(
                f'{len(missing)} of {len(frozen)} frozen tensors of the backbone were in no checkpoint (the first is '
                f'{missing[0]}), so training would keep them random: set backbone_checkpoint to the weights of this '
                'backbone, or train everything with model.backbone.frozen_stages=-1 and model.backbone.norm_eval=False.'
            )


def _frozen(backbone: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from ((name, p) for name, p in backbone.named_parameters() if not p.requires_grad)
    if getattr(backbone, 'norm_eval', False):
        yield from ((name, b) for name, b in backbone.named_buffers() if name.endswith('running_mean'))


def _pretrained(module: nn.Module, prefix: str) -> Shapes:
    init_cfg = getattr(module, 'init_cfg', None)
    if not isinstance(init_cfg, dict) or init_cfg.get('type') not in ('Pretrained', 'PretrainedInit'):
        return {}
    checkpoint = CheckpointLoader.load_checkpoint(init_cfg['checkpoint'], map_location='cpu')
    inner = init_cfg.get('prefix') or ''
    inner += '.' if inner and not inner.endswith('.') else ''
    return {
        prefix + name.removeprefix(inner): shape
        for name, shape in _shapes(checkpoint).items()
        if name.startswith(inner)
    }


def _shapes(checkpoint: dict) -> Shapes:
    state_dict = checkpoint.get('state_dict', checkpoint)
    return {
        name.removeprefix('module.'): value.shape
        for name, value in state_dict.items()
        if isinstance(value, torch.Tensor)
    }
