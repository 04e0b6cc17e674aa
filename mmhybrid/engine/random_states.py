"""The random states of a process as plain data, and work that leaves them as they were."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_states(gpu: bool = True) -> dict[str, Any]:
    """The states of Python's, NumPy's and PyTorch's generators, as data that a weights-only reader takes.

    Args:
        gpu: Whether that of the current GPU, which has to be waited for, is among them, if there is a GPU.
    """
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 (what data pipelines draw from)
    states: dict[str, Any] = {
        'python': [version, list(internal), gauss],
        'numpy': [str(name), torch.from_numpy(keys.astype(np.int64)), int(position), int(has_gauss), float(cached)],
        'torch': torch.get_rng_state(),
    }
    if gpu and torch.cuda.is_available():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Go on from :func:`random_states`; a GPU's state is restored where there is a GPU."""
    version, internal, gauss = states['python']
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states['numpy']
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())


@contextmanager
def undisturbed() -> Iterator[None]:
    """What is done inside draws from the generators, but for a GPU's, and leaves them as they were."""
    states = random_states(gpu=False)
    try:
        yield
    finally:
        restore_random_states(states)
