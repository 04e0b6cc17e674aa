"""Hooks registered in MMDetection's ``HOOKS``.

Importing this has MMEngine read checkpoints as data only, see ``mmhybrid.checkpoints.roads``.
"""

from mmhybrid.checkpoints import roads

from .frozen_stages import FrozenStagesHook
from .fuse_norms import FuseNormsHook
from .resumable_checkpoint import ResumableCheckpointHook

roads.install()

__all__ = ['FrozenStagesHook', 'FuseNormsHook', 'ResumableCheckpointHook']
