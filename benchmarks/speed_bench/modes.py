"""How a module is run: memory format, precision, compiled or fused, forward or a training step."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import mmhybrid

PARTS = {
    'eager': 'as PyTorch runs it',
    'channels_last': 'weights and images in NHWC',
    'bf16': 'autocast to bfloat16',
    'compile': 'torch.compile',
    'fused': 'mmhybrid.fuse, inference only',
    'amp': "MMEngine's AmpOptimWrapper",
}
MODULE_PARTS = ('eager', 'channels_last', 'bf16', 'compile', 'fused')
DETECTOR_PARTS = ('eager', 'channels_last', 'amp')
FORMATS = ('eager', 'channels_last')  # full precision, each memory format
DEFAULTS = {
    'cpu': ('eager', 'channels_last', 'fused'),
    'cuda': ('eager', 'channels_last', 'bf16', 'bf16+channels_last', 'fused', 'fused+compile', 'compile'),
}
# One image at a time: what a service that answers requests would run.
LATENCY_DEFAULTS = dict.fromkeys(('cpu', 'cuda'), ('eager', 'fused'))
DETECTOR_DEFAULTS = {'cpu': FORMATS, 'cuda': ('eager', 'amp', 'amp+channels_last')}
PASSES = ('forward', 'train')


@dataclass(frozen=True)
class Mode:
    """One of ``PARTS``, or several joined by '+', e.g. 'bf16+channels_last'."""

    name: str

    def __post_init__(self):
        wrong = [part for part in self.parts if part not in PARTS]
        if wrong or len(set(self.parts)) < len(self.parts):
            raise ValueError(f'{self.name!r} is no mode; join some of {", ".join(PARTS)} with +')

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts."""
        return tuple(self.name.split('+'))

    @property
    def passes(self) -> tuple[str, ...]:
        """The passes that this mode has."""
        return ('forward',) if 'fused' in self.parts else PASSES

    @property
    def compiles(self) -> bool:
        """Whether the operators that run are not those of the module."""
        return 'compile' in self.parts

    def prepare(self, module: nn.Module, device: torch.device) -> nn.Module:
        """A module made ready for this mode, not yet compiled; the module given may be changed."""
        if 'fused' in self.parts:
            module = mmhybrid.fuse(module)
        module = module.to(device)
        return module.to(memory_format=torch.channels_last) if 'channels_last' in self.parts else module

    def inputs(self, inputs: Sequence[Tensor], device: torch.device) -> list[Tensor]:
        """Copies of the inputs for this mode."""
        layout = torch.channels_last if 'channels_last' in self.parts else torch.contiguous_format
        return [x.detach().to(device).clone(memory_format=layout).requires_grad_(x.requires_grad) for x in inputs]

    def autocast(self, device: torch.device):
        """The context of a forward pass."""
        return torch.autocast(device.type, torch.bfloat16) if 'bf16' in self.parts else nullcontext()

    def compiled(self, module: nn.Module) -> Callable:
        """What is called: the module, or compiled for this one shape."""
        if not self.compiles:
            return module
        import torch._dynamo

        # All contestants are alive at once and share classes, so each of them is one more entry of the same cache; a
        # full cache would silently go on without compiling. The names are those of all versions.
        for name in ('cache_size_limit', 'accumulated_cache_size_limit'):
            setattr(torch._dynamo.config, name, 100_000)
        return torch.compile(module, dynamic=False)


class Runner:
    """A module in one mode, ready to run either pass."""

    def __init__(self, mode: Mode, module: nn.Module, inputs: Sequence[Tensor], device: torch.device):
        self.mode, self.device = mode, device
        self.module = mode.prepare(module, device)
        self.inputs = mode.inputs(inputs, device)
        self._call = mode.compiled(self.module)

    def call(self, name: str) -> Callable[[], object]:
        """One call of a pass: 'forward' or 'train'."""
        return {'forward': self.forward, 'train': self.train}[name]

    def forward(self) -> object:
        """The forward pass in evaluation, without gradients."""
        if self.module.training:
            self.module.eval()
        with torch.no_grad(), self.mode.autocast(self.device):
            return self._call(*self.inputs)

    def train_forward(self) -> object:
        """The forward pass of a training step."""
        if not self.module.training:
            self.module.train()
        with self.mode.autocast(self.device):
            return self._call(*self.inputs)

    def train(self) -> None:
        """A forward pass in training, the sum of the outputs' mean squares, and its backward pass."""
        outputs = self.train_forward()
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        sum(x.float().square().mean() for x in outputs).backward()
        for tensor in (*self.module.parameters(), *self.inputs):
            tensor.grad = None
