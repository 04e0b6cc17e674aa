"""What a pre-training run tells about itself: in its checkpoints, and in ``accuracy.json`` beside them."""

import json
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmhybrid.checkpoints.files import write_durably
from mmhybrid.engine.unwrapping import unwrapped

from .backbones import differing_options
from .folders import check_classes

KEY = 'mmhybrid_pretraining'
ACCURACY = 'accuracy.json'
VERSION = 1


@HOOKS.register_module()
class PretrainingHook(Hook):
    """Check that both parts of the data and the classifier have the same classes, and keep what a card needs.

    ``checkpoint['meta']['mmhybrid_pretraining']`` says which backbone was trained on what, how and how long, as plain
    data. The accuracy of an epoch is measured after its checkpoint was written, so it goes into ``accuracy.json`` in
    the work dir: ``{"1": {"top1": 41.2, "top5": 90.1}, ...}``, in percent, by finished epoch.

    Raises:
        InputError: In ``before_train``, if classes differ.
    """

    def __init__(self):
        self._training = False

    def before_train(self, runner: Runner) -> None:
        """Compare the classes."""
        self._training = True
        val = runner.val_loop
        train_classes = runner.train_loop.dataloader.dataset.metainfo.get('classes')
        val_classes = None if val is None else val.dataloader.dataset.metainfo.get('classes')
        if train_classes:
            num_classes = unwrapped(runner.model).head.num_classes
            check_classes(train_classes, val_classes or train_classes, num_classes)

    def after_train(self, runner: Runner) -> None:
        """Write nothing of a validation that comes after the run."""
        self._training = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the record of the run."""
        checkpoint['meta'][KEY] = record(runner, checkpoint['meta']['epoch'])

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep an epoch's accuracy."""
        by_epoch = self._training and isinstance(runner.train_loop, EpochBasedTrainLoop)
        found = {key.removeprefix('accuracy/'): value for key, value in (metrics or {}).items() if 'accuracy/' in key}
        if by_epoch and found and is_main_process():
            path = Path(runner.work_dir, ACCURACY)
            kept = accuracy(path)
            kept[str(runner.epoch)] = found
            ordered = {key: kept[key] for key in sorted(kept, key=int)}
            write_durably((json.dumps(ordered, indent=1) + '\n').encode(), path)


def accuracy(path: Path) -> dict[str, dict[str, float]]:
    """Read an ``accuracy.json``: accuracies in percent by name, by finished epoch; empty if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in content.items() if k.isdecimal()} if isinstance(content, dict) else {}


def record(runner: Runner, epochs: int) -> dict[str, Any]:
    """What was trained on what, how, and for how many epochs."""
    cfg, model = runner.cfg, unwrapped(runner.model)
    backbone, dataset = cfg.model.backbone.to_dict(), runner.train_loop.dataloader.dataset
    name = cfg.get('backbone_name')
    options = None if name is None else differing_options(name, backbone)
    preprocessor = cfg.model.get('data_preprocessor') or {}
    return dict(
        version=VERSION,
        variant=None if options is None else name,
        type=backbone['type'],
        options=backbone if options is None else options,
        stem=cfg.model.get('stem', 'backbone'),
        left_out=list(model.changed_by_stem),
        data=Path(getattr(dataset, 'data_root', None) or '').name,
        num_classes=model.head.num_classes,
        train_images=len(dataset),
        image_size=cfg.get('image_size'),
        mean=list(preprocessor.get('mean') or []),
        std=list(preprocessor.get('std') or []),
        recipe=Path(cfg.filename).stem if cfg.filename else None,
        epochs=epochs,
        max_epochs=runner.max_epochs,
        batch_size=cfg.train_dataloader.batch_size * get_world_size(),
        ema=any(isinstance(hook, EMAHook) for hook in runner.hooks),
    )
