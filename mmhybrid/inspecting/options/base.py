"""What a kind of analysis tells of itself. No torch, which ``--help`` does not need."""

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
