"""What is said to come of a change between two runs does, in MMEngine and torch; see resume_checks."""

import copy
import itertools

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmhybrid.engine.resume_checks import (
    classes_problem,
    compare,
    model_problems,
    optimizer_problems,
    plain,
)

NUMBERS = itertools.count()
EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=2)
SGD = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
STEPS = [dict(type='ConstantLR', factor=0.5, end=1), dict(type='MultiStepLR', milestones=[1], gamma=0.1)]


class Images(torch.utils.data.Dataset):
    def __init__(self, classes=('disk', 'ring')):
        self.metainfo = dict(classes=classes)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.ones(2) * index)


class Toy(BaseModel):
    def __init__(self, width=2):
        super().__init__()
        self.linear, self.norm = nn.Linear(2, width), nn.BatchNorm1d(width)

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.norm(self.linear(inputs)).square().mean())


class Peek(Hook):
    """Note a run's state when the training begins, and end it there."""

    def before_train(self, runner):
        groups = runner.optim_wrapper.param_groups
        self.groups = [{k: v for k, v in g.items() if k != 'params'} for g in groups]
        self.schedules = [s.state_dict() for s in runner.param_schedulers or []]
        self.wrapper, self.epoch, self.iter = runner.optim_wrapper, runner.epoch, runner.iter
        self.max_epochs, self.seed = runner.max_epochs, runner.seed
        if runner._resume:
            runner.train_loop.stop_training = True


@pytest.fixture
def trial(tmp_path, monkeypatch):
    """A run of two epochs with some settings, and what a run with others is when it has resumed from epoch 1."""
    monkeypatch.setattr(Runner, '_log_env', lambda self, env_cfg: None)
    monkeypatch.setattr(Runner, 'dump_config', lambda self: None)

    def start(resume=None, model=None, batch_size=2, classes=('disk', 'ring'), **settings):
        peek = Peek()
        sampler = dict(type='DefaultSampler', shuffle=True)
        settings = {'train_cfg': EPOCHS, 'optim_wrapper': SGD, 'param_scheduler': STEPS, **settings}
        runner = Runner(
            model=model or Toy(),
            work_dir=str(tmp_path),
            train_dataloader=dict(
                dataset=Images(classes),
                batch_size=batch_size,
                num_workers=0,
                sampler=sampler,
                collate_fn=dict(type='default_collate'),
            ),
            load_from=resume,
            resume=resume is not None,
            custom_hooks=[peek],
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            experiment_name=f'{tmp_path.name}_{next(NUMBERS)}',
            log_level='ERROR',
            **copy.deepcopy(settings),
        )
        runner.train()
        return peek

    def both(then=None, now=None):
        start(**(then or {}))
        checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
        return start(str(tmp_path / 'epoch_1.pth'), **(now or {})), checkpoint

    return both


def changed(then, now):
    """Differences of two configs that have only some parts."""
    return compare(plain(Config(then)), plain(Config(now)))


def only(**expected):
    return {'refused': [], 'ignored': [], 'inexact': [], **expected}


# What is said to be ignored


def test_the_checkpoints_hyperparameters_are_kept(trial):
    other = dict(optimizer=dict(type='SGD', lr=7.0, momentum=0.5, weight_decay=1e-4, nesterov=True))
    resumed, checkpoint = trial(now=dict(optim_wrapper=other))
    group = checkpoint['optimizer']['param_groups'][0]
    assert resumed.groups[0] == {k: v for k, v in group.items() if k != 'params'}
    assert resumed.groups[0]['lr'] == pytest.approx(0.005)
    found = changed(dict(optim_wrapper=SGD), dict(optim_wrapper=other))
    assert not found.refused and not found.inexact
    assert found.ignored[0] == "optim_wrapper.optimizer.lr was 0.1 and is 7.0 now (the checkpoint's is kept)"
    names = [phrase.split()[0].rpartition('.')[2] for phrase in found.ignored]
    assert names == ['lr', 'momentum', 'weight_decay', 'nesterov']


def test_the_checkpoints_schedules_and_a_new_end_of_the_run(trial):
    longer = dict(train_cfg=dict(EPOCHS, max_epochs=9), param_scheduler=[STEPS[0], dict(STEPS[1], milestones=[6])])
    resumed, _ = trial(now=longer)
    assert resumed.max_epochs == 9
    assert dict(resumed.schedules[1]['milestones']) == {1: 1} and resumed.schedules[1]['end'] == 2
    found = changed(dict(train_cfg=EPOCHS, param_scheduler=STEPS), longer)
    assert found.ignored == ["param_scheduler.1.milestones was [1] and is [6] now (the checkpoint's is kept)"]
    assert found.inexact == [
        'train_cfg.max_epochs was 2 and is 9 now (this config is followed, but the schedules of param_scheduler '
        "stay the checkpoint's)"
    ]


def test_the_checkpoints_seed_is_kept(trial):
    resumed, checkpoint = trial(dict(randomness=dict(seed=5)), dict(randomness=dict(seed=6)))
    assert resumed.seed == checkpoint['meta']['seed'] == 5
    found = changed(dict(randomness=dict(seed=5)), dict(randomness=dict(seed=6, deterministic=True)))
    assert found.ignored == ["randomness.seed was 5 and is 6 now (the checkpoint's is kept)"]
    assert found.inexact == ['randomness.deterministic was not set and is True now (this config is followed)']


def test_the_learning_rate_is_not_scaled_again(trial):
    scaled = dict(auto_scale_lr=dict(enable=True, base_batch_size=1))
    resumed, _ = trial(now=scaled)
    assert resumed.groups[0]['lr'] == pytest.approx(0.005) and resumed.groups[0]['initial_lr'] == 0.1
    found = changed(dict(auto_scale_lr=dict(enable=False, base_batch_size=1)), scaled)
    assert found.ignored == ["auto_scale_lr.enable was False and is True now (the checkpoint's learning rate is kept)"]


def test_within_paramwise_settings_the_checkpoints_values_are_kept(trial):
    def setting(mult):
        return dict(optim_wrapper=dict(SGD, paramwise_cfg=dict(bias_lr_mult=mult)))

    resumed, checkpoint = trial(setting(2.0), setting(9.0))
    assert [g['initial_lr'] for g in resumed.groups][:4] == [0.1, 0.2, 0.1, 0.1]
    assert optimizer_problems(resumed.wrapper, checkpoint['optimizer']) == []
    assert changed(setting(2.0), setting(9.0)).ignored == [
        "optim_wrapper.paramwise_cfg.bias_lr_mult was 2.0 and is 9.0 now (the checkpoint's is kept)"
    ]
    for one in (setting(2.0), setting(9.0)):
        one['optim_wrapper']['constructor'] = 'LearningRateDecayOptimizerConstructor'
    found = vars(changed(setting(2.0), one))  # another constructor may group by anything
    assert [phrase.split()[0] for phrase in found['refused']] == [
        'optim_wrapper.paramwise_cfg.bias_lr_mult',
        'optim_wrapper.constructor',
    ]


# What is said to be refused


def test_schedules_are_paired_silently(trial):
    resumed, checkpoint = trial(now=dict(param_scheduler=STEPS[1:]))
    # The only schedule was given the state of the first one, of another kind.
    assert resumed.schedules[0]['factor'] == checkpoint['param_schedulers'][0]['factor'] == 0.5
    assert changed(dict(param_scheduler=STEPS), dict(param_scheduler=STEPS[1:])).refused == [
        "param_scheduler was ['ConstantLR', 'MultiStepLR'] and is ['MultiStepLR'] now "
        '(the state of a schedule fits only the same kind at the same place)'
    ]


@pytest.mark.parametrize('now', [None, {}, STEPS[::-1], STEPS[0], dict(generator=STEPS)])
def test_other_schedules_are_refused(now):
    assert changed(dict(param_scheduler=STEPS), dict(param_scheduler=now)).refused


def test_another_grouping_of_parameters(trial):
    grouped = dict(optim_wrapper=dict(SGD, paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0)))
    grouped['optim_wrapper']['optimizer'] = dict(SGD['optimizer'], weight_decay=0.1)
    with pytest.raises(ValueError, match='different number of parameter groups'):
        trial(now=grouped)
    assert changed(dict(optim_wrapper=SGD), grouped).refused == [
        "optim_wrapper.paramwise_cfg was not set and is {'norm_decay_mult': 0.0, 'bias_lr_mult': 2.0} now "
        "(the optimizer's state is stored by groups of parameters, which this changes)"
    ]
    assert vars(changed(dict(optim_wrapper=SGD), dict(optim_wrapper=dict(SGD, paramwise_cfg={})))) == only()


def test_another_kind_of_loop():
    now = dict(type='IterBasedTrainLoop', max_iters=100)
    found = changed(dict(train_cfg=dict(by_epoch=True, max_epochs=2)), dict(train_cfg=now))
    assert found.refused == [
        "train_cfg.type was 'EpochBasedTrainLoop' and is 'IterBasedTrainLoop' now (a run cannot change from counting "
        'epochs to counting iterations, or back)'
    ]
    assert vars(changed(dict(train_cfg=dict(by_epoch=True, max_epochs=2)), dict(train_cfg=EPOCHS))) == only()


def test_an_iteration_based_loop_never_steps_schedules_by_epoch(trial):
    resumed, _ = trial(now=dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=9)))
    assert (resumed.epoch, resumed.iter) == (1, 2) and all(s['by_epoch'] for s in resumed.schedules)


def test_other_classes_are_refused(trial):
    _, checkpoint = trial(now=dict(classes=('ring', 'disk')))  # a warning, in MMEngine
    assert classes_problem(checkpoint['meta']['dataset_meta'], Images(('ring', 'disk')).metainfo) == (
        "the classes have another order (class 0 was 'disk' and is 'ring' now)"
    )
    then, now = dict(classes=('disk', 'ring')), dict(classes=['disk', 'ring', 'star'])
    assert (
        classes_problem(then, now) == "the classes were ['disk', 'ring'] (2) and are ['disk', 'ring', 'star'] (3) now"
    )
    assert classes_problem(then, dict(classes=['disk', 'ring'])) is None


# What is said to go on otherwise


def test_what_the_optimizers_wrapper_does_is_the_configs(trial):
    other = dict(optim_wrapper=dict(SGD, accumulative_counts=2, clip_grad=dict(max_norm=1.0)))
    resumed, _ = trial(now=other)
    assert resumed.wrapper._accumulative_counts == 2 and resumed.wrapper.clip_grad_kwargs == dict(max_norm=1.0)
    assert vars(changed(dict(optim_wrapper=dict(SGD, clip_grad=None)), other)) == only(
        inexact=[
            "optim_wrapper.clip_grad was not set and is {'max_norm': 1.0} now (this config is followed)",
            'optim_wrapper.accumulative_counts was not set and is 2 now (this config is followed)',
        ]
    )


def test_with_other_batches_schedules_in_iterations_stay(trial):
    schedule = [dict(type='CosineAnnealingLR', T_max=2, by_epoch=True, convert_to_iter_based=True)]
    resumed, _ = trial(dict(param_scheduler=schedule), dict(param_scheduler=schedule, batch_size=4))
    assert resumed.schedules[0]['T_max'] == 4 and resumed.iter == 2  # of two batches in an epoch, now one
    then, now = (dict(train_dataloader=dict(batch_size=n, num_workers=n)) for n in (2, 4))
    assert vars(changed(then, now)) == only(
        inexact=[
            'train_dataloader.batch_size was 2 and is 4 now (this config is followed, but what is counted in '
            "iterations stays the checkpoint's)"
        ]
    )


# Weights and the optimizer's state


def test_weights_that_do_not_fit_are_counted(trial):
    _, checkpoint = trial(now=dict(model=Toy(), optim_wrapper=SGD))
    state = checkpoint['state_dict']
    state['head.weight'] = state.pop('linear.weight')
    assert model_problems(Toy(width=3), state) == [
        "1 of the model's 7 entries are not in the checkpoint (the first is linear.weight)",
        "1 of the checkpoint's 7 entries are not in the model (the first is head.weight)",
        "5 of the model's entries have another shape in the checkpoint (the first is linear.bias: (2,) in the "
        'checkpoint, (3,) in the model)',
    ]


def test_mmengine_resumes_a_model_that_does_not_fit(trial):
    resumed, checkpoint = trial(now=dict(model=Toy(width=3)))
    assert optimizer_problems(resumed.wrapper, checkpoint['optimizer']) == [
        "4 of the optimizer's moments do not fit (the first is momentum_buffer of parameter 0: (2, 2) for a "
        'parameter of (3, 2))'
    ]
    loss = sum(p.sum() for group in resumed.wrapper.param_groups for p in group['params'])
    with pytest.raises(RuntimeError, match='size'):
        resumed.wrapper.update_params(loss)
