"""SMG module: squeeze cell, multi-scale excitation cell and gates, the module of HCGNet.

Paper: C. Yang et al., "Gated Convolutional Networks with Hybrid Connectivity for Image Classification", AAAI 2020,
arXiv 1908.09699, section "SMG module".
Deviations: none from the authors' code. From the text, as their code does: the bias b of the update gate lies inside
its batch normalisation, BN(W z + b), where the text writes BN(W z) + b.
Our choices: inputs need not be square; with a batch of one image in training, the gates' batch normalisation uses its
running statistics (see ``mmhybrid.layers.pooling``); which normalisation layers are used is an argument.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import pooling
from .checks import check_positive
from .preact import MakeNorm, PreActConv2d
from .statistics import Statistics, can_share, measure


def _pointwise(conv: nn.Conv2d, z: Tensor) -> Tensor:
    """A 1x1 convolution of a map of one pixel (N, C, 1, 1), as the matrix product that it is."""
    return F.linear(z.flatten(1), conv.weight.flatten(1), conv.bias)[:, :, None, None]


class SqueezeCell(nn.Module):
    r"""Squeeze cell: a 1x1 convolution to few channels, then a 3x3 group convolution to fewer, both pre-activated.

    .. math:: X' = W_{3 \times 3} * \mathrm{ReLU}(BN(W_{1 \times 1} * \mathrm{ReLU}(BN(X))))

    Args:
        in_channels: Channels of the input, :math:`\tilde C`.
        squeeze_channels: Channels between the convolutions, :math:`\lfloor \alpha C \rfloor`.
        channels: Channels of the output, C.
        groups: Number of groups g of the 3x3 convolution.
        stride: Stride of the 3x3 convolution.
        make_norm: Builds a normalisation layer for a number of channels.

    Shape:
        - input: (N, C~, H, W), output: (N, C, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(
        self,
        in_channels: int,
        squeeze_channels: int,
        channels: int,
        groups: int = 4,
        stride: int = 1,
        make_norm: MakeNorm = nn.BatchNorm2d,
    ):
        super().__init__()
        self.conv1x1 = PreActConv2d(in_channels, squeeze_channels, 1, make_norm=make_norm)
        self.conv3x3 = PreActConv2d(squeeze_channels, channels, 3, stride, groups=groups, make_norm=make_norm)

    def forward(self, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Squeeze ``x`` (N, C~, H, W); ``statistics`` are those of x, if known."""
        return self.conv3x3(self.conv1x1(x, statistics))


class ExcitationCell(nn.Module):
    r"""Multi-scale excitation cell: two pre-activated depthwise convolutions side by side.

    .. math:: X^{3 \times 3} = W^{3 \times 3} *_{dw} \mathrm{ReLU}(BN(X')), \qquad
              X^{5 \times 5} = W^{5 \times 5} *_{dw} \mathrm{ReLU}(BN(X'))

    The "5x5" convolution is a 3x3 one with dilation 2; each branch has a BN of its own.

    Args:
        channels: Channels C.
        make_norm: Builds a normalisation layer for a number of channels.

    Shape:
        - input: (N, C, H, W), outputs: (N, C, H, W) and (N, C, H, W).
    """

    def __init__(self, channels: int, make_norm: MakeNorm = nn.BatchNorm2d):
        super().__init__()
        self.conv3x3 = PreActConv2d(channels, channels, 3, groups=channels, make_norm=make_norm)
        self.conv5x5 = PreActConv2d(channels, channels, 3, dilation=2, groups=channels, make_norm=make_norm)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return X^{3x3} and X^{5x5} of ``x`` (N, C, H, W)."""
        # Both normalise the same map.
        statistics = measure(x) if can_share(x, self.conv3x3.norm, self.conv5x5.norm) else None
        return self.conv3x3(x, statistics), self.conv5x5(x, statistics)


class GlobalAttentionPool(nn.Module):
    r"""Global attention pooling: the mean of a map over its pixels, weighted by a softmax over these pixels.

    .. math:: z_c = \sum_{x, y} X_{x,y,c} S_{x,y}, \qquad
              S_{x,y} = \frac{\exp \tilde S_{x,y}}{\sum_{x', y'} \exp \tilde S_{x',y'}}, \qquad
              \tilde S = w \cdot X + b, \quad w \in \mathbb{R}^C

    Args:
        channels: Channels C.

    Shape:
        - input: (N, C, H, W), output: (N, C, 1, 1).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.score = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x`` (N, C, H, W) to z (N, C, 1, 1)."""
        s = self.score(x).flatten(2).softmax(dim=2)  # (N, 1, HW)
        return pooling.weighted_sum(x, s).unsqueeze(3)


class UpdateGate(nn.Module):
    r"""Update gate: fuses the global contexts of the two branches of the excitation cell, channel by channel.

    With z^{3x3} and z^{5x5} the attention-pooled branches and || the concatenation,

    .. math:: h = \tanh(BN(W [z^{3 \times 3} \| z^{5 \times 5}] + b)), \quad W \in \mathbb{R}^{2C/r_u \times 2C}
    .. math:: \tilde u^{i} = W^{i} h + b^{i}, \quad u^{i}_c = \exp \tilde u^{i}_c / \sum_j \exp \tilde u^{j}_c,
              \quad i, j \in \{3 \times 3, 5 \times 5\}
    .. math:: v = u^{3 \times 3} z^{3 \times 3} + u^{5 \times 5} z^{5 \times 5}

    Args:
        channels: Channels C of a branch.
        reduction: Reduction factor r_u.
        make_norm: Builds the gate's normalisation layer; BN is over the batch alone, since a gate has no pixels.

    Shape:
        - inputs: two of (N, C, H, W), output: (N, C, 1, 1).
    """

    def __init__(self, channels: int, reduction: int = 2, make_norm: MakeNorm = nn.BatchNorm2d):
        super().__init__()
        hidden = 2 * channels // reduction
        self.pool3x3 = GlobalAttentionPool(channels)
        self.pool5x5 = GlobalAttentionPool(channels)
        self.fc = nn.Conv2d(2 * channels, hidden, 1)
        self.norm = make_norm(hidden)
        self.fc3x3 = nn.Conv2d(hidden, channels, 1)
        self.fc5x5 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x3x3: Tensor, x5x5: Tensor) -> Tensor:
        """Return v (N, C, 1, 1) of the two branches (N, C, H, W)."""
        z3x3, z5x5 = self.pool3x3(x3x3), self.pool5x5(x5x5)
        h = torch.tanh(pooling.normalise_pooled(self.norm, _pointwise(self.fc, torch.cat((z3x3, z5x5), dim=1))))
        # A softmax over two is the sigmoid of their difference, which autocast does not turn into float32.
        u3x3 = torch.sigmoid(_pointwise(self.fc3x3, h) - _pointwise(self.fc5x5, h))
        return torch.lerp(z5x5, z3x3, u3x3)


class ForgetGate(nn.Module):
    r"""Forget gate: how much of each channel of the reused map is kept.

    With z^f the attention-pooled X',

    .. math:: f = \sigma(W_2 \tanh(BN(W_1 z^f + b_1)) + b_2), \quad W_1, W_2^T \in \mathbb{R}^{C/r_f \times C}

    Args:
        channels: Channels C.
        reduction: Bottleneck factor r_f.
        make_norm: Builds the gate's normalisation layer; BN is over the batch alone, since a gate has no pixels.

    Shape:
        - input: (N, C, H, W), output: (N, C, 1, 1), in (0, 1).
    """

    def __init__(self, channels: int, reduction: int = 2, make_norm: MakeNorm = nn.BatchNorm2d):
        super().__init__()
        hidden = channels // reduction
        self.pool = GlobalAttentionPool(channels)
        self.norm = make_norm(hidden)  # before fc1, as the authors' state dict has it
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return f (N, C, 1, 1) of X' ``x`` (N, C, H, W)."""
        h = torch.tanh(pooling.normalise_pooled(self.norm, _pointwise(self.fc1, self.pool(x))))
        return torch.sigmoid(_pointwise(self.fc2, h))


class SMG(nn.Module):
    r"""SMG module: squeeze, multi-scale excitation and gated fusion.

    .. math:: X' = \mathrm{squeeze}(X), \quad (X^{3 \times 3}, X^{5 \times 5}) = \mathrm{excite}(X'), \quad
              O = f(X') \, X' + v(X^{3 \times 3}, X^{5 \times 5})

    with f the forget gate and v the update gate, which is added to every pixel.

    Args:
        in_channels: Channels of the input, :math:`\tilde C`.
        channels: Channels of the output, C.
        squeeze_channels: Channels inside the squeeze cell, :math:`\lfloor \alpha C \rfloor`.
        groups: Number of groups g of the squeeze cell's 3x3 convolution.
        stride: Stride S of the squeeze cell's 3x3 convolution.
        reduction: Reduction factor of both gates, r_u = r_f.
        make_norm: Builds a normalisation layer for a number of channels.
        make_gate_norm: The same for the gates, whose maps are (N, channels, 1, 1). ``nn.BatchNorm2d`` on these is
            ``nn.BatchNorm1d`` on (N, channels).

    Shape:
        - input: (N, C~, H, W), output: (N, C, ceil(H / S), ceil(W / S)).

    Raises:
        ValueError: If ``groups`` does not divide the channels, or a number is not positive.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        squeeze_channels: int,
        groups: int = 4,
        stride: int = 1,
        reduction: int = 2,
        make_norm: MakeNorm = nn.BatchNorm2d,
        make_gate_norm: MakeNorm = nn.BatchNorm2d,
    ):
        super().__init__()
        check_positive(in_channels=in_channels, channels=channels, squeeze_channels=squeeze_channels)
        check_positive(groups=groups, stride=stride, reduction=reduction)
        if channels % groups or squeeze_channels % groups:
            raise ValueError(f'channels {channels} and {squeeze_channels} are not both divisible by groups = {groups}.')
        if channels < reduction:
            raise ValueError(f'reduction {reduction} is more than the {channels} channels to reduce.')
        self.squeeze = SqueezeCell(in_channels, squeeze_channels, channels, groups, stride, make_norm)
        self.excite = ExcitationCell(channels, make_norm)
        self.update = UpdateGate(channels, reduction, make_gate_norm)
        self.forget = ForgetGate(channels, reduction, make_gate_norm)

    def activate(self, x: Tensor) -> Tensor:
        """Return ReLU(BN(X)), the input of the first convolution, of the shape of ``x`` (N, C~, H, W)."""
        return self.squeeze.conv1x1.activate(x)

    def transform(self, activated: Tensor) -> Tensor:
        """Return O (N, C, H', W') from what :meth:`activate` returned."""
        return self._gated(self.squeeze.conv3x3(self.squeeze.conv1x1.conv(activated)))

    def forward(self, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """Transform ``x`` (N, C~, H, W); ``statistics`` are those of x, if known."""
        return self._gated(self.squeeze(x, statistics))

    def _gated(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.update(*self.excite(x)), self.forget(x), x)
