"""DS2Res2Net: Res2Net with the dense, weighted and normalised shortcuts of DS2Net.

Paper: C. Zhang et al., "ResNet or DenseNet? Introducing Dense Shortcuts to ResNet", arXiv 2010.12496. Res2Net:
S.-H. Gao et al., "Res2Net: A New Multi-scale Backbone Architecture", arXiv 1904.01169.
Deviations: none known; the authors' backbone code is not public.
Our choices: those of ``mmhybrid.backbones.dsnet``. Ours alone: their combination with Res2Net, whose every 3x3 of
stride 1 has an inner shortcut.
"""

from collections.abc import Callable

import torch
from mmdet.models.backbones.res2net import Bottle2neck, Res2Layer, Res2Net
from mmdet.registry import MODELS
from mmengine.model import ModuleList
from torch import Tensor, nn

from .blocks import applicable_dcn, make_plugins
from .dsnet import DenseBlock, DenseShortcuts, DenseStage


class DSBottle2neck(DenseBlock, Bottle2neck):
    """Bottleneck of DS2Res2Net: Res2Net's, with a dense shortcut and, across each of its 3x3, an inner one.

    Args:
        inplanes, planes, stride, dcn, plugins, **kwargs: As in MMDetection's ``Bottle2neck``.
        make_inner: Builds an inner shortcut from its channels, or None.

    Shape:
        - As ``mmhybrid.backbones.dsnet.DSBottleneck``.
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
        dcn = applicable_dcn(dcn, stride)
        super().__init__(inplanes, planes, stride=stride, dcn=dcn, **kwargs)
        make_plugins(self, plugins, self.width * self.scales, planes * self.expansion)
        self.inner = None
        if make_inner and self.conv2_stride == 1:  # MMEngine's list, since only that hands init_weights() on
            self.inner = ModuleList([make_inner(self.width) for _ in self.convs])

    def _middle(self, x: Tensor) -> Tensor:
        parts = x.split(self.width, dim=1)
        outs = []
        for i in range(self.scales - 1):
            part = parts[i]
            if outs and self.stage_type != 'stage':
                part = part + outs[-1]
            out = self.bns[i](self.convs[i](part))
            outs.append(self.relu(out if self.inner is None else self.inner[i]([part], out)))
        last = parts[self.scales - 1]
        return torch.cat([*outs, last if self.conv2_stride == 1 else self.pool(last)], dim=1)


class DSRes2Layer(DenseStage, Res2Layer):
    """A stage of DS2Res2Net."""


@MODELS.register_module()
class DS2Res2Net(DenseShortcuts, Res2Net):
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
