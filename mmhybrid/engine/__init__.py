"""Hooks registered in MMDetection's ``HOOKS``."""

from .frozen_stages import FrozenStagesHook

__all__ = ['FrozenStagesHook']
