"""Layers with backward passes of their own, of HCGNet and DSNet, against the plain layers, both against float64.

The error that is allowed is a few times that of the plain layers in the same precision, whatever the device does.
"""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmhybrid.layers.dense_shortcut import DenseShortcut
from mmhybrid.layers.preact import PreActConv2d, norm_relu
from mmhybrid.layers.statistics import joined, measure

from .compare import error, row

CHANNELS, SOURCES = 64, 2
LARGE = 10_000
# By precision: a factor on the plain layers' error, and a floor under it.
ALLOWED = {'float32': (4, 1e-5), 'float16': (4, 1e-3), 'bfloat16': (4, 8e-3)}
CONVOLUTIONS = {
    '1x1': dict(out_channels=32, kernel_size=1),
    'groups': dict(out_channels=32, kernel_size=3, groups=2),
    'strided': dict(out_channels=32, kernel_size=3, stride=2),
    'dilated': dict(out_channels=64, kernel_size=3, dilation=2, groups=64),
}
Run = Callable[[nn.Module, Tensor], Tensor]


def checks(device: torch.device, small: bool) -> Iterator[tuple[str, Callable]]:
    """Name and check of each layer."""
    cases: dict[str, tuple[nn.Module, Run, bool]] = {
        f'convolution {name}': (PreActConv2d(CHANNELS, **options), _whole, True)
        for name, options in CONVOLUTIONS.items()
    }
    bare = partial(nn.BatchNorm2d, affine=False)
    cases['dense shortcut'] = (DenseShortcut(CHANNELS // SOURCES, SOURCES, bare), _parts, True)
    cases['norm and ReLU'] = (nn.BatchNorm2d(CHANNELS), _joined, False)
    for size in [(2, CHANNELS, 9, 13)] if small else [(4, CHANNELS, 28, 28), (2, CHANNELS, 200, 336)]:
        for name, (layer, run, can_be_fixed) in cases.items():
            yield f'{name}, {size}', partial(_compared, layer.train(), run, size, device)
            if can_be_fixed:
                yield (
                    f'{name}, fixed statistics, {size}',
                    partial(_compared, copy.deepcopy(layer).eval(), run, size, device),
                )
        yield f'statistics, {size}', partial(_statistics, size, device)


def _whole(layer: nn.Module, x: Tensor) -> Tensor:
    return layer(x)


def _parts(layer: nn.Module, x: Tensor) -> Tensor:
    return layer([part.clone() for part in x.split(CHANNELS // SOURCES, 1)])


def _joined(norm: nn.Module, x: Tensor) -> Tensor:
    # Statistics of parts, joined, as HCGNet does.
    return norm_relu(norm, x, joined([measure(part) for part in x.split(CHANNELS // 2, 1)]))


def _modes(device: torch.device) -> Iterator[tuple[str, torch.dtype, torch.dtype, torch.memory_format]]:
    half = [torch.float16, torch.bfloat16] if device.type == 'cuda' else [torch.bfloat16]
    for name, layout in (('', torch.contiguous_format), (' channels_last', torch.channels_last)):
        yield f'float32{name}', torch.float32, torch.float32, layout
        for dtype in half:
            short = str(dtype).removeprefix('torch.')
            # Maps come from a convolution in autocast's type, or from an operator that computes in float32.
            yield f'{short}{name}', dtype, dtype, layout
            yield f'{short} of float32 maps{name}', dtype, torch.float32, layout


def _compared(layer: nn.Module, run: Run, size: tuple[int, ...], device: torch.device) -> Iterator[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    layer = copy.deepcopy(layer).double()
    with torch.no_grad():
        for tensor in (*layer.parameters(), *(b for b in layer.buffers() if b.is_floating_point())):
            if tensor.dim() == 4:
                tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
            else:  # scales and variances; shifts and means are as good
                tensor.uniform_(0.5, 1.5, generator=generator)
    x = _away_from_kinks(layer, 2 + 3 * torch.randn(size, generator=generator, dtype=torch.float64))
    plain = copy.deepcopy(layer)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):  # one that is hooked has to be called
            module.register_forward_hook(_nothing)
    for mode, autocast, dtype, layout in _modes(device):
        inputs = x.to(dtype).double()  # rounding the input is no error of the layer
        # Large maps take a CPU too long; the small ones tell that the device's own float64 is right.
        where = device if x[0, 0].numel() > LARGE else torch.device('cpu')
        reference = _step(plain, run, inputs, None, where, torch.float64, torch.contiguous_format)
        found, usual = (_step(each, run, inputs, autocast, device, dtype, layout) for each in (layer, plain))
        factor, floor = ALLOWED[str(autocast).removeprefix('torch.')]
        for what in reference:
            allowed = max(factor * error(usual[what], reference[what]), floor)
            yield row(mode, what, error(found[what], reference[what]), allowed)
        yield row(mode, 'layout', float(found['output'].stride() != usual['output'].stride()), 0)


@torch.no_grad()
def _away_from_kinks(layer: nn.Module, x: Tensor) -> Tensor:
    """A map without values whose ReLU rounding to float32 would open or close: one weighs more than all rounding."""
    norm = copy.deepcopy(layer if isinstance(layer, nn.BatchNorm2d) else getattr(layer, 'norm', None))
    if norm is None:  # no ReLU
        return x
    for _ in range(10):
        near = norm(x).abs() < 1e-5
        if not near.any():
            return x
        x = torch.where(near, x + 0.01, x)
    raise RuntimeError('values stay near zero')


def _nothing(*_: object) -> None:
    """A hook."""


def _step(
    layer: nn.Module,
    run: Run,
    x: Tensor,
    autocast: torch.dtype | None,
    device: torch.device,
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> dict[str, Tensor]:
    """Output, gradients and running statistics of one step."""
    parameters = torch.float64 if autocast is None else torch.float32
    layer = copy.deepcopy(layer).to(device, parameters).to(memory_format=layout)
    x = x.detach().to(device, dtype).clone(memory_format=layout).requires_grad_()
    with torch.autocast(device.type, autocast, enabled=autocast not in (None, torch.float32)):
        out = run(layer, x)
    generator = torch.Generator().manual_seed(1)
    out.backward(torch.randn(out.shape, generator=generator, dtype=torch.float64).to(device, out.dtype))
    found = {'output': out, 'gradient of x': x.grad}
    found |= {f'gradient of {name}': p.grad for name, p in layer.named_parameters()}
    return found | {name: b for name, b in layer.named_buffers() if b.is_floating_point()}


def _statistics(size: tuple[int, ...], device: torch.device) -> Iterator[dict[str, Any]]:
    x = 2 + 3 * torch.randn(size, generator=torch.Generator().manual_seed(0))
    for layout in (torch.contiguous_format, torch.channels_last):
        for dtype in (torch.float32, torch.float16, torch.bfloat16) if device.type == 'cuda' else (torch.float32,):
            given = x.to(dtype)
            found = measure(given.to(device).contiguous(memory_format=layout))
            var, mean = torch.var_mean(given.double(), (0, 2, 3), correction=0)
            mode = f'{str(dtype).removeprefix("torch.")} {str(layout).removeprefix("torch.")}'
            yield row(mode, 'mean', error(found.mean, mean), 1e-5)
            yield row(mode, 'variance', error(found.var, var), 1e-4)
