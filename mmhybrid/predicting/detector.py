"""MMDetection's ``DetInferencer`` with the names of the config's classes, the checks of a test, and batches of ours."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from mmdet.apis import DetInferencer
from mmdet.models import RPN, MaskFormer, TwoStagePanopticSegmentor
from mmdet.registry import DATASETS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch import nn

from mmhybrid.checkpoints.loading import shortened
from mmhybrid.config_options import datasets
from mmhybrid.datasets.check.configs import heads_of_model
from mmhybrid.early_checks import check_neck, name_unreadable_images
from mmhybrid.engine import LoadedWeightsHook
from mmhybrid.errors import InputError
from mmhybrid.fusing import fuse
from mmhybrid.guards import allowed_missing, type_name
from mmhybrid.origins import message, short

from .pictures import Picture

_LOADERS = ('LoadImageFromFile', 'LoadImageFromNDArray', 'InferencerLoader')


class Detector(DetInferencer):
    """A detector with its weights.

    Its classes are those that the checkpoint says it was trained for, or the config's. Weights may be missing where the
    config's :class:`~mmhybrid.engine.LoadedWeightsHook` allows it.

    Args:
        cfg: The config; it is not changed.
        checkpoint: File or URL.
        device: Such as ``'cpu'`` or ``'cuda:0'``.
        fused: Fold batch norms.

    Raises:
        InputError: If the config has no test data set, or the weights do not fit.
    """

    def __init__(self, cfg: Config, checkpoint: str, device: str, fused: bool = False):
        cfg = _for_inference(cfg)
        name_unreadable_images()
        with warnings.catch_warnings():
            # Of colours that are chosen at random, and of a visualizer that saves nothing by itself.
            warnings.filterwarnings('ignore', category=UserWarning)
            super().__init__(cfg, checkpoint, device, cfg.get('default_scope') or 'mmdet', show_progress=False)
        LoadedWeightsHook(allowed_missing(cfg)).check(self.model)
        check_neck(self.model)
        self.classes = list(self.model.dataset_meta['classes'])
        if fused:
            self.model = fuse(self.model)

    def check_classes(self) -> None:
        """Look whether its heads have as many classes as are named.

        Raises:
            InputError: If not.
        """
        for name, number in heads_of_model(self.model).items():
            if number != len(self.classes):
                raise InputError(
                    f'{name} has {number} classes, and {len(self.classes)} are named, {shortened(self.classes)}: '
                    'name those of the detector, e.g. with metainfo=dict(classes=...) of the test data set.'
                )

    def _load_weights_to_model(self, model: nn.Module, checkpoint: Mapping[str, Any], cfg: Config) -> None:
        # MMDetection's takes COCO's classes where a checkpoint has none, as one of weights alone.
        checkpoint = dict(checkpoint) if 'state_dict' in checkpoint else dict(state_dict=checkpoint)
        meta = dict(checkpoint.get('meta') or {})
        about = {str(key).lower(): value for key, value in (meta.get('dataset_meta') or {}).items()}
        classes = about.get('classes') or meta.get('CLASSES') or _classes(cfg)
        # A tuple of one name lacks its comma easily.
        meta['dataset_meta'] = {**about, 'classes': [classes] if isinstance(classes, str) else list(classes)}
        super()._load_weights_to_model(model, {**checkpoint, 'meta': meta}, cfg)

    def _init_collate(self, cfg: Config) -> Callable:
        # What MMEngine takes where a config says nothing, without its warning that it found nothing.
        return super()._init_collate(cfg) if 'collate_fn' in cfg.test_dataloader else pseudo_collate

    def predict(
        self, pictures: Iterable[Picture], batch_size: int, failed: list[str]
    ) -> Iterator[tuple[Picture, DetDataSample]]:
        """Detect on pictures, some at a time; those of a batch are padded to the largest of them.

        Args:
            pictures: The pictures, in order.
            batch_size: How many at a time.
            failed: Gets a sentence for each picture that cannot be read.

        Yields:
            A picture and what was found on it.
        """
        batch: list[tuple[Picture, Any]] = []
        for picture in pictures:
            try:
                batch.append((picture, self.pipeline(picture.image)))
            except InputError as error:  # of the reader alone: any other mistake would be every picture's
                failed.append(f'{str(error).partition(";")[0]}.')
            if len(batch) == batch_size:
                yield from self._detect(batch)
                batch = []
        if batch:
            yield from self._detect(batch)

    def _detect(self, batch: list[tuple[Picture, Any]]) -> Iterator[tuple[Picture, DetDataSample]]:
        samples = self.forward(self.collate_fn([inputs for _, inputs in batch]))
        if not all('pred_instances' in sample and 'bboxes' in sample.pred_instances for sample in samples):
            raise InputError(f'{type(self.model).__name__} gives no boxes with classes, and is not supported.')
        yield from zip((picture for picture, _ in batch), samples, strict=True)


def require_boxes(cfg: Config) -> None:
    """Look whether a detector gives boxes with classes, before it is made.

    Raises:
        InputError: If it is known to give something else.
    """
    model = cfg.get('model') or {}
    kind = MODELS.get(model.get('type')) if isinstance(model.get('type'), str) else model.get('type')
    bases = getattr(kind, '__mro__', ())
    found = 'regions' if RPN in bases else None
    if TwoStagePanopticSegmentor in bases or (
        MaskFormer in bases and not (model.get('test_cfg') or {}).get('instance_on', False)
    ):
        found = 'panoptic segmentations'
    if found is not None:
        raise InputError(
            f'{kind.__name__} gives {found} instead of boxes with classes, and is not supported here; tools/test.py '
            'evaluates it.'
        )


def device_of(name: str) -> str:
    """The device that ``--device`` stands for; ``'auto'`` is a GPU where there is one.

    Raises:
        InputError: If it is not there.
    """
    if name == 'auto':
        return 'cuda:0' if torch.cuda.is_available() else 'cpu'
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f'--device {name} is no device; give cpu, cuda:0, or leave it out.') from None
    if device.type == 'cuda' and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f'--device {name}: this machine has {torch.cuda.device_count()} GPUs; give another, or cpu.')
    try:
        (torch.zeros(1, device=device) + 1).item()
    except Exception as error:  # of whatever kind: it is another for each device
        raise InputError(
            f'--device {name} cannot be used here ({short(message(error), 100)}); give another, or cpu.'
        ) from None
    return name


def _for_inference(cfg: Config) -> Config:
    """A copy with one test data set that has the pipeline, and a visualizer that saves nothing by itself."""
    cfg = copy.deepcopy(cfg)
    found = [each for each in datasets(cfg, ('test',)) if each.get('pipeline')]
    if not found or cfg.get('model') is None:
        missing = 'model' if found else 'test_dataloader with a pipeline, which prepares pictures'
        raise InputError(f'The config has no {missing}; give the config with which the detector was trained.')
    cfg.test_dataloader.dataset = found[0]
    loader = next((step for step in found[0].pipeline if type_name(step) in _LOADERS), None)
    if loader is None:
        raise InputError('The test pipeline of the config has no LoadImageFromFile, which reads the pictures: add it.')
    loader.type = 'LoadImageFromFile'  # the name by which MMDetection's finds it, to read pixels, too
    given = cfg.get('visualizer') or {}
    kind = given.get('type') if given.get('type') not in (None, 'Visualizer') else 'DetLocalVisualizer'
    cfg.visualizer = {**given, 'type': kind, 'vis_backends': None}
    return cfg


def _classes(cfg: Config) -> list[str]:
    classes = DATASETS.build({**cfg.test_dataloader.dataset, 'lazy_init': True}).metainfo.get('classes')
    if classes is None:
        raise InputError('Neither the checkpoint nor the test data set of the config names the classes: give metainfo.')
    return list(classes)
