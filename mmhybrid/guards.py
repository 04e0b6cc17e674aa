"""Hooks that look after every run of the tools, whoever wrote its config."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from mmhybrid.errors import InputError

# In the order in which they look.
GUARDS = ('LoadedWeightsHook', 'FrozenStagesHook', 'DataCheckHook', 'NonFiniteLossHook')


def add_guards(cfg: Config, allow_missing: Sequence[str] | None = None, on_nonfinite: str | None = None) -> None:
    """Add the hooks that a config does not have, and set their options from the command line.

    Args:
        cfg: Is changed.
        allow_missing: Beginnings of names of weights that may be missing, all if it is empty; None leaves the config's.
        on_nonfinite: What to do at a loss that is no number; None leaves the config's.

    Raises:
        InputError: If ``custom_hooks`` is no list of hooks.
    """
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks, list) or not all(isinstance(hook, dict) for hook in hooks):
        raise InputError(f'custom_hooks in the config is {hooks!r}: make it a list of dict(type=...).')
    missing = [name for name in GUARDS if not any(_is(hook, name) for hook in hooks)]
    cfg.custom_hooks = [*hooks, *(ConfigDict(type=f'mmdet.{name}') for name in missing)]
    for hook in cfg.custom_hooks:
        if allow_missing is not None and _is(hook, 'LoadedWeightsHook'):
            hook.allow_missing = list(allow_missing) or True
        if on_nonfinite is not None and _is(hook, 'NonFiniteLossHook'):
            hook.on_nonfinite = on_nonfinite


def allowed_missing(cfg: Config) -> bool | list[str]:
    """The names of weights that may be missing, as the config's ``LoadedWeightsHook`` has them."""
    hooks = (hook for hook in cfg.get('custom_hooks') or () if _is(hook, 'LoadedWeightsHook'))
    return next((hook.get('allow_missing') or False for hook in hooks), False)


def type_name(settings: Mapping[str, Any]) -> str:
    """The name of the class that a config's ``dict(type=...)`` stands for, without its scope or module."""
    kind = settings.get('type')
    return getattr(kind, '__name__', str(kind)).rpartition('.')[2]


def _is(hook: dict[str, Any], name: str) -> bool:
    return type_name(hook) == name
