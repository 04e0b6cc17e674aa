"""Stop at, or skip, a loss that is no number."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor

from mmhybrid.checkpoints import loading
from mmhybrid.errors import InputError

from .snapshot import images_of, save_batch
from .stopping import Agreement
from .unwrapping import unwrapped

STOP, SKIP = 'stop', 'skip'


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Look at each iteration's loss before it changes the weights.

    MMEngine trains on with an infinite or NaN loss to the end, and keeps a checkpoint of NaNs in place of good ones.
    Here such a loss reaches no weight. With several processes, all do what one of them has to.

    - ``'stop'`` ends the run with the iteration, the losses and the images. The checkpoints stay as they are, and the
      batch is kept in ``WORK_DIR/nonfinite_iter_N.pth`` (see :func:`~mmhybrid.engine.snapshot.save_batch`).
    - ``'skip'`` tells the same and goes on without the batch, as if it had not been: the statistics of norms, too,
      are put back. While gradients are accumulated, the step loses all of its batches if the last one is skipped. After
      ``max_in_a_row`` of them the run is stopped.

    Weights that are not finite, as after gradients that overflow, are in no checkpoint either: the run stops before
    they are saved.

    Args:
        on_nonfinite: ``'stop'`` or ``'skip'``.
        max_in_a_row: How many batches may be skipped one after the other.

    Raises:
        InputError: To stop.
    """

    def __init__(self, on_nonfinite: str = STOP, max_in_a_row: int = 20):
        if on_nonfinite not in (STOP, SKIP):
            raise InputError(f'on_nonfinite={on_nonfinite!r}: choose {STOP!r} or {SKIP!r}.')
        self._skips, self._max_in_a_row = on_nonfinite == SKIP, max_in_a_row
        self._in_a_row, self._looked_at, self._skipped_at = 0, -1, -1
        self._losses: Mapping[str, Any] = {}
        self._batch: Any = None
        self._buffers: list[tuple[Tensor, Tensor]] = []
        self._agreement = Agreement()
        self._restore: list[Callable[[], None]] = []

    def before_train(self, runner: Runner) -> None:
        """Look at losses from here on."""
        self._agreement.begin()
        model, optim = unwrapped(runner.model), runner.optim_wrapper
        if isinstance(optim, OptimWrapper) and hasattr(model, 'parse_losses'):
            # What lies between the losses and the weights; MMEngine has no hook there.
            update, parse = optim.update_params, model.parse_losses
            optim.update_params = partial(self._update, runner, update)
            model.parse_losses = partial(self._parse, parse)
            self._restore = [lambda: vars(optim).pop('update_params'), lambda: vars(model).pop('parse_losses')]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Note the batch, and what a skipped one must not change."""
        self._batch = data_batch
        if self._skips:
            self._buffers = [(buffer, buffer.detach().clone()) for buffer in runner.model.buffers()]

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Look at the loss of a model that updates its weights in its own way."""
        if self._looked_at != runner.iter and isinstance(outputs, Mapping):
            bad = any(not _is_finite(value) for name, value in outputs.items() if 'loss' in name)
            if self._agreement.largest(bad):
                self._losses = outputs
                self._stop(runner, bad, 'its weights are lost, those of the last checkpoint are not')
        elif self._skipped_at == runner.iter and isinstance(outputs, Mapping):
            _leave_out_of_means(runner, outputs)
        self._batch = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep weights that are not finite from replacing good ones."""
        weights = {**checkpoint.get('ema_state_dict', {}), **checkpoint.get('state_dict', {})}
        bad = [name for name, value in weights.items() if not _is_finite(value)]
        if bad:
            raise InputError(
                f'{len(bad)} tensors of the model are not finite after iteration {checkpoint["meta"]["iter"]} '
                f'({loading.shortened(bad)}), so it is not saved, and the checkpoints are those before: lower the '
                'learning rate or clip gradients (optim_wrapper.clip_grad).'
            )

    def after_train(self, runner: Runner) -> None:
        """Leave everything as it was."""
        for restore in self._restore:
            restore()
        self._restore, self._buffers = [], []
        self._agreement.end()

    def _parse(self, parse: Callable, losses: Mapping[str, Any]) -> Any:
        total, self._losses = parse(losses)
        return total, self._losses

    def _update(self, runner: Runner, update: Callable, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        bad, self._looked_at = not _is_finite(loss), runner.iter
        if not self._agreement.largest(bad):
            return update(loss, *args, **kwargs)
        return self._skip(runner, bad) if self._skips else self._stop(runner, bad, 'it has changed no weight')

    def _skip(self, runner: Runner, bad: bool) -> None:
        optim, info = runner.optim_wrapper, runner.message_hub
        count = int(info.runtime_info.get('nonfinite_skipped') or 0) + 1
        info.update_info('nonfinite_skipped', count)
        self._in_a_row = self._in_a_row + 1 if self._skipped_at == runner.iter - 1 else 1
        self._skipped_at = runner.iter
        if self._in_a_row > self._max_in_a_row:
            self._stop(runner, bad, f'there were {self._in_a_row} in a row')
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
        optim._inner_count += 1  # as a backward pass does
        if optim.should_update():
            optim.zero_grad()
        if bad:
            runner.logger.warning(f'{self._what(runner)} Skipped; {count} so far.')

    def _stop(self, runner: Runner, bad: bool, so: str) -> None:
        if not bad:  # another process tells, and this one's end might end it
            self._agreement.largest(0)
            raise SystemExit(2)
        try:
            said = self._kept(runner, so)
            if _several():  # the end of another one may end this one before it tells
                runner.logger.error(said)
        finally:
            self._agreement.largest(0)
        raise InputError(said)

    def _kept(self, runner: Runner, so: str) -> str:
        name = f'nonfinite_iter_{runner.iter + 1}{f"_rank{get_rank()}" if get_rank() else ""}.pth'
        path = Path(runner.work_dir, name)
        try:
            save_batch(path, self._batch, self._losses, runner.iter + 1)
            kept = f'the batch is in {path}'
        except OSError as error:
            kept = f'the batch could not be kept in {path} ({error.strerror or error})'
        return (
            f'{self._what(runner)} The run is stopped: {so}, the checkpoints are those before, and {kept}. Look at '
            'these images (mmhybrid data check), lower the learning rate or clip gradients (optim_wrapper.clip_grad), '
            'or go on without such batches (--on-nonfinite skip).'
        )

    def _what(self, runner: Runner) -> str:
        losses = ', '.join(f'{name} {_number(value)}' for name, value in self._losses.items())
        images = ', '.join(images_of(self._batch)) or 'that tell no id'
        rank = f' of process {get_rank()}' if _several() else ''
        return f'The loss of iteration {runner.iter + 1}{rank} is not finite ({losses}) with the images {images}.'


def _leave_out_of_means(runner: Runner, outputs: Mapping[str, Any]) -> None:
    """Put the value before a skipped batch's into the log, whose means it would make NaN for many iterations."""
    for name in outputs:
        history = runner.message_hub.log_scalars.get(f'train/{name}')
        if history is not None and len(history.data[0]) > 1:
            history.data[0][-1] = history.data[0][-2]


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _is_finite(value: Any) -> bool:
    if not isinstance(value, Tensor):
        return True
    return not value.is_floating_point() or bool(torch.isfinite(value.detach()).all())


def _number(value: Any) -> str:
    return f'{value.item():.4g}' if isinstance(value, Tensor) and value.numel() == 1 else str(value)
