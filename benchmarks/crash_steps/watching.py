"""What a trial's training process tells while it runs: a hook that writes lines to a file of its own."""

import json
import os
import time
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

# Not in the config, which has to be the same in all runs.
LOG = 'CRASH_TRIAL_LOG'


@HOOKS.register_module()
class TrialBegins(Hook):
    """Losses to the bit and the work dir's files, before a checkpoint is saved."""

    priority = 'HIGHEST'

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        losses = {key: float(value).hex() for key, value in outputs.items()}
        _tell(runner, iter=runner.iter + 1, losses=losses)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        _tell(runner, val=batch_idx + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        _tell(runner, measured=runner.iter, metrics={key: float(value).hex() for key, value in metrics.items()})


@HOOKS.register_module()
class TrialSaved(Hook):
    """That a checkpoint has been saved."""

    priority = 'LOWEST'

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if runner.cfg.train_cfg.type == 'IterBasedTrainLoop':
            _tell(runner, saved=runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.cfg.train_cfg.type == 'EpochBasedTrainLoop':
            _tell(runner, saved=runner.iter)


def _tell(runner: Runner, **line: Any) -> None:
    line |= {'time': time.monotonic(), 'files': sorted(path.name for path in Path(runner.work_dir).iterdir())}
    path = f'{os.environ[LOG]}.{get_rank()}'
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, (json.dumps(line) + '\n').encode())
    os.close(descriptor)
