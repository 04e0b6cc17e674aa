"""Scores of a trained network's predictions as functions of its feature maps, which gradients can be taken of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmhybrid.errors import InputError
from mmhybrid.origins import message, short

from ..subjects import BACKBONE, CLASSIFIER, DETECTOR, Subject
from .attacks import without_masks
from .backward import without_checkpointing


@dataclass(frozen=True)
class Prediction:
    """What a model says about one image.

    Attributes:
        levels: Feature maps (1, C, h, w) by level, ``'backbone.0'``, ..., ``'neck.0'``, ...
        targets: (D,) what gradients are taken of: scores of detections, or the logit of the predicted class.
        scores: (D,) from 0 to 1, best first.
        labels: (D,) indices of classes.
        boxes: (D, 4) x0 y0 x1 y1 in pixels of the model's input; None if the model gives none.
    """

    levels: dict[str, Tensor]
    targets: Tensor
    scores: Tensor
    labels: Tensor
    boxes: Tensor | None


class Attached(TorchFunctionMode):
    """A context in which ``Tensor.detach`` gives the tensor as it is, so that gradients go on.

    MMDetection's one-stage heads detach scores before they select some (``select_single_mlvl``, ``.detach()`` in
    others), as training needs no gradient of predictions. Values do not change.
    """

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        """Call ``func``, but for some methods of tensors."""
        if func is torch.Tensor.detach:
            return args[0].view_as(args[0])
        if func is torch.Tensor.__deepcopy__ and not args[0].is_leaf:
            return args[0].clone()  # what is computed cannot be copied otherwise; YOLACT's coefficients are
        if func in (torch.Tensor.numpy, torch.Tensor.__array__) and args[0].requires_grad:
            # Code that detached before it asked for an array has still to get one.
            with torch._C.DisableTorchFunction():
                args = (args[0].detach(), *args[1:])
        return func(*args, **(kwargs or {}))


@contextmanager
def only_inputs_learn(model: nn.Module) -> Iterator[None]:
    """A context in which no parameter takes gradients, nothing is recomputed, and no masks are predicted.

    Parameters' gradients would cost time and memory. Checkpointed blocks (``with_cp``) do not allow
    ``torch.autograd.grad``. Masks of an RoI head take long and change no score. All is as before when it ends.
    """
    trained = [each for each in model.parameters() if each.requires_grad]
    try:
        for each in trained:
            each.requires_grad_(False)
        with without_checkpointing(model), without_masks(model):
            yield
    finally:
        for each in trained:
            each.requires_grad_(True)


@contextmanager
def kept_levels(subject: Subject) -> Iterator[dict[str, Tensor]]:
    """A context that fills a dict with the levels of each forward pass of the model, and makes gradients start there.

    Where the backbone's maps depend on nothing that takes gradients, they become what does.
    """
    found: dict[str, Tensor] = {}

    def keep(prefix: str, maps: Any) -> None:
        if not isinstance(maps, tuple | list):
            raise InputError(f'{subject.name}: its {prefix} gives {type(maps).__name__}, not a tuple of feature maps.')
        found.update({f'{prefix}.{i}': each for i, each in enumerate(maps) if each.ndim == 4})

    def after_backbone(module: nn.Module, inputs: Any, maps: Any) -> Any:
        keep('backbone', maps)
        if not torch.is_grad_enabled() or any(each.requires_grad for each in maps):
            return None
        # A clone, since a leaf cannot be changed in place by what follows.
        maps = tuple(each.requires_grad_().clone() for each in maps)
        keep('backbone', maps)
        return maps

    hooks = [subject.backbone.register_forward_hook(after_backbone)]
    if has_neck(subject):
        hooks.append(subject.model.neck.register_forward_hook(lambda module, inputs, maps: keep('neck', maps)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def has_neck(subject: Subject) -> bool:
    """Whether there are levels ``neck.0``, ..."""
    return subject.kind == DETECTOR and bool(getattr(subject.model, 'with_neck', False))


def predict(subject: Subject, inputs: Tensor, data_samples: Sequence[Any], whole: bool, gradients: bool) -> Prediction:
    """Predict for one image, with the levels, and with scores that are differentiable in them if ``gradients``.

    Args:
        subject: Of any kind; a backbone gives levels alone.
        inputs: (1, 3, H, W), normalised, as :meth:`Subject.normalised` gives them.
        data_samples: One, of a detector.
        whole: Whether gradients reach the backbone's levels; without it they end at its last maps, which saves the
            memory of the backbone's graph.
        gradients: Whether they are wanted.

    Raises:
        InputError: If the model gives no scores.
    """
    model = subject.model
    with torch.set_grad_enabled(gradients), only_inputs_learn(model), kept_levels(subject) as levels, Attached():
        inputs = inputs.clone().requires_grad_(gradients and whole)
        if subject.kind == DETECTOR:
            outputs = _detected(subject, inputs, data_samples)
        elif subject.kind == CLASSIFIER:
            outputs = model(inputs, mode='tensor')[0]
        else:
            model(inputs)
            outputs = inputs.new_zeros(0)
    if not levels:
        raise InputError(f'{subject.name}: no feature map (N, C, H, W) comes from its backbone or neck.')
    if subject.kind == BACKBONE:
        return Prediction(levels, outputs, outputs, outputs.long(), None)
    if subject.kind == CLASSIFIER:
        best = outputs.detach().argmax()[None]
        return Prediction(levels, outputs[best], outputs.detach().softmax(0)[best], best, None)
    found = getattr(outputs, 'pred_instances', None)
    if found is None or 'scores' not in found or 'bboxes' not in found:
        raise InputError(f'{subject.name}: {type(model).__name__} gives no boxes with scores, which are needed here.')
    order = found.scores.detach().argsort(descending=True, stable=True)
    boxes = found.bboxes if isinstance(found.bboxes, Tensor) else found.bboxes.tensor
    targets = found.scores[order]
    return Prediction(levels, targets, targets.detach(), found.labels[order], boxes.detach()[order])


def _detected(subject: Subject, inputs: Tensor, data_samples: Sequence[Any]) -> Any:
    try:
        return subject.model.predict(inputs, data_samples, rescale=False)[0]
    except RuntimeError as error:
        if isinstance(error, torch.cuda.OutOfMemoryError) or 'memory' in message(error):
            raise
        raise InputError(
            f'{subject.name}: the model cannot run on an image ({short(message(error), 160)}); correct its config.'
        ) from error


def gradients_of(target: Tensor, levels: Sequence[Tensor]) -> list[Tensor]:
    """Gradient of a number with respect to each level, of the levels' shapes; 0 where it does not depend on one.

    It is the total derivative, with the regions of a two-stage detector held where they are, as RoIAlign has no
    gradient with respect to a box: what reaches ``neck.4`` by way of ``neck.3`` counts for both, what moves a box for
    neither.

    Raises:
        InputError: If no gradient can be taken.
    """
    refusal = InputError(
        'The scores of this detector carry no gradient, as after Soft-NMS; use --method eigen-cam, or plain NMS: '
        '--cfg-options model.test_cfg.rcnn.nms.type=nms (one-stage: model.test_cfg.nms.type=nms).'
    )
    if not target.requires_grad:
        raise refusal
    try:
        found = torch.autograd.grad(target, levels, retain_graph=True, allow_unused=True)
    except NotImplementedError as error:  # what operations raise that have no derivative
        raise refusal from error
    return [torch.zeros_like(level) if each is None else each for level, each in zip(levels, found, strict=True)]
