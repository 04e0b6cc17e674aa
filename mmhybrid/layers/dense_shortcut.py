"""Dense shortcut (DS): the weighted and normalised sum of all earlier outputs of a stage.

Paper: C. Zhang, P. Benz, D. M. Argaw, S. Lee, J. Kim, F. Rameau, J.-C. Bazin, I. S. Kweon, "ResNet or DenseNet?
Introducing Dense Shortcuts to ResNet", arXiv 2010.12496. The identity shortcut is replaced by normalised shortcuts
with channel-wise weights. Of its two variants this is the better one, on the aggregated outputs X_i.
Deviations: none known.
Our choices: each source has a weight w and a shift, as if its norm had an affine part for each block that reads it; the
norm itself, which is the same for all of them, can be shared; the values that w starts from.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .checks import check_positive
from .statistics import can_share, is_fixed, measure, norm_backward, track

STARTS = ('mean', 'last', 'zero')


class Source(NamedTuple):
    """A source that a shortcut normalises itself: a map, and its statistics.

    Attributes:
        map: X_i (N, C, H, W).
        mean, var: (C,).
        eps: What is added to var.
        fixed: Whether the statistics are running ones; else they are those of the map, and depend on it.
    """

    map: Tensor
    mean: Tensor
    var: Tensor
    eps: float
    fixed: bool


def prepare(norms: Sequence[nn.Module], sources: Sequence[Tensor]) -> list[Tensor] | list[Source]:
    """Normalise the newest ``sources`` for the shortcuts that read them.

    Args:
        norms: One for each source.
        sources: Maps (N, C, H, W).

    Returns:
        Each source normalised; or, if all norms are batch norms without affine parameters, each as it is, with its
        statistics, since a shortcut's weights can take these over and the normalised map need never be made.
    """
    if not takes_over(norms, sources):
        return [norm(x) for norm, x in zip(norms, sources, strict=True)]
    prepared = []
    for norm, x in zip(norms, sources, strict=True):
        if norm.training:
            mean, var, _ = statistics = measure(x)
            track(norm, statistics)
        else:
            mean, var = norm.running_mean, norm.running_var
        prepared.append(Source(x, mean, var, norm.eps, not norm.training))
    return prepared


def takes_over(norms: Sequence[nn.Module], sources: Sequence[Tensor]) -> bool:
    """Whether a shortcut's weights can take over the statistics of all of some norms, each of one source."""
    return all(
        not getattr(norm, 'affine', True) and (is_fixed(x, norm) or can_share(x, norm))
        for norm, x in zip(norms, sources, strict=True)
    )


class DenseShortcut(nn.Module):
    r"""Sum of the earlier outputs of a stage, each normalised and weighted per channel.

    Block l of a stage, with residual branch :math:`F_l`, computes

    .. math:: X_l = F_l(X_{l-1}) + \sum_{i<l} \left( w_{l,i} \cdot \mathrm{Norm}(X_i) + b_{l,i} \right)

    before its ReLU; this layer is the sum. :math:`w_{l,i}, b_{l,i} \in \mathbb{R}^C`. Norm(X_i) does not depend on l:
    without ``make_norm`` the sources are given as :func:`prepare` made them, once for a stage. With ``identity``
    it is the plain sum :math:`\sum_{i<l} X_i` of the paper's ablation "ResNet50-Dense", without norms or parameters;
    for one source that is ResNet's shortcut.

    Args:
        channels: Channels C of each source.
        num_sources: Number of sources.
        make_norm: Builds a normalisation layer without affine parameters for a number of channels; each source gets
            its own. None if the sources come prepared.
        identity: Sum the sources as they are.
        start: Values of w before training. 'mean': 1 / num_sources, so that the sum is on the scale of one normalised
            source however many there are. 'last': 1 for the last source and 0 for the others, which is ResNet's
            shortcut up to the normalisation. 'zero': 0, no shortcut.

    Shape:
        - sources: ``num_sources`` tensors (N, C, H, W) or :class:`Source`, oldest first; base and output: (N, C, H, W).
        - weight, bias: (num_sources, C).

    Raises:
        ValueError: If an argument is out of range, or if ``forward`` is given another number of sources.
    """

    def __init__(
        self,
        channels: int,
        num_sources: int,
        make_norm: Callable[[int], nn.Module] | None = None,
        identity: bool = False,
        start: str = 'mean',
    ):
        super().__init__()
        check_positive(channels=channels, num_sources=num_sources)
        if start not in STARTS:
            raise ValueError(f'start must be one of {", ".join(STARTS)}, not {start!r}.')
        self.channels = channels
        self.num_sources = num_sources
        self.identity = identity
        self.start = start
        self.norms = nn.ModuleList(make_norm(channels) for _ in range(num_sources if make_norm else 0))
        if not identity:
            self.weight = nn.Parameter(torch.empty(num_sources, channels))
            self.bias = nn.Parameter(torch.empty(num_sources, channels))
            self.init_weights()

    def init_weights(self) -> None:
        """Set w to its start values and the shifts to zero (MMEngine calls this, after its own initialisation)."""
        if self.identity:
            return
        nn.init.constant_(self.weight, 1 / self.num_sources if self.start == 'mean' else 0)
        if self.start == 'last':
            nn.init.ones_(self.weight[-1])
        nn.init.zeros_(self.bias)

    def forward(self, sources: Sequence[Tensor | Source], base: Tensor | None = None) -> Tensor:
        """Sum the ``sources``, oldest first, onto ``base`` if it is given."""
        if len(sources) != self.num_sources:
            raise ValueError(f'This dense shortcut sums {self.num_sources} sources, not {len(sources)}.')
        if self.identity:
            return sum(sources[1:], start=sources[0]) if base is None else sum(sources, start=base)
        if self.norms:
            sources = prepare(self.norms, sources)
        if isinstance(sources[0], Source):
            maps, *statistics = zip(*sources, strict=True)
            return _WeightedSum.apply(base, self.weight, self.bias, statistics, *maps)
        # In the maps' type, or autocast would widen all of them to the weights'.
        dtype = sources[0].dtype
        weight, shift = self.weight.to(dtype)[:, :, None, None], self.bias.sum(0).to(dtype)[:, None, None]
        total = shift if base is None else base + shift
        # One term at a time: all of them together would be as many maps in memory.
        for i, x in enumerate(sources):
            total = torch.addcmul(total, x, weight[i])
        return total

    def extra_repr(self) -> str:
        """Describe the layer in ``print(module)``."""
        text = f'{self.channels}, num_sources={self.num_sources}'
        return text + (', identity=True' if self.identity else f', start={self.start!r}')


class _WeightedSum(torch.autograd.Function):
    """base + the sum over sources of w_i BN(X_i) + b_i, of which nothing is kept but the maps X_i themselves."""

    @staticmethod
    def forward(
        ctx: Any, base: Tensor | None, weight: Tensor, bias: Tensor, statistics: Sequence[Sequence], *maps: Tensor
    ) -> Tensor:
        means, variances, ctx.eps, ctx.fixed = statistics
        ctx.save_for_backward(weight, *means, *variances, *maps)
        if maps[0].dtype == means[0].dtype == weight.dtype:
            scales = [w * (var + eps).rsqrt() for w, var, eps in zip(weight, variances, ctx.eps, strict=True)]
            offsets = (mean * scale for mean, scale in zip(means, scales, strict=True))
            shift = (bias.sum(0) - sum(offsets))[:, None, None]
            total = torch.addcmul(shift if base is None else base + shift, maps[0], scales[0][:, None, None])
            for x, scale in zip(maps[1:], scales[1:], strict=True):
                total.addcmul_(x, scale[:, None, None])
            return total
        # Half precision: batch normalisation computes in the statistics' type.
        total = base
        for x, mean, var, w, b, eps in zip(maps, means, variances, weight, bias, ctx.eps, strict=True):
            term = F.batch_norm(x, mean, var, w.to(mean.dtype), b.to(mean.dtype), False, 0.0, eps)
            total = term if total is None else term.add_(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        n = len(weight)
        means, variances, maps = saved[:n], saved[n : 2 * n], saved[2 * n :]
        needs_base, needs_weight, needs_bias, _, *needs_maps = ctx.needs_input_grad
        grads = []
        for i, x in enumerate(maps):
            wanted = [needs_maps[i], needs_weight, needs_bias]
            grads.append(norm_backward(grad, x, weight[i], means[i], variances[i], ctx.eps[i], ctx.fixed[i], wanted))
        grad_maps, grad_weight, grad_bias = zip(*grads, strict=True)
        return (
            grad if needs_base else None,
            torch.stack(grad_weight).to(weight.dtype) if needs_weight else None,
            torch.stack(grad_bias).to(weight.dtype) if needs_bias else None,
            None,
            *grad_maps,
        )
