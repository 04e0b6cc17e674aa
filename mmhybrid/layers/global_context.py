"""Global context block (GCB) and its tied form (TiedGCB).

Paper: GCB: Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and
Beyond", arXiv 1904.11492. TiedGCB: X. Wang, S. X. Yu, "Tied Block Convolution", arXiv 2009.12021, section "TBC and TFC
in attention modules".
Deviations: none known.
Our choices (inferred from the published counts): the two convolutions of the transform are tied; the attention's
convolution, which has one output channel, and the layer norm are not. Parameters are named as in MMCV's
``ContextBlock``, so its weights load with B = 1.
"""

from torch import Tensor, nn

from . import pooling
from .tied import TiedBlockConv2d


class GlobalContext(nn.Module):
    r"""Global context block, and with ``blocks`` B > 1 its tied form TiedGCB.

    .. math:: y_i = x_i + W_{v2}\, \mathrm{ReLU}(\mathrm{LN}(W_{v1} z)), \qquad
              z = \sum_j \frac{e^{W_k x_j}}{\sum_m e^{W_k x_m}}\, x_j

    where i, j, m are positions of the map. Each W is a 1x1 convolution with a bias: :math:`W_k` from C channels to 1,
    :math:`W_{v1}` from C to C' = ratio C and :math:`W_{v2}` back to C; the last two are tied over B blocks of channels.

    Args:
        in_channels: Channels of the input, C; divisible by ``blocks``.
        ratio: Ratio of the transform's hidden width, 1 / r; the width is divisible by ``blocks``.
        blocks: Number of blocks B of the transform's tied convolutions.

    Shape:
        - input, output: (N, C, H, W).
        - channel_add_conv.0.weight: (C' / B, C / B, 1, 1), channel_add_conv.3.weight: (C / B, C' / B, 1, 1).

    Raises:
        ValueError: If the hidden width is below 1 or a width is not divisible by ``blocks``.
    """

    def __init__(self, in_channels: int, ratio: float = 1 / 4, blocks: int = 1):
        super().__init__()
        hidden = int(in_channels * ratio)
        if hidden < 1:
            raise ValueError(
                f'ratio = {ratio} leaves no channel of in_channels = {in_channels} to the global context block.'
            )
        self.conv_mask = nn.Conv2d(in_channels, 1, 1)
        self.channel_add_conv = nn.Sequential(
            TiedBlockConv2d(in_channels, hidden, 1, blocks=blocks),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            TiedBlockConv2d(hidden, in_channels, 1, blocks=blocks),
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Begin as the identity: the last convolution is zero, as in GCNet.

        Under this name MMEngine calls it after a backbone has initialised all its convolutions, this one too.
        """
        nn.init.kaiming_normal_(self.conv_mask.weight, mode='fan_in', nonlinearity='relu')
        nn.init.zeros_(self.conv_mask.bias)
        self.channel_add_conv[0].reset_parameters()
        nn.init.zeros_(self.channel_add_conv[3].weight)
        nn.init.zeros_(self.channel_add_conv[3].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Add the transformed global context to every position of ``x`` (N, C, H, W)."""
        attention = self.conv_mask(x).flatten(2).softmax(dim=2)  # (N, 1, HW)
        return x + self.channel_add_conv(pooling.weighted_sum(x, attention).unsqueeze(3))


class TiedGCB(GlobalContext):
    """:class:`GlobalContext` in its tied form, by default with the B = 2 that makes 10M parameters 2.5M (paper)."""

    _abbr_ = 'tied_gcb'  # mmcv names a plug-in's attribute after it

    def __init__(self, in_channels: int, blocks: int = 2, ratio: float = 1 / 4):
        super().__init__(in_channels, ratio, blocks)
