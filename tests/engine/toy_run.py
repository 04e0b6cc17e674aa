"""A toy run: a model with a dropout, vectors that all random generators disturb, and processes of their own."""

import multiprocessing
import os
import random
import signal
import tempfile
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.runner import Runner
from torch import nn

import mmhybrid.registry  # noqa: F401
from mmhybrid.errors import InputError

IMAGES, BATCH = 10, 2


@DATASETS.register_module()
class Numbers(BaseDataset):
    """Vectors, disturbed by all three random generators."""

    def load_data_list(self):
        return [{'number': i, 'width': 1 + i % 3, 'height': 2} for i in range(IMAGES)]

    def prepare_data(self, idx):
        number = self.get_data_info(idx)['number']
        return torch.full((3,), float(number)) + torch.rand(3) + np.random.rand() + random.random()  # noqa: NPY002


@MODELS.register_module()
class Dropped(BaseModel):
    """A linear layer behind a dropout."""

    def __init__(self, dropout=0.5, width=1):
        super().__init__()
        self.layer = nn.Sequential(nn.Dropout(dropout), nn.Linear(3, width))

    def forward(self, *inputs, mode='tensor'):
        out = self.layer(torch.stack(inputs))
        return {'loss': out.square().mean()} if mode == 'loss' else list(out)


@METRICS.register_module()
class Mean(BaseMetric):
    """The mean output, and a draw that a run must not notice."""

    def process(self, data_batch, data_samples):
        torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
        self.results += [float(x) for x in data_samples]

    def compute_metrics(self, results):
        return {'mean': float(np.mean(results))}


class Watch(Hook):
    """Losses by iteration, and a signal after one of them or within a validation."""

    priority = 'HIGHEST'

    def __init__(self, losses, stop_after=None, signum=signal.SIGTERM, in_val=None, times=1, rank=0, of=(0, 1)):
        self.losses, self.stop_after, self.signum, self.in_val = losses, stop_after, signum, in_val
        self.times = times if rank in of else 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses[runner.iter] = float(outputs['loss'])
        if runner.iter + 1 == self.stop_after:
            for _ in range(self.times):
                os.kill(os.getpid(), self.signum)

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.in_val and self.times:
            os.kill(os.getpid(), self.signum)


def config(work_dir, workers=0, by_epoch=True, sampler='DefaultSampler', ratio=False, val=True, **changes):
    loader = dict(
        dataset=dict(type='Numbers', serialize_data=False),
        sampler=dict(type=sampler, shuffle=True),
        batch_size=BATCH,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    train = loader | (dict(batch_sampler=dict(type='AspectRatioBatchSampler')) if ratio else {})
    loop = dict(by_epoch=True, max_epochs=3) if by_epoch else dict(by_epoch=False, max_iters=15, val_interval=4)
    step = dict(type='StepLR', step_size=1, gamma=0.7) if by_epoch else dict(type='StepLR', step_size=4, by_epoch=False)
    cfg = dict(
        model=dict(type='Dropped'),
        work_dir=str(work_dir),
        train_dataloader=train,
        train_cfg=loop,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        param_scheduler=[step],
        default_scope='mmdet',
        default_hooks=dict(
            checkpoint=dict(
                type='ResumableCheckpointHook', interval=1 if by_epoch else 4, by_epoch=by_epoch, max_keep_ckpts=1
            )
        ),
        randomness=dict(seed=3),
        log_level='INFO',
    )
    if val:
        cfg |= dict(val_dataloader=loader | dict(sampler=dict(type='DefaultSampler', shuffle=False)), val_cfg={})
        cfg |= dict(val_evaluator=dict(type='Mean'))
    return Config(cfg | changes)


def run(cfg, resume=False, processes=1, **watch):
    """Train in processes of their own, as a user does.

    Returns:
        Losses by iteration, the exit status as 'exit' if it is not 0, and the sentence of an error as 'problem'; a
        list of these if there are several processes.
    """
    if resume:
        cfg = Config({**cfg.to_dict(), 'resume': True})
    fork = multiprocessing.get_context('fork')
    with tempfile.TemporaryDirectory() as folder:
        jobs = []
        for rank in range(processes):
            receiver, sender = fork.Pipe(duplex=False)
            where = (f'file://{folder}/store', rank, processes)
            process = fork.Process(target=_train, args=(cfg, watch, sender, *(where if processes > 1 else ())))
            process.start()
            sender.close()
            jobs.append((process, receiver))
        outcomes = [_outcome(*job) for job in jobs]
    return outcomes if processes > 1 else outcomes[0]


def _outcome(process, receiver):
    try:
        losses = receiver.recv()
    except EOFError:
        losses = {}
    process.join(60)
    if process.exitcode is None:
        # A process that was forked from one with threads may wait for a lock of theirs when it ends, which no user's
        # does; waiting for workers is another matter.
        assert not Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text(), 'it waits for its workers'
        process.kill()
        process.join()
        return losses
    return losses | ({'exit': process.exitcode} if process.exitcode else {})


def _train(cfg, watch, sender, store=None, rank=0, processes=1):
    losses = {}
    torch.set_num_threads(1)
    if processes > 1:
        torch.distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=processes)
        os.environ['LOCAL_RANK'] = str(rank)
        cfg.launcher = 'pytorch'
        cfg.model_wrapper_cfg = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)
    try:
        runner = Runner.from_cfg(cfg)
        runner.register_hook(Watch(losses, rank=rank, **watch))
        runner.train()
    except InputError as error:
        losses['problem'] = str(error)
    finally:
        sender.send(losses)
