"""SE-ResNet and SE-ResNeXt, and their tied form: ResNet with channel attention at the end of every residual branch.

Paper: J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", arXiv 1709.01507. TiedSE: X. Wang, S. X. Yu, "Tied
Block Convolution: Leaner and Better CNNs with Shared Thinner Filters", arXiv 2009.12021, section "TBC and TFC in
attention modules".
Deviations: none known.
Our choices: ``residual_gate=True``, x + x * gate, is not SENet's but that of the SaE authors' code.
"""

from collections.abc import Callable
from functools import partial

from mmdet.models.backbones.resnet import BasicBlock, ResNet
from mmdet.models.backbones.resnext import Bottleneck
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.layers.checks import check_positive
from mmhybrid.layers.squeeze_excite import SqueezeExcite

from .blocks import applicable_dcn, bottleneck_branch, residual_forward
from .contract import ResNetContract


class GatedBasicBlock(BasicBlock):
    """MMDetection's ``BasicBlock`` with an attention layer: y = ReLU(attention(F(x)) + shortcut(x)).

    F ends with the second convolution's norm.

    Args:
        inplanes: Channels of the input.
        planes: Channels of the output.
        make_attention: Builds the attention layer for a number of channels.
        **kwargs: Of MMDetection's ``BasicBlock``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, planes, H', W').
    """

    def __init__(self, inplanes: int, planes: int, make_attention: Callable[[int], nn.Module], **kwargs):
        super().__init__(inplanes, planes, **kwargs)
        self.attention = make_attention(planes)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (N, inplanes, H, W)."""
        return residual_forward(self, self._branch, x)

    def _branch(self, x: Tensor) -> Tensor:
        out = self.relu(self.norm1(self.conv1(x)))
        return self.attention(self.norm2(self.conv2(out)))


class GatedBottleneck(Bottleneck):
    """MMDetection's ResNeXt ``Bottleneck`` with an attention layer: y = ReLU(attention(F(x)) + shortcut(x)).

    F ends with the third convolution's norm and any plug-in after it.

    Args:
        inplanes: Channels of the input.
        planes: A quarter of the channels of the output.
        make_attention: Builds the attention layer for a number of channels.
        dcn: As in MMDetection's ``Bottleneck``.
        **kwargs: Of MMDetection's ResNeXt ``Bottleneck``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, 4 planes, H', W').
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        make_attention: Callable[[int], nn.Module],
        dcn: dict | None = None,
        stride: int = 1,
        style: str = 'pytorch',
        **kwargs,
    ):
        dcn = applicable_dcn(dcn, stride if style == 'pytorch' else 1)
        super().__init__(inplanes, planes, dcn=dcn, stride=stride, style=style, **kwargs)
        self.attention = make_attention(planes * self.expansion)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (N, inplanes, H, W)."""
        return residual_forward(self, self._branch, x)

    def _branch(self, x: Tensor) -> Tensor:
        return self.attention(bottleneck_branch(self, x, self._middle))

    def _middle(self, x: Tensor) -> Tensor:
        return self.relu(self.norm2(self.conv2(x)))


class GatedResNet(ResNetContract, ResNet):
    """ResNet or ResNeXt whose every block ends with ``make_attention(channels)``."""

    arch_settings = {  # noqa: RUF012 (MMDetection reads it from the class)
        depth: (GatedBasicBlock if block is BasicBlock else GatedBottleneck, stage_blocks)
        for depth, (block, stage_blocks) in ResNet.arch_settings.items()
    }

    def __init__(self, depth: int, make_attention: Callable[[int], nn.Module], groups: int, base_width: int, **kwargs):
        name = type(self).__name__
        self.check_depth(depth)
        self._block_kwargs = dict(make_attention=make_attention)
        if self.arch_settings[depth][0] is GatedBottleneck:
            check_positive(groups=groups, base_width=base_width)
            base_channels = kwargs.get('base_channels', 64)
            self._block_kwargs |= dict(groups=groups, base_width=base_width, base_channels=base_channels)
        else:
            given = {'groups': groups != 1} | {k: kwargs.get(k) is not None for k in ('dcn', 'plugins')}
            if any(given.values()):
                options = ', '.join(option for option, is_given in given.items() if is_given)
                raise ValueError(f'{options} cannot apply to {name} of depth {depth}, which has no bottleneck.')
        super().__init__(depth, **kwargs)

    def make_res_layer(self, init_cfg: dict | None = None, **kwargs) -> nn.Module:
        """Build one stage."""
        init_cfg = self.residual_init_cfg(init_cfg, 'norm2' if self.block is GatedBasicBlock else 'norm3')
        return super().make_res_layer(init_cfg=init_cfg, **self._block_kwargs, **kwargs)


@MODELS.register_module()
class SEResNet(GatedResNet):
    """ResNet or ResNeXt with squeeze-and-excitation in every block; with ``blocks`` > 1, TiedSE in every block.

    Args:
        depth: 18, 34, 50, 101 or 152.
        groups: Groups of the 3x3 convolutions; above 1, the network is a ResNeXt (depths 50 and above).
        base_width: Channels of a group in the first stage; used when ``groups`` is above 1.
        reduction: Reduction r of the attention's hidden width.
        blocks: Number of blocks B of TiedSE; 1 is SE.
        residual_gate: Whether the attention returns x + x * gate instead of x * gate.
        **kwargs: Of MMDetection's ``ResNet``.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.
    """

    def __init__(
        self,
        depth: int,
        groups: int = 1,
        base_width: int = 4,
        reduction: int = 16,
        blocks: int = 1,
        residual_gate: bool = False,
        **kwargs,
    ):
        make_attention = partial(SqueezeExcite, reduction=reduction, blocks=blocks, residual_gate=residual_gate)
        super().__init__(depth, make_attention, groups, base_width, **kwargs)
