"""Checks of arguments that are sizes or counts, of the layers and of the backbones made of them."""

from typing import Any


def is_integer(value: Any) -> bool:
    """Whether a value is an int; True and False, which Python counts among these, are none here."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_positive(**values: Any) -> None:
    """Check arguments by name: a float or a tensor would only fail much later, in a view of some tensor.

    Raises:
        ValueError: If one of them is no integer from 1 on.
    """
    for name, value in values.items():
        if not is_integer(value) or value < 1:
            raise ValueError(f'{name} must be a positive integer, but {name}={value!r} was given.')
