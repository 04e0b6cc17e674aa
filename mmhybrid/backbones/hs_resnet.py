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

from mmcv.cnn import build_conv_layer, build_norm_layer
from mmdet.models.backbones.resnet import Bottleneck, ResNet
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.layers.hierarchical_split import HierarchicalSplit

from .blocks import applicable_dcn, bottleneck_branch, check_block_options, make_plugins, residual_forward
from .contract import ResNetContract, is_integer


class HSBottleneck(Bottleneck):
    """Bottleneck of HS-ResNet: 1x1 to s w channels, hierarchical split, 1x1, shortcut.

    Args:
        inplanes: Channels of the input.
        planes: A quarter of the channels of the output.
        width: Channels w of a group.
        splits: Number of groups s.
        plugins: As in MMDetection's ``Bottleneck``.
        dcn: As in MMDetection's ``Bottleneck``: the convolutions of the split become deformable.
        **kwargs: Of MMDetection's ``Bottleneck``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, 4 planes, H', W').
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        width: int,
        splits: int,
        plugins: list[dict] | None = None,
        dcn: dict | None = None,
        **kwargs,
    ):
        # Plugins are made below: the base class would give them `planes` channels instead of the splits'.
        super().__init__(inplanes, planes, **kwargs)
        channels = width * splits
        # The base class built convolutions of `planes` channels; those of other widths take their places.
        self.conv1 = build_conv_layer(self.conv_cfg, inplanes, channels, 1, stride=self.conv1_stride, bias=False)
        self.add_module(self.norm1_name, build_norm_layer(self.norm_cfg, channels)[1])
        dcn = applicable_dcn(dcn, self.conv2_stride)
        self.conv2 = HierarchicalSplit(
            width,
            splits,
            self._make_split_norm,
            self.conv2_stride,
            self.dilation,
            lambda c: self._make_split_conv(c, dcn),
        )
        delattr(self, self.norm2_name)  # the splits have norms of their own
        self.conv3 = build_conv_layer(self.conv_cfg, channels, planes * self.expansion, 1, bias=False)
        make_plugins(self, plugins, channels, planes * self.expansion)

    def _make_split_norm(self, channels: int) -> nn.Module:
        self._check_divides('norm_cfg', self.norm_cfg, 'num_groups', channels)
        return build_norm_layer(self.norm_cfg, channels)[1]

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

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (N, inplanes, H, W)."""
        return residual_forward(self, self._branch, x)

    def _branch(self, x: Tensor) -> Tensor:
        return bottleneck_branch(self, x, self.conv2)


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
        for name, value in (('splits', splits), ('base_width', base_width)):
            if not is_integer(value) or value < 1:
                raise ValueError(f'{name} must be a positive integer, not {value!r}.')
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
