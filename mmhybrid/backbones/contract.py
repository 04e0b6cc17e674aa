"""The contract of this package's ResNets: what they tell about their outputs, and what their constructors share."""

from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import Any

from mmhybrid.layers.checks import is_integer


class ResNetContract:
    """The contract for subclasses of MMDetection's ``ResNet``, to be named before it among the bases.

    ``out_channels`` and ``out_strides`` are in the order of the feature maps that ``forward`` returns, which is
    stage order whatever the order of ``out_indices``.

    Args:
        depth: Key of ``arch_settings``.
        num_stages, strides, dilations, out_indices, frozen_stages, init_cfg, pretrained: As of MMDetection's
            ``ResNet``. The ``init_cfg`` of a user is followed to the letter; only the default is adapted to the class.
        **kwargs: Of MMDetection's ``ResNet`` or of the class between.

    Raises:
        ValueError: If one of those named is out of range.
    """

    # Classes of convolutions that the default initialisation is for.
    initialised_convs = ('Conv2d',)

    def __init__(
        self,
        depth: int,
        num_stages: int = 4,
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        pretrained: str | None = None,
        **kwargs,
    ):
        name = type(self).__name__
        self.check_depth(depth)
        if not is_integer(num_stages) or not 1 <= num_stages <= 4:
            raise ValueError(f'num_stages of {name} must be 1 to 4, not {num_stages!r}.')
        for option, values in (('strides', strides), ('dilations', dilations)):
            if not isinstance(values, Sequence) or len(values) != num_stages:
                raise ValueError(f'{option} of {name} must give one number for each of its {num_stages} stages.')
        check_stages(name, num_stages, out_indices, frozen_stages)
        self._initialised_by_default = init_cfg is None and pretrained is None
        super().__init__(
            depth=depth,
            num_stages=num_stages,
            strides=strides,
            dilations=dilations,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            init_cfg=init_cfg,
            pretrained=pretrained,
            **kwargs,
        )
        if self._initialised_by_default:
            self.init_cfg[0]['layer'] = list(self.initialised_convs)

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each feature map, e.g. (256, 512, 1024, 2048)."""
        expansion = self.block.expansion
        return tuple(self.base_channels * 2**i * expansion for i in sorted(self.out_indices))

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Input pixels per feature map cell, e.g. (4, 8, 16, 32)."""
        strides = tuple(accumulate(self.strides, mul))
        return tuple(4 * strides[i] for i in sorted(self.out_indices))

    def check_depth(self, depth: int) -> None:
        """Refuse a depth that ``arch_settings`` does not have.

        Raises:
            ValueError: If there is no such depth.
        """
        if depth not in self.arch_settings:
            depths = ', '.join(map(str, self.arch_settings))
            raise ValueError(f'{type(self).__name__} has depths {depths}, not {depth}.')

    def residual_init_cfg(self, init_cfg: dict[str, Any] | None, last_norm: str = 'norm3') -> dict[str, Any] | None:
        """The ``init_cfg`` of a stage's blocks, with ``zero_init_residual`` done unless the user gave an ``init_cfg``.

        Args:
            init_cfg: What MMDetection's ``ResNet`` gives: None for other block classes than its own.
            last_norm: Name of the norm that ends a block's residual branch.
        """
        if init_cfg is None and self.zero_init_residual and self._initialised_by_default:
            return dict(type='Constant', val=0, override=dict(name=last_norm))
        return init_cfg

    def train(self, mode: bool = True) -> 'ResNetContract':
        """Set the mode and, as every ``nn.Module`` does but MMDetection's ``ResNet``, return the backbone."""
        super().train(mode)
        return self


def check_stages(name: str, num_stages: int, out_indices: Sequence[int], frozen_stages: int) -> None:
    """Check the two arguments of a backbone that name stages.

    Args:
        name: Class of the backbone, for the message.
        num_stages: Number of its stages.
        out_indices: Stages whose feature maps are returned, from 0, in any order.
        frozen_stages: Number of stages to freeze after the stem; 0 is the stem alone, -1 nothing.

    Raises:
        ValueError: If one of them is out of range.
    """
    given = out_indices if isinstance(out_indices, Sequence) else ()
    valid = all(is_integer(i) and 0 <= i < num_stages for i in given)
    if not given or not valid or len(set(given)) != len(given):
        raise ValueError(
            f'out_indices of {name} must be different integers from 0 to {num_stages - 1}, not {out_indices!r}.'
        )
    if not is_integer(frozen_stages) or not -1 <= frozen_stages <= num_stages:
        raise ValueError(f'frozen_stages of {name} must be an integer from -1 to {num_stages}, not {frozen_stages!r}.')
