"""Tell at once that a training runs."""

import time

from mmdet.registry import HOOKS
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner


@HOOKS.register_module()
class FirstIterationHook(Hook):
    """Logs how long the first iteration of a run took, and when the next line comes.

    MMEngine's first line comes after ``interval`` iterations, which takes minutes on a CPU or a busy machine.
    """

    priority = 'VERY_LOW'

    def before_train(self, runner: Runner) -> None:
        """Begin to measure: the workers that load the data start in the first iteration, too."""
        self._start = time.monotonic()
        self._told = False

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: object = None, outputs: dict | None = None
    ) -> None:
        """Log, once."""
        if self._told:
            return
        self._told = True
        interval = next((hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)), None)
        runner.logger.info(
            f'Training runs: the first iteration took {time.monotonic() - self._start:.1f} s, '
            f'{runner.max_iters - runner.iter - 1} are left{f"; a line follows every {interval}" if interval else ""}.'
        )
