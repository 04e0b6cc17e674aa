"""HCGNet: gated convolutional network with hybrid connectivity.

Paper: C. Yang et al., "Gated Convolutional Networks with Hybrid Connectivity for Image Classification", AAAI 2020,
arXiv 1908.09699, section "Macro-architecture". Hybrid blocks concatenate the outputs of SMG modules, each of which
holds a gated residual; a transition is one SMG module that halves size and channels.
Deviations: none from the authors' code. From the text, as their code does: the ImageNet stem has its stride on the
first of the three convolutions, and a transition squeezes to C_in - (C_in - C_out) // 2 channels (alpha = 1.5 if C_in
is even).
Our choices: a stage to freeze is a hybrid block with the transition before it (the authors' detection code never
freezes transitions); with GN, the number of groups is the largest divisor of the channels not above ``num_groups`` and
the gates use one group; the gates with a batch of one image (see ``mmhybrid.layers.smg``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.utils.checkpoint
from mmcv.cnn import build_norm_layer
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhybrid.layers.preact import MakeNorm, norm_relu
from mmhybrid.layers.smg import SMG
from mmhybrid.layers.statistics import Statistics, can_share, joined, measure
from mmhybrid.layers.tied import largest_divisor

from .contract import check_stages

# The stem, the number of SMG modules in each hybrid block, and the channels k that each of them adds.
ARCHS: dict[str, dict[str, Any]] = {
    # ImageNet: channels (160, 368, 952, 1244) and (352, 848, 1720, 2428), strides (4, 8, 16, 32).
    'B': dict(stem='imagenet', blocks=(3, 6, 12, 8), growth_rates=(32, 48, 64, 96)),
    'C': dict(stem='imagenet', blocks=(6, 12, 18, 14), growth_rates=(48, 56, 72, 112)),
    # CIFAR, 32x32: channels (120, 252, 414), (240, 408, 716) and (504, 828, 1374), strides (1, 2, 4).
    'A1': dict(stem='cifar', blocks=(8, 8, 8), growth_rates=(12, 24, 36)),
    'A2': dict(stem='cifar', blocks=(8, 8, 8), growth_rates=(24, 36, 64)),
    'A3': dict(stem='cifar', blocks=(12, 12, 12), growth_rates=(36, 48, 80)),
}
STEM_STRIDES = {'imagenet': 4, 'cifar': 1}
NORMS = ('BN', 'SyncBN', 'GN')


class HybridBlock(nn.ModuleList):
    r"""Hybrid block: SMG modules in dense connection.

    With || the concatenation of channels, the output is X_n of

    .. math:: X_i = X_{i-1} \| \mathrm{SMG}_i(X_{i-1}), \qquad i = 1, \ldots, n

    Args:
        in_channels: Channels of the input, C.
        num_modules: Number of SMG modules n.
        growth_rate: Channels k of each module's output.
        with_cp: Whether each module is recomputed in the backward pass; then no X_i is kept but the output, and memory
            grows with n, not with its square.
        **kwargs: Of :class:`~mmhybrid.layers.smg.SMG`: ``make_norm`` and ``make_gate_norm``.

    Shape:
        - input: (N, C, H, W), output: (N, C + n k, H, W).
    """

    def __init__(self, in_channels: int, num_modules: int, growth_rate: int, with_cp: bool = False, **kwargs: MakeNorm):
        # The paper's alpha = 4, g = 4 and r = 2 inside hybrid blocks.
        super().__init__(
            SMG(in_channels + i * growth_rate, growth_rate, 4 * growth_rate, groups=4, reduction=2, **kwargs)
            for i in range(num_modules)
        )
        self.out_channels = in_channels + num_modules * growth_rate
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        """Extend ``x`` (N, C, H, W) by the output of each module."""
        features = [x]
        # Every module normalises all channels so far; their statistics are measured once, when the channels are new.
        measured = [measure(x)] if can_share(x, *(smg.squeeze.conv1x1.norm for smg in self)) else []
        for i, smg in enumerate(self):
            statistics = joined(measured) if measured else None

            # The concatenation is inside what is recomputed: it is what a dense block fills the memory with.
            def extend(*features: Tensor, smg: SMG = smg, statistics: Statistics | None = statistics) -> Tensor:
                return smg(torch.cat(features, dim=1), statistics)

            features.append(_run(extend, *features, with_cp=self.with_cp))
            if measured and i + 1 < len(self):
                measured.append(measure(features[-1]))
        return torch.cat(features, dim=1)


def _run(function, *inputs: Tensor, with_cp: bool) -> Tensor:
    if with_cp and torch.is_grad_enabled():
        return torch.utils.checkpoint.checkpoint(function, *inputs, use_reentrant=False)
    return function(*inputs)


@MODELS.register_module()
class HCGNet(BaseModule):
    """HCGNet as a backbone.

    Feature map i is the BN-ReLU of hybrid block i + 1's output: of the last block the final one, of the others the one
    that the next transition begins with. So the maps cost nothing that the classification network does not compute,
    and computing ends with the last map asked for.

    Args:
        arch: Name of a variant, 'A1', 'A2', 'A3', 'B' or 'C', or a dict with the keys of ``ARCHS``' entries.
        in_channels: Channels of the image.
        out_indices: Stages whose feature maps are returned, in stage order; all by default.
        frozen_stages: Stages that are not trained: -1 none, 0 the stem, i the stem and the stages up to the i-th.
            Stage i is hybrid block i and the transition before it, the last one also the final normalisation.
            The normalisation of the i-th feature map belongs to the next transition, so it is still trained.
        norm_eval: Whether batch normalisation always uses its running statistics.
        with_cp: Whether SMG modules are recomputed in the backward pass, to save memory. As anywhere in MMDetection,
            batch normalisation that is in training then updates its running statistics twice.
        norm_cfg: Normalisation: 'BN', 'SyncBN' or 'GN'. No number above 2 divides all widths of HCGNet-B, so with 'GN'
            each layer has the most groups that divide its channels, up to ``num_groups``; the gates, whose maps have
            one pixel, have one group, and so normalise each image over its channels.
        init_cfg: As of mmengine's ``BaseModule``; by default Kaiming's, as for MMDetection's ``ResNet``.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.

    Example:
        >>> backbone = HCGNet('B')
        >>> backbone.out_channels, backbone.out_strides
        ((160, 368, 952, 1244), (4, 8, 16, 32))
        >>> [tuple(f.shape) for f in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 160, 16, 24), (1, 368, 8, 12), (1, 952, 4, 6), (1, 1244, 2, 3)]
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'B',
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = True,
        with_cp: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        if init_cfg is None:
            init_cfg = [
                dict(type='Kaiming', layer='Conv2d'),
                dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
            ]
        super().__init__(init_cfg)
        arch = _checked_arch(arch)
        blocks, growth_rates = arch['blocks'], arch['growth_rates']
        self.num_stages = len(blocks)
        self.norm_cfg = _checked_norm_cfg(dict(type='BN') if norm_cfg is None else norm_cfg)
        out_indices = range(self.num_stages) if out_indices is None else out_indices
        check_stages(type(self).__name__, self.num_stages, out_indices, frozen_stages)
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self._stem_stride = STEM_STRIDES[arch['stem']]

        # Modules are made in the order in which the authors' state dict names them.
        norms = dict(make_norm=self._make_norm, make_gate_norm=self._make_gate_norm)
        if arch['stem'] == 'imagenet':
            channels = 64
            self.stem = nn.Sequential(
                *self._conv_norm_relu(in_channels, 32, stride=2),
                *self._conv_norm_relu(32, 32),
                *self._conv_norm_relu(32, channels),
                nn.MaxPool2d(3, stride=2, padding=1),
            )
        else:
            channels = 2 * growth_rates[0]
            self.stem = nn.Sequential(nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))
        self._widths = []
        for i, (num_modules, growth_rate) in enumerate(zip(blocks, growth_rates, strict=True)):
            if i > 0:
                # The paper's theta = 0.5, alpha = 1.5, g = 1 and r = 4 in transitions.
                narrow = channels // 2
                squeezed = channels - (channels - narrow) // 2
                transition = SMG(channels, narrow, squeezed, groups=1, stride=2, reduction=4, **norms)
                self.add_module(f'transition{i}', transition)
                channels = narrow
            block = HybridBlock(channels, num_modules, growth_rate, with_cp=with_cp, **norms)
            self.add_module(f'hybrid_block{i + 1}', block)
            channels = block.out_channels
            self._widths.append(channels)
        self.norm = self._make_norm(channels)
        self._freeze_stages()

    def _make_norm(self, channels: int) -> nn.Module:
        cfg = dict(self.norm_cfg)
        if cfg['type'] == 'GN':
            cfg['num_groups'] = largest_divisor(channels, cfg['num_groups'])
        return build_norm_layer(cfg, channels)[1]

    def _make_gate_norm(self, channels: int) -> nn.Module:
        # Groups of few channels would have next to nothing to normalise over: a gate's map has one pixel.
        cfg = self.norm_cfg | dict(num_groups=1) if self.norm_cfg['type'] == 'GN' else self.norm_cfg
        return build_norm_layer(cfg, channels)[1]

    def _conv_norm_relu(self, in_channels: int, out_channels: int, stride: int = 1) -> list[nn.Module]:
        conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        return [conv, self._make_norm(out_channels), nn.ReLU(inplace=True)]

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each feature map, e.g. (160, 368, 952, 1244)."""
        return tuple(self._widths[i] for i in sorted(self.out_indices))

    @property
    def out_strides(self) -> tuple[int, ...]:
        """Input pixels per feature map cell, e.g. (4, 8, 16, 32)."""
        return tuple(self._stem_stride * 2**i for i in sorted(self.out_indices))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of images ``x`` (N, 3, H, W)."""
        x = self.stem(x)
        outs = []
        for i in range(max(self.out_indices) + 1):
            if i > 0:
                transition = getattr(self, f'transition{i}')
                x = _run(transition.transform, x, with_cp=self.with_cp)
            x = getattr(self, f'hybrid_block{i + 1}')(x)
            x = self._activate(i, x)
            if i in self.out_indices:
                outs.append(x)
        return tuple(outs)

    def _activate(self, stage: int, x: Tensor) -> Tensor:
        if stage + 1 == self.num_stages:
            return norm_relu(self.norm, x)
        return getattr(self, f'transition{stage + 1}').activate(x)

    def _freeze_stages(self) -> None:
        if self.frozen_stages < 0:
            return
        modules = [self.stem, *(getattr(self, f'hybrid_block{i}') for i in range(1, self.frozen_stages + 1))]
        modules += [getattr(self, f'transition{i}') for i in range(1, self.frozen_stages)]
        if self.frozen_stages == self.num_stages:
            modules.append(self.norm)
        for module in modules:
            module.eval()
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> 'HCGNet':
        """Set the mode, keep what is frozen in evaluation, and return the backbone."""
        super().train(mode)
        self._freeze_stages()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _checked_arch(arch: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'HCGNet has the variants {", ".join(ARCHS)}, not {arch!r}.')
        return ARCHS[arch]
    keys = set(ARCHS['B'])
    if set(arch) != keys:
        raise ValueError(f'arch must have exactly the keys {", ".join(sorted(keys))}, not {", ".join(sorted(arch))}.')
    if arch['stem'] not in STEM_STRIDES:
        raise ValueError(f'The stem must be one of {", ".join(STEM_STRIDES)}, not {arch["stem"]!r}.')
    if len(arch['blocks']) != len(arch['growth_rates']) or min(arch['blocks'], default=0) < 1:
        raise ValueError('arch must give, for each hybrid block, a positive number of modules and a growth rate.')
    return arch


def _checked_norm_cfg(norm_cfg: Mapping[str, Any]) -> dict[str, Any]:
    if norm_cfg.get('type') not in NORMS:
        raise ValueError(f'The type of norm_cfg must be one of {", ".join(NORMS)}, not {norm_cfg.get("type")!r}.')
    if norm_cfg['type'] == 'GN' and 'num_groups' not in norm_cfg:
        raise ValueError("norm_cfg of type 'GN' must give num_groups.")
    return dict(norm_cfg)
