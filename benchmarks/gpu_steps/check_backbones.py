"""A training step of the shallow backbones on the device, against float64 on the CPU.

Batch norms over few values and the kinks of ReLUs enlarge rounding, more in deeper networks, and in float32 HCGNet's
gradients of the first layers are little but that. So it is float64 that tells whether the device computes the same;
the error allowed in float32 is a multiple of the CPU's own, and in mixed precision all numbers have to be finite.
A CPU takes some 10 s for a backbone of 50 layers; deeper ones repeat the same blocks and are left out.
"""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

import mmhybrid

from .compare import joined, largest, row, short

EXACT, FACTOR = 1e-6, 20
# A ReLU near zero that rounding opens or closes changes gradients by far more than rounding does.
FLOOR = {'outputs': 1e-4, 'gradients': 1e-2}
FIRST = ('tiedresnet50', 'hcgnet_b', 'dsnet50', 'hsresnet50', 'sae_resnet50', 'ds2res2net50', 'tiedresnest50')
SMALL = ('tiedresnet50_s', 'hcgnet_a1')
DEEP = re.compile('101|152|200|hcgnet_(c|a2|a3)')


def checks(device: torch.device, small: bool) -> Iterator[tuple[str, Callable]]:
    """Name and check of each backbone, one of each family first."""
    shallow = [name for name in mmhybrid.list_backbones() if not DEEP.search(name)]
    names = dict.fromkeys(SMALL if small else (*FIRST, *shallow))
    for name in names:
        yield name, lambda name=name: _compared(name, device, 32 if small or name.startswith('hcgnet_a') else 64)


def _compared(name: str, device: torch.device, side: int) -> Iterator[dict[str, Any]]:
    torch.manual_seed(0)
    model = mmhybrid.create_backbone(name).train()
    for module in model.modules():
        # The last norms of residual branches begin at zero, which would hide the branches.
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine and not module.weight.any():
            nn.init.constant_(module.weight, 0.2)
    x = torch.randn(4, 3, side, side)
    cpu = torch.device('cpu')
    reference = _step(model, x, cpu, torch.float64)
    own, found, exact = (
        _step(model, x, where, dtype)
        for where, dtype in ((cpu, torch.float32), (device, torch.float32), (device, torch.float64))
    )
    for what in reference:
        yield row('float64', what, largest(exact[what], reference[what]), EXACT)
        allowed = max(FACTOR * largest(own[what], reference[what]), FLOOR[what])
        yield row('float32', what, largest(found[what], reference[what]), allowed)
    for dtype in (torch.float16, torch.bfloat16) if device.type == 'cuda' else (torch.bfloat16,):
        for layout in (torch.contiguous_format, torch.channels_last):
            found = _step(model, x, device, torch.float32, dtype, layout)
            mode = str(dtype).removeprefix('torch.') + (' channels_last' if layout == torch.channels_last else '')
            for what in reference:
                # Told, not judged, but that all numbers are finite.
                error = largest(found[what], reference[what])
                yield {'mode': mode, 'what': what, 'error': short(error), 'ok': error != float('inf')}


def _step(
    model: nn.Module,
    x: Tensor,
    device: torch.device,
    parameters: torch.dtype,
    autocast: torch.dtype | None = None,
    layout: torch.memory_format = torch.contiguous_format,
) -> dict[str, list[Tensor]]:
    """Outputs and gradients of a training step."""
    model = copy.deepcopy(model).to(device, parameters).to(memory_format=layout)
    x = x.to(device, parameters).contiguous(memory_format=layout)
    with torch.autocast(device.type, autocast, enabled=autocast is not None):
        outputs = model(x)
    outputs = [out.float() if autocast else out for out in outputs]
    sum(out.square().mean() for out in outputs).backward()
    return {'outputs': outputs, 'gradients': joined([p.grad for p in model.parameters() if p.grad is not None])}
