"""Dense shortcut (DS): the weighted and normalised sum of all earlier outputs of a stage.

Paper: C. Zhang, P. Benz, D. M. Argaw, S. Lee, J. Kim, F. Rameau, J.-C. Bazin, I. S. Kweon, "ResNet or DenseNet?
Introducing Dense Shortcuts to ResNet", arXiv 2010.12496. The identity shortcut is replaced by normalised shortcuts
with channel-wise weights. Of its two variants this is the better one, on the aggregated outputs X_i.
Deviations: none known.
Our choices: the affine scale of each source's norm is its weight w, and the norm's shift comes with it, so that w costs
no tensor of its own; the values that w starts from.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

STARTS = ('mean', 'last', 'zero')


class DenseShortcut(nn.Module):
    r"""Sum of the earlier outputs of a stage, each normalised and weighted per channel.

    Block l of a stage, with residual branch :math:`F_l`, computes

    .. math:: X_l = F_l(X_{l-1}) + \sum_{i<l} w_{l,i} \cdot \mathrm{Norm}(X_i)

    before its ReLU; this layer is the sum. :math:`w_{l,i} \in \mathbb{R}^C` is the affine scale of the norm of source
    i, so that the norms hold all the parameters: :math:`2C` per source. With ``identity`` it is the plain sum
    :math:`\sum_{i<l} X_i` of the paper's ablation "ResNet50-Dense", without norms or parameters; for one source that
    is ResNet's shortcut.

    Args:
        channels: Channels C of each source.
        num_sources: Number of sources.
        make_norm: Builds a normalisation layer, with affine parameters, for a number of channels.
        identity: Sum the sources as they are.
        start: Values of w before training. 'mean': 1 / num_sources, so that the sum is on the scale of one normalised
            source however many there are. 'last': 1 for the last source and 0 for the others, which is ResNet's
            shortcut up to the normalisation. 'zero': 0, no shortcut.

    Shape:
        - sources: ``num_sources`` tensors (N, C, H, W), oldest first; output: (N, C, H, W).

    Raises:
        ValueError: If an argument is out of range, if a norm has no affine scale, or if ``forward`` is given another
            number of sources.
    """

    def __init__(
        self,
        channels: int,
        num_sources: int,
        make_norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
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
        self.norms = nn.ModuleList() if identity else nn.ModuleList(make_norm(channels) for _ in range(num_sources))
        for norm in self.norms:
            if getattr(norm, 'weight', None) is None:
                raise ValueError(
                    f'The norm of a dense shortcut must have an affine scale, which is its weight w; '
                    f'{type(norm).__name__} has none.'
                )
        self.init_weights()

    def init_weights(self) -> None:
        """Set w to its start values and the shifts to zero (MMEngine calls this, after its own initialisation)."""
        n = self.num_sources
        weights = {'mean': [1 / n] * n, 'last': [0.0] * (n - 1) + [1.0], 'zero': [0.0] * n}[self.start]
        for norm, weight in zip(self.norms, weights, strict=False):  # with `identity` there are no norms
            nn.init.constant_(norm.weight, weight)
            if getattr(norm, 'bias', None) is not None:
                nn.init.zeros_(norm.bias)

    def forward(self, sources: Sequence[Tensor]) -> Tensor:
        """Sum the ``sources``, each (N, C, H, W), oldest first."""
        if len(sources) != self.num_sources:
            raise ValueError(f'This dense shortcut sums {self.num_sources} sources, not {len(sources)}.')
        total = None
        for i, x in enumerate(sources):
            # One term at a time: all of them together would be as many maps in memory.
            term = x if self.identity else self.norms[i](x)
            total = term if total is None else total + term
        return total

    def extra_repr(self) -> str:
        """Describe the layer in ``print(module)``."""
        text = f'{self.channels}, num_sources={self.num_sources}'
        return text + (', identity=True' if self.identity else f', start={self.start!r}')
