"""What a kind of analysis tells of itself, and readers of its options. No torch, which ``--help`` does not need."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One analysis.

    Attributes:
        help: One line.
        description: What it measures and after which article, a few sentences.
        example: Words after ``mmhybrid inspect``.
        images: How many images it looks at by default; 0 if it needs none.
        annotated: Whether these images must have annotations.
        options: Adds its own options.
        needs_images: Whether the options ask for something that images are needed for.
    """

    help: str
    description: str
    example: str
    images: int
    annotated: bool
    options: Callable[[argparse.ArgumentParser], object] = lambda parser: None
    needs_images: Callable[[argparse.Namespace], bool] = lambda args: True


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**31:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 1')
    return int(text)


def whole(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f'{text!r} is no whole number from 0')
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 0 to 1')
    return value
