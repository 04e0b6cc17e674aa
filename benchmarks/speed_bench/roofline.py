"""The time that arithmetic and memory traffic ask for: operators counted as they run, against measured peak rates.

For each operator that PyTorch runs (an ``aten`` operator of the forward or backward pass that is not a view), counted:

- FLOPs, two for a multiply-add, by ``torch.utils.flop_counter``: convolutions and matrix products; others count none.
  Each gradient of a convolution takes as many as the convolution itself.
- Bytes: each tensor read counts once for each operator that reads it, each tensor written likewise. An operator in
  place reads and writes; filling and copying read no destination; new memory that nothing writes counts none; an
  expanded tensor counts what it holds, not what it is expanded to. Running statistics count as read only.

The bound is the sum over operators of max(FLOPs / peak rate of the operator's precision, bytes / bandwidth). It is the
time of a device that runs every operator as fast as its best one; fusing operators or finding maps in a cache can
beat it, since the bandwidth is that of memory.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from .timing import Clock

# Nothing is written, so no memory is touched.
_ALLOCATE = ('empty', 'empty_like', 'empty_strided', 'new_empty', 'new_empty_strided', 'empty_permuted')
# The first argument is overwritten without being read.
_OVERWRITE = ('copy_', 'fill_', 'zero_', 'uniform_', 'normal_')
# Its result looks into the input's memory, though its schema does not say so.
_VIEWS = ('_unsafe_view', '_reshape_alias')


@dataclass(frozen=True)
class Peaks:
    """Measured rates: FLOPs a second by name of precision, and bytes a second, read and written ones together."""

    flops: Mapping[str, float]
    bandwidth: float

    def record(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            'flops_per_second': {k: round(v) for k, v in self.flops.items()},
            'bytes_per_second': round(self.bandwidth),
        }


@dataclass
class Work:
    """The operators of a call: name, precision, FLOPs and bytes of each run."""

    runs: list[tuple[str, str, int, int]] = field(default_factory=list)

    @property
    def flops(self) -> int:
        """All FLOPs."""
        return sum(flops for _, _, flops, _ in self.runs)

    @property
    def bytes(self) -> int:
        """All bytes read and written."""
        return sum(moved for *_, moved in self.runs)

    @property
    def operators(self) -> Counter:
        """How often each operator ran."""
        return Counter(name for name, *_ in self.runs)

    def seconds(self, peaks: Peaks) -> float:
        """The bound."""
        # Integers and the like multiply nothing, so their rate does not matter.
        slowest = min(peaks.flops.values())
        return sum(
            max(flops / peaks.flops.get(dtype, slowest), moved / peaks.bandwidth)
            for _, dtype, flops, moved in self.runs
        )


class _Counting(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if isinstance(func, torch._ops.OpOverload):  # not a higher-order operator such as checkpointing
            name = func._overloadpacket.__name__
            moved = 0 if func.is_view or name in _VIEWS else _bytes(name, (args, kwargs), out)
            flops = _flops(func._overloadpacket, args, kwargs, out)
            if moved or flops:
                self.work.runs.append((name, _precision(args, out), flops, moved))
        return out


def count(call: Callable[[], object]) -> Work:
    """Count the operators of a call, its backward pass too where it runs one."""
    with _Counting() as counting:
        call()
    return counting.work


def _flops(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    if operator is torch.ops.aten.convolution_backward:
        # PyTorch's own count forgets the groups where the weight's gradient is concerned.
        grad, _, weight, *_ = args
        wanted = sum(x is not None for x in out[:2])
        return wanted * 2 * grad.numel() * weight[0].numel()
    count = flop_registry.get(operator)
    return count(*args, **kwargs, out_val=out) if count else 0


def _bytes(name: str, inputs: Any, out: Any) -> int:
    if name in _ALLOCATE:
        return 0
    read = [x for x in tree_leaves(inputs) if isinstance(x, Tensor)]
    if name in _OVERWRITE:
        read = read[1:]
    written = [x for x in tree_leaves(out) if isinstance(x, Tensor)]
    return sum(_distinct(read).values()) + sum(_distinct(written).values())


def _distinct(tensors: list[Tensor]) -> dict[tuple, int]:
    return {(x.untyped_storage()._cdata, x.storage_offset(), x.shape, x.stride()): _held(x) for x in tensors}


def _held(x: Tensor) -> int:
    number = 1
    for size, stride in zip(x.shape, x.stride(), strict=True):
        number *= size if stride or not size else 1
    return number * x.element_size()


def _precision(args: Any, out: Any) -> str:
    tensors = [x for x in tree_leaves((args, out)) if isinstance(x, Tensor) and x.is_floating_point()]
    return str(tensors[0].dtype).removeprefix('torch.') if tensors else 'none'


def measure_peaks(device: torch.device, precisions: Sequence[str], clock: Clock) -> Peaks:
    """Rates of a large matrix product in each precision and of copying a tensor far larger than a cache.

    By the clock that times the contestants, on random numbers. The product is taken as such and as a 1x1 convolution,
    since two libraries may do them: the quicker counts. On a GPU, float32 products are measured in the mode in which
    convolutions run by default (TF32).
    """
    cuda = device.type == 'cuda'
    n, side = (8192, 128) if cuda else (1536, 28)
    rates = {}
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        for precision in precisions:
            dtype = getattr(torch, precision)
            a, b, c = (torch.randn(n, n, device=device).to(dtype) for _ in range(3))
            product = _best_seconds(lambda a=a, b=b, c=c: torch.mm(a, b, out=c), clock) / (2 * n**3)
            # 16 images, or PyTorch takes the matrix product's library on one thread; in the format that CPUs prefer.
            x, w = (
                torch.randn(size, device=device).to(dtype, memory_format=torch.channels_last)
                for size in ((16, 512, side, side), (512, 512, 1, 1))
            )
            convolution = _best_seconds(lambda x=x, w=w: F.conv2d(x, w), clock) / (2 * 16 * 512**2 * side**2)
            rates[precision] = 1 / min(product, convolution)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    source = torch.randn(2**18, device=device).repeat(1024 if cuda else 256)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return Peaks(rates, moved / _best_seconds(lambda: target.copy_(source), clock))


def _best_seconds(call: Callable[[], object], clock: Clock, number: int = 8) -> float:
    # The best and not the median, since it is a peak that is asked for; the first ones warm up.
    return min(clock.measure(call, 1).seconds for _ in range(number + 2))
