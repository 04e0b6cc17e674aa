"""What is looked at: a detector or a classifier of a config, or a backbone by its name, with its weights."""

from __future__ import annotations

import argparse
import contextlib
import copy
import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.model import ImgDataPreprocessor, revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import Tensor, nn

from mmhybrid import launch
from mmhybrid.config_options import datasets
from mmhybrid.early_checks import check_neck, name_unreadable_images
from mmhybrid.engine import LoadedWeightsHook
from mmhybrid.errors import InputError
from mmhybrid.guards import allowed_missing, type_name
from mmhybrid.origins import message, short
from mmhybrid.paths import PREFIX, given_config
from mmhybrid.predicting.detector import device_of
from mmhybrid.pretraining import variables
from mmhybrid.zoo import create_backbone, list_backbones, quiet

DETECTOR, CLASSIFIER, BACKBONE = 'detector', 'classifier', 'backbone'
SIDE = 224  # of the pictures that a backbone without a config is shown
_CONFIGS = ('.py', '.yml', '.yaml', '.json')
# Of the pictures that weights from ImageNet were trained on, RGB.
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_PACK = dict(type='PackImageLabel')
_LOADERS = ('LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader')


@dataclass(frozen=True)
class Batch:
    """Samples as a model's pipeline prepares them.

    Attributes:
        pixels: For each image (3, H, W) float32 from 0 to 255, BGR, as the model's preprocessor takes them; images of
            one batch may differ in size.
        data_samples: MMDetection's samples, for a detector with ``gt_instances`` at the size of ``pixels`` where the
            images are annotated.
        labels: (N,) classes of the pictures, for a classifier; None if they are not known.
    """

    pixels: list[Tensor]
    data_samples: list[Any]
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass
class Subject:
    """One model, in evaluation mode.

    Attributes:
        name: What it is called in figures.
        given: The config's path or the backbone's name.
        checkpoint: Where its weights are from; None for its initial values: random, or what an ``init_cfg`` loads.
        kind: ``'detector'``, ``'classifier'`` or ``'backbone'``.
        model: The whole model; a backbone's is the backbone.
        classes: Names of what it tells apart; none of a backbone.
        device: Such as ``'cpu'``.
        cfg: The config; None of a backbone.
    """

    name: str
    given: str
    checkpoint: str | None
    kind: str
    model: nn.Module
    classes: tuple[str, ...]
    device: str
    cfg: Config | None = None
    _preprocessor: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        self.model.to(self.device).eval()
        own = getattr(self.model, 'data_preprocessor', None)
        given = own or ImgDataPreprocessor(_MEAN, _STD, pad_size_divisor=32, bgr_to_rgb=True)
        self._preprocessor = given.to(self.device)

    @property
    def backbone(self) -> nn.Module:
        """The backbone."""
        return self.model if self.kind == BACKBONE else self.model.backbone

    @property
    def described(self) -> str:
        """Its class, the backbone's, and where the weights are from; a phrase."""
        kind = type(self.model).__name__
        kind += '' if self.kind == BACKBONE else f' with {type(self.backbone).__name__}'
        return f'{kind}, {self.checkpoint or "its initial values (no checkpoint was given)"}'

    def as_json(self) -> dict[str, Any]:
        """What identifies it."""
        types = {'model': type(self.model).__name__, 'backbone': type(self.backbone).__name__}
        return {'name': self.name, 'given': self.given, 'checkpoint': self.checkpoint, 'kind': self.kind, **types}

    def prepare(self, samples: Sequence[Any], annotated: bool = False) -> Batch:
        """Run the test pipeline on some :class:`~mmhybrid.inspecting.samples.Sample`.

        ``annotated`` loads annotations, at the size at which the model sees the image, into ``gt_instances`` of a
        detector's samples. A classifier's labels are there wherever they are known.
        """
        masks = all('mask' in each for sample in samples for each in sample.info.get('instances') or ())
        pipeline = self._pipeline(annotated, masks and has_masks(self.model))
        packed = [_packed(pipeline, sample) for sample in samples]
        labels = [each.get('labels') for each in packed]
        known = torch.tensor(labels, device=self.device) if None not in labels else None
        pixels = [each['inputs'].to(self.device).float() for each in packed]
        return Batch(pixels, [each.get('data_samples') for each in packed], known)

    def normalised(self, batch: Batch, pixels: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Any]]:
        """What the model takes: (N, 3, H, W), normalised and padded, and its samples. Gradients reach ``pixels``.

        ``pixels`` stand for the batch's, e.g. changed ones.
        """
        data: dict[str, Any] = {'inputs': list(batch.pixels if pixels is None else pixels)}
        if self.kind == DETECTOR:
            data['data_samples'] = [copy.deepcopy(sample) for sample in batch.data_samples]
        made = self._preprocessor(data, training=False)
        return made['inputs'], made.get('data_samples') or list(batch.data_samples)

    def levels(self, inputs: Tensor) -> dict[str, Tensor]:
        """Feature maps (N, C, H, W) of normalised ``inputs`` by level: ``'backbone.0'``, ..., ``'neck.0'``, ..."""
        maps = self.backbone(inputs)
        found = {f'backbone.{i}': each for i, each in enumerate(maps)}
        if self.kind == DETECTOR and getattr(self.model, 'with_neck', False):
            found |= {f'neck.{i}': each for i, each in enumerate(self.model.neck(maps))}
        return found

    def modules(self, *types: type) -> dict[str, nn.Module]:
        """Modules of these types within the backbone by their names in the model."""
        prefix = '' if self.kind == BACKBONE else 'backbone.'
        return {f'{prefix}{name}': each for name, each in self.backbone.named_modules() if isinstance(each, types)}

    def module(self, name: str) -> nn.Module:
        """A module of the model by its name, of a lone backbone with or without ``backbone.`` before it.

        Raises:
            InputError: If there is none.
        """
        found = dict(self.model.named_modules())
        if self.kind == BACKBONE:
            found |= {f'backbone.{own}': each for own, each in found.items() if own}
        if name not in found or not name:
            near = difflib.get_close_matches(name, found, n=5, cutoff=0.5) or list(found)[1:6]
            raise InputError(f'{self.name} has no module {name!r}; others are {", ".join(near)}.')
        return found[name]

    def _pipeline(self, annotated: bool, with_mask: bool) -> Compose:
        if self.cfg is None:
            return Compose([dict(type='LoadImageFromFile'), dict(type='ResizedCenterCrop', size=SIDE), _PACK])
        steps = [dict(step) for step in test_dataset(self.cfg)['pipeline'] if type_name(step) != 'LoadAnnotations']
        if self.kind == DETECTOR and annotated:
            at = next((i for i, step in enumerate(steps) if type_name(step) in _LOADERS), -1) + 1
            # Before the image is resized, so that annotations are resized with it; MMDetection's own test pipelines
            # load them afterwards.
            steps.insert(at, dict(type='LoadAnnotations', with_bbox=True, with_mask=with_mask))
        return Compose(steps)


def _packed(pipeline: Compose, sample: Any) -> dict[str, Any]:
    try:
        return pipeline(copy.deepcopy(sample.info))
    except InputError as error:  # of the reader, who speaks of a data set
        if 'instances' in sample.info or 'label' in sample.info:
            raise
        raise InputError(f'{str(error).partition(";")[0]}; give another picture.') from None


def has_masks(model: nn.Module) -> bool:
    """Whether a detector learns masks."""
    return bool(getattr(getattr(model, 'roi_head', None), 'with_mask', False) or getattr(model, 'mask_head', None))


def test_dataset(cfg: Config) -> dict[str, Any]:
    """Config of the first test data set that has a pipeline.

    Raises:
        InputError: If there is none.
    """
    found = [each for each in datasets(cfg, ('test', 'val')) if each.get('pipeline')]
    if not found:
        raise InputError('The config has no test_dataloader with a pipeline, which prepares pictures; add one.')
    return found[0]


def load(words: Sequence[Sequence[str]], names: Sequence[str], args: argparse.Namespace) -> list[Subject]:
    """Load models.

    Args:
        words: For each model its config's path, ``mmhybrid::NAME`` or a backbone's name, and perhaps a checkpoint.
        names: What they are called; by default their configs' or backbones' names.
        args: ``device``, ``seed`` and what :func:`mmhybrid.launch.load_config` reads.

    Raises:
        InputError: If one cannot be made.
    """
    import mmhybrid.registry  # noqa: F401  (registers the classes)

    init_default_scope('mmdet')
    device = device_of(args.device)
    name_unreadable_images()
    words = [(given_config(given) if given.startswith(PREFIX) else given, *checkpoint) for given, *checkpoint in words]
    for _, *checkpoint in words:
        for path in checkpoint:
            launch.check_checkpoint(path)
    names = list(names) or _distinct([Path(given).stem for given, *_ in words])
    with contextlib.redirect_stdout(sys.stderr):  # MMEngine and pycocotools print what they read
        return [_load(name, *each, args=args, device=device) for name, each in zip(names, words, strict=True)]


def _load(name: str, given: str, checkpoint: str | None = None, *, args: argparse.Namespace, device: str) -> Subject:
    torch.manual_seed(args.seed)  # of values that no checkpoint gives
    if not given.lower().endswith(_CONFIGS):
        if given not in list_backbones():
            raise InputError(
                f'{given} is neither a config file (.py), nor {PREFIX}NAME, nor the name of a backbone; mmhybrid '
                'models lists these.'
            )
        backbone = create_backbone(given, checkpoint)
        if checkpoint is not None:
            _check_finite(backbone, checkpoint)
        return Subject(name, given, checkpoint, BACKBONE, backbone, (), device)
    options = argparse.Namespace(**{**vars(args), 'config': given, 'cfg_options': copy.deepcopy(args.cfg_options)})
    cfg = launch.load_config(options)
    if cfg.get('model') is None:
        raise InputError(f'{given} has no model = dict(...), so there is nothing to look at.')
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    check_neck(model)
    kind = CLASSIFIER if variables.concerns(cfg) else DETECTOR
    if kind == DETECTOR and not hasattr(model, 'backbone'):
        raise InputError(f'{given}: {type(model).__name__} has no backbone, and cannot be looked at here.')
    classes: Any = None
    if checkpoint is None:
        try:
            with quiet():
                model.init_weights()
        except Exception as error:  # of whatever kind: it is another for each way to get weights
            raise InputError(
                f'{given}: no checkpoint was given, and the initial weights that the config names cannot be had '
                f'({short(message(error), 100)}); give a checkpoint, or --cfg-options model.backbone.init_cfg=None for '
                'random values.'
            ) from None
    else:
        loaded = load_checkpoint(model, checkpoint, map_location='cpu')
        LoadedWeightsHook(allowed_missing(cfg)).check(model)
        _check_finite(model, checkpoint)
        meta = (loaded.get('meta') or {}) if isinstance(loaded, Mapping) else {}
        about = {str(key).lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
        classes = about.get('classes') or meta.get('CLASSES')
    if classes is None and kind == DETECTOR:
        classes = DATASETS.build({**test_dataset(cfg), 'lazy_init': True}).metainfo.get('classes')
    classes = (classes,) if isinstance(classes, str) else tuple(classes or ())
    return Subject(name, given, checkpoint, kind, model, classes, device, cfg)


def _check_finite(model: nn.Module, checkpoint: str) -> None:
    state = model.state_dict()
    broken = [name for name, each in state.items() if each.is_floating_point() and not each.isfinite().all()]
    if broken:
        raise InputError(
            f'{checkpoint}: {len(broken)} of {len(state)} tensors hold NaN or infinity, the first is {broken[0]}, so '
            'nothing can be told of it; give another checkpoint.'
        )


def _distinct(names: Sequence[str]) -> list[str]:
    taken: list[str] = []
    for name in names:
        number = 1 + sum(each == name or each.startswith(f'{name} (') for each in taken)
        taken.append(name if number == 1 else f'{name} ({number})')
    return taken
