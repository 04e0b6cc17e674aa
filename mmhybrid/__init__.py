"""Backbones for MMDetection that are honest about occlusion, and an evaluation that shows it.

Importing this package imports neither torch nor MMDetection: ``mmhybrid.occlusion`` and ``mmhybrid.datasets`` need
neither. ``mmhybrid.registry`` makes the backbones, layers and the metric known to MMDetection; a config names it in
``custom_imports``.
"""

import warnings as _warnings

from mmhybrid import _stack
from mmhybrid.fusing import fuse
from mmhybrid.paths import config_path
from mmhybrid.version import __version__
from mmhybrid.zoo import create_backbone, list_backbones

__all__ = ['__version__', 'config_path', 'create_backbone', 'fuse', 'list_backbones']

_sentence = _stack.problem()
if _sentence is not None:
    _warnings.warn(f'{_sentence} The occlusion evaluation works without it.', stacklevel=2)
