"""Channel attention: squeeze-and-excitation (SE), its tied form (TiedSE) and squeeze-aggregated excitation (SaE).

Paper: SE: J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", arXiv 1709.01507. TiedSE: X. Wang, S. X. Yu,
"Tied Block Convolution", arXiv 2009.12021, section "TBC and TFC in attention modules". SaE: M. Narayanan, "SENetV2:
Aggregated dense layer for channelwise and global representations", arXiv 2311.10807, section 4.
Deviations: SaE computes its parallel maps as one matrix product, which gives the same numbers.
Our choices: SaE's gate multiplies its input as SE's does; ``residual_gate`` is the SaE authors' code, x + x * gate.
The SaE article writes "sum" once and "concatenate" elsewhere; its parameter counts fit the concatenation, r = 32 and
biases only. The smallest hidden width, 2, is that of the TiedSE authors' layer; SaE has the same one per branch.
"""

from torch import Tensor, nn

from .checks import check_positive
from .tied import TiedLinear


class _ChannelGate(nn.Module):
    """Scale every channel of x by sigmoid(excite(ReLU(squeeze(mean of x over H, W)))), plus one if residual."""

    def __init__(self, squeeze: nn.Module, excite: nn.Module, residual_gate: bool):
        super().__init__()
        self.squeeze = squeeze
        self.excite = excite
        self.relu = nn.ReLU(inplace=True)
        self.residual_gate = residual_gate

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of ``x`` (N, C, H, W)."""
        gate = self.excite(self.relu(self.squeeze(x.mean((2, 3))))).sigmoid()
        if self.residual_gate:
            gate = 1 + gate  # x + x * gate, without a second map of x's size
        return x * gate[:, :, None, None]

    def extra_repr(self) -> str:
        """Describe the layer in ``print(module)``."""
        return 'residual_gate=True' if self.residual_gate else ''


class SqueezeExcite(_ChannelGate):
    r"""Squeeze-and-excitation, and with ``blocks`` B > 1 its tied form TiedSE.

    .. math:: \tilde x_c = s_c\, x_c, \qquad s = \sigma(W_2\, \mathrm{ReLU}(W_1 z + b_1) + b_2), \qquad
              z_c = \tfrac{1}{HW} \textstyle\sum_{h, w} x_{c h w}

    with :math:`W_1 \in \mathbb{R}^{C/r \times C}, W_2 \in \mathbb{R}^{C \times C/r}`. In TiedSE both maps are tied
    block fully connected layers: z is split into B blocks, and all of them pass through the same
    :math:`W_1' \in \mathbb{R}^{h \times C/B}` and :math:`W_2' \in \mathbb{R}^{C/B \times h}`, where
    :math:`h = \max(2, \lfloor C / (B r) \rfloor)`. B = 1 is SE.

    Args:
        in_channels: Channels of the input, C; divisible by ``blocks``.
        reduction: Reduction r of the hidden width.
        blocks: Number of blocks B that share the two maps.
        residual_gate: Whether the output is x + s x instead of s x.

    Shape:
        - input, output: (N, C, H, W).
        - squeeze.weight: (h, C / B), excite.weight: (C / B, h).

    Raises:
        ValueError: If an argument is not positive or C is not divisible by ``blocks``.
    """

    def __init__(self, in_channels: int, reduction: int = 16, blocks: int = 1, residual_gate: bool = False):
        check_positive(in_channels=in_channels, reduction=reduction, blocks=blocks)
        hidden = blocks * max(2, in_channels // blocks // reduction)
        super().__init__(
            squeeze=TiedLinear(in_channels, hidden, blocks=blocks),
            excite=TiedLinear(hidden, in_channels, blocks=blocks),
            residual_gate=residual_gate,
        )


class SqueezeAggregatedExcite(_ChannelGate):
    r"""Squeeze-aggregated excitation (SaE): K parallel squeezes, concatenated, then one excitation.

    .. math:: \tilde x_c = s_c\, x_c, \qquad
              s = \sigma(W\, [\mathrm{ReLU}(W_1 z + b_1) \oplus \cdots \oplus \mathrm{ReLU}(W_K z + b_K)] + b)

    where z is the global average of x, :math:`W_k \in \mathbb{R}^{C/r \times C}`,
    :math:`W \in \mathbb{R}^{C \times KC/r}` and :math:`\oplus` concatenates. Since every branch sees the same z, the
    branches are the row blocks of one matrix, ``squeeze.weight``: SaE is an SE with reduction r / K (8 by default).

    Args:
        in_channels: Channels of the input, C.
        reduction: Reduction r of one branch's width; a branch is at least 2 wide.
        cardinality: Number of branches K.
        residual_gate: Whether the output is x + s x, as in the authors' code, instead of s x.

    Shape:
        - input, output: (N, C, H, W).
        - squeeze.weight: (K C / r, C), rows of branch k one behind the other; excite.weight: (C, K C / r).

    Raises:
        ValueError: If an argument is not positive.
    """

    def __init__(self, in_channels: int, reduction: int = 32, cardinality: int = 4, residual_gate: bool = False):
        check_positive(in_channels=in_channels, reduction=reduction, cardinality=cardinality)
        hidden = cardinality * max(2, in_channels // reduction)
        super().__init__(nn.Linear(in_channels, hidden), nn.Linear(hidden, in_channels), residual_gate)


class TiedSE(SqueezeExcite):
    """:class:`SqueezeExcite` in its tied form, by default with the B = 8 that makes 2.53M parameters 0.04M (paper)."""

    _abbr_ = 'tied_se'  # mmcv names a plug-in's attribute after it

    def __init__(self, in_channels: int, blocks: int = 8, reduction: int = 16, residual_gate: bool = False):
        super().__init__(in_channels, reduction, blocks, residual_gate)
