"""Dense shortcut (DS): the weighted and normalised sum of all earlier outputs of a stage.

Paper: C. Zhang, P. Benz, D. M. Argaw, S. Lee, J. Kim, F. Rameau, J.-C. Bazin, I. S. Kweon, "ResNet or DenseNet?
Introducing Dense Shortcuts to ResNet", arXiv 2010.12496. The identity shortcut is replaced by normalised shortcuts
with channel-wise weights. Of its two variants this is the better one, on the aggregated outputs X_i.
Deviations: none known.
Our choices: each source has a weight w and a shift, as if its norm had an affine part for each block that reads it; the
norm itself, which is the same for all of them, can be shared; the values that w starts from.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

STARTS = ('mean', 'last', 'zero')


class DenseShortcut(nn.Module):
    r"""Sum of the earlier outputs of a stage, each normalised and weighted per channel.

    Block l of a stage, with residual branch :math:`F_l`, computes

    .. math:: X_l = F_l(X_{l-1}) + \sum_{i<l} \left( w_{l,i} \cdot \mathrm{Norm}(X_i) + b_{l,i} \right)

    before its ReLU; this layer is the sum. :math:`w_{l,i}, b_{l,i} \in \mathbb{R}^C`. Norm(X_i) does not depend on l:
    without ``make_norm`` the sources are given normalised, so that a stage normalises each one once. With ``identity``
    it is the plain sum :math:`\sum_{i<l} X_i` of the paper's ablation "ResNet50-Dense", without norms or parameters;
    for one source that is ResNet's shortcut.

    Args:
        channels: Channels C of each source.
        num_sources: Number of sources.
        make_norm: Builds a normalisation layer without affine parameters for a number of channels; each source gets
            its own. None if the sources come normalised.
        identity: Sum the sources as they are.
        start: Values of w before training. 'mean': 1 / num_sources, so that the sum is on the scale of one normalised
            source however many there are. 'last': 1 for the last source and 0 for the others, which is ResNet's
            shortcut up to the normalisation. 'zero': 0, no shortcut.

    Shape:
        - sources: ``num_sources`` tensors (N, C, H, W), oldest first; base and output: (N, C, H, W).
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
        for name, value in (('channels', channels), ('num_sources', num_sources)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f'{name} must be a positive integer, but {name}={value!r} was given.')
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

    def forward(self, sources: Sequence[Tensor], base: Tensor | None = None) -> Tensor:
        """Sum the ``sources``, each (N, C, H, W), oldest first, onto ``base`` if it is given."""
        if len(sources) != self.num_sources:
            raise ValueError(f'This dense shortcut sums {self.num_sources} sources, not {len(sources)}.')
        if self.identity:
            return sum(sources[1:], start=sources[0]) if base is None else sum(sources, start=base)
        # In the maps' type, or autocast would widen all of them to the weights'.
        dtype = sources[0].dtype
        weight, shift = self.weight.to(dtype)[:, :, None, None], self.bias.sum(0).to(dtype)[:, None, None]
        total = shift if base is None else base + shift
        # One term at a time: all of them together would be as many maps in memory.
        for i, x in enumerate(sources):
            total = torch.addcmul(total, self.norms[i](x) if self.norms else x, weight[i])
        return total

    def extra_repr(self) -> str:
        """Describe the layer in ``print(module)``."""
        text = f'{self.channels}, num_sources={self.num_sources}'
        return text + (', identity=True' if self.identity else f', start={self.start!r}')
