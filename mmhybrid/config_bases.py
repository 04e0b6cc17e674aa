"""Let configs inherit from this package: ``_base_ = 'mmhybrid::mask_rcnn_tiedresnet50_fpn_2x.py'``.

MMEngine reads ``PACKAGE::CONFIG`` for the packages of a list of its own, with a folder in the path, from a copy of the
configs in ``PACKAGE/.mim``. Here the one prefix ``mmhybrid::`` leads to the folder that :mod:`mmhybrid.paths` finds, in
a source tree, an editable install and an installed wheel alike; every other goes MMEngine's way.

A base is read before any ``custom_imports``, so this has to be installed by then: importing ``mmhybrid.registry`` does
it, and so do the tools and commands of this package.
"""

import functools
from collections.abc import Callable

import mmengine.hub.hub
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmhybrid.errors import InputError
from mmhybrid.paths import PREFIX, base_config

# Where the parts of this package are registered; MMDetection's own configs are read with the same one.
_SCOPE = 'mmdet'


class _Facts(dict):
    """What a metafile would say of a config; MMEngine asks for its weights alone."""

    def __contains__(self, key: object) -> bool:
        raise LookupError(f'There are no published weights of {self["Config"]}: leave pretrained=True out.')


def install() -> None:
    """Have MMEngine know the prefix in ``_base_`` and in ``mmengine.hub.get_config``. Again, it changes nothing."""
    if not hasattr(Config._get_cfg_path, '__wrapped__'):
        Config._get_cfg_path = staticmethod(_base(Config._get_cfg_path))
    # What `get_config` calls, and not itself: a program may have imported it already.
    for name, ours in _STEPS.items():
        mmengines = getattr(mmengine.hub.hub, name)
        if not hasattr(mmengines, '__wrapped__'):
            setattr(mmengine.hub.hub, name, _step(mmengines, ours))


def _base(mmengines: Callable) -> Callable:
    @functools.wraps(mmengines)
    def get_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if not cfg_path.startswith(PREFIX):
            return mmengines(cfg_path, filename)
        return str(base_config(cfg_path.removeprefix(PREFIX))), _SCOPE

    return get_path


def _step(mmengines: Callable, ours: Callable) -> Callable:
    @functools.wraps(mmengines)
    def step(first: str, *others: str):
        return (ours if first.startswith(PREFIX) else mmengines)(first, *others)

    return step


def _package_and_path(cfg_path: str) -> tuple[str, str]:
    scope = DefaultScope.get_current_instance()
    if scope is not None and scope.scope_name == PREFIX.removesuffix('::'):  # as `get_model` alone sets it
        raise InputError(
            f"get_model cannot build {cfg_path}, whose parts are in MMDetection's registry: give "
            'mmdet.registry.MODELS.build the model of get_config.'
        )
    return PREFIX, str(base_config(cfg_path.removeprefix(PREFIX)))


# The first argument of each is the path with its prefix, or the package, which the prefix stands for.
_STEPS: dict[str, Callable] = {
    '_get_package_and_cfg_path': _package_and_path,
    'install_package': lambda package: None,
    'get_installed_path': lambda package: package,
    '_get_cfg_metainfo': lambda package, path: _Facts(Config=path),
}
