"""DSNet and DS2Net: ResNet and Res2Net with dense, weighted and normalised shortcuts.

Paper: C. Zhang et al., "ResNet or DenseNet? Introducing Dense Shortcuts to ResNet", arXiv 2010.12496. DSNet differs
from ResNet only in that the identity shortcut becomes a dense shortcut over the aggregated outputs of the stage; DS2Net
also has a weighted normalised shortcut across the 3x3 inside the block.
Deviations: none known; the authors' backbone code is not public.
Our choices: inferred from the published numbers of parameters (25.638M and 25.644M as 1000-class classifiers): the
shortcuts stay within a stage; X_0 is the output of ResNet's projection and a source of each block, the first included;
each source has a norm of its own for each block; the inner shortcut is where the 3x3 has stride 1. Ours alone: the
inner shortcut is added before the ReLU after the 3x3, in Res2Net for each 3x3; w starts at 1 / (number of sources).

At the start of training ``zero_init_residual`` makes each block the ReLU of its shortcut. With w = 1 for the last
source alone, ReLU(Norm(.)) is then applied again and again and silences a deep stage (on Gaussian X_0, 16% of the
activations are left after 6 blocks and 5% after 23); with the mean of all sources X_0 stays among them (29% and 22%).
The mean also keeps the scale where the norms do not normalise, such as BN in eval mode with its initial statistics.
"""

from collections.abc import Callable, Sequence

import torch
import torch.utils.checkpoint
from mmcv.cnn import build_norm_layer
from mmdet.models.backbones.res2net import Bottle2neck, Res2Layer, Res2Net
from mmdet.models.backbones.resnet import Bottleneck, ResNet
from mmdet.models.layers import ResLayer
from mmdet.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmhybrid.layers.dense_shortcut import DenseShortcut

from .contract import ResNetContract

SHORTCUTS = ('dense', 'identity_dense')
# Start values of the weights w around the blocks, and of those inside them.
STARTS = {'mean': 'mean', 'last': 'zero'}
POSITIONS = ('after_conv1', 'after_conv2', 'after_conv3')


class _DenseBlock:
    """What the two bottlenecks share; ``shortcut`` is set by the stage, which knows the number of sources.

    With sources X_0, ..., X_{l-1} of the stage, X_l = ReLU(F_l(X_{l-1}) + shortcut(X_0, ..., X_{l-1})).
    """

    @staticmethod
    def _applicable_dcn(dcn: dict | None, conv2_stride: int) -> dict | None:
        if dcn is None:
            return None
        dcn = dict(dcn)  # a copy: MMDetection's blocks take the key out of the config that they share
        fallback_on_stride = dcn.pop('fallback_on_stride', False)
        return None if fallback_on_stride and conv2_stride != 1 else dcn

    def project(self, x: Tensor) -> Tensor:
        """Return X_0, the stage's input in the shape of its outputs."""
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x: Tensor, sources: Sequence[Tensor]) -> Tensor:
        """Transform ``x``, given the ``sources`` of the shortcut."""
        if self.with_cp and x.requires_grad:
            # The residual branch alone: the shortcut keeps nothing but its sources, which are kept in any case.
            out = torch.utils.checkpoint.checkpoint(self._residual, x, use_reentrant=False)
        else:
            out = self._residual(x)
        return self.relu(out + self.shortcut(sources))

    def _residual(self, x: Tensor) -> Tensor:
        out = self._plug('after_conv1', self.relu(self.norm1(self.conv1(x))))
        out = self._plug('after_conv2', self._middle(out))
        return self._plug('after_conv3', self.norm3(self.conv3(out)))

    def _plug(self, position: str, x: Tensor) -> Tensor:
        return self.forward_plugin(x, getattr(self, f'{position}_plugin_names', ()))


class DSBottleneck(_DenseBlock, Bottleneck):
    """Bottleneck of DSNet: ResNet's, with a dense shortcut and, for DS2Net, one across its 3x3.

    Args:
        inplanes, planes, stride, style, dcn, **kwargs: As in MMDetection's ``Bottleneck``.
        make_inner: Builds the inner shortcut from its channels, or None.

    Shape:
        - input: (N, inplanes, H, W) and sources (N, 4 planes, H', W'), output: (N, 4 planes, H', W').
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        style: str = 'pytorch',
        dcn: dict | None = None,
        make_inner: Callable[[int], nn.Module] | None = None,
        **kwargs,
    ):
        dcn = self._applicable_dcn(dcn, stride if style == 'pytorch' else 1)
        super().__init__(inplanes, planes, stride=stride, style=style, dcn=dcn, **kwargs)
        self.inner = make_inner(planes) if make_inner and self.conv2_stride == 1 else None

    def _middle(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(x))
        return self.relu(out if self.inner is None else out + self.inner([x]))


class DSBottle2neck(_DenseBlock, Bottle2neck):
    """Bottleneck of DS2Res2Net: Res2Net's, with a dense shortcut and, across each of its 3x3, an inner one.

    Args:
        inplanes, planes, stride, dcn, plugins, **kwargs: As in MMDetection's ``Bottle2neck``.
        make_inner: Builds an inner shortcut from its channels, or None.

    Shape:
        - As :class:`DSBottleneck`.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dcn: dict | None = None,
        plugins: list[dict] | None = None,
        make_inner: Callable[[int], nn.Module] | None = None,
        **kwargs,
    ):
        # Plugins are made below: MMDetection gives them `planes` channels instead of those of the splits.
        dcn = self._applicable_dcn(dcn, stride)
        super().__init__(inplanes, planes, stride=stride, dcn=dcn, **kwargs)
        for position, channels in zip(POSITIONS, (*[self.width * self.scales] * 2, planes * 4), strict=True):
            cfgs = [p['cfg'] for p in plugins or () if p['position'] == position]
            setattr(self, f'{position}_plugin_names', self.make_block_plugins(channels, cfgs))
        self.inner = None
        if make_inner and self.conv2_stride == 1:  # MMEngine's list, since only that hands init_weights() on
            self.inner = ModuleList([make_inner(self.width) for _ in self.convs])

    def _middle(self, x: Tensor) -> Tensor:
        *parts, last = x.split(self.width, dim=1)
        outs = []
        for i, part in enumerate(parts):
            if outs and self.stage_type != 'stage':
                part = part + outs[-1]
            out = self.bns[i](self.convs[i](part))
            outs.append(self.relu(out if self.inner is None else out + self.inner[i]([part])))
        return torch.cat([*outs, last if self.conv2_stride == 1 else self.pool(last)], dim=1)


class _DenseStage:
    """Makes a stage hand all its earlier outputs to each block."""

    def __init__(
        self, planes: int, make_shortcut: Callable[[int, int], nn.Module], include_stage_input: bool, **kwargs
    ):
        super().__init__(planes=planes, **kwargs)
        self.include_stage_input = include_stage_input
        for i, block in enumerate(self):
            block.shortcut = make_shortcut(planes * block.expansion, i + include_stage_input)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` by the blocks in turn."""
        sources = [self[0].project(x)]
        for i, block in enumerate(self):
            x = block(x, sources)
            sources = [x] if i == 0 and not self.include_stage_input else [*sources, x]
        return x


class DSLayer(_DenseStage, ResLayer):
    """A stage of DSNet."""


class DSRes2Layer(_DenseStage, Res2Layer):
    """A stage of DS2Res2Net."""


class _DenseShortcuts(ResNetContract):
    """The arguments and stages that the two backbones share."""

    def __init__(
        self,
        depth: int,
        shortcut: str = 'dense',
        inner_shortcut: bool = False,
        include_stage_input: bool = True,
        shortcut_norm_cfg: dict | None = None,
        shortcut_start: str = 'mean',
        **kwargs,
    ):
        if depth not in self.arch_settings:
            depths = ', '.join(map(str, self.arch_settings))
            raise ValueError(f'{type(self).__name__} has depths {depths}, not {depth}.')
        if shortcut not in SHORTCUTS:
            raise ValueError(f'shortcut must be one of {", ".join(SHORTCUTS)}, not {shortcut!r}.')
        if shortcut_start not in STARTS:
            raise ValueError(f'shortcut_start must be one of {", ".join(STARTS)}, not {shortcut_start!r}.')
        if shortcut == 'identity_dense' and (inner_shortcut or shortcut_norm_cfg or shortcut_start != 'mean'):
            raise ValueError(
                "inner_shortcut, shortcut_norm_cfg and shortcut_start cannot apply to shortcut='identity_dense', "
                'which has no norms or weights; leave them out (inner_shortcut=False).'
            )
        if kwargs.get('dcn') is not None and kwargs.get('conv_cfg') is not None:
            raise ValueError('conv_cfg cannot apply together with dcn: both would replace the 3x3 convolutions.')
        if any(plugin['position'] not in POSITIONS for plugin in kwargs.get('plugins') or ()):
            raise ValueError(f'The position of a plugin must be one of {", ".join(POSITIONS)}.')
        self.shortcut = shortcut
        self.inner_shortcut = inner_shortcut
        self.include_stage_input = include_stage_input
        self.shortcut_norm_cfg = shortcut_norm_cfg
        self.shortcut_start = shortcut_start
        super().__init__(depth=depth, **kwargs)

    def _make_norm(self, channels: int) -> nn.Module:
        return build_norm_layer(self.shortcut_norm_cfg or self.norm_cfg, channels)[1]

    def _make_shortcut(self, channels: int, num_sources: int) -> DenseShortcut:
        # Where the stage's input is no source, its first block has none and is ResNet's.
        identity = self.shortcut == 'identity_dense' or num_sources == 0
        return DenseShortcut(channels, max(num_sources, 1), self._make_norm, identity, self.shortcut_start)

    def _make_inner(self, channels: int) -> DenseShortcut:
        return DenseShortcut(channels, 1, self._make_norm, start=STARTS[self.shortcut_start])

    def make_res_layer(self, init_cfg: dict | None = None, **kwargs) -> nn.Module:
        """Build one stage."""
        if init_cfg is None and self.zero_init_residual and isinstance(self.init_cfg, list):
            # ResNet makes this config for its own Bottleneck class only.
            init_cfg = dict(type='Constant', val=0, override=dict(name='norm3'))
        return self._stage(
            make_shortcut=self._make_shortcut,
            make_inner=self._make_inner if self.inner_shortcut else None,
            include_stage_input=self.include_stage_input,
            init_cfg=init_cfg,
            **kwargs,
        )


@MODELS.register_module()
class DSNet(_DenseShortcuts, ResNet):
    """ResNet with dense shortcuts; ``DSNet(50)`` is DSNet-50, ``DSNet(50, inner_shortcut=True)`` is DS2Net-50.

    A stage of n blocks normalises n (n + 1) / 2 sources: at most 21 at depth 50, but 276 and 666 at depths 101 and 152,
    which is slow. A checkpoint of ResNet fits by its keys; with ``shortcut_start='last'`` and ``norm_eval=True`` the
    backbone starts as that ResNet. BN in eval mode does not normalise: train with ``norm_eval=False`` or GN shortcuts.

    Args:
        depth: 50, 101 or 152.
        shortcut: 'dense', or 'identity_dense' for plain sums, the paper's ablation; those double with each block.
        inner_shortcut: Whether there is a shortcut across each 3x3 of stride 1 too (DS2Net).
        include_stage_input: Whether the projected input X_0 is a source; if not, a stage's first block is ResNet's.
        shortcut_norm_cfg: Norm of the shortcuts; by default ``norm_cfg``. Its affine scale holds the weights w, which
            ``requires_grad=False`` would freeze.
        shortcut_start: Start of w, 'mean' (of the sources) or 'last' (the last source alone, and 0 across the 3x3).
        **kwargs: Of MMDetection's ``ResNet``.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.

    Example:
        >>> backbone = DSNet(depth=50)
        >>> [tuple(f.shape) for f in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 256, 16, 24), (1, 512, 8, 12), (1, 1024, 4, 6), (1, 2048, 2, 3)]
    """

    arch_settings = {  # noqa: RUF012 (MMDetection reads it from the class)
        depth: (DSBottleneck, ResNet.arch_settings[depth][1]) for depth in (50, 101, 152)
    }
    _stage = DSLayer


@MODELS.register_module()
class DS2Res2Net(_DenseShortcuts, Res2Net):
    """Res2Net with dense shortcuts around its blocks and weighted normalised ones across its 3x3 convolutions.

    Args:
        depth: 50, 101 or 152.
        scales: Number of splits of the 3x3 convolution.
        base_width: Channels of a split in the first stage.
        inner_shortcut: As in :class:`DSNet`, but on by default.
        **kwargs: Of :class:`DSNet` and of MMDetection's ``Res2Net``, which always has the deep stem, average-pool
            downsampling and the stride on the 3x3.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.
    """

    arch_settings = {depth: (DSBottle2neck, blocks) for depth, (_, blocks) in Res2Net.arch_settings.items()}  # noqa: RUF012
    _stage = DSRes2Layer

    def __init__(self, depth: int, scales: int = 4, base_width: int = 26, inner_shortcut: bool = True, **kwargs):
        for name, value in dict(style='pytorch', deep_stem=True, avg_down=True).items():
            if kwargs.get(name, value) != value:
                raise ValueError(f'{name}={kwargs[name]!r} cannot apply to Res2Net, which always has {name}={value!r}.')
        if scales < 2:
            raise ValueError(f'scales must be at least 2, not {scales}: with one split Res2Net is ResNet; use DSNet.')
        super().__init__(depth=depth, scales=scales, base_width=base_width, inner_shortcut=inner_shortcut, **kwargs)

    def make_res_layer(self, **kwargs) -> nn.Module:
        """Build one stage."""
        widths = dict(scales=self.scales, base_width=self.base_width, base_channels=self.base_channels)
        return super().make_res_layer(**widths, **kwargs)
