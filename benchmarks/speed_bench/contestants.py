"""What is measured, as data: layers and backbones, each with the one it is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmhybrid import create_backbone, list_backbones
from mmhybrid.errors import InputError

from . import layer_cases

Shape = tuple[int, int, int, int]
SHAPES: dict[str, Shape] = {'cpu': (2, 3, 224, 224), 'cuda': (2, 3, 800, 1344)}
ONE_IMAGE: Shape = (1, 3, 224, 224)


@dataclass(frozen=True)
class Contestant:
    """A module to measure.

    Attributes:
        name: Name, unique in its section.
        baseline: Name of the contestant it is compared with; its own for a baseline.
        make: Builds the module.
        inputs: The shapes of the module's inputs, from the shape of a batch of images.
        input_gradient: Whether the backward pass reaches the inputs, as inside a network.
    """

    name: str
    baseline: str
    make: Callable[[], nn.Module]
    inputs: Callable[[Shape], Sequence[Shape]]
    input_gradient: bool

    def tensors(self, images: Shape, seed: int = 0) -> list[Tensor]:
        """Random inputs for a batch of images."""
        generator = torch.Generator().manual_seed(seed)
        shapes = self.inputs(images)
        return [torch.randn(shape, generator=generator).requires_grad_(self.input_gradient) for shape in shapes]


def layers() -> list[Contestant]:
    """The layers: each group begins with its baseline."""

    def inputs(case: layer_cases.Case) -> Callable[[Shape], Sequence[Shape]]:
        def shapes(images: Shape) -> Sequence[Shape]:
            n, _, h, w = images
            stride = case.stride
            return [(n, case.channels, max(h // stride, 1), max(w // stride, 1))] * case.num_inputs

        return shapes

    return [Contestant(c.name, c.baseline, c.make, inputs(c), input_gradient=True) for c in layer_cases.cases()]


RESNET, PLAIN_HCGNET = 'resnet50', 'hcgnet_b_plain'
# The baseline of each backbone; MMDetection's ResNet-50 but for HCGNet's own equations.
BACKBONES = {
    RESNET: RESNET,
    'tiedresnet50': RESNET,
    'tiedresnet50_s': RESNET,
    'tiedresnext50': RESNET,
    'tiedresnest50': RESNET,
    'tiedsenet50': RESNET,
    'dsnet50': RESNET,
    'ds2net50': RESNET,
    'hsresnet50': RESNET,
    'se_resnet50': RESNET,
    'sae_resnet50': RESNET,
    'hcgnet_b': RESNET,
    PLAIN_HCGNET: RESNET,
}
# HCGNet's plain form is there to compare HCGNet's own equations with, and nothing to use.
LATENCY = tuple(name for name in BACKBONES if name != PLAIN_HCGNET)


def backbones() -> list[Contestant]:
    """The backbones, the baseline first."""
    return [_backbone(name, baseline) for name, baseline in BACKBONES.items()]


def _backbone(name: str, baseline: str) -> Contestant:
    return Contestant(name, baseline, lambda: make_backbone(name), lambda images: [images], input_gradient=False)


def make_backbone(name: str) -> nn.Module:
    """A backbone or a baseline by name: all feature maps, batch norms that learn."""
    if name == PLAIN_HCGNET:
        from .plain_hcgnet import PlainHCGNet

        return PlainHCGNet()
    if name == RESNET:
        from mmdet.models.backbones import ResNet

        return ResNet(depth=50, norm_eval=False)
    return create_backbone(name)


def choose(section: str, names: Sequence[str] | None) -> list[Contestant]:
    """Contestants of a section: all, or those with some names and their baselines.

    Args:
        section: 'layers' or 'backbones'.
        names: Each the whole name of a contestant or a part of some names; also any of ``mmhybrid.list_backbones()``.

    Raises:
        InputError: If a name fits none.
    """
    known = {c.name: c for c in (layers() if section == 'layers' else backbones())}
    if names is None:
        return list(known.values())
    chosen: set[str] = set()
    for name in names:
        found = {name} if name in known else {other for other in known if name.lower() in other.lower()}
        if not found and section == 'backbones' and name in list_backbones():
            known[name] = _backbone(name, RESNET)
            found = {name}
        if not found:
            raise InputError(f'There is no contestant {name!r} among the {section}; there are: {"; ".join(known)}.')
        chosen |= found
    chosen |= {known[name].baseline for name in chosen}
    return [contestant for name, contestant in known.items() if name in chosen]
