"""What folding a batch norm computes, and when it may be done."""

from collections import defaultdict
from collections.abc import Sequence

import torch
from mmcv.cnn.bricks.wrappers import Conv2d as WrappedConv2d
from mmcv.ops import ModulatedDeformConv2dPack
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhybrid.layers import DenseShortcut, TiedBlockConv2d

# Convolutions whose output channel c is linear in weight[c] and bias[c]; of a tied one, once its filter is repeated.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, WrappedConv2d, ModulatedDeformConv2dPack, TiedBlockConv2d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
# The methods that hold what the classes of this package, of MMDetection and of torch compute.
METHODS = ('forward', '_conv_forward', '_branch', '_middle')


def computes_as(module: nn.Module, cls: type) -> bool:
    """Whether ``module`` computes what ``cls`` does: as a subclass may, but not one that overrides the computation."""
    return (
        isinstance(module, cls)
        and 'forward' not in vars(module)
        and all(getattr(type(module), name, None) is getattr(cls, name, None) for name in METHODS)
    )


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """The batch norms of a model, each once."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


class Folding:
    """Folds norms of one model in place. A norm that cannot be folded is left as it is, without a word.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module):
        # By path, since a container in two places has everything in it there.
        self._places: dict[nn.Module, list[tuple[nn.Module | None, str]]] = defaultdict(list)
        modules = dict(model.named_modules(remove_duplicate=False))
        for path, child in modules.items():
            parent, _, name = path.rpartition('.')
            self._places[child].append((modules[parent] if path else None, name))

    def into_convs(self, owner: nn.Module, convs: Sequence[nn.Module], norm: nn.Module | None) -> None:
        """Fold ``norm``, applied in ``owner`` to the concatenated results of ``convs`` and nothing else."""
        if norm is None or not self._folds(owner, norm) or not all(self._takes(owner, conv) for conv in convs):
            return
        widths = [conv.out_channels for conv in convs]
        if sum(widths) != norm.num_features:
            return
        scale, shift = _affine(norm)
        for conv, *affine in zip(convs, scale.split(widths), shift.split(widths), strict=True):
            self._replace(conv, _scaled(conv, *affine))
        self._replace(norm, nn.Identity())

    def into_shortcuts(self, owner: nn.Module, readers: Sequence[tuple[DenseShortcut, int]], norm: nn.Module) -> None:
        """Fold ``norm``, applied to a source in ``owner``: ``readers`` are shortcuts, with the source's number."""
        shortcuts = [shortcut for shortcut, _ in readers]
        if not self._folds(owner, norm) or not all(
            self.is_free(owner, shortcut) and computes_as(shortcut, DenseShortcut) and not shortcut.identity
            for shortcut in shortcuts
        ):
            return
        scale, shift = _affine(norm)
        for shortcut, source in readers:
            weight, bias = shortcut.weight.detach().clone(), shortcut.bias.detach().clone()
            w, b = weight[source].double(), bias[source].double()
            weight[source], bias[source] = w * scale, b + w * shift
            shortcut.weight, shortcut.bias = nn.Parameter(weight), nn.Parameter(bias)
        self._replace(norm, nn.Identity())

    def is_free(self, owner: nn.Module, module: nn.Module) -> bool:
        """Whether a module is nowhere but in one place of ``owner`` (or another norm might follow there), unhooked."""
        places = self._places[module]
        alone = module is owner or (len(places) == len(self._places[owner]) and len(set(places)) == 1)
        return alone and not (module._forward_hooks or module._forward_pre_hooks)

    def _folds(self, owner: nn.Module, norm: nn.Module) -> bool:
        # A norm with a `train` of its own may stay in training.
        known = any(computes_as(norm, cls) for cls in NORMS) and type(norm).train is nn.Module.train
        return known and norm.running_mean is not None and self.is_free(owner, norm)

    def _takes(self, owner: nn.Module, conv: nn.Module) -> bool:
        # A weight or bias that is no parameter is computed from others: spectral norm, pruning.
        known = any(computes_as(conv, cls) for cls in CONVOLUTIONS)
        if not known or conv._parameters.get('weight') is None:
            return False
        return (conv.bias is None or 'bias' in conv._parameters) and self.is_free(owner, conv)

    def _replace(self, module: nn.Module, by: nn.Module) -> None:
        ((parent, name),) = set(self._places[module])
        parent._modules[name] = by


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift of each channel that a batch norm in evaluation is, in float64."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach().double()


def _scaled(conv: nn.Module, scale: Tensor, shift: Tensor) -> nn.Module:
    """The convolution, followed by a scale and a shift of its channels."""
    if isinstance(conv, TiedBlockConv2d):
        conv = _untied(conv)
    # New parameters: the old ones may also be another module's.
    weight, dtype = conv.weight.detach(), conv.weight.dtype
    bias = shift if conv.bias is None else conv.bias.detach().double() * scale + shift
    conv.weight = nn.Parameter((weight.double() * scale.view(-1, *[1] * (weight.dim() - 1))).to(dtype))
    conv.bias = nn.Parameter(bias.to(dtype))
    return conv


def _untied(conv: TiedBlockConv2d) -> nn.Conv2d:
    """A tied convolution as a grouped one with B filters that may differ.

    That is no slower than a tied convolution and a norm: in the shapes of TiedResNet-50, TiedResNeXt-50 and
    TiedResNeSt-50 it takes 0.2 to 1.0 of their time on one CPU thread, and 1.1 to 1.2 only for the small splits of
    TiedResNet's last stage in NCHW.
    """
    shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    untied = nn.Conv2d(*shape, groups=conv.groups * conv.blocks, bias=False, device='meta')
    channels_last = conv.weight.is_contiguous(memory_format=torch.channels_last)

    def repeat(p: Tensor) -> Tensor:
        p = p.detach().unflatten(0, (conv.groups, 1, -1))
        return p.expand(-1, conv.blocks, *p.shape[2:]).flatten(0, 2)

    layout = torch.channels_last if channels_last else torch.contiguous_format
    untied.weight = nn.Parameter(repeat(conv.weight).contiguous(memory_format=layout))
    untied.bias = None if conv.bias is None else nn.Parameter(repeat(conv.bias))
    return untied
