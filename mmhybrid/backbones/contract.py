"""The contract of this package's ResNets: what they tell about their outputs, and what their constructors share."""

from itertools import accumulate
from operator import mul
from typing import Any


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

    def check_depth(self, depth: int) -> None:
        """Refuse a depth that ``arch_settings`` does not have.

        Raises:
            ValueError: If there is no such depth.
        """
        if depth not in self.arch_settings:
            depths = ', '.join(map(str, self.arch_settings))
            raise ValueError(f'{type(self).__name__} has depths {depths}, not {depth}.')

    def residual_init_cfg(self, init_cfg: dict[str, Any] | None, last_norm: str = 'norm3') -> dict[str, Any] | None:
        """The ``init_cfg`` of a stage's blocks, with ``zero_init_residual`` done.

        Args:
            init_cfg: What MMDetection's ``ResNet`` gives: None for other block classes than its own.
            last_norm: Name of the norm that ends a block's residual branch.
        """
        # self.init_cfg is a list where the user gave none.
        if init_cfg is None and self.zero_init_residual and isinstance(self.init_cfg, list):
            return dict(type='Constant', val=0, override=dict(name=last_norm))
        return init_cfg

    def train(self, mode: bool = True) -> 'ResNetContract':
        """Set the mode and, as every ``nn.Module`` does but MMDetection's ``ResNet``, return the backbone."""
        super().train(mode)
        return self
