"""A detector, counted by part from its config alone: what ``mmhybrid flops`` shows."""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING

from mmhybrid.errors import InputError
from mmhybrid.paths import given_config

from .modules import Counts, count

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn


@dataclass(frozen=True)
class Part:
    """One part of a detector; ``rois`` is how many regions went through it in each call, if it works on regions."""

    name: str
    parameters: int
    multiply_adds: int
    rois: tuple[int, ...] = ()


@dataclass(frozen=True)
class DetectorCounts:
    """A detector, counted; ``proposals`` is how many its RoI heads were given, None where it has none."""

    type: str
    shape: tuple[int, int]
    proposals: int | None
    parts: tuple[Part, ...]
    total: Counts


def count_detector(path: str, shape: tuple[int, int]) -> DetectorCounts:
    """Build the detector of a config, without its data set, and count it for one image of ``shape``.

    Backbone, neck and heads run as in MMDetection's ``mode='tensor'``. The proposals of a region proposal network are
    replaced by as many boxes as its test settings let through, so that the counts do not depend on random weights.

    Raises:
        InputError: If the config cannot be used, or the image has a shape that the detector would pad.
    """
    cfg = _load(path)
    _check_shape(cfg, shape)
    model = _build(cfg, path)
    proposals = _fix_proposals(model, cfg, shape)
    rois, hooks = _watch_rois(model)
    try:
        total = _count(model, _channels(cfg), shape)
    except Exception as error:  # a detector's own requirements: anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f'{path}: {type(model).__name__} does not run on one blank image ({reason}).') from error
    finally:
        for hook in hooks:
            hook.remove()
    return DetectorCounts(type(model).__name__, shape, proposals, _parts(model, total, rois), total)


def _load(path: str) -> Config:
    from mmengine.config import Config

    from mmhybrid import config_bases

    path = given_config(path)
    config_bases.install()
    try:
        cfg = Config.fromfile(path)
    except InputError:
        raise
    except ImportError as error:
        raise InputError(f'{path} imports what is not found ({error}); put its folder on PYTHONPATH.') from error
    except Exception as error:  # a config is code
        raise InputError(f'{path} is no valid config ({type(error).__name__}: {error}).') from error
    if not isinstance(cfg.get('model'), dict):
        raise InputError(f'{path} has no model = dict(...), so it is no config of a detector.')
    return cfg


def _check_shape(cfg: Config, shape: tuple[int, int]) -> None:
    divisor = (cfg.model.get('data_preprocessor') or {}).get('pad_size_divisor') or 1
    padded = [-(-side // divisor) * divisor for side in shape]
    if padded != list(shape):
        raise InputError(
            f'--shape {shape[0]} {shape[1]}: this detector pads images to multiples of {divisor}; '
            f'give what it computes on, --shape {padded[0]} {padded[1]}.'
        )


def _build(cfg: Config, path: str) -> nn.Module:
    from mmdet.registry import MODELS
    from mmengine.model import revert_sync_batchnorm
    from mmengine.registry import init_default_scope

    init_default_scope(cfg.get('default_scope', 'mmdet'))
    try:
        return revert_sync_batchnorm(MODELS.build(cfg.model)).eval()
    except Exception as error:  # constructors raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f'{path}: its model cannot be built ({reason}).') from error


def _channels(cfg: Config) -> int:
    """Channels of an image: what the backbone takes. One mean in ``data_preprocessor`` may also be for all three."""
    return (cfg.model.get('backbone') or {}).get('in_channels', 3)


def _fix_proposals(model: nn.Module, cfg: Config, shape: tuple[int, int]) -> int | None:
    import torch
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmengine.structures import InstanceData

    rpn = getattr(model, 'rpn_head', None)
    if not isinstance(rpn, BaseDenseHead) or getattr(model, 'roi_head', None) is None:
        return None
    number = ((cfg.model.get('test_cfg') or {}).get('rpn') or {}).get('max_per_img', 1000)
    height, width = shape
    # All sizes, from a point to the whole image, so that every level of a pyramid gets some.
    share = torch.linspace(0, 1, number)[:, None]
    boxes = share * torch.tensor([0.0, 0.0, width, height])

    def predict(self, x, batch_data_samples, rescale=False):
        self(x)
        return [InstanceData(bboxes=boxes, scores=boxes[:, 3], labels=boxes[:, 3].long()) for _ in batch_data_samples]

    rpn.predict = MethodType(predict, rpn)
    return number


def _watch_rois(model: nn.Module):
    from torch import nn

    rois, hooks = {}, []
    roi_head = getattr(model, 'roi_head', None)
    if roi_head is None:
        return rois, hooks
    for name, child in roi_head.named_children():
        for head in child if isinstance(child, nn.ModuleList) else (child,):

            def note(module, args, name=name):
                if args and hasattr(args[0], 'shape'):
                    rois.setdefault(f'roi_head.{name}', []).append(int(args[0].shape[0]))

            hooks.append(head.register_forward_pre_hook(note))
    return rois, hooks


def _count(model: nn.Module, channels: int, shape: tuple[int, int]) -> Counts:
    import torch
    from mmdet.structures import DetDataSample

    metainfo = dict(
        img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape, scale_factor=(1.0, 1.0), img_id=0
    )
    samples = [DetDataSample(metainfo=metainfo)]
    forward, kept = model.forward, []

    def keep(module, args, output):
        if isinstance(output, torch.Tensor):
            kept.append(output.detach().reshape(-1)[:1].clone())

    # The trace drops what no output depends on, such as a region proposal network whose proposals are replaced: one
    # number of each layer is made an output.
    layers = [m for m in model.modules() if isinstance(getattr(m, 'weight', None), torch.Tensor) and m.weight.dim() > 1]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    # The analysis calls forward with tensors only.
    model.forward = lambda image: (*_tensors(forward(image, samples, mode='tensor')), *kept)
    try:
        return count(model, torch.zeros(1, channels, *shape))
    finally:
        del model.forward
        for hook in hooks:
            hook.remove()


def _tensors(outputs):
    """The tensors among nested outputs: tracing returns nothing else."""
    import torch

    if isinstance(outputs, torch.Tensor):
        return (outputs,)
    if isinstance(outputs, dict):
        outputs = outputs.values()
    return tuple(t for o in outputs for t in _tensors(o)) if hasattr(outputs, '__iter__') else ()


def _parts(model: nn.Module, total: Counts, rois: dict[str, list[int]]) -> tuple[Part, ...]:
    parts = []
    for name, child in model.named_children():
        # The heads of a RoI head are parts of their own.
        inner = [(f'{name}.{n}', c) for n, c in child.named_children()] if name == 'roi_head' else [(name, child)]
        for label, module in inner:
            parameters = sum(p.numel() for p in module.parameters())
            multiply_adds = total.modules[label]
            if parameters or multiply_adds:
                parts.append(Part(label, parameters, multiply_adds, tuple(rois.get(label, ()))))
    rest = Part(
        'other',
        total.parameters - sum(p.parameters for p in parts),
        total.multiply_adds - sum(p.multiply_adds for p in parts),
    )
    # Shared modules are counted in each part's parameters, so this may be negative: then there is nothing to add.
    return (*parts, rest) if rest.parameters > 0 or rest.multiply_adds > 0 else tuple(parts)
