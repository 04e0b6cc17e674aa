"""Hooks registered in MMDetection's ``HOOKS``.

Importing this has MMEngine read checkpoints as data only, see ``mmhybrid.checkpoints.roads``.
"""

from mmhybrid.checkpoints import roads

from .data_check import DataCheckHook
from .frozen_stages import FrozenStagesHook
from .fuse_norms import FuseNormsHook
from .loaded_weights import LoadedWeightsHook
from .nonfinite_loss import NonFiniteLossHook
from .resumable_checkpoint import ResumableCheckpointHook

roads.install()

__all__ = [
    'DataCheckHook',
    'FrozenStagesHook',
    'FuseNormsHook',
    'LoadedWeightsHook',
    'NonFiniteLossHook',
    'ResumableCheckpointHook',
]
