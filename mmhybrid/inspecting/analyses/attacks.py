"""The fast gradient sign method (Goodfellow et al. 2015, Explaining and Harnessing Adversarial Examples, section 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mmhybrid.errors import InputError

PIXEL_RANGE = 255.0  # pixels are from 0 to 255 here, epsilons of pixels from 0 to 1


@dataclass(frozen=True)
class Attack:
    """What the gradient on one image comes to.

    Attributes:
        signs: Of the gradient, -1, 0 or 1, of the image's shape; None once they have served.
        failed: Whether loss or gradient is NaN or infinite, so that there is no step; ``signs`` are 0 then.
        loss: On the image as it is.
        share_of_zeros: Of the pixels' values, those whose gradient is exactly 0 and which no step moves.
    """

    signs: Tensor | None
    failed: bool
    loss: float
    share_of_zeros: float

    @property
    def masked(self) -> bool:
        """Whether the whole gradient is 0, as of a loss that float32 cannot tell from 0: there is no step either."""
        return not self.failed and self.share_of_zeros == 1


def ladder(epsilons: Iterable[float]) -> list[float]:
    """Ascending, each once, with 0.

    Raises:
        InputError: If none is above 0, or one is not from 0 to 1.
    """
    found = sorted({0.0, *map(float, epsilons)})
    if not all(0 <= each <= 1 for each in found) or len(found) < 2:
        raise InputError(
            f'--epsilons {" ".join(f"{each:g}" for each in found)}: give one or more above 0 and up to 1, of pixels '
            'from 0 to 1.'
        )
    return found


def step(pixels: Tensor, signs: Tensor, epsilon: float) -> Tensor:
    """One step, ``clip(x + epsilon * signs, 0, 1)`` on pixels from 0 to 255.

    Args:
        pixels: (..., H, W), from 0 to 255.
        signs: Of the same shape and type, -1, 0 or 1.
        epsilon: Of a range from 0 to 1. At 0 the pixels stay as they are.
    """
    return pixels + 0 if epsilon == 0 else (pixels + PIXEL_RANGE * epsilon * signs).clamp(0, PIXEL_RANGE)


def attacks(losses: Tensor, pixels: Sequence[Tensor]) -> list[Attack]:
    """What the gradients of images' own losses come to.

    Args:
        losses: (N,), each of one image, and of its pixels alone: nothing may mix images, as batch norm in training
            does.
        pixels: N images that need gradients.

    Raises:
        InputError: If no gradient reaches the pixels.
    """
    if not losses.requires_grad:
        raise InputError('The loss does not depend on the pixels by way of a gradient, so there is nothing to climb.')
    found = torch.autograd.grad(losses.sum(), list(pixels), allow_unused=True)
    grads = [torch.zeros_like(own) if grad is None else grad for grad, own in zip(found, pixels, strict=True)]
    return [_attack(loss, grad) for loss, grad in zip(losses.detach(), grads, strict=True)]


def _attack(loss: Tensor, gradient: Tensor) -> Attack:
    failed = not (bool(torch.isfinite(loss)) and bool(torch.isfinite(gradient).all()))
    zeros = (gradient == 0).double().mean().item()
    return Attack(torch.zeros_like(gradient) if failed else gradient.sign(), failed, loss.item(), zeros)


def random_signs(like: Tensor, seed: int, index: int) -> Tensor:
    """-1 or 1 with equal chances, by seed and the image's number; the same for every model that sees the same size."""
    drawn = _generator(seed, index).integers(0, 2, tuple(like.shape), dtype=np.int8)
    return torch.from_numpy(2 * drawn - 1).to(like)


@contextmanager
def seeded(seed: int, index: int, device: str) -> Iterator[None]:
    """Global random numbers of torch and NumPy, which detectors sample regions by, are by seed and image; those of the
    caller come back."""
    word = int(_generator(seed, index).integers(2**31))
    state = np.random.get_state()  # noqa: NPY002 (as samplers do)
    with torch.random.fork_rng([torch.device(device)] if torch.device(device).type == 'cuda' else []):
        torch.manual_seed(word)
        np.random.seed(word)  # noqa: NPY002 (as samplers do)
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002 (as samplers do)


def _generator(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed % 2**64, index])  # which takes no negative numbers


@contextmanager
def without_masks(model: nn.Module, off: bool = True) -> Iterator[None]:
    """A detector of two stages without its mask head: neither its loss nor its masks. Others stay as they are."""
    head = getattr(model, 'roi_head', None)
    kept = getattr(head, 'mask_head', None)
    if not off or kept is None:
        yield
        return
    head.mask_head = None
    try:
        yield
    finally:
        head.mask_head = kept
