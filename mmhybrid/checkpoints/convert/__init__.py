"""Warm starts: a backbone's file from the published weights of a network that is its relative.

:func:`convert` is in ``core``, which imports torch and MMDetection; the command's help needs neither.
"""

from typing import Any

__all__ = ['Converted', 'convert']


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from . import core

    return getattr(core, name)
