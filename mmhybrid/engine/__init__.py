"""Hooks registered in MMDetection's ``HOOKS``."""

from .frozen_stages import FrozenStagesHook
from .fuse_norms import FuseNormsHook

__all__ = ['FrozenStagesHook', 'FuseNormsHook']
