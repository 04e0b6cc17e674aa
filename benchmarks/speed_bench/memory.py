"""Memory of a training step: what is kept for the backward pass, counted exactly, and the peak on a GPU."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


def kept_for_backward(module: nn.Module, call: Callable[[], object]) -> int:
    """Bytes of the tensors that a forward pass keeps for the backward pass, parameters and buffers apart.

    Every tensor that autograd saves is seen once; tensors that share memory (views, or one map that two operators
    save) count once. A view keeps all of the memory it looks into, so all of it counts. The count is the same on every
    device with the same operators. What a function keeps without telling autograd is not seen.

    Args:
        module: Whose parameters and buffers do not count.
        call: Runs the forward pass; its result is dropped.
    """
    own = {t.untyped_storage().data_ptr() for t in _tensors(module)}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        result = call()
    del result
    return sum(kept.values())


def _tensors(module: nn.Module) -> Iterable[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


class Peak:
    """The most memory of a GPU taken inside a ``with`` block, beyond what was taken before; nothing on a CPU."""

    def __init__(self, device: torch.device):
        self._cuda = device.type == 'cuda'
        self._bytes = 0

    def __enter__(self) -> 'Peak':
        if self._cuda:
            torch.cuda.synchronize()
            self._bytes = -torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
        return self

    def __exit__(self, *error: object) -> None:
        if self._cuda:
            torch.cuda.synchronize()
            self._bytes += torch.cuda.max_memory_allocated()

    def found(self) -> dict[str, int]:
        """The bytes under the name that a row has for them."""
        return {'peak': self._bytes} if self._cuda else {}
