"""Backbones for MMDetection that are honest about occlusion, and an evaluation that shows it.

Importing this package imports neither torch nor MMDetection: ``mmhybrid.occlusion`` and ``mmhybrid.datasets`` need
neither. ``mmhybrid.registry`` makes the backbones, layers and the metric known to MMDetection; a config names it in
``custom_imports``. What needs the stack says in one sentence if it is not there.
"""

from mmhybrid.fusing import fuse
from mmhybrid.paths import config_path
from mmhybrid.version import __version__
from mmhybrid.zoo import create_backbone, list_backbones

__all__ = ['__version__', 'config_path', 'create_backbone', 'fuse', 'list_backbones']
