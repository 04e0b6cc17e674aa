"""TiedResNeSt: ResNeSt with tied block convolutions.

Paper: X. Wang, S. X. Yu, "Tied Block Convolution: Leaner and Better CNNs with Shared Thinner Filters",
arXiv 2009.12021, section "TBC/TGC in the bottleneck module": the entry 1x1 and all 3x3 convolutions of the bottlenecks
are tied with B = 2. ResNeSt: H. Zhang et al., "ResNeSt: Split-Attention Networks", arXiv 2004.08955.
Deviations: none known; the authors' backbone code is not public.
Our choices (inferred): the stem, the exit 1x1, the split attention's two small maps and the shortcut are not tied; the
split 3x3 ties its blocks inside each of its groups (TGC); TiedResNeSt-50-S is ResNeSt-50-fast 2s1x64d, which pools
before the 3x3 convolution (``avd_first``). With 15,748,200 parameters as a 1000-class classifier it has 57% of the
fast ResNeSt-50's 27,483,240, where the paper says 59%, and 68% of its multiply-adds, where the paper says 82%.
"""

from functools import reduce
from operator import add

from mmcv.cnn import build_conv_layer
from mmdet.models.backbones.resnest import Bottleneck, ResNeSt, SplitAttentionConv2d
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.layers import TiedBlockConv2d, pooling

from .blocks import applicable_dcn, bottleneck_branch, check_block_options, make_plugins, residual_forward
from .contract import ResNetContract
from .tied_resnext import TiedGroupBlocks


class TiedSplitAttentionConv2d(SplitAttentionConv2d):
    """ResNeSt's split-attention convolution with a tied 3x3.

    The convolution makes R maps U_1 .. U_R of C channels; with a = softmax over r of fc2(ReLU(BN(fc1(mean over H, W of
    U_1 + .. + U_R)))) the output is a_1 U_1 + .. + a_R U_R. With R = 1 the softmax is a sigmoid.

    BN sees one pixel per image; :func:`~mmhybrid.layers.pooling.normalise_pooled` says what happens with one image.
    Where a group of GN would be one channel there is one group, since a single value, normalised, is zero.

    Args:
        channels: Channels C of the input and of the output.
        blocks: Tied blocks B inside each group of the convolution.
        stride: Stride.
        dilation: Dilation, and padding.
        groups: Cardinality; the convolution has groups * radix groups.
        radix: Number of maps R.
        dcn: Config of a deformable convolution, tied over the same blocks, or None.
        **kwargs: Of MMDetection's ``SplitAttentionConv2d``.

    Shape:
        - input: (N, C, H, W), output: (N, C, H', W').
    """

    def __init__(
        self,
        channels: int,
        blocks: int,
        stride: int,
        dilation: int,
        groups: int,
        radix: int,
        dcn: dict | None,
        **kwargs,
    ):
        super().__init__(channels, channels, 3, groups=groups, radix=radix, **kwargs)
        del self.rsoftmax  # its view of the batch fails on an empty one; forward() has its own
        if isinstance(self.norm1, nn.GroupNorm) and self.norm1.num_groups == self.norm1.num_channels:
            self.norm1.num_groups = 1
        shape = dict(stride=stride, padding=dilation, dilation=dilation, groups=groups * radix, bias=False)
        tied = TiedBlockConv2d(channels, channels * radix, 3, **shape, blocks=blocks)
        if dcn is None:
            self.conv = tied
        else:
            conv = build_conv_layer(dcn, channels // blocks, channels * radix // blocks, 3, **shape)
            self.conv = TiedGroupBlocks(conv, blocks, groups * radix)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` (N, C, H, W) and fuse the maps."""
        y = self.relu(self.norm0(self.conv(x)))
        n, _, h, w = y.shape
        maps = y.reshape(n, self.radix, self.channels, h, w)
        context = maps.mean((3, 4), keepdim=True).sum(dim=1)
        logits = self.fc2(self.relu(pooling.normalise_pooled(self.norm1, self.fc1(context))))
        if self.radix == 1:
            return maps.squeeze(1) * logits.sigmoid()
        # fc2's channels are (cardinality, radix, -1), the maps' are (radix, cardinality, -1).
        width = self.channels // self.groups
        attention = logits.reshape(n, self.groups, self.radix, width, 1, 1).softmax(dim=2)
        attention = attention.transpose(1, 2).reshape(n, self.radix, self.channels, 1, 1)
        # Not (maps * attention).sum(dim=1), whose result is never channels_last.
        maps, attention = maps.unbind(1), attention.unbind(1)
        return reduce(add, (maps[r] * attention[r] for r in range(self.radix)))


class TiedResNeStBottleneck(Bottleneck):
    """Bottleneck of TiedResNeSt: TBC 1x1, split attention with a tied 3x3, standard 1x1, shortcut.

    Args:
        inplanes: Channels of the input.
        planes: A quarter of the channels of the output.
        blocks: Tied blocks of the 3x3.
        entry_blocks: Tied blocks of the entry 1x1.
        avd_first: Whether the average pooling of a strided block stands before the 3x3 or after it.
        groups: Cardinality of the 3x3.
        radix: Number of maps of the split attention.
        reduction_factor: Reduction of the split attention.
        plugins: As in MMDetection's ``Bottleneck``.
        dcn: As in MMDetection's ``Bottleneck``.
        **kwargs: Of MMDetection's ResNeSt ``Bottleneck``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, 4 planes, H', W').
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        blocks: int,
        entry_blocks: int,
        avd_first: bool,
        groups: int,
        radix: int,
        reduction_factor: int,
        plugins: list[dict] | None = None,
        dcn: dict | None = None,
        **kwargs,
    ):
        # Plugins are made below: the base class would give them `planes` channels instead of the 3x3's width.
        super().__init__(inplanes, planes, groups=groups, radix=radix, reduction_factor=reduction_factor, **kwargs)
        width = self.conv1.out_channels
        self.conv1 = TiedBlockConv2d(inplanes, width, 1, stride=self.conv1_stride, bias=False, blocks=entry_blocks)
        stride = 1 if self.avg_down_stride else self.conv2_stride
        self.conv2 = TiedSplitAttentionConv2d(
            width,
            blocks,
            stride,
            self.dilation,
            groups,
            radix,
            applicable_dcn(dcn, stride),
            reduction_factor=reduction_factor,
            norm_cfg=self.norm_cfg,
        )
        self.avd_first = avd_first
        make_plugins(self, plugins, width, planes * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (N, inplanes, H, W)."""
        return residual_forward(self, self._branch, x)

    def _branch(self, x: Tensor) -> Tensor:
        return bottleneck_branch(self, x, self._middle)

    def _middle(self, x: Tensor) -> Tensor:
        if not self.avg_down_stride:
            return self.conv2(x)
        return self.conv2(self.avd_layer(x)) if self.avd_first else self.avd_layer(self.conv2(x))


@MODELS.register_module()
class TiedResNeSt(ResNetContract, ResNeSt):
    """ResNeSt with tied block convolutions.

    ``TiedResNeSt(depth=50)`` is TiedResNeSt-50; ``avd_first=True`` makes it TiedResNeSt-50-S. The ResNeSt authors'
    101 has ``depth=101, stem_channels=128``. With ``blocks=1, entry_blocks=1`` it is MMDetection's ``ResNeSt``.

    Batch normalisation inside the split attention sees one pixel per image. With one image in training, as an epoch's
    last batch may be, it uses its running statistics and leaves them as they are, where ResNeSt fails; with more images
    it is ResNeSt's. ``nn.SyncBatchNorm`` over several processes normalises over the images of all of them.

    Args:
        depth: 50, 101, 152 or 200.
        blocks: Tied blocks B of the 3x3 convolutions.
        entry_blocks: Tied blocks of the entry 1x1.
        avd_first: Whether the average pooling of a strided block stands before the 3x3 convolution (ResNeSt's "fast"
            variants) or after it; needs ``avg_down_stride``.
        **kwargs: Of MMDetection's ``ResNeSt``, all but ``conv_cfg``. Its deep stem and average-pooled shortcut
            (``deep_stem``, ``avg_down``) are always on.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.

    Example:
        >>> backbone = TiedResNeSt(depth=50, avd_first=True).eval()
        >>> [tuple(f.shape) for f in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 256, 16, 24), (1, 512, 8, 12), (1, 1024, 4, 6), (1, 2048, 2, 3)]
    """

    arch_settings = {  # noqa: RUF012 (MMDetection reads it from the class)
        depth: (TiedResNeStBottleneck, stage_blocks) for depth, (_, stage_blocks) in ResNeSt.arch_settings.items()
    }
    initialised_convs = ('Conv2d', 'TiedBlockConv2d')

    def __init__(self, depth: int, blocks: int = 2, entry_blocks: int = 2, avd_first: bool = False, **kwargs):
        if kwargs.get('conv_cfg') is not None:
            raise ValueError('conv_cfg cannot apply to TiedResNeSt; set blocks and entry_blocks instead.')
        check_block_options(kwargs)
        for option in ('deep_stem', 'avg_down'):
            if option in kwargs:
                raise ValueError(f'{option} cannot be set: it is always on in ResNeSt.')
        if avd_first and not kwargs.get('avg_down_stride', True):
            raise ValueError('avd_first places the average pooling that avg_down_stride=False removes.')
        self.blocks = blocks
        self.entry_blocks = entry_blocks
        self.avd_first = avd_first
        super().__init__(depth, **kwargs)

    def make_res_layer(self, init_cfg: dict | None = None, **kwargs) -> nn.Module:
        """Build one stage."""
        return super().make_res_layer(
            blocks=self.blocks,
            entry_blocks=self.entry_blocks,
            avd_first=self.avd_first,
            init_cfg=self.residual_init_cfg(init_cfg),
            **kwargs,
        )
