"""Hierarchical split (HS): the 3x3 convolution of a bottleneck as a cascade over groups of channels.

Paper: P. Yuan et al., "HS-ResNet: Hierarchical-Split Block on Convolutional Neural Network", arXiv 2010.07621,
section "Hierarchical-Split Block". For strides above 1 an author describes another block (issue 472 of
PaddlePaddle/PaddleClas): no cascade, but a strided pool and strided convolutions, concatenated.
Deviations: the number of channels of each convolution follows from the construction; the paper's formula for it is
off by one.
Our choices: which half is carried on and in what order it is concatenated (an author calls the halves equivalent);
of an odd number of channels the larger half goes to the output; the strided pool is a 3x3 average over the pixels
inside the image, with one strided convolution w -> w for each other group; one group alone is an ordinary
convolution.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .checks import check_positive


class HierarchicalSplit(nn.Module):
    r"""Cascade of 3x3 convolutions over s groups of w channels, each of which passes half of its result on.

    With x split along the channels into :math:`x_1, \ldots, x_s` of w channels each, with :math:`\oplus` for
    concatenation, and with :math:`y_i = a_i \oplus b_i` cut into halves (a the larger one),

    .. math::
        y_1 = x_1, \quad y_2 = K_2(x_2), \quad y_i = K_i(x_i \oplus b_{i-1}) \; (i > 2), \qquad
        \mathrm{HS}(x) = x_1 \oplus a_2 \oplus \cdots \oplus a_{s-1} \oplus y_s

    where :math:`K_i` is a 3x3 convolution, norm and ReLU of :math:`c_i` channels, :math:`c_2 = w` and
    :math:`c_i = w + \lfloor c_{i-1} / 2 \rfloor \approx w (2 - 2^{-(i-2)})`. The halves that go on are replaced by the
    halves that come in, so the output has s w channels.

    With ``stride`` > 1 there is no cascade: :math:`\mathrm{HS}(x) = \mathrm{pool}(x_1) \oplus K_2(x_2) \oplus \cdots
    \oplus K_s(x_s)`, all :math:`c_i = w`. With ``splits=1`` the one group is the last one, not a pass-through:
    :math:`\mathrm{HS}(x) = K(x)`, the 3x3 of ResNet's bottleneck.

    Args:
        width: Channels w of a group; above 1 if anything is to be carried on.
        splits: Number of groups s.
        make_norm: Builds a normalisation layer for a number of channels.
        stride: Stride.
        dilation: Dilation of the convolutions.
        make_conv: Builds the convolution of a group, :math:`c_i` to :math:`c_i` channels with this stride; by default
            a 3x3 ``nn.Conv2d`` without bias.

    Shape:
        - input: (N, s w, H, W), output: (N, s w, H', W') with H' = (H - 1) // stride + 1, and W' likewise.

    Raises:
        ValueError: If an argument is out of range.
    """

    def __init__(
        self,
        width: int,
        splits: int,
        make_norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
        stride: int = 1,
        dilation: int = 1,
        make_conv: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        check_positive(width=width, splits=splits, stride=stride, dilation=dilation)
        if width == 1 and splits > 2:
            raise ValueError('A cascade needs a width of at least 2: half of one channel cannot be carried on.')
        self.width = width
        self.splits = splits
        self.stride = stride
        self.dilation = dilation

        channels = [width]
        for _ in range(splits - 2):
            channels.append(width + channels[-1] // 2 if stride == 1 else width)
        self.conv_channels = tuple(channels)

        make_conv = make_conv or self._make_conv
        self.convs = nn.ModuleList(make_conv(c) for c in channels)
        self.norms = nn.ModuleList(make_norm(c) for c in channels)
        self.relu = nn.ReLU(inplace=True)
        self.pool = None
        if stride > 1 and splits > 1:
            # Kernel 3 with padding 1 gives the size that the convolutions give, for odd sizes too.
            self.pool = nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)

    def _make_conv(self, channels: int) -> nn.Module:
        return nn.Conv2d(
            channels, channels, 3, stride=self.stride, padding=self.dilation, dilation=self.dilation, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (N, s w, H, W)."""
        if self.splits == 1:
            return self._conv(0, x)
        groups = x.split(self.width, dim=1)
        # By number, since a symbolic trace cannot unpack what it does not know the length of.
        first, rest = groups[0], [groups[i] for i in range(1, self.splits)]
        if self.pool is not None:
            return torch.cat([self.pool(first), *(self._conv(i, part) for i, part in enumerate(rest))], dim=1)
        outs = [first]
        carried = None
        for i, part in enumerate(rest):
            y = self._conv(i, part if carried is None else torch.cat([part, carried], dim=1))
            if i < len(rest) - 1:
                half = self.conv_channels[i] // 2
                y, carried = y.split([self.conv_channels[i] - half, half], dim=1)
            outs.append(y)
        return torch.cat(outs, dim=1)

    def _conv(self, i: int, x: Tensor) -> Tensor:
        return self.relu(self.norms[i](self.convs[i](x)))

    def extra_repr(self) -> str:
        """Describe the layer in ``print(module)``."""
        text = f'width={self.width}, splits={self.splits}, conv_channels={self.conv_channels}'
        text += f', stride={self.stride}' if self.stride != 1 else ''
        return text + (f', dilation={self.dilation}' if self.dilation != 1 else '')
