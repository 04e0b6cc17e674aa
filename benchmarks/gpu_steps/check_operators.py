"""mmcv's compiled operators on the device, against the same on the CPU in float64."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from mmcv.ops import ModulatedDeformConv2d, RoIAlign, batched_nms
from mmdet.models.losses.focal_loss import py_sigmoid_focal_loss
from torch import Tensor, nn

from .compare import largest, row

Outcome = Callable[[torch.device, torch.dtype], list[Tensor]]
# In half precision mmcv's RoIAlign also computes coordinates, of which an interpolation's weights keep two digits.
ALLOWED = {torch.float32: 1e-4, torch.float16: 5e-2}


def checks(device: torch.device, small: bool) -> Iterator[tuple[str, Callable]]:
    """Name and check of each operator."""
    halves = [torch.float16] if device.type == 'cuda' else []
    side = 16 if small else 100
    for name, outcome, dtypes in (
        ('RoIAlign', _roi_align(side), [torch.float32, *halves]),
        ('deformable convolution v2', _deform(side // 4), [torch.float32]),
    ):
        yield name, lambda outcome=outcome, dtypes=dtypes: _compared(outcome, device, dtypes)
    yield 'sigmoid focal loss', lambda: _focal(device, [torch.float32, *halves], 50 if small else 5000)
    yield 'nms', lambda: _nms(device, 50 if small else 4000)
    yield 'RoIAlign in bfloat16', lambda: _bfloat16(side, device)


def _compared(outcome: Outcome, device: torch.device, dtypes: list[torch.dtype]) -> Iterator[dict[str, Any]]:
    reference = outcome(torch.device('cpu'), torch.float64)
    for dtype in dtypes:
        found = outcome(device, dtype)
        mode, allowed = str(dtype).removeprefix('torch.'), ALLOWED[dtype]
        yield row(mode, 'output', largest(found[:1], reference[:1]), allowed)
        yield row(mode, 'gradients', largest(found[1:], reference[1:]), allowed)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _boxes(number: int, side: int) -> Tensor:
    corners = torch.rand(number, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * side
    # In eighths, which all precisions hold exactly.
    corners = (8 * torch.cat([torch.minimum(*corners.split(2, 1)), torch.maximum(*corners.split(2, 1)) + 1], 1)).round()
    return corners / 8


def _roi_align(side: int) -> Outcome:
    def outcome(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        x = _random(2, 16, side, side).to(device, dtype).requires_grad_()
        boxes = _boxes(40, side)
        rois = torch.cat([torch.arange(40.0, dtype=torch.float64)[:, None] % 2, boxes], 1).to(device, dtype)
        out = RoIAlign(7, spatial_scale=0.5, sampling_ratio=2)(x, rois)
        out.backward(_random(*out.shape, seed=2).to(device, dtype))
        return [out, x.grad]

    return outcome


def _deform(side: int) -> Outcome:
    def outcome(device: torch.device, dtype: torch.dtype) -> list[Tensor]:
        layer = ModulatedDeformConv2d(8, 16, 3, padding=1, bias=True)
        nn.init.zeros_(layer.bias)
        with torch.no_grad():
            layer.weight.copy_(_random(16, 8, 3, 3, seed=3))
        layer = layer.to(device, dtype)
        leaves = [_random(2, c, side, side, seed=c).to(device, dtype).requires_grad_() for c in (8, 18, 9)]
        out = layer(leaves[0], leaves[1], leaves[2].sigmoid())
        out.backward(_random(*out.shape, seed=2).to(device, dtype))
        return [out, *(leaf.grad for leaf in leaves), layer.weight.grad, layer.bias.grad]

    return outcome


def _focal(device: torch.device, dtypes: list[torch.dtype], number: int) -> Iterator[dict[str, Any]]:
    """The kernel has no CPU side; MMDetection's own formula is the reference."""
    from mmcv.ops import sigmoid_focal_loss

    labels = torch.arange(number) % 5  # the last one is the background

    def outcome(where: torch.device, dtype: torch.dtype) -> list[Tensor]:
        logits = _random(number, 4).to(where, dtype).requires_grad_()
        target = labels.to(where)
        if where.type == 'cuda':
            loss = sigmoid_focal_loss(logits, target, 2.0, 0.25, None, 'none').sum(1)
        else:
            hot = nn.functional.one_hot(target, 5)[:, :4]
            loss = py_sigmoid_focal_loss(logits, hot, gamma=2.0, alpha=0.25, reduction='none').sum(1)
        loss.sum().backward()
        return [loss, logits.grad]

    yield from _compared(outcome, device, dtypes)


def _nms(device: torch.device, number: int) -> Iterator[dict[str, Any]]:
    def outcome(where: torch.device) -> Tensor:
        boxes, scores = _boxes(number, 500).float().to(where), _random(number).float().sigmoid().to(where)
        classes = (torch.arange(number) % 3).to(where)
        return batched_nms(boxes, scores, classes, dict(type='nms', iou_threshold=0.5))[1]

    found, reference = outcome(device).cpu(), outcome(torch.device('cpu'))
    differ = set(found.tolist()) ^ set(reference.tolist())
    yield row('float32', f'boxes that differ, of {len(reference)}', len(differ), 0)


def _bfloat16(side: int, device: torch.device) -> Iterator[dict[str, Any]]:
    """Told, not judged: training in bfloat16 has to know."""
    try:
        _roi_align(side)(device, torch.bfloat16)
        yield {'mode': 'bfloat16', 'what': 'supported', 'ok': True}
    except (RuntimeError, NotImplementedError) as error:
        yield {'mode': 'bfloat16', 'what': f'not supported: {str(error).splitlines()[0][:120]}', 'ok': True}
