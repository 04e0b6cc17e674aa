"""SaE-ResNet and SaE-ResNeXt (SENetV2): ResNet with squeeze-aggregated excitation in every block.

Paper: M. Narayanan, "SENetV2: Aggregated dense layer for channelwise and global representations", arXiv 2311.10807,
section 5. The attention stands at the end of the residual branch, before the shortcut is added, as in
``mmhybrid.backbones.se_resnet``.
Deviations: none known.
Our choices: the gate multiplies as in SENet; ``residual_gate=True`` is the SaE authors' code (x + x * gate).
SaE-ResNet-50 has 30,603,912 parameters as a 1000-class classifier, SaE-ResNeXt-50-32x4d 30,075,784: the article's
30.60M and 30.08M.
"""

from functools import partial

from mmdet.registry import MODELS

from mmhybrid.layers.squeeze_excite import SqueezeAggregatedExcite

from .se_resnet import GatedResNet


@MODELS.register_module()
class SaEResNet(GatedResNet):
    """SENetV2: ResNet or ResNeXt with squeeze-aggregated excitation in every block.

    ``SaEResNet(depth=50)`` is the article's SaE-ResNet-50; ``groups=32, base_width=4`` makes it SaE-ResNeXt-50.

    Args:
        depth: 18, 34, 50, 101 or 152.
        groups: Groups of the 3x3 convolutions; above 1, the network is a ResNeXt (depths 50 and above).
        base_width: Channels of a group in the first stage; used when ``groups`` is above 1.
        reduction: Reduction r of one branch's hidden width.
        cardinality: Number of parallel branches.
        residual_gate: Whether the attention returns x + x * gate, as in the authors' code, instead of x * gate.
        **kwargs: Of MMDetection's ``ResNet``.

    Raises:
        ValueError: If an argument is out of range, or cannot apply to this backbone.

    Example:
        >>> backbone = SaEResNet(depth=50)
        >>> backbone.out_channels, backbone.out_strides
        ((256, 512, 1024, 2048), (4, 8, 16, 32))
        >>> [tuple(f.shape) for f in backbone(torch.rand(1, 3, 64, 96))]
        [(1, 256, 16, 24), (1, 512, 8, 12), (1, 1024, 4, 6), (1, 2048, 2, 3)]
    """

    def __init__(
        self,
        depth: int,
        groups: int = 1,
        base_width: int = 4,
        reduction: int = 32,
        cardinality: int = 4,
        residual_gate: bool = False,
        **kwargs,
    ):
        make_attention = partial(
            SqueezeAggregatedExcite, reduction=reduction, cardinality=cardinality, residual_gate=residual_gate
        )
        super().__init__(depth, make_attention, groups, base_width, **kwargs)
