"""Hooks registered in MMDetection's ``HOOKS``.

Importing this has MMEngine read checkpoints as data only, see ``mmhybrid.checkpoints.roads``.
"""

from mmhybrid.checkpoints import roads

from .data_check import DataCheckHook
from .first_iteration import FirstIterationHook
from .frozen_stages import FrozenStagesHook
from .fuse_norms import FuseNormsHook
from .loaded_weights import LoadedWeightsHook
from .nonfinite_loss import NonFiniteLossHook
from .resumable_checkpoint import ResumableCheckpointHook

roads.install()

__all__ = [
    'DataCheckHook',
    'FirstIterationHook',
    'FrozenStagesHook',
    'FuseNormsHook',
    'LoadedWeightsHook',
    'NonFiniteLossHook',
    'ResumableCheckpointHook',
]
