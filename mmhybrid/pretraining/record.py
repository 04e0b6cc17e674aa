"""What a pre-training run tells about itself: in its checkpoints, and in ``accuracy.json`` beside them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmhybrid.checkpoints import loading
from mmhybrid.checkpoints.cards import ACCURACY
from mmhybrid.checkpoints.cards import PRETRAINING as KEY
from mmhybrid.checkpoints.files import write_durably
from mmhybrid.checkpoints.tensor_files import tensors_sha256
from mmhybrid.engine.resume_checks import classes_problem
from mmhybrid.engine.unwrapping import unwrapped
from mmhybrid.errors import InputError

from . import provenance
from .backbones import differing_options
from .folders import check_batch, check_classes

VERSION = 1


@HOOKS.register_module()
class PretrainingHook(Hook):
    """Check that both parts of the data and the classifier have the same classes, and keep what a card needs.

    ``checkpoint['meta']['mmhybrid_pretraining']`` says which backbone was trained on what, how, how long and from which
    beginning, as plain data. The accuracy of an epoch is measured after its checkpoint was written, so it goes into
    ``accuracy.json`` in the work dir: ``{"1": {"top1": 41.2, "top5": 90.1, "weights": "5f0c..."}, ...}``, in percent,
    by finished epoch; ``weights`` is the hash of the model's tensors that were measured, so that nobody takes the
    number for that of others.

    Raises:
        InputError: In ``before_train``, ``before_val`` and ``before_test``, if classes differ, or if there is no batch.
    """

    # Before an EMAHook takes its averages out of the model, which are what was measured.
    priority = 'ABOVE_NORMAL'

    def __init__(self):
        self._training = self._trained = False
        self._classes: Mapping[str, Any] | None = None  # of the weights that were loaded
        self._batches = 0  # of this epoch that are done
        self._began: list[dict[str, Any]] | None = None
        self._earlier: Mapping[str, Any] = {}  # record of the checkpoint that is resumed
        self._commit: str | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Note what a checkpoint tells of its classes and of itself."""
        meta = checkpoint.get('meta')
        meta = meta if isinstance(meta, Mapping) else {}
        self._classes = meta.get('dataset_meta')
        if runner._resume:
            self._earlier = meta.get(KEY) if isinstance(meta.get(KEY), Mapping) else {}
            self._began = self._earlier.get('started_from')
        else:
            file, facts = loading.origin(checkpoint.get('state_dict', checkpoint))
            self._began = [provenance.told(file or str(runner._load_from), facts)]

    def before_train(self, runner: Runner) -> None:
        """Compare the classes, and note what the run begins with."""
        self._training = True
        loader, val = runner.train_loop.dataloader, runner.val_loop
        train_classes = loader.dataset.metainfo.get('classes')
        val_classes = None if val is None else val.dataloader.dataset.metainfo.get('classes')
        if train_classes:
            num_classes = unwrapped(runner.model).head.num_classes
            check_classes(train_classes, val_classes or train_classes, num_classes)
        if not len(loader):
            check_batch(len(loader.dataset), loader.batch_sampler.batch_size, get_world_size())
        if is_main_process():
            if self._began is None and not runner._resume:
                self._began = provenance.beginnings(runner.cfg.model)
            commits = [each for each in (self._earlier.get('commit'), provenance.commit()) if each]
            self._commit = ', '.join(dict.fromkeys(', '.join(commits).split(', '))) or None

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Count the batches of the epoch; a resumed one begins after those that were seen."""
        self._batches = getattr(runner.train_loop.dataloader.batch_sampler, 'skip', 0) + batch_idx + 1

    def after_train_epoch(self, runner: Runner) -> None:
        """Count anew."""
        self._batches = 0

    def after_train(self, runner: Runner) -> None:
        """Write nothing of a validation that comes after the run."""
        self._training, self._trained = False, True

    def before_val(self, runner: Runner) -> None:
        """Compare the classes of the pictures with those of the weights, outside of a training."""
        if not self._training:
            self._check_classes(runner, runner.val_loop.dataloader.dataset.metainfo)

    def before_test(self, runner: Runner) -> None:
        """Compare the classes of the pictures with those of the weights."""
        self._check_classes(runner, runner.test_loop.dataloader.dataset.metainfo)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Add the record of the run."""
        meta = checkpoint['meta']
        made = record(runner, self._epochs(runner, meta), meta['iter'])
        earlier = self._earlier.get('recipe_options')
        if earlier is not None and earlier != made['recipe_options']:
            made['recipe_options'] = {**made['recipe_options'], 'before_resume': earlier}
        meta[KEY] = made | dict(started_from=self._began, commit=self._commit)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Keep an epoch's accuracy, and whose it is."""
        by_epoch = self._training and isinstance(runner.train_loop, EpochBasedTrainLoop)
        found: dict[str, Any] = {
            key.removeprefix('accuracy/'): value for key, value in (metrics or {}).items() if 'accuracy/' in key
        }
        if by_epoch and found and is_main_process():
            path = Path(runner.work_dir, ACCURACY)
            kept = accuracy(path)
            kept[str(runner.epoch)] = found | dict(weights=tensors_sha256(unwrapped(runner.model).state_dict()))
            ordered = {key: kept[key] for key in sorted(kept, key=int)}
            write_durably((json.dumps(ordered, indent=1) + '\n').encode(), path)

    def _check_classes(self, runner: Runner, pictures: Mapping[str, Any]) -> None:
        if classes := pictures.get('classes'):
            check_classes(classes, classes, unwrapped(runner.model).head.num_classes)
        if not self._trained and (problem := classes_problem(self._classes, pictures)):
            raise InputError(
                f'{runner._load_from} was trained on other classes than the folders of these pictures: {problem}; name '
                "the folders as in the training, in whose order the classifier's outputs are."
            )

    def _epochs(self, runner: Runner, meta: Mapping[str, Any]) -> int | float:
        """Epochs that are done at a checkpoint, with the part of one that was interrupted."""
        batches = runner.train_loop.dataloader.batch_sampler
        whole = len(getattr(batches, 'batches', batches))  # a resumed run's sampler has those that are left
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            epochs = meta['epoch'] + self._batches / whole
        else:
            epochs = meta['iter'] / whole
        return int(epochs) if epochs == int(epochs) else round(epochs, 4)


def accuracy(path: Path) -> dict[str, dict[str, Any]]:
    """Read an ``accuracy.json``: accuracies in percent by name, by finished epoch; empty if there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in content.items() if k.isdecimal()} if isinstance(content, dict) else {}


def data_name(root: str | None) -> str | None:
    """Name of a data set's folder, also where it is given as ``'.'``; that of a link, not of what it points to."""
    return Path(os.path.abspath(root)).name or None if root else None  # noqa: PTH100


def record(runner: Runner, epochs: int | float, iterations: int) -> dict[str, Any]:
    """What was trained on what, how, and for how many epochs and iterations."""
    cfg, model = runner.cfg, unwrapped(runner.model)
    backbone, dataset = cfg.model.backbone.to_dict(), runner.train_loop.dataloader.dataset
    name = cfg.get('backbone_name')
    options = None if name is None else differing_options(name, backbone)
    preprocessor = cfg.model.get('data_preprocessor') or {}
    recipe_options = cfg.get('recipe_options') or {}
    return dict(
        version=VERSION,
        variant=None if options is None else name,
        type=backbone['type'],
        options=backbone if options is None else options,
        stem=cfg.model.get('stem', 'backbone'),
        left_out=list(model.changed_by_stem),
        data=data_name(getattr(dataset, 'data_root', None)),
        num_classes=model.head.num_classes,
        train_images=len(dataset),
        image_size=cfg.get('image_size'),
        mean=list(preprocessor.get('mean') or []),
        std=list(preprocessor.get('std') or []),
        recipe=Path(cfg.filename).stem if cfg.filename else None,
        recipe_options=dict(recipe_options),
        epochs=epochs,
        iterations=iterations,
        max_epochs=runner.max_epochs,
        batch_size=cfg.train_dataloader.batch_size * get_world_size(),
        ema=any(isinstance(hook, EMAHook) for hook in runner.hooks),
    )
