"""The layers that are measured, at the places of a network where they are used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A layer on ``num_inputs`` maps of some channels, as many times smaller than the image as ``stride``."""

    name: str
    baseline: str
    make: Callable[[], nn.Module]
    channels: int
    stride: int
    num_inputs: int = 1


def cases() -> Iterator[Case]:
    """All of them, each group with its baseline first."""
    yield from _tied_convolutions()
    yield from _split_convolutions()
    yield from _smg()
    yield from _dense_shortcuts()
    yield from _attention()


def _group(label: str, makers: dict[str, Callable[[], nn.Module]], channels: int, stride: int, num_inputs: int = 1):
    baseline, *_ = makers
    for name, make in makers.items():
        yield Case(f'{name}, {label}', f'{baseline}, {label}', make, channels, stride, num_inputs)


def _tied_convolutions() -> Iterator[Case]:
    from mmhybrid.layers import TiedBlockConv2d

    # The 3x3 convolutions of ResNet's stages, and its entry convolutions; both as wide as they come in.
    widths = {3: ((64, 4), (128, 8), (256, 16), (512, 32)), 1: ((256, 4), (512, 8), (1024, 16))}
    for kernel, places in widths.items():
        for channels, stride in places:
            shape = dict(kernel_size=kernel, padding=kernel // 2, bias=False)
            makers = {'Conv2d': lambda c=channels, s=shape: nn.Conv2d(c, c, **s)}
            for blocks in (2, 4, 8):
                makers[f'TiedBlockConv2d, B = {blocks}'] = lambda c=channels, s=shape, b=blocks: TiedBlockConv2d(
                    c, c, **s, blocks=b
                )
            yield from _group(f'{kernel}x{kernel}, {channels} channels at stride {stride}', makers, channels, stride)


def _conv_bn_relu(channels: int) -> nn.Module:
    conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def _tied_split(width: int) -> nn.Module:
    from mmhybrid.backbones.tied_resnet import TiedSplitConv
    from mmhybrid.layers import TiedBlockConv2d

    def make_conv(blocks: int) -> nn.Module:
        return TiedBlockConv2d(width, width, 3, padding=1, bias=False, blocks=blocks)

    return TiedSplitConv(width, (1, 2, 4, 8), 'sum3x3', make_conv, nn.BatchNorm2d)


def _hierarchical(width: int) -> nn.Module:
    from mmhybrid.layers import HierarchicalSplit

    return HierarchicalSplit(width, 6)


def _split_convolutions() -> Iterator[Case]:
    # What stands in the middle of a bottleneck: ResNet's, HS-ResNet's (6s x 14w) and TiedResNet's (4s x 32w).
    for planes, stride in ((64, 4), (256, 16)):
        label, scale = f'{planes} planes at stride {stride}', planes // 64
        baseline = f'Conv2d 3x3-BN-ReLU, {label}'
        yield Case(baseline, baseline, lambda p=planes: _conv_bn_relu(p), planes, stride)
        hierarchical, split = (lambda w=14 * scale: _hierarchical(w)), (lambda w=32 * scale: _tied_split(w))
        yield Case(f'HierarchicalSplit, {label}', baseline, hierarchical, 6 * 14 * scale, stride)
        yield Case(f'TiedSplitConv, {label}', baseline, split, 4 * 32 * scale, stride)


def _smg() -> Iterator[Case]:
    from .plain_hcgnet import PlainHybridBlock, PlainSMG

    def smg() -> nn.Module:
        from mmhybrid.layers import SMG

        return SMG(368, 64, 256)

    def block() -> nn.Module:
        from mmhybrid.backbones.hcgnet import HybridBlock

        return HybridBlock(184, 12, 64)

    # Stage 3 of HCGNet-B; the baselines are the article's equations, one operation for each symbol.
    plain = dict(groups=4, stride=1, reduction=2)
    makers = {'plain SMG': lambda: PlainSMG(368, 64, 256, **plain), 'SMG': smg}
    yield from _group('368 to 64 channels at stride 16', makers, 368, 16)
    makers = {'plain HybridBlock': lambda: PlainHybridBlock(184, 12, 64), 'HybridBlock': block}
    yield from _group('12 modules from 184 channels at stride 16', makers, 184, 16)


class PlainDenseShortcut(nn.Module):
    """The sum over sources of a batch normalisation each, as the article writes it."""

    def __init__(self, channels: int, num_sources: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(num_sources))

    def forward(self, *sources: Tensor) -> Tensor:
        return sum(norm(x) for norm, x in zip(self.norms, sources, strict=True))


class Separate(nn.Module):
    """Calls a layer that takes a list with maps that come one by one."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, *maps: Tensor) -> Tensor:
        return self.layer(list(maps))


def _dense_shortcuts() -> Iterator[Case]:
    from mmhybrid.layers import DenseShortcut

    for channels, stride, n in ((256, 4, 3), (1024, 16, 6)):
        makers = {
            'a BatchNorm2d each, summed': lambda c=channels, n=n: PlainDenseShortcut(c, n),
            'DenseShortcut': lambda c=channels, n=n: Separate(DenseShortcut(c, n)),
            'DenseShortcut, identity': lambda c=channels, n=n: Separate(DenseShortcut(c, n, identity=True)),
        }
        yield from _group(f'{n} sources of {channels} channels at stride {stride}', makers, channels, stride, n)


class PlainSE(nn.Module):
    """Squeeze-and-excitation as it is usually written: a pool and two 1x1 convolutions."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = nn.functional.adaptive_avg_pool2d(x, 1)
        return x * self.fc2(self.fc1(z).relu()).sigmoid()


def _context_block(channels: int) -> nn.Module:
    from mmcv.cnn import ContextBlock

    return ContextBlock(channels, ratio=1 / 4)


def _attention() -> Iterator[Case]:
    from mmhybrid.layers import GlobalContext, SqueezeAggregatedExcite, SqueezeExcite, TiedGCB, TiedSE

    for channels, stride in ((256, 4), (1024, 16)):
        label = f'{channels} channels at stride {stride}'
        makers = {
            'plain SE': lambda c=channels: PlainSE(c),
            'SqueezeExcite': lambda c=channels: SqueezeExcite(c),
            'TiedSE, B = 8': lambda c=channels: TiedSE(c),
            'SqueezeAggregatedExcite': lambda c=channels: SqueezeAggregatedExcite(c),
        }
        yield from _group(label, makers, channels, stride)
        makers = {
            "MMCV's ContextBlock": lambda c=channels: _context_block(c),
            'GlobalContext': lambda c=channels: GlobalContext(c),
            'TiedGCB, B = 2': lambda c=channels: TiedGCB(c),
        }
        yield from _group(label, makers, channels, stride)
