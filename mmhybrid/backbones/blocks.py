"""What the residual blocks of several backbones do alike: plug-ins, deformable convolutions, checkpointing and splits.

The functions take a ``block`` that derives from MMDetection's ``Bottleneck``; :func:`checkpointed` and
:func:`residual_forward` take MMDetection's ``BasicBlock`` too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch.utils.checkpoint
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmdet.models.backbones.resnet import Bottleneck
from torch import Tensor, nn

POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')


def check_block_options(options: Mapping[str, Any]) -> None:
    """Check the arguments of a ResNet that its blocks would take without a word, or refuse without a reason.

    Raises:
        ValueError: If both ``conv_cfg`` and ``dcn`` are given, or a plug-in has no known position.
    """
    if options.get('dcn') is not None and options.get('conv_cfg') is not None:
        raise ValueError('conv_cfg cannot apply together with dcn: both would replace the 3x3 convolutions.')
    for plugin in options.get('plugins') or ():
        if plugin['position'] not in POSITIONS:
            raise ValueError(
                f'The position of a plugin must be one of {", ".join(POSITIONS)}, not {plugin["position"]!r}.'
            )


def applicable_dcn(dcn: dict[str, Any] | None, stride: int) -> dict[str, Any] | None:
    """The config of a block's deformable convolutions, or None where they stay plain.

    Args:
        dcn: As MMDetection's ``ResNet`` takes it: that of ``build_conv_layer``, and ``fallback_on_stride``. It is not
            changed, since all blocks share it; MMDetection's blocks take the option out of it.
        stride: Of the convolution; ``fallback_on_stride`` keeps it plain where this is not 1.
    """
    if dcn is None:
        return None
    dcn = dict(dcn)
    fallback_on_stride = dcn.pop('fallback_on_stride', False)
    return None if fallback_on_stride and stride != 1 else dcn


def make_plugins(block: nn.Module, plugins: Sequence[dict[str, Any]] | None, width: int, channels: int) -> None:
    """Add plug-ins to a bottleneck whose 3x3 has another width than MMDetection's, which makes them for its own.

    Args:
        block: Made without ``plugins``.
        plugins: As MMDetection's ``Bottleneck`` takes them.
        width: Channels after the entry 1x1 and after the 3x3.
        channels: Channels after the exit 1x1.
    """
    block.with_plugins = bool(plugins)
    for position, c in zip(POSITIONS, (width, width, channels), strict=True):
        cfgs = [p['cfg'] for p in plugins or () if p['position'] == position]
        setattr(block, f'{position}_plugin_names', block.make_block_plugins(c, cfgs))


def bottleneck_branch(block: nn.Module, x: Tensor, middle: Callable[[Tensor], Tensor]) -> Tensor:
    """Residual branch of a bottleneck: entry 1x1, ``middle`` in place of the 3x3, exit 1x1, each with its plug-ins.

    Args:
        block: Its ``conv1``, ``norm1``, ``relu``, ``conv3``, ``norm3`` and plug-ins are applied.
        x: (N, inplanes, H, W).
        middle: The 3x3 with its normalisation and activation.

    Returns:
        (N, 4 planes, H', W'), before the shortcut.
    """
    out = _plug_in(block, 'after_conv1', block.relu(block.norm1(block.conv1(x))))
    out = _plug_in(block, 'after_conv2', middle(out))
    return _plug_in(block, 'after_conv3', block.norm3(block.conv3(out)))


def _plug_in(block: nn.Module, position: str, x: Tensor) -> Tensor:
    # MMDetection's blocks have no names where they were given no plug-ins.
    return block.forward_plugin(x, getattr(block, f'{position}_plugin_names', ()))


def project(block: nn.Module, x: Tensor) -> Tensor:
    """ResNet's shortcut of ``x`` (N, inplanes, H, W): itself, or its projection to the shape of the output."""
    return x if block.downsample is None else block.downsample(x)


def checkpointed(block: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply ``function`` to ``x``; with the block's ``with_cp`` it is recomputed in the backward pass."""
    if block.with_cp and isinstance(x, Tensor) and x.requires_grad:  # no tensor is in a symbolic trace
        return torch.utils.checkpoint.checkpoint(function, x, use_reentrant=False)
    return function(x)


def residual_forward(block: nn.Module, branch: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Forward of a residual block with ResNet's shortcut: ReLU(branch(x) + project(x)), checkpointed up to the ReLU.

    Args:
        block: Its ``relu``, ``downsample`` and ``with_cp`` are used.
        branch: Residual branch, (N, inplanes, H, W) to the shape of the output.
        x: (N, inplanes, H, W).
    """
    return block.relu(checkpointed(block, lambda x: branch(x) + project(block, x), x))


class SplitBottleneck(Bottleneck):
    """Bottleneck whose 3x3 works on splits of the channels: 1x1, splits with norms of their own, 1x1, shortcut.

    Args:
        inplanes: Channels of the input.
        planes: A quarter of the channels of the output.
        channels: Channels of all splits together.
        plugins: As in MMDetection's ``Bottleneck``.
        dcn: As in MMDetection's ``Bottleneck``: the convolutions of the splits become deformable.
        **kwargs: Of MMDetection's ``Bottleneck``.

    Shape:
        - input: (N, inplanes, H, W), output: (N, 4 planes, H', W').
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        channels: int,
        plugins: list[dict] | None = None,
        dcn: dict | None = None,
        **kwargs,
    ):
        # Plugins are made below: the base class would give them `planes` channels instead of the splits'.
        super().__init__(inplanes, planes, **kwargs)
        # The base class built convolutions of `planes` channels; those of other widths take their places.
        self.conv1 = self._make_entry(inplanes, channels)
        self.add_module(self.norm1_name, self._make_norm(channels))
        self.conv2 = self._make_splits(applicable_dcn(dcn, self.conv2_stride))
        delattr(self, self.norm2_name)
        self.conv3 = build_conv_layer(self.conv_cfg, channels, planes * self.expansion, 1, bias=False)
        make_plugins(self, plugins, channels, planes * self.expansion)

    def _make_entry(self, inplanes: int, channels: int) -> nn.Module:
        return build_conv_layer(self.conv_cfg, inplanes, channels, 1, stride=self.conv1_stride, bias=False)

    def _make_splits(self, dcn: dict | None) -> nn.Module:
        """What stands in place of the 3x3, of stride ``conv2_stride``, with its norms and activations."""
        raise NotImplementedError

    def _make_norm(self, channels: int) -> nn.Module:
        return build_norm_layer(self.norm_cfg, channels)[1]

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` (N, inplanes, H, W)."""
        return residual_forward(self, self._branch, x)

    def _branch(self, x: Tensor) -> Tensor:
        return bottleneck_branch(self, x, self.conv2)
