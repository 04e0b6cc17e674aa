"""Checkpoints that a crash cannot lose and from which a run goes on exactly."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook
from mmengine.runner import Runner

from mmhybrid.checkpoints import files
from mmhybrid.errors import InputError

from . import resuming
from .exact_run import ExactRun
from .saving import BACKEND, LaterRemoval, plain
from .stopping import Stopped, StopRequests
from .workers import tend_workers


@HOOKS.register_module()
class ResumableCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, whose options it takes, with three promises.

    - *A crash loses nothing.* A checkpoint is written to a temporary file beside its target, synced and renamed, and
      only then an older one is removed. Each entry of the file has its checksum. ``last_checkpoint`` names the newest
      by a relative path. ``resume`` takes the newest one that is intact, and says why not a newer one.
    - *Stopping is safe.* After SIGTERM or SIGINT the run saves ``interrupted.pth`` at the end of the iteration and ends
      with exit status 143 or 130; the next regular checkpoint replaces that file. A second signal ends it at once.
    - *Resuming is exact.* A checkpoint has the random states of every process, and every batch is drawn by (seed, rank,
      epoch, number), so a resumed run goes on as the unbroken one would have, also within an epoch, and whatever the
      number of workers. A config that changed in between is compared; see ``resume_checks``.

    A checkpoint holds tensors and Python's own types only, so that any weights-only reader takes it.

    Raises:
        InputError: If no checkpoint to resume from is intact, if it cannot be continued with this config, or if one
            cannot be written.
        Stopped: After a signal.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._exact = ExactRun()
        self._requests = StopRequests()
        self._later: LaterRemoval | None = None
        self._saved_at: int | None = None
        self._states: list[Any] = []

    def before_run(self, runner: Runner) -> None:
        """Choose what to resume from."""
        # MMEngine reads the pointer when all hooks have had their turn, and has no public way to be told.
        if not runner._resume or runner._load_from is not None:
            return
        folders = [runner.work_dir, self._folder(runner)]
        found = [resuming.find(folders, self._template) if is_main_process() else None]
        broadcast_object_list(found)
        if found[0].broken:
            runner.logger.warning(resuming.told(found[0]))
        elif found[0].path is None:
            runner.logger.info(f'There is no checkpoint in {" or ".join(dict.fromkeys(folders))}: the run begins anew.')
        runner._load_from = None if found[0].path is None else str(found[0].path)
        self._exact.follows = True
        # With nothing to resume, MMEngine would still take what the pointer names.
        runner._resume = runner._load_from is not None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check that a run can go on from a checkpoint, and note where."""
        self._exact.take(runner, checkpoint)

    def before_train(self, runner: Runner) -> None:
        """Prepare folders, data and signals."""
        local = '://' not in str(self._folder(runner)) and self.file_client_args is None
        if local and self.backend_args in (None, {'backend': 'local'}):
            self.backend_args = {'backend': BACKEND}
        self._keep_to_own_files(runner)
        super().before_train(runner)
        self._exact.before_train(runner)
        if local and is_main_process():
            left = files.remove_leftovers(self.out_dir)
            left += [path for name in self._exact.superseded if (path := self._leftover(runner, name))]
            for path in left:
                path.unlink(missing_ok=True)
                runner.logger.info(f'Removed {path}, which a run that was killed had left.')
        self._requests.begin()
        self._exact.finish_val(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Go on where the checkpoint was."""
        self._exact.before_train_epoch(runner)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save regularly, or because the run is to stop."""
        self._exact.count()
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        signum = self._requests.agreed()
        if signum is not None and self._exact.can_stop(runner):
            self._stop(runner, signum, runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Save regularly."""
        self._exact.after_train_epoch()
        super().after_train_epoch(runner)

    def before_val(self, runner: Runner) -> None:
        """Keep the random states from the validation."""
        self._exact.before_val()
        if self._exact.training:
            self._states = self._requests.gathered(self._exact.states())

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop within a validation, which is done again when the run goes on."""
        # Without asking other processes, who may have fewer batches; a scheduler tells all of them.
        if self._exact.training and self._requests.signum is not None and self._exact.can_stop(runner):
            self._exact.val_is_due = True
            for hook in runner.hooks:
                if isinstance(hook, EMAHook):  # has its averages in the model
                    hook.after_val_epoch(runner)
            self._stop(runner, self._requests.signum, runner.iter)

    def after_val(self, runner: Runner) -> None:
        """Put the random states back, and stop if that was asked for meanwhile."""
        self._exact.after_val()
        signum = self._requests.agreed() if self._exact.training else None
        if signum is not None and self._exact.can_stop(runner):
            self._stop(runner, signum, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Publish, and give the signals back."""
        super().after_train(runner)
        self._exact.training = False
        self._requests.end()

    def before_test(self, runner: Runner) -> None:
        """Let workers end with this process here, too."""
        tend_workers(runner.test_dataloader)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what an exact continuation needs, as plain data."""
        superseded = [] if self._later is None else self._later.names
        checkpoint['resume'] = self._exact.record(runner, self._states, superseded)
        left_out: list[str] = []
        checkpoint.update({key: plain(value, key, left_out) for key, value in checkpoint.items()})
        if left_out:
            runner.logger.warning(f'Not in the checkpoint, since no plain data: {", ".join(left_out)}.')

    def _stop(self, runner: Runner, signum: int, iteration: int) -> None:
        name = files.INTERRUPTED
        if self._saved_at == iteration and not self._exact.val_is_due:
            name = Path(self.last_ckpt).name
        else:
            if not self._exact.val_is_due:
                self._states = self._requests.gathered(self._exact.states())
            with self._safely(runner, name):
                meta = dict(epoch=runner.epoch, iter=iteration)
                runner.message_hub.update_info('last_ckpt', self.file_backend.join_path(self.out_dir, name))
                runner.save_checkpoint(
                    self.out_dir, name, self.file_client_args, meta=meta, backend_args=self.backend_args
                )
                self._point_to(runner, name)
        self._exact.training = False
        self._requests.end()
        runner.logger.warning(
            f'Stopped by {signal.Signals(signum).name} after iteration {iteration}: {name} in {self.out_dir} has the '
            'run, and --resume goes on there.'
        )
        raise Stopped(signum)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        name = self.filename_tmpl.format(step)
        with self._safely(runner, name):
            self._states = self._requests.gathered(self._exact.states())
            if self._later is not None:
                self._later.remove(str(Path(self.out_dir, files.INTERRUPTED)))
            super()._save_checkpoint_with_step(runner, step, meta)
            self._point_to(runner, name)
            self._saved_at = meta['iter']

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._safely(runner, 'The best checkpoint'):
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _safely(self, runner: Runner, name: str) -> Iterator[None]:
        """Save a file, and remove others only when it is on the disk."""
        if self._later is not None or (self.backend_args or {}).get('backend') != BACKEND:
            yield  # within another one, or a file server that has its own ways
            return
        backend = self.file_backend
        self.file_backend = self._later = LaterRemoval(backend)
        try:
            yield
            if is_main_process():
                self._later.do()
        except OSError as error:
            raise InputError(self._failed(name, error)) from error
        finally:
            self.file_backend, self._later, self._states = backend, None, []

    def _failed(self, name: str, error: OSError) -> str:
        found = resuming.find([self.out_dir], self._template).path
        if found is not None and found.name == name:  # it was, and what follows was not
            name = files.POINTER
        rest = 'no checkpoint of this run is there' if found is None else f'{found.name} is intact'
        return (
            f'{name} could not be written to {self.out_dir} ({error.strerror or error}); {rest}: mend that, for '
            'instance by freeing space, and go on with --resume.'
        )

    def _point_to(self, runner: Runner, name: str) -> None:
        if is_main_process():
            files.write_pointer(runner.work_dir, Path(self.out_dir, name))

    def _folder(self, runner: Runner) -> str:
        """Where checkpoints are, as MMEngine computes it in ``before_train``."""
        if self.out_dir is None or self.out_dir == runner.work_dir:
            return runner.work_dir
        return str(Path(self.out_dir, Path(runner.work_dir).name)) if '://' not in str(self.out_dir) else self.out_dir

    @property
    def _template(self) -> str | None:
        return None if self.filename_tmpl in files.TEMPLATES else self.filename_tmpl

    def _leftover(self, runner: Runner, name: str) -> Path | None:
        path = Path(self.out_dir, Path(name).name)
        ours = files.is_checkpoint(path.name, self._template) or path.name.startswith('best_')
        if not ours or path.suffix != '.pth':
            return None
        return path if path.is_file() and resuming.replaced_by(path, runner._load_from, self._exact.run) else None

    def _keep_to_own_files(self, runner: Runner) -> None:
        """MMEngine removes what the resumed checkpoint names, wherever that is: here only this run's files.

        Those were perhaps moved with the work dir since.
        """
        known = runner.message_hub.runtime_info
        for key in [key for key in known if key.startswith('best_ckpt')]:
            name = Path(str(known[key])).name
            if name.startswith('best_') and name.endswith('.pth'):
                runner.message_hub.update_info(key, str(Path(self._folder(runner), name)))
            else:
                known.pop(key)
        if 'keep_ckpt_ids' in known:
            steps = known['keep_ckpt_ids'] if isinstance(known['keep_ckpt_ids'], list) else []
            runner.message_hub.update_info('keep_ckpt_ids', [step for step in steps if type(step) is int])
