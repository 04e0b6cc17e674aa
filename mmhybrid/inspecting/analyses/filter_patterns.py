"""Guided back-propagation patterns of a layer's channels, and which layers are looked at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmhybrid.errors import InputError

from .backward import Guided

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Response:
    """Where the responses of a layer's channels are.

    Attributes:
        map: (N, C', H, W), C' >= C.
        first: Channel of ``map`` that is the layer's first.
        channels: C, of the layer.
        normed: Whether the map comes after the norm that follows the layer.
    """

    map: Tensor
    first: int
    channels: int
    normed: bool


def is_convolution(module: nn.Module) -> bool:
    """Whether it is a convolution in two dimensions, of whatever class, not a transposed one."""
    weight = getattr(module, 'weight', None)
    plain = isinstance(weight, Tensor) and weight.dim() == 4 and hasattr(module, 'kernel_size')
    return plain and not getattr(module, 'transposed', False)


def default_layers(backbone: nn.Module, by: str, most: int = 8) -> list[str]:
    """Names within a backbone of convolutions through its depth: one of each of ``most`` blocks at equal distances.

    A block is what shares the first two parts of its name, such as ``layer3.5``; the first and the last are among
    them. Of a block the convolution with most filters is taken, whose kernel is above 1x1 and which is not depthwise;
    of equals the one that is tied over most blocks (TBC), then the first. By ``'patterns'`` the output's channels count
    as filters, by ``'weights'`` those that the weights hold.
    """
    blocks: dict[tuple[str, ...], list[tuple[tuple[int, int], str]]] = defaultdict(list)
    for name, module in backbone.named_modules():
        if not is_convolution(module) or max(module.weight.shape[2:]) == 1:
            continue
        stored, tied = module.weight.shape[0], getattr(module, 'blocks', 1)
        width = getattr(module, 'out_channels', stored)
        if stored < 2 or getattr(module, 'groups', 1) == width:
            continue
        blocks[tuple(name.split('.')[:2])].append(((width if by == 'patterns' else stored, tied), name))
    best = [max(members, key=lambda each: each[0])[1] for members in blocks.values()]
    if len(best) <= most:
        return best
    return [best[round(i * (len(best) - 1) / (most - 1))] for i in range(most)]


@contextmanager
def responses(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Response]]:
    """As a context: a dict that a forward pass within it fills, name of a layer -> :class:`Response`.

    The response is taken after the norm that follows, directly or behind a concatenation of several layers, since that
    norm decides where the filter counts as active; and it stays as it is where the model goes on in place. Of a layer
    that runs several times it is the first.
    """
    found: dict[str, Response] = {}
    sources: dict[int, list[tuple[str, int]]] = {}
    kept: list[Tensor] = []  # so that no other tensor gets one's id

    def give(tensor: Tensor, owners: list[tuple[str, int]]) -> Tensor:
        handed = tensor.clone()  # what follows may work in place
        if owners:
            kept.append(handed)
            sources[id(handed)] = owners
        return handed

    def after_layer(name: str, out: Any) -> Any:
        if name in found:
            return None
        if not isinstance(out, Tensor) or out.dim() != 4:
            raise InputError(f'{name} gives no single map (N, C, H, W), so it has no filters; name a convolution.')
        found[name] = Response(out, 0, out.shape[1], False)
        return give(out, [(name, 0)])

    def after_norm(inputs: tuple, out: Any) -> Any:
        owners = sources.get(id(inputs[0])) if inputs else None
        fresh = [(name, first) for name, first in owners or () if not found[name].normed]
        if not fresh or not isinstance(out, Tensor):
            return None
        for name, first in fresh:
            found[name] = Response(out, first, found[name].channels, True)
        return give(out, [])

    class Concatenations(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func in (torch.cat, torch.concat) and (args[1:] == (1,) or (kwargs or {}).get('dim') == 1):
                owners, at = [], 0
                for part in args[0]:
                    owners += [(name, at + first) for name, first in sources.get(id(part), ())]
                    at += part.shape[1]
                if owners:
                    kept.append(out)
                    sources[id(out)] = owners
            return out

    modules = dict(model.named_modules())
    hooks = [
        modules[name].register_forward_hook(lambda module, inputs, out, name=name: after_layer(name, out))
        for name in layers
    ]
    hooks += [
        module.register_forward_hook(lambda module, inputs, out: after_norm(inputs, out))
        for name, module in modules.items()
        if isinstance(module, _NORMS) and name not in layers
    ]
    try:
        with Concatenations():
            yield found
    finally:
        for hook in hooks:
            hook.remove()


def patterns(response: Response, pixels: Sequence[Tensor], channel: int, reduce: str = 'sum') -> list[Tensor]:
    """Guided gradient of one channel's response with respect to each image's pixels.

    The gradient is of sum_p max(0, r_p) over the positions p, or for ``reduce='max'`` of max_p max(0, r_p).

    Args:
        response: Of a forward pass on which the gradient of ``pixels`` can be computed; it can again afterwards.
        pixels: N images, whose gradients are asked.
        channel: Of the layer.
        reduce: ``'sum'`` or ``'max'``.

    Returns:
        N tensors, each of its image's shape; zeros where the channel responds nowhere.
    """
    at = response.first + channel
    with torch.no_grad():
        values = response.map[:, at]
        active = values > 0
        if reduce == 'max':
            flat = values.flatten(1)
            active &= F.one_hot(flat.argmax(1), flat.shape[1]).reshape(values.shape).bool()
        start = torch.zeros_like(response.map)
        start[:, at] = active.to(start.dtype)
    with Guided():
        grads = torch.autograd.grad(response.map, list(pixels), start, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(of) if grad is None else grad for grad, of in zip(grads, pixels, strict=True)]


def cosines(rows: Tensor) -> Tensor:
    """Cosine similarity (K, K) of each two of K ``rows`` (K, D); NaN wherever one of the two is all zeros."""
    # Scaled by the largest value first, so that the squares of tiny gradients are no zeros.
    largest = rows.abs().amax(1, keepdim=True)
    scaled = rows / torch.where(largest > 0, largest, torch.ones_like(largest))
    unit = scaled / scaled.norm(dim=1, keepdim=True)  # 0 / 0 is NaN
    return (unit @ unit.T).clamp(-1, 1).double()
