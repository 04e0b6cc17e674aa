"""Refuse to train a detector whose frozen layers were never loaded."""

from collections.abc import Iterator

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import BaseModule
from mmengine.runner import Runner
from torch import nn

from mmhybrid.checkpoints.loading import loaded_names
from mmhybrid.errors import InputError

from .unwrapping import unwrapped


@HOOKS.register_module()
class FrozenStagesHook(Hook):
    """Check, before the first iteration, that what cannot be learned was loaded.

    MMDetection's base configs freeze the backbone's first stage and all its batch norms, which is right for a
    pretrained backbone and silently ruins a run from random weights. The hook looks at the backbone's parameters
    without gradient and, if ``norm_eval`` is set, at its batch norms' statistics. MMEngine must have loaded each, in
    the right shape: by ``init_cfg`` of the detector, the backbone or a part of it, in whatever form that is written, by
    ``load_from``, or by resuming. A backbone with an ``init_weights`` of its own, as MMDetection's Swin, loads in its
    own way; where its ``init_cfg`` names a checkpoint, it is taken at its word.

    Raises:
        InputError: In ``before_train``, if some of them were not loaded.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare what is frozen with what was loaded."""
        model = unwrapped(runner.model)
        backbone = getattr(model, 'backbone', None)
        if backbone is None or _loads_in_its_own_way(backbone):
            return
        frozen = [f'backbone.{name}' for name in _frozen(backbone)]
        loaded = loaded_names(model)
        missing = [name for name in frozen if name not in loaded]
        if missing:
            raise InputError(
                f'{len(missing)} of {len(frozen)} frozen tensors of the backbone were in no checkpoint (the first is '
                f'{missing[0]}), so training would keep them random: set backbone_checkpoint to the weights of this '
                'backbone, or train everything with model.backbone.frozen_stages=-1 and model.backbone.norm_eval=False.'
            )


def _frozen(backbone: nn.Module) -> Iterator[str]:
    yield from (name for name, p in backbone.named_parameters() if not p.requires_grad)
    if getattr(backbone, 'norm_eval', False):
        yield from (name for name, _ in backbone.named_buffers() if name.endswith('running_mean'))


def _loads_in_its_own_way(backbone: nn.Module) -> bool:
    init_cfg = getattr(backbone, 'init_cfg', None) or ()
    named = any('checkpoint' in cfg for cfg in ([init_cfg] if isinstance(init_cfg, dict) else init_cfg))
    return named and getattr(type(backbone), 'init_weights', None) is not BaseModule.init_weights
