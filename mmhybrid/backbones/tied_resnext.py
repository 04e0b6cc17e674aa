"""TiedResNeXt: ResNeXt with tied block group convolutions.

Paper: X. Wang, S. X. Yu, "Tied Block Convolution: Leaner and Better CNNs with Shared Thinner Filters",
arXiv 2009.12021, section "TBC/TGC in the bottleneck module". As TiedResNet, but the 3x3 convolutions of the splits are
tied block *group* convolutions.
Deviations: none known; the authors' backbone code is not public.
Our choices (inferred from the published parameter ratios): w is counted per 128 planes, half of ResNet's measure; the
32 groups of ResNeXt-50-32x4d are divided among the splits, 8 for each; where the width of a split has no such divisors,
B becomes the width's largest divisor not above B, and then the groups become the greatest common divisor of 8 and
width / B; the mixer is TiedResNet's, without groups. As 1000-class classifiers, 4s x 64w has 20,422,892 parameters and
4s x 36w has 12,850,498.
"""

from math import gcd

from mmcv.cnn import build_conv_layer
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.layers import TiedBlockConv2d, TiedBlocks, largest_divisor

from .tied_resnet import TiedBottleneck, TiedResNet


class TiedGroupBlocks(TiedBlocks):
    """``TiedBlocks`` for a layer with groups: B tied blocks inside each of G groups, as in TGC.

    Args:
        layer: Module with G groups that maps (N B, C / B, H, W) to (N B, C' / B, H', W').
        blocks: Number of blocks B.
        groups: Number of groups G.

    Shape:
        - input: (N, C, H, W), output: (N, C', H', W').
    """

    def __init__(self, layer: nn.Module, blocks: int, groups: int):
        super().__init__(layer, blocks)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to each block of ``x`` (N, C, H, W)."""
        # Block b of every group makes one input of the layer, so channels (G, B, -1) are reordered to (B, G, -1).
        return self._swapped(super().forward(self._swapped(x, self.groups, self.blocks)), self.blocks, self.groups)

    @staticmethod
    def _swapped(x: Tensor, outer: int, inner: int) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, outer, inner, c // (outer * inner), h, w).transpose(1, 2).reshape(n, c, h, w)


class TiedNeXtBottleneck(TiedBottleneck):
    """Bottleneck of TiedResNeXt: that of TiedResNet with TGC in the splits.

    Args:
        groups: Groups of one split.
        **kwargs: Of ``TiedBottleneck``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, 4 planes, H', W').
    """

    def __init__(self, *, groups: int, **kwargs):
        self.groups = groups  # the base class builds the splits
        super().__init__(**kwargs)

    def _make_split_conv(self, width: int, blocks: int, dcn: dict | None) -> nn.Module:
        blocks = largest_divisor(width, blocks)
        groups = gcd(width // blocks, self.groups)
        shape = dict(
            kernel_size=3,
            stride=self.conv2_stride,
            padding=self.dilation,
            dilation=self.dilation,
            groups=groups,
            bias=False,
        )
        if dcn is None:
            return TiedBlockConv2d(width, width, **shape, blocks=blocks)
        return TiedGroupBlocks(build_conv_layer(dcn, width // blocks, width // blocks, **shape), blocks, groups)


@MODELS.register_module()
class TiedResNeXt(TiedResNet):
    """ResNeXt with tied block group convolutions.

    ``TiedResNeXt(depth=50)`` is the paper's TiedResNeXt-50 (4s x 64w); ``base_width=36`` makes it TiedResNeXt-50-S.

    Args:
        depth: 50, 101 or 152.
        splits: Number of splits s of the 3x3 convolution.
        base_width: Channels of a split for 128 planes, w: a split is planes * w / 128 wide.
        groups: Groups of all splits together, divisible by ``splits``.
        **kwargs: Of ``TiedResNet``.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.

    Example:
        >>> backbone = TiedResNeXt(depth=50)
        >>> backbone.layer1[0].conv2.convs[1]
        TiedBlockConv2d(32, 32, kernel_size=(3, 3), stride=(1, 1), blocks=2, padding=(1, 1), groups=8, bias=False)
    """

    arch_settings = {  # noqa: RUF012 (MMDetection reads it from the class)
        depth: (TiedNeXtBottleneck, stage_blocks) for depth, (_, stage_blocks) in TiedResNet.arch_settings.items()
    }

    def __init__(self, depth: int, splits: int = 4, base_width: int = 64, groups: int = 32, **kwargs):
        if splits < 1 or groups < 1 or groups % splits:
            raise ValueError(f'groups must be a positive multiple of the {splits} splits, not {groups}.')
        if base_width < 2:
            raise ValueError(f'base_width must be at least 2, not {base_width}.')
        self.groups = groups
        super().__init__(depth, splits=splits, base_width=base_width, **kwargs)

    def split_width(self, planes: int) -> int:
        """Channels of one split, half of TiedResNet's for the same w."""
        return self.base_width * planes // (2 * self.base_channels)

    def make_res_layer(self, **kwargs) -> nn.Module:
        """Build one stage."""
        return super().make_res_layer(groups=self.groups // self.splits, **kwargs)
