"""What makes a resumed run go on as the unbroken one would have: the same batches, random states and position."""

import secrets
from collections.abc import Mapping
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop, Runner

from mmhybrid.errors import InputError

from . import record as records
from . import resume_checks, resuming
from .exact_data import EndlessBatches, NumberedBatches, begin_anew, with_numbered_batches
from .random_states import random_states, restore_random_states
from .saving import histories
from .unwrapping import unwrapped
from .workers import tend_workers


class ExactRun:
    """The part of a run's state that MMEngine leaves out of its checkpoints.

    Attributes:
        training: Whether a training is under way.
        val_is_due: Whether the validation at this point is still to be done.
        follows: Whether a run goes on from its own newest checkpoint, not from one that a user named.
        run: Of which line of descent checkpoints are: another one where a run begins or is taken back.
        superseded: Names of files that a checkpoint replaced and a crash may have left.
    """

    def __init__(self):
        self.training = self.val_is_due = False
        self.follows = False
        self.run = secrets.token_hex(8)
        self.superseded: list[str] = []
        self._batch = self._first = 0
        self._batches: NumberedBatches | None = None
        self._endless: EndlessBatches | None = None
        self._sampler_seed: int | None = None
        self._resumed: Mapping[str, Any] | None = None
        self._pending: Mapping[str, Any] | None = None
        self._states_before_val: dict[str, Any] | None = None

    def take(self, runner: Runner, checkpoint: dict) -> None:
        """Note what a checkpoint tells, before MMEngine loads it.

        Raises:
            InputError: If the run cannot go on from it.
        """
        record = checkpoint.pop('resume', None)
        hub = checkpoint.get('message_hub')
        if isinstance(hub, dict) and 'log_scalars' in hub:
            hub['log_scalars'] = histories(hub['log_scalars'])
        if not runner._resume:
            return
        resuming.require_run(checkpoint, _source(runner))
        if part := records.problem(checkpoint if record is None else {**checkpoint, 'resume': record}):
            raise InputError(
                f'{_source(runner)} is not resumed, because its {part} is none: give another checkpoint of the run.'
            )
        record = record if record is not None and record['version'] == records.VERSION else {}
        _check(runner, checkpoint, record)
        if len(record.get('random_states', [])) < get_world_size():
            runner.logger.warning(
                'The checkpoint has no random states for each process: the run goes on, but not exactly as the '
                'unbroken one would have.'
            )
        if self.follows and 'run' in record:
            self.run = record['run']
        self._resumed = record

    def before_train(self, runner: Runner) -> None:
        """Number the batches and go to where the checkpoint was."""
        loop, record = runner.train_loop, self._resumed or {}
        self.val_is_due = False
        self._pending, self._resumed = record, None
        self.superseded = list(record.get('superseded', []))
        self.training = True
        if runner.val_loop is not None:
            tend_workers(runner.val_loop.dataloader)
        sampler = getattr(loop.dataloader.batch_sampler, 'sampler', None)
        seed = getattr(sampler, 'seed', runner.seed) if record.get('sampler_seed') is None else record['sampler_seed']
        loader = with_numbered_batches(loop.dataloader, seed, get_rank())
        if loader is None:
            runner.logger.warning('The training data are iterated, so a resumed run sees them from their beginning.')
            return
        self._sampler_seed, self._batches = seed, loader.batch_sampler
        loop.dataloader = loader
        begin_anew(loader, seed)
        if isinstance(loop, IterBasedTrainLoop):
            same = (record.get('batches'), record.get('world_size')) == (len(self._batches.batches), get_world_size())
            position = tuple(record['position']) if same and record.get('position') else None
            self._endless = EndlessBatches(loader, loop, position)
            loop.dataloader_iterator = self._endless
        else:
            self._first = self._position(runner, record)

    def finish_val(self, runner: Runner) -> None:
        """Do a validation that was interrupted."""
        if self._pending and self._pending.get('val_is_due') and runner.val_loop is not None:
            runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Skip the batches that were seen, and go on with the random states that were."""
        if self._batches is not None and not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._batches.epoch, self._batches.skip = runner.epoch, self._first
        elif self._batches is not None:
            self._endless.hide()
        self._batch = self._first
        states = (self._pending or {}).get('random_states') or []
        self._pending = None
        if get_rank() < len(states):
            restore_random_states(states[get_rank()])

    def count(self) -> None:
        """Count a batch of this epoch."""
        self._batch += 1

    def after_train_epoch(self) -> None:
        """Begin the next epoch at its beginning."""
        self._batch = self._first = 0
        if self._batches is not None:
            self._batches.skip = 0

    def before_val(self) -> None:
        """Keep the random states."""
        self._states_before_val = random_states()

    def after_val(self) -> None:
        """Put them back: a run goes on as if there had been no validation."""
        if self._states_before_val is not None:
            restore_random_states(self._states_before_val)
        self._states_before_val = None

    def states(self) -> dict[str, Any]:
        """The random states with which this process goes on."""
        pending = (self._pending or {}).get('random_states') or []
        if get_rank() < len(pending):  # those of the checkpoint, before the first iteration
            return pending[get_rank()]
        return self._states_before_val or random_states()

    def can_stop(self, runner: Runner) -> bool:
        """Whether no gradients are being accumulated, which a checkpoint does not hold."""
        optim = runner.optim_wrapper
        return all(one.should_update() for one in (optim.values() if isinstance(optim, OptimWrapperDict) else [optim]))

    def record(self, runner: Runner, states: list[Any], superseded: list[str]) -> dict[str, Any]:
        """What a checkpoint needs besides MMEngine's own entries."""
        batches = None if self._batches is None else len(self._batches.batches)
        return {
            'version': records.VERSION,
            'run': self.run,
            'random_states': states,
            'batch': self._batch,
            'batches': batches,
            'position': None if self._endless is None else list(self._endless.position),
            'world_size': get_world_size(),
            'sampler_seed': self._sampler_seed,
            'val_is_due': self.val_is_due,
            'superseded': superseded,
            'config': resume_checks.plain(runner.cfg),
        }

    def _position(self, runner: Runner, record: Mapping[str, Any]) -> int:
        """How many batches of the epoch were seen."""
        batch, now = record.get('batch') or 0, (len(self._batches.batches), get_world_size())
        if not batch or (record.get('batches'), record.get('world_size')) == now:
            return batch
        runner.logger.warning(
            f'The checkpoint was made after {batch} of {record.get("batches")} batches of an epoch, which now has '
            f'{now[0]} in each of {now[1]} processes: the epoch begins again.'
        )
        runner.train_loop._iter = runner.epoch * now[0]
        return 0


def _check(runner: Runner, checkpoint: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    meta = checkpoint['meta']
    model = unwrapped(runner.model)
    refused = resume_checks.model_problems(model, checkpoint.get('state_dict', {}))
    dataset = getattr(runner.train_dataloader, 'dataset', None)
    if problem := resume_checks.classes_problem(meta.get('dataset_meta'), getattr(dataset, 'metainfo', None)):
        refused.append(problem)
    differences = resume_checks.compare(record.get('config') or {}, resume_checks.plain(runner.cfg))
    if refused:  # what made the model another one
        refused += [phrase for phrase in differences.inexact if phrase.startswith('model.')]
    refused += differences.refused
    if not refused and 'optimizer' in checkpoint and isinstance(runner.optim_wrapper, OptimWrapper | OptimWrapperDict):
        refused += resume_checks.optimizer_problems(runner.optim_wrapper, checkpoint['optimizer'])
    if refused:
        raise InputError(
            f'{_source(runner)} cannot be continued with this config: {"; ".join(refused)}. Undo the change, or start '
            'a new run with another --work-dir.'
        )
    inexact = list(differences.inexact)
    for key, what in (('optimizer', 'the optimizer'), ('param_schedulers', 'the schedules')):
        if key not in checkpoint and not (key == 'param_schedulers' and runner.param_schedulers is None):
            inexact.append(f'the checkpoint has no state of {what}')
    if record.get('world_size') not in (None, get_world_size()):
        inexact.append(f'{record["world_size"]} processes then and {get_world_size()} now')
    if differences.ignored:
        runner.logger.warning(f'Ignored in this config, since the run is resumed: {"; ".join(differences.ignored)}.')
    if inexact:
        runner.logger.warning(f'Not as the unbroken run would have gone on: {"; ".join(inexact)}.')


def _source(runner: Runner) -> str:
    return str(runner._load_from or 'The checkpoint')
