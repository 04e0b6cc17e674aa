"""TiedResNet: ResNet with tied block convolutions.

Paper: X. Wang, S. X. Yu, "Tied Block Convolution: Leaner and Better CNNs with Shared Thinner Filters",
arXiv 2009.12021, section "TBC/TGC in the bottleneck module" (figure 4). The entry 1x1 is a TBC with B = 2; the 3x3
is split into s groups of channels, each with its own B; the exit 1x1 is a standard convolution; a mixer fuses the
outputs of the splits.
Deviations: none known; the authors' backbone code is not public.
Our choices (inferred from the published parameter ratios): a split is ``base_width * 2**stage`` wide; BN and ReLU
follow each convolution; the stride is on the 3x3; the mixer is a 3x3 convolution on the element-wise sum of the splits,
added to each of them; where B does not divide a narrow split, its largest divisor not above B is used.
"""

from collections.abc import Callable, Sequence

import torch
import torch.fx
from mmcv.cnn import build_conv_layer
from mmdet.models.backbones.resnet import ResNet
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.layers import TiedBlockConv2d, TiedBlocks, largest_divisor
from mmhybrid.layers.checks import check_positive

from .blocks import SplitBottleneck, check_block_options
from .contract import ResNetContract

# Kernel size of the mixer's convolution and whether its input is the splits' sum (or else their concatenation).
MIXERS = {'sum3x3': (3, True), 'sum1x1': (1, True), 'concat': (3, False)}


class TiedSplitConv(nn.Module):
    """The split 3x3 stage of a tied bottleneck, with its mixer.

    With x split into s equal groups of channels x_i, y_1 || ... || y_s = ReLU(Norm(TBC_{B_1}(x_1) || ... ||
    TBC_{B_s}(x_s))), m = ReLU(Norm(conv(mix(y)))) where mix is the element-wise sum or the concatenation, and the
    output is (y_1 + m) || ... || (y_s + m). One BN over all splits is one BN for each; GN's groups lie over all splits.

    Args:
        width: Channels of one split, w.
        blocks: Number of tied blocks B_i of each split; its length is the number of splits s.
        mixer: Key of ``MIXERS``, or None for y_1 || ... || y_s.
        make_conv: Builds the convolution of one split from its B.
        make_norm: Builds a normalisation layer for a number of channels.

    Shape:
        - input: (N, s w, H, W), output: (N, s w, H', W').
    """

    def __init__(
        self,
        width: int,
        blocks: Sequence[int],
        mixer: str | None,
        make_conv: Callable[[int], nn.Module],
        make_norm: Callable[[int], nn.Module],
    ):
        super().__init__()
        self.width = width
        self.convs = nn.ModuleList(make_conv(b) for b in blocks)
        self.norm = make_norm(width * len(blocks))
        self.relu = nn.ReLU(inplace=True)
        self.mixer = None
        if mixer is not None:
            kernel_size, self.mix_sum = MIXERS[mixer]
            channels = width if self.mix_sum else width * len(blocks)
            self.mixer = nn.Sequential(
                nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False),
                make_norm(width),
                nn.ReLU(inplace=True),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the splits of ``x`` (N, s w, H, W) and mix them."""
        parts = x.split(self.width, dim=1)
        y = torch.cat([conv(parts[i]) for i, conv in enumerate(self.convs)], dim=1)
        y = self.relu(self.norm(y))
        if self.mixer is None:
            return y
        splits = (len(self.convs), self.width)
        mixed = self.mixer(_sum_of_splits(y, *splits) if self.mix_sum else y)
        return _added_to_splits(y, mixed, *splits)


# Each is one operation of a symbolic trace, since the order of computation depends on the memory format. In that of a
# channels_last map it is another: what a reduction returns is contiguous, here the sum and in the backward pass the
# gradient of what is broadcast.
@torch.fx.wrap
def _sum_of_splits(y: Tensor, splits: int, width: int) -> Tensor:
    """Sum of the splits (N, w, H, W) of ``y`` (N, s w, H, W)."""
    n, _, h, w = y.shape
    if y.is_contiguous():
        return y.reshape(n, splits, width, h, w).sum(1)
    return y.permute(0, 2, 3, 1).reshape(n, h, w, splits, width).sum(-2).permute(0, 3, 1, 2)


@torch.fx.wrap
def _added_to_splits(y: Tensor, mixed: Tensor, splits: int, width: int) -> Tensor:
    """``mixed`` (N, w, H, W), added to each of the splits of ``y`` (N, s w, H, W)."""
    n, _, h, w = y.shape
    if y.is_contiguous():
        return (y.reshape(n, splits, width, h, w) + mixed.unsqueeze(1)).reshape(n, splits * width, h, w)
    out = y.permute(0, 2, 3, 1).reshape(n, h, w, splits, width) + mixed.permute(0, 2, 3, 1).unsqueeze(-2)
    return out.reshape(n, h, w, splits * width).permute(0, 3, 1, 2)


class TiedBottleneck(SplitBottleneck):
    """Bottleneck of TiedResNet: TBC 1x1, split TBC 3x3 with a mixer, standard 1x1, shortcut.

    Deformable convolutions of the splits are tied over the same blocks.

    Args:
        width: Channels of one split.
        blocks: Tied blocks B of each split.
        entry_blocks: Tied blocks of the entry 1x1.
        mixer: Key of ``MIXERS`` or None.
        **kwargs: Of ``SplitBottleneck``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, 4 planes, H', W').
    """

    def __init__(self, *, width: int, blocks: Sequence[int], entry_blocks: int, mixer: str | None, **kwargs):
        self.width, self.blocks, self.entry_blocks, self.mixer = width, blocks, entry_blocks, mixer
        super().__init__(channels=width * len(blocks), **kwargs)

    def _make_entry(self, inplanes: int, channels: int) -> nn.Module:
        return TiedBlockConv2d(inplanes, channels, 1, stride=self.conv1_stride, bias=False, blocks=self.entry_blocks)

    def _make_splits(self, dcn: dict | None) -> nn.Module:
        return TiedSplitConv(
            self.width,
            self.blocks,
            self.mixer,
            lambda blocks: self._make_split_conv(self.width, blocks, dcn),
            self._make_norm,
        )

    def _make_split_conv(self, width: int, blocks: int, dcn: dict | None) -> nn.Module:
        blocks = largest_divisor(width, blocks)
        shape = dict(
            kernel_size=3,
            stride=self.conv2_stride,
            padding=self.dilation,
            dilation=self.dilation,
            bias=False,
        )
        if dcn is None:
            return TiedBlockConv2d(width, width, **shape, blocks=blocks)
        return TiedBlocks(build_conv_layer(dcn, width // blocks, width // blocks, **shape), blocks)


@MODELS.register_module()
class TiedResNet(ResNetContract, ResNet):
    """ResNet with tied block convolutions.

    ``TiedResNet(depth=50)`` is the paper's TiedResNet-50 (4s x 32w); ``base_width=18`` makes it TiedResNet-50-S.

    Args:
        depth: 50, 101 or 152.
        splits: Number of splits s of the 3x3 convolution.
        base_width: Channels of a split in the first stage, w; it doubles with each stage.
        blocks: Tied blocks B of each split; ``splits`` numbers. Where B does not divide the width of a split, the
            width's largest divisor not above B is used.
        entry_blocks: Tied blocks of the entry 1x1.
        mixer: 'sum3x3' or 'sum1x1' (a convolution on the splits' sum), 'concat' (a 3x3 convolution on their
            concatenation) or None.
        **kwargs: Of MMDetection's ``ResNet``, all but ``conv_cfg``.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.

    Example:
        >>> backbone = TiedResNet(depth=50)
        >>> backbone.out_channels, backbone.out_strides
        ((256, 512, 1024, 2048), (4, 8, 16, 32))
        >>> [tuple(f.shape) for f in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 256, 16, 24), (1, 512, 8, 12), (1, 1024, 4, 6), (1, 2048, 2, 3)]
    """

    arch_settings = {  # noqa: RUF012 (MMDetection reads it from the class)
        depth: (TiedBottleneck, ResNet.arch_settings[depth][1]) for depth in (50, 101, 152)
    }
    initialised_convs = ('Conv2d', 'TiedBlockConv2d')

    def __init__(
        self,
        depth: int,
        splits: int = 4,
        base_width: int = 32,
        blocks: Sequence[int] = (1, 2, 4, 8),
        entry_blocks: int = 2,
        mixer: str | None = 'sum3x3',
        **kwargs,
    ):
        name = type(self).__name__
        if mixer is not None and mixer not in MIXERS:
            raise ValueError(f'mixer must be one of {", ".join(MIXERS)} or None, not {mixer!r}.')
        check_positive(base_width=base_width)
        if len(blocks) != splits:
            raise ValueError(f'blocks must give one number for each of the {splits} splits, not {len(blocks)}.')
        if kwargs.get('conv_cfg') is not None:
            raise ValueError(
                f'conv_cfg cannot apply to {name}, whose convolutions are tied; set blocks and entry_blocks instead.'
            )
        check_block_options(kwargs)
        self.splits = splits
        self.base_width = base_width
        self.blocks = tuple(blocks)
        self.entry_blocks = entry_blocks
        self.mixer = mixer
        super().__init__(depth, **kwargs)

    def split_width(self, planes: int) -> int:
        """Channels of one split; ``planes`` doubles with each stage."""
        return self.base_width * planes // self.base_channels

    def make_res_layer(self, planes: int, init_cfg: dict | None = None, **kwargs) -> nn.Module:
        """Build one stage."""
        return super().make_res_layer(
            planes=planes,
            width=self.split_width(planes),
            blocks=self.blocks,
            entry_blocks=self.entry_blocks,
            mixer=self.mixer,
            init_cfg=self.residual_init_cfg(init_cfg),
            **kwargs,
        )
