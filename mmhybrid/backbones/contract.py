"""What every backbone of this package tells about its outputs."""

from itertools import accumulate
from operator import mul


class ResNetContract:
    """The contract for subclasses of MMDetection's ``ResNet``, to be named before it among the bases.

    ``out_channels`` and ``out_strides`` are in the order of the feature maps that ``forward`` returns, which is
    stage order whatever the order of ``out_indices``.
    """

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each feature map, e.g. (256, 512, 1024, 2048)."""
        expansion = self.block.expansion
        return tuple(self.base_channels * 2**i * expansion for i in sorted(set(self.out_indices)))

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Input pixels per feature map cell, e.g. (4, 8, 16, 32)."""
        strides = tuple(accumulate(self.strides, mul))
        return tuple(4 * strides[i] for i in sorted(set(self.out_indices)))

    def train(self, mode: bool = True) -> 'ResNetContract':
        """Set the mode and, as every ``nn.Module`` does but MMDetection's ``ResNet``, return the backbone."""
        super().train(mode)
        return self
