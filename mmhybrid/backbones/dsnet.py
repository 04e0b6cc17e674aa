"""DSNet and DS2Net: ResNet with dense, weighted and normalised shortcuts.

Paper: C. Zhang et al., "ResNet or DenseNet? Introducing Dense Shortcuts to ResNet", arXiv 2010.12496. DSNet differs
from ResNet only in that the identity shortcut becomes a dense shortcut over the aggregated outputs of the stage; DS2Net
also has a weighted normalised shortcut across the 3x3 inside the block.
Deviations: none known; the authors' backbone code is not public.
Our choices: inferred (with them DSNet-50 has 25.638M and DS2Net-50 25.644M parameters as 1000-class classifiers): the
shortcuts stay within a stage; X_0 is the output of ResNet's projection and a source of each block, the first included;
each source has a weight and a shift of its own for each block; the inner shortcut is where the 3x3 has stride 1. Ours
alone: the inner shortcut is added before the ReLU after the 3x3; w starts at 1 / (number of sources); a source is
normalised once, whichever blocks read it, which gives the numbers of a norm for each of them.

At the start of training ``zero_init_residual`` makes each block the ReLU of its shortcut. With w = 1 for the last
source alone, ReLU(Norm(.)) is then applied again and again and silences a deep stage (on Gaussian X_0, 16% of the
activations are left after 6 blocks and 5% after 23); with the mean of all sources X_0 stays among them (29% and 22%).
The mean also keeps the scale where the norms do not normalise, such as BN in eval mode with its initial statistics.
"""

from collections.abc import Callable, Sequence

from mmcv.cnn import build_norm_layer
from mmdet.models.backbones.resnet import Bottleneck, ResNet
from mmdet.models.layers import ResLayer
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmhybrid.layers.dense_shortcut import DenseShortcut, Source, prepare, takes_over

from .blocks import applicable_dcn, bottleneck_branch, check_block_options, checkpointed, project
from .contract import ResNetContract

SHORTCUTS = ('dense', 'identity_dense')
# Start values of the weights w around the blocks, and of those inside them.
STARTS = {'mean': 'mean', 'last': 'zero'}


class DenseBlock:
    """Forward of a block with dense shortcuts; a subclass names it before MMDetection's block and has ``_middle``.

    With sources X_0, ..., X_{l-1} of the stage, X_l = ReLU(F_l(X_{l-1}) + shortcut(X_0, ..., X_{l-1})). ``shortcut`` is
    set by the stage, which knows the number of sources and normalises them.
    """

    def forward(self, x: Tensor, sources: Sequence[Tensor | Source]) -> Tensor:
        """Transform ``x``, given the prepared ``sources`` of the shortcut."""
        # The residual branch alone: the shortcut keeps nothing but its sources, which are kept in any case.
        return self.relu(self.shortcut(sources, checkpointed(self, self._branch, x)))

    def _branch(self, x: Tensor) -> Tensor:
        return bottleneck_branch(self, x, self._middle)


class DSBottleneck(DenseBlock, Bottleneck):
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
        dcn = applicable_dcn(dcn, stride if style == 'pytorch' else 1)
        super().__init__(inplanes, planes, stride=stride, style=style, dcn=dcn, **kwargs)
        self.inner = make_inner(planes) if make_inner and self.conv2_stride == 1 else None

    def _middle(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(x))
        return self.relu(out if self.inner is None else self.inner([x], out))


class DenseStage:
    """Makes a stage, named after it among the bases, hand all its earlier outputs to each block, normalised once.

    Args:
        planes: As in MMDetection's ``ResLayer``.
        make_shortcut: Builds the shortcut of a block from its channels and number of sources.
        make_norm: Builds the norm of a source for a number of channels.
        include_stage_input: Whether the projected input X_0 is a source.
        **kwargs: Of MMDetection's ``ResLayer``.
    """

    def __init__(
        self,
        planes: int,
        make_shortcut: Callable[[int, int], DenseShortcut],
        make_norm: Callable[[int], nn.Module],
        include_stage_input: bool,
        **kwargs,
    ):
        super().__init__(planes=planes, **kwargs)
        self.include_stage_input = include_stage_input
        for i, block in enumerate(self):
            channels = planes * block.expansion
            block.shortcut = make_shortcut(channels, i + include_stage_input)
            # Of the newest source, which this block is the first to read.
            block.source_norm = nn.Identity() if block.shortcut.identity else make_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x`` by the blocks in turn."""
        # All sources are prepared in one way, since a shortcut reads several.
        newest = project(self[0], x)
        norms = [block.source_norm for block in self if not block.shortcut.identity]
        alike = takes_over(norms, [newest] * len(norms))
        sources = []
        for i, block in enumerate(self):
            if i == 1 and not self.include_stage_input:
                sources = []
            prepared = prepare([block.source_norm], [newest]) if alike else [block.source_norm(newest)]
            sources = [*sources, *prepared]
            newest = x = block(x, sources)
        return x


class DSLayer(DenseStage, ResLayer):
    """A stage of DSNet."""


class DenseShortcuts(ResNetContract):
    """The arguments and stages of a ResNet with dense shortcuts; a subclass has ``arch_settings`` and ``_stage``."""

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
        if shortcut not in SHORTCUTS:
            raise ValueError(f'shortcut must be one of {", ".join(SHORTCUTS)}, not {shortcut!r}.')
        if shortcut_start not in STARTS:
            raise ValueError(f'shortcut_start must be one of {", ".join(STARTS)}, not {shortcut_start!r}.')
        if shortcut == 'identity_dense' and (inner_shortcut or shortcut_norm_cfg or shortcut_start != 'mean'):
            raise ValueError(
                "inner_shortcut, shortcut_norm_cfg and shortcut_start cannot apply to shortcut='identity_dense', "
                'which has no norms or weights; leave them out (inner_shortcut=False).'
            )
        check_block_options(kwargs)
        self.shortcut = shortcut
        self.inner_shortcut = inner_shortcut
        self.include_stage_input = include_stage_input
        self.shortcut_norm_cfg = shortcut_norm_cfg
        self.shortcut_start = shortcut_start
        super().__init__(depth=depth, **kwargs)

    def _make_norm(self, channels: int) -> nn.Module:
        return build_norm_layer({**(self.shortcut_norm_cfg or self.norm_cfg), 'affine': False}, channels)[1]

    def _make_shortcut(self, channels: int, num_sources: int) -> DenseShortcut:
        # Where the stage's input is no source, its first block has none and is ResNet's.
        identity = self.shortcut == 'identity_dense' or num_sources == 0
        shortcut = DenseShortcut(channels, max(num_sources, 1), identity=identity, start=self.shortcut_start)
        return shortcut.requires_grad_(self._weights_learn())

    def _make_inner(self, channels: int) -> DenseShortcut:
        inner = DenseShortcut(channels, 1, self._make_norm, start=STARTS[self.shortcut_start])
        return inner.requires_grad_(self._weights_learn())

    def _weights_learn(self) -> bool:
        return (self.shortcut_norm_cfg or self.norm_cfg).get('requires_grad', True)

    def make_res_layer(self, init_cfg: dict | None = None, **kwargs) -> nn.Module:
        """Build one stage."""
        return self._stage(
            make_shortcut=self._make_shortcut,
            make_norm=self._make_norm,
            make_inner=self._make_inner if self.inner_shortcut else None,
            include_stage_input=self.include_stage_input,
            init_cfg=self.residual_init_cfg(init_cfg),
            **kwargs,
        )


@MODELS.register_module()
class DSNet(DenseShortcuts, ResNet):
    """ResNet with dense shortcuts; ``DSNet(50)`` is DSNet-50, ``DSNet(50, inner_shortcut=True)`` is DS2Net-50.

    A stage of n blocks adds n (n + 1) / 2 weighted sources: at most 21 at depth 50, but 276 and 666 at depths 101 and
    152, which is slow. A checkpoint of ResNet fits by its keys; with ``shortcut_start='last'`` and ``norm_eval=True``
    the backbone starts as that ResNet. BN in eval mode does not normalise: train with ``norm_eval=False`` or GN
    shortcuts.

    Args:
        depth: 50, 101 or 152.
        shortcut: 'dense', or 'identity_dense' for plain sums, the paper's ablation; those double with each block.
        inner_shortcut: Whether there is a shortcut across each 3x3 of stride 1 too (DS2Net).
        include_stage_input: Whether the projected input X_0 is a source; if not, a stage's first block is ResNet's.
        shortcut_norm_cfg: Norm of the shortcuts' sources, without an affine part; by default ``norm_cfg``. Its
            ``requires_grad=False`` freezes the weights w.
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
