"""Let configs inherit from this package: ``_base_ = 'mmhybrid::mask_rcnn_tiedresnet50_fpn_2x.py'``.

MMEngine reads ``PACKAGE::CONFIG`` for the packages of a list of its own, with a folder in the path, from a copy of the
configs in ``PACKAGE/.mim``. Here the one prefix ``mmhybrid::`` leads to the folder that :mod:`mmhybrid.paths` finds, in
a source tree, an editable install and an installed wheel alike; every other goes MMEngine's way.

A base is read before any ``custom_imports``, so this has to be installed by then: importing ``mmhybrid.registry`` does
it, and so do the tools and commands of this package.
"""

import functools
from collections.abc import Callable

import mmengine.hub
from mmengine.config import Config

from mmhybrid.errors import InputError
from mmhybrid.paths import base_config

PREFIX = 'mmhybrid::'
# Where the parts of this package are registered; MMDetection's own configs are read with the same one.
_SCOPE = 'mmdet'


def install() -> None:
    """Have MMEngine know the prefix in ``_base_`` and in ``mmengine.hub.get_config``. Again, it changes nothing."""
    if not hasattr(Config._get_cfg_path, '__wrapped__'):
        Config._get_cfg_path = staticmethod(_base(Config._get_cfg_path))
    if not hasattr(mmengine.hub.get_config, '__wrapped__'):
        mmengine.hub.get_config = mmengine.hub.hub.get_config = _config(mmengine.hub.get_config)


def _base(mmengines: Callable) -> Callable:
    @functools.wraps(mmengines)
    def get_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if not cfg_path.startswith(PREFIX):
            return mmengines(cfg_path, filename)
        return str(base_config(cfg_path.removeprefix(PREFIX))), _SCOPE

    return get_path


def _config(mmengines: Callable) -> Callable:
    @functools.wraps(mmengines)
    def get_config(cfg_path: str, pretrained: bool = False) -> Config:
        if not cfg_path.startswith(PREFIX):
            return mmengines(cfg_path, pretrained)
        if pretrained:
            raise InputError(f'There are no published weights of {cfg_path}: leave pretrained=True out.')
        return Config.fromfile(base_config(cfg_path.removeprefix(PREFIX)))

    return get_config
