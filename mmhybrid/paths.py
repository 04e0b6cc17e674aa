"""Where the configs are: beside the package in a source tree, inside it once installed."""

import difflib
import os
from pathlib import Path

from mmhybrid.errors import InputError

PREFIX = 'mmhybrid::'
_PACKAGE = Path(__file__).resolve().parent


def config_path(name: str) -> Path:
    """Path of a config that this package brings, for ``mmengine.Config.fromfile`` or the tools.

    Args:
        name: Its file name, with or without ``.py``, e.g. ``'mask_rcnn_tiedresnet50_fpn_2x'``.

    Raises:
        InputError: If there is no such config.
    """
    folder = _configs()
    names = sorted(path.stem for path in folder.glob('*.py'))
    stem = name.removesuffix('.py')
    if stem not in names:
        close = difflib.get_close_matches(stem, names, n=3)
        hint = f'did you mean {" or ".join(close)}?' if close else f'{folder} holds all of them.'
        raise InputError(f'There is no config mmhybrid::{name}; {hint}')
    return folder / f'{stem}.py'


def base_config(name: str) -> Path:
    """Path of what ``_base_ = 'mmhybrid::NAME'`` stands for: a config, or a part of one below ``_base_``.

    Args:
        name: As in the folder of configs, with or without ``.py``, e.g. ``'retinanet_dsnet50_fpn_1x.py'`` or
            ``'_base_/runtime.py'``.

    Raises:
        InputError: If there is no such file.
    """
    folder = _configs()
    if not name:
        raise InputError(f'mmhybrid:: names no config; add the name of one, {folder} holds all of them.')
    if '/' not in name:
        return config_path(name)
    name = f'{name.removesuffix(".py")}.py'
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*.py'))
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3)
        hint = f'did you mean {" or ".join(close)}?' if close else f'{folder} holds all of them.'
        raise InputError(f'There is no config mmhybrid::{name}; {hint}')
    return folder / name


def given_config(config: str) -> str:
    """Path of the config that a command was given: a file, or ``mmhybrid::NAME``, one that this package brings.

    Raises:
        InputError: If there is none.
    """
    if config.startswith(PREFIX):
        return str(base_config(config.removeprefix(PREFIX)))
    if not Path(config).is_file():
        raise InputError(
            f'There is no config {config}; give the path of a .py file, e.g. one under configs/, or {PREFIX}NAME, one '
            'that this package brings.'
        )
    return config


def expanded(path: str | os.PathLike) -> Path:
    """A path whose ``~`` is somebody's folder; that of nobody stays as it is, and so is no file."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (Path.expanduser raises for nobody)


def _configs() -> Path:
    for folder in (_PACKAGE / 'configs', _PACKAGE.parent / 'configs'):
        if (folder / '_base_' / 'runtime.py').is_file():
            return folder
    raise InputError(f'The configs are missing beside {_PACKAGE}: install mmhybrid again.')
