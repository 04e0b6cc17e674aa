"""HS-ResNet: ResNet whose 3x3 convolutions are hierarchical splits.

Paper: P. Yuan et al., "HS-ResNet: Hierarchical-Split Block on Convolutional Neural Network", arXiv 2010.07621. The
authors never released code; one of them describes the blocks of stride 2 in issue 472 of PaddlePaddle/PaddleClas.
Deviations: none known.
Our choices: the width w of a group doubles with each stage, as in Res2Net; w = 14 and s = 6 by default. The label on
the authors' speed chart, 28w6s, is ``base_width=28``. The authors build on ResNet-D, which is ``deep_stem=True,
avg_down=True``. As 1000-class classifiers, 14w6s has 23,246,964 parameters (23,266,196 on ResNet-D), 28w6s has
53,807,313 (53,826,545) and 24w4s on ResNet-D has 27,549,936, the size that an earlier text gives for the paper's
network. We could not read it in the paper: whether the authors trained 24w4s is unverified. See
``mmhybrid.layers.hierarchical_split`` for the choices inside the split.
"""

from mmcv.cnn import build_conv_layer
from mmdet.models.backbones.resnet import ResNet
from mmdet.registry import MODELS
from torch import nn

from mmhybrid.layers.checks import check_positive
from mmhybrid.layers.hierarchical_split import HierarchicalSplit

from .blocks import SplitBottleneck, check_block_options
from .contract import ResNetContract


class HSBottleneck(SplitBottleneck):
    """Bottleneck of HS-ResNet: 1x1 to s w channels, hierarchical split, 1x1, shortcut.

    Args:
        width: Channels w of a group.
        splits: Number of groups s.
        **kwargs: Of ``SplitBottleneck``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, 4 planes, H', W').
    """

    def __init__(self, *, width: int, splits: int, **kwargs):
        self.width, self.splits = width, splits
        super().__init__(channels=width * splits, **kwargs)

    def _make_splits(self, dcn: dict | None) -> nn.Module:
        return HierarchicalSplit(
            self.width,
            self.splits,
            self._make_split_norm,
            self.conv2_stride,
            self.dilation,
            lambda c: self._make_split_conv(c, dcn),
        )

    def _make_split_norm(self, channels: int) -> nn.Module:
        self._check_divides('norm_cfg', self.norm_cfg, 'num_groups', channels)
        return self._make_norm(channels)

    def _make_split_conv(self, channels: int, dcn: dict | None) -> nn.Module:
        for key in ('groups', 'deform_groups'):
            self._check_divides('dcn', dcn, key, channels)
        return build_conv_layer(
            dcn or self.conv_cfg,
            channels,
            channels,
            kernel_size=3,
            stride=self.conv2_stride,
            padding=self.dilation,
            dilation=self.dilation,
            bias=False,
        )

    @staticmethod
    def _check_divides(name: str, cfg: dict | None, key: str, channels: int) -> None:
        if cfg and channels % cfg.get(key, 1):
            raise ValueError(
                f'{name} cannot apply to this split: {key} = {cfg[key]} does not divide the {channels} channels of one '
                f'of its convolutions; use {key} = 1.'
            )


@MODELS.register_module()
class HSResNet(ResNetContract, ResNet):
    """ResNet with hierarchical splits.

    ``HSResNet(50)`` is 14w6s, ``HSResNet(50, base_width=28)`` is 28w6s, ``HSResNet(50, splits=4, base_width=24)`` is
    24w4s; ``deep_stem=True, avg_down=True`` puts them on ResNet-D, as the authors do. With ``splits=1, base_width=64``
    it computes what ResNet does. The convolutions of a split have uneven widths, which GN's groups seldom divide: use
    BN, SyncBN or GN with ``num_groups=1``.

    Args:
        depth: 50, 101 or 152.
        splits: Number of groups s of the 3x3 convolution.
        base_width: Channels of a group in the first stage, w; it doubles with each stage.
        **kwargs: Of MMDetection's ``ResNet``. With ``style='caffe'`` the stride is on the 1x1, so that all blocks
            have the cascade.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.

    Example:
        >>> backbone = HSResNet(depth=50)
        >>> [tuple(f.shape) for f in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 256, 16, 24), (1, 512, 8, 12), (1, 1024, 4, 6), (1, 2048, 2, 3)]
    """

    arch_settings = {  # noqa: RUF012 (MMDetection reads it from the class)
        depth: (HSBottleneck, ResNet.arch_settings[depth][1]) for depth in (50, 101, 152)
    }

    def __init__(self, depth: int, splits: int = 6, base_width: int = 14, **kwargs):
        check_positive(splits=splits, base_width=base_width)
        check_block_options(kwargs)
        self.splits = splits
        self.base_width = base_width
        super().__init__(depth, **kwargs)

    def make_res_layer(self, planes: int, init_cfg: dict | None = None, **kwargs) -> nn.Module:
        """Build one stage; its width follows from ``planes``, which doubles with each stage."""
        return super().make_res_layer(
            planes=planes,
            width=self.base_width * planes // self.base_channels,
            splits=self.splits,
            init_cfg=self.residual_init_cfg(init_cfg),
            **kwargs,
        )
