"""An image classifier: a backbone, the mean of its last feature map, and one linear layer.

Its state dict has mmpretrain's names, ``backbone.*`` and ``head.fc.*``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModel, BaseModule
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmhybrid.errors import InputError

from .mixing import Mixing
from .stems import OWN, fit_stem


class LinearHead(BaseModule):
    """The last layer of a classifier, and its loss: cross entropy.

    Args:
        in_channels: Channels of the feature map, C.
        num_classes: Number of classes, K.
        label_smoothing: Share epsilon of the target that is spread evenly over all classes.

    Shape:
        - input: (N, C, H, W), output: (N, K).
    """

    def __init__(self, in_channels: int, num_classes: int, label_smoothing: float = 0.0):
        super().__init__(init_cfg=dict(type='Normal', layer='Linear', std=0.01))
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.fc = nn.Linear(in_channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a feature map ``x``."""
        return self.fc(x.mean((2, 3)))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of ``logits`` (N, K) and ``labels`` (N,)."""
        return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """A backbone that learns to name pictures.

    Args:
        backbone: Config of a backbone that returns feature maps; the last one is used.
        head: Arguments of :class:`LinearHead`: ``num_classes`` and perhaps ``label_smoothing``.
        stem: ``'backbone'`` or ``'32x32'``, see :func:`~mmhybrid.pretraining.stems.fit_stem`.
        mixing: Arguments of :class:`~mmhybrid.pretraining.mixing.Mixing`, or None for batches as they are.
        data_preprocessor, init_cfg: As of MMEngine's ``BaseModel``.

    Attributes:
        changed_by_stem: Names of the backbone's weights that fit no backbone with a stem of its own.

    Raises:
        InputError: If an argument cannot apply.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        head: Mapping[str, Any],
        stem: str = OWN,
        mixing: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.changed_by_stem = fit_stem(self.backbone, stem)
        self.head = LinearHead(_channels(self.backbone), **head)
        self.mixing = None if mixing is None else Mixing(**mixing)

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        data_samples: Sequence[BaseDataElement] | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Any]]:
        """Do what MMEngine's runner asks for.

        Args:
            inputs: Normalised pictures, (N, 3, H, W).
            labels: Their classes, (N,); not needed in mode ``'tensor'``.
            data_samples: What names the pictures.
            mode: ``'tensor'``, ``'loss'`` or ``'predict'``.

        Returns:
            Logits (N, K); the losses by name; or for each picture a dict of ``scores`` (K,), which sum to 1, and what
            is known of it, ``label`` and ``img_path``.
        """
        if mode == 'loss':
            return self.loss(inputs, labels)
        logits = self.head(self.backbone(inputs)[-1])
        if mode == 'tensor':
            return logits
        if mode != 'predict':
            raise RuntimeError(f'ImageClassifier has no mode {mode!r}.')
        results = [dict(scores=scores) for scores in logits.float().softmax(1).cpu()]
        for i, result in enumerate(results):
            if labels is not None:
                result['label'] = int(labels[i])
            if data_samples is not None:
                result['img_path'] = data_samples[i].img_path
        return results

    def loss(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross entropy of a batch, mixed if that is wanted."""
        if self.mixing is None:
            return dict(loss=self.head.loss(self.head(self.backbone(inputs)[-1]), labels))
        inputs, order, share = self.mixing(inputs)
        logits = self.head(self.backbone(inputs)[-1])
        loss = self.head.loss(logits, labels)
        if share < 1:
            loss = share * loss + (1 - share) * self.head.loss(logits, labels[order])
        return dict(loss=loss)


def _channels(backbone: nn.Module) -> int:
    channels = getattr(backbone, 'out_channels', None)
    if isinstance(channels, tuple):
        return channels[-1]
    if isinstance(getattr(backbone, 'feat_dim', None), int) and max(backbone.out_indices) == backbone.num_stages - 1:
        return backbone.feat_dim  # of MMDetection's ResNets
    raise InputError(
        f'{type(backbone).__name__} does not tell the channels of its last feature map; give it a property '
        'out_channels, a tuple of the channels of each map.'
    )
