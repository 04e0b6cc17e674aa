"""Relative errors against a reference in float64."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def error(found: Tensor, reference: Tensor) -> float:
    """The norm of the difference over that of the reference; infinite where a number is not finite."""
    found, reference = (x.detach().to('cpu', torch.float64) for x in (found, reference))
    if found.shape != reference.shape or not found.isfinite().all():
        return math.inf
    return float((found - reference).norm() / reference.norm().clamp(min=1e-30))


def largest(found: Sequence[Tensor], reference: Sequence[Tensor]) -> float:
    """The largest of the errors of some tensors."""
    if len(found) != len(reference):
        return math.inf
    return max((error(a, b) for a, b in zip(found, reference, strict=True)), default=0.0)


def joined(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Many small tensors as one, so that those near zero do not stand for all."""
    return [torch.cat([x.detach().flatten().to('cpu', torch.float64) for x in tensors])]


def row(mode: str, what: str, found: float, allowed: float) -> dict[str, Any]:
    """A row: whether an error is allowed."""
    shown = {'error': short(found), 'allowed': short(allowed)}
    return {'mode': mode, 'what': what, **shown, 'ok': bool(found <= allowed)}


def short(number: float) -> float | str:
    """Three digits; JSON has no infinity."""
    return float(f'{number:.3g}') if math.isfinite(number) else 'not finite'
