"""Tied block convolution (TBC), tied block group convolution (TGC), tied fully connected layer (TFC).

Paper: X. Wang, S. X. Yu, "Tied Block Convolution: Leaner and Better CNNs with Shared Thinner Filters",
arXiv 2009.12021, section "TBC formulation".
Deviations: none.
Our choices: the bias is part of the filter, so it is tied too; how each memory format is computed.
"""

import math

import torch
import torch.fx
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from .checks import check_positive


def largest_divisor(width: int, nominal: int) -> int:
    """Return the largest divisor of ``width`` that is not above ``nominal``.

    It is the number of blocks used where the paper's B does not divide a narrow layer's channels
    (width 18: B = 1, 2, 4, 8 become 1, 2, 3, 6).
    """
    return max(b for b in range(1, min(width, nominal) + 1) if width % b == 0)


def _check_divisible(layer: str, in_features: int, out_features: int, parts: int, reason: str) -> None:
    for name, value in (('in', in_features), ('out', out_features)):
        if value % parts:
            raise ValueError(
                f'{layer} cannot share one filter: {name}put channels {value} are not divisible by '
                f'{reason} = {parts}; choose another number of blocks or of channels.'
            )


class TiedBlockConv2d(nn.Module):
    r"""Convolution that applies one thin filter to every block of channels.

    With the input split into B equal blocks :math:`X_1, \ldots, X_B` along the channels,

    .. math:: \tilde X = X_1 * W' \oplus X_2 * W' \oplus \cdots \oplus X_B * W', \qquad
              W' \in \mathbb{R}^{\frac{c_o}{B} \times \frac{c_i}{B} \times k \times k}

    where :math:`\oplus` concatenates channels. B = 1 is ``nn.Conv2d``. Parameters fall by B squared, multiply-adds
    by B. With ``groups`` G > 1 it is the tied block *group* convolution: group g has its own filter
    :math:`W'_g \in \mathbb{R}^{\frac{c_o}{BG} \times \frac{c_i}{BG} \times k \times k}`, tied over the B blocks inside
    that group.

    Args:
        in_channels: Channels of the input, :math:`c_i`; divisible by ``blocks * groups``.
        out_channels: Channels of the output, :math:`c_o`; divisible by ``blocks * groups``.
        kernel_size: Size of the kernel, k or (k_h, k_w).
        stride: Stride.
        padding: Zero padding, a number, a pair, 'same' or 'valid'.
        dilation: Dilation.
        groups: Number of groups G.
        bias: Whether the filter has a bias, of shape (c_o / B,).
        blocks: Number of blocks B that share a filter.

    Shape:
        - input: (N, c_i, H, W), output: (N, c_o, H', W') as for ``nn.Conv2d``, in the input's memory format.
        - weight: (c_o / B, c_i / (B G), k_h, k_w).

    Raises:
        ValueError: If the channels are not divisible by ``blocks * groups``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | str | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        blocks: int = 2,
    ):
        super().__init__()
        check_positive(blocks=blocks, groups=groups)
        reason = 'blocks' if groups == 1 else 'blocks * groups'
        _check_divisible(type(self).__name__, in_channels, out_channels, blocks * groups, reason)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = padding if isinstance(padding, str) else _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.blocks = blocks
        # mmcv's ConvModule reads these two from any convolution.
        self.transposed = False
        self.output_padding = (0, 0)
        self.weight = nn.Parameter(
            torch.empty(out_channels // blocks, in_channels // (blocks * groups), *self.kernel_size)
        )
        self.bias = nn.Parameter(torch.empty(out_channels // blocks)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the filter from Kaiming's normal distribution (fan out, ReLU), as MMDetection does for ``Conv2d``.

        The fan out is the thin filter's own, c_o / B * k_h * k_w; like ``Conv2d``'s, it takes no account of groups.
        """
        nn.init.kaiming_normal_(self.weight, mode='fan_out', nonlinearity='relu')
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x`` (N, c_i, H, W); no activation is copied for a contiguous or a channels_last input."""
        options = (self.stride, self.padding, self.dilation, self.groups)
        if self.blocks == 1:
            return F.conv2d(x, self.weight, self.bias, *options)
        thin = (self.in_channels // self.blocks, self.out_channels // self.blocks)
        return _tied_conv2d(x, self.weight, self.bias, *options, self.blocks, thin, self._is_pointwise())

    def _is_pointwise(self) -> bool:
        return self.kernel_size == (1, 1) and self.stride == (1, 1) and self.padding in ((0, 0), 'valid', 'same')

    def extra_repr(self) -> str:
        """Describe the layer in ``print(module)``."""
        text = (
            f'{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, '
            f'blocks={self.blocks}'
        )
        if self.padding != (0, 0):
            text += f', padding={self.padding}'
        if self.dilation != (1, 1):
            text += f', dilation={self.dilation}'
        if self.groups != 1:
            text += f', groups={self.groups}'
        return text if self.bias is not None else text + ', bias=False'


Pair = tuple[int, int]


@torch.fx.wrap  # one operation of a symbolic trace, since the way of computing it depends on the memory format
def _tied_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair | str,
    dilation: Pair,
    groups: int,
    blocks: int,
    thin: Pair,
    pointwise: bool,
) -> Tensor:
    """Tied convolution; ``thin`` are the channels of a block, which an export must not take from the tensors."""
    # stride(1) == 1 also holds for a channel slice of a channels_last map, which no is_contiguous() reports.
    channels_last = x.stride(1) == 1 and not x.is_contiguous()
    n, _, h, w = x.shape
    c_i, c_o = thin
    if groups == 1 and not channels_last:
        # In NCHW the blocks of an image lie one behind the other, exactly like images: a view.
        y = F.conv2d(x.reshape(n * blocks, c_i, h, w), weight, bias, stride, padding, dilation)
        return y.reshape(n, c_o * blocks, y.shape[2], y.shape[3])
    if groups == 1 and pointwise:
        # In NHWC the blocks of a pixel lie one behind the other, exactly like pixels: a view, for a 1x1 convolution.
        y = x.permute(0, 2, 3, 1).reshape(n, h, w * blocks, c_i).permute(0, 3, 1, 2)
        y = F.conv2d(y, weight, bias).permute(0, 2, 3, 1)
        return y.reshape(n, h, w, c_o * blocks).permute(0, 3, 1, 2)

    # Blocks are groups with equal filters. Repeating the (small) filter costs less than reordering activations.
    def repeat(p: Tensor) -> Tensor:
        p = p.reshape(groups, 1, c_o // groups, *p.shape[1:])
        return p.expand(-1, blocks, *p.shape[2:]).flatten(0, 2)

    bias = None if bias is None else repeat(bias)
    return F.conv2d(x, repeat(weight), bias, stride, padding, dilation, blocks * groups)


class TiedLinear(nn.Module):
    """Tied block fully connected layer (TFC): one thin linear map applied to every block of features.

    Equation (TBC) of :class:`TiedBlockConv2d` for a fully connected layer. Parameters fall by B squared, compute by B.

    Args:
        in_features: Features of the input, divisible by ``blocks``.
        out_features: Features of the output, divisible by ``blocks``.
        bias: Whether the map has a bias, of shape (out_features / B,).
        blocks: Number of blocks B that share the map.

    Shape:
        - input: (\\*, in_features), output: (\\*, out_features).
        - weight: (out_features / B, in_features / B).

    Raises:
        ValueError: If the features are not divisible by ``blocks``.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, blocks: int = 2):
        super().__init__()
        check_positive(blocks=blocks)
        _check_divisible(type(self).__name__, in_features, out_features, blocks, 'blocks')
        self.in_features = in_features
        self.out_features = out_features
        self.blocks = blocks
        self.weight = nn.Parameter(torch.empty(out_features // blocks, in_features // blocks))
        self.bias = nn.Parameter(torch.empty(out_features // blocks)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as ``nn.Linear`` does, by the thin map's own fan in."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of shape (*, in_features) to (*, out_features)."""
        shape = x.shape[:-1]  # added to below, not unpacked, which a symbolic trace cannot
        x = x.reshape(shape + (self.blocks, self.in_features // self.blocks))  # noqa: RUF005
        return F.linear(x, self.weight, self.bias).reshape(shape + (self.out_features,))  # noqa: RUF005

    def extra_repr(self) -> str:
        """Describe the layer in ``print(module)``."""
        return f'{self.in_features}, {self.out_features}, blocks={self.blocks}, bias={self.bias is not None}'


class TiedBlocks(nn.Module):
    """Any channel-wise closed layer, tied: ``layer`` is applied to each of B blocks of channels with the same weights.

    It carries the idea of TBC to layers that are not plain convolutions, such as a deformable convolution.

    Args:
        layer: Module that maps (N B, C / B, H, W) to (N B, C' / B, H', W').
        blocks: Number of blocks B.

    Shape:
        - input: (N, C, H, W), output: (N, C', H', W').
    """

    def __init__(self, layer: nn.Module, blocks: int):
        super().__init__()
        check_positive(blocks=blocks)
        self.layer = layer
        self.blocks = blocks

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to each block of ``x`` (N, C, H, W)."""
        n, c, h, w = x.shape
        y = self.layer(x.reshape(n * self.blocks, c // self.blocks, h, w))
        return y.reshape(n, self.blocks * y.shape[1], y.shape[2], y.shape[3])
