"""The configs of pre-training, and the variables at their top on the command line."""

from argparse import Namespace
from functools import cache
from pathlib import Path

import mmengine.config.utils
import pytest
import torch
from mmdet.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.optim.scheduler import CosineRestartLR
from mmengine.registry import init_default_scope
from torch import nn

from mmhybrid import launch
from mmhybrid.engine.data_check import check_config_data
from mmhybrid.errors import InputError
from mmhybrid.pretraining.variables import cycles

CONFIGS = sorted((Path(__file__).resolve().parents[2] / 'configs' / 'pretrain').glob('*.py'))
IN1K, CIFAR10 = (next(path for path in CONFIGS if path.stem == name) for name in ('in1k', 'cifar10'))


@pytest.fixture(scope='module', autouse=True)
def quick_to_read():
    """MMEngine reads all of MMDetection's metafiles again for each `mmdet::` in a config."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', cache(mmengine.config.utils.load))
        yield


def load(path, **options):
    options = {key.replace('__', '.'): value for key, value in options.items()}
    return launch.load_config(
        Namespace(
            config=str(path), local_rank=0, cfg_options=options, launcher='none', work_dir=None, allow_missing=None
        )
    )


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_it_builds(path, pictures):
    cfg = load(path)
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    classes = {'in1k': 1000, 'in1k_modern': 1000, 'cifar10': 10, 'cifar100': 100}[path.stem]
    assert model.head.num_classes == model.head.fc.out_features == cfg.num_classes == classes
    assert type(model.backbone).__name__ == ('TiedResNet' if 'in1k' in path.stem else 'HCGNet')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == cfg.data_root
        dataset = DATASETS.build({**loader.dataset, 'data_root': str(pictures)})
        assert dataset[0]['inputs'].shape == (3, cfg.image_size, cfg.image_size)
        assert [name for name in ('RandomFlip', 'RandomResizedCrop') if name in str(loader.dataset.pipeline)] == (
            [] if loader is not cfg.train_dataloader else ['RandomFlip', *['RandomResizedCrop'] * ('in1k' in path.stem)]
        )
    METRICS.build(cfg.val_evaluator)
    assert all(HOOKS.get(hook.type) for hook in cfg.custom_hooks)
    assert all(TRANSFORMS.get(t.type) for t in cfg.train_dataloader.dataset.pipeline)
    optim = build_optim_wrapper(nn.Linear(2, 2), cfg.optim_wrapper).optimizer
    assert type(optim).__name__ == 'SGD' and optim.param_groups[0]['lr'] == 0.1
    assert {hook.type for hook in cfg.custom_hooks} >= {'NonFiniteLossHook', 'LoadedWeightsHook', 'PretrainingHook'}
    assert cfg.default_hooks.checkpoint.type == 'ResumableCheckpointHook'


def test_parts_of_a_schedule_keep_their_shares():
    assert load(IN1K, max_epochs=50).param_scheduler[0].milestones == [15, 30, 45]
    modern = IN1K.with_name('in1k_modern.py')
    assert [(s.begin, s.end) for s in load(modern, max_epochs=40).param_scheduler] == [(0, 2), (2, 40)]
    assert [(s.begin, s.end) for s in load(modern, max_epochs=6).param_scheduler] == [(0, 6)]


def test_there_is_nothing_to_say_of_annotations():
    assert check_config_data(load(CIFAR10)) == []


def test_the_papers_recipe():
    cfg = load(IN1K)
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4)
    assert (cfg.train_dataloader.batch_size, cfg.train_cfg.max_epochs) == (256, 100)
    assert (cfg.param_scheduler[0].milestones, cfg.param_scheduler[0].gamma) == ([30, 60, 90], 0.1)
    assert 'mixing' not in cfg.model and cfg.model.head.to_dict() == dict(num_classes=1000)


def test_a_backbone_is_a_variable():
    cfg = load(CIFAR10, backbone_name='tiedresnet50_s', model__backbone__base_channels=16)
    assert cfg.model.backbone.to_dict() == dict(
        type='TiedResNet', depth=50, base_width=18, norm_eval=False, base_channels=16
    )
    assert cfg.backbone_name == 'tiedresnet50_s'
    with pytest.raises(InputError, match="no backbone 'hcgnet'; did you mean hcgnet"):
        load(CIFAR10, backbone_name='hcgnet')


def test_the_size_is_a_variable():
    cfg = load(CIFAR10, image_size=64)
    pipelines = [cfg[f'{part}_dataloader'].dataset.pipeline for part in ('train', 'val', 'test')]
    assert [[t.size for t in pipeline if 'size' in t] for pipeline in pipelines] == [[64, 64], [64], [64]]
    assert cfg.image_size == 64
    for wrong in (4, '64px', 6.5, True):
        with pytest.raises(InputError, match=r'image_size=.* is no whole number from 8 on'):
            load(CIFAR10, image_size=wrong)


def test_the_classes_are_a_variable():
    cfg = load(IN1K, num_classes=7)
    assert cfg.model.head.num_classes == cfg.num_classes == 7
    with pytest.raises(InputError, match='num_classes=1 is no whole number from 2 on: a classifier needs two classes'):
        load(IN1K, num_classes=1)


def test_the_data_are_a_variable():
    cfg = load(CIFAR10, data_root='/data/mine')
    assert {cfg[f'{part}_dataloader'].dataset.data_root for part in ('train', 'val', 'test')} == {'/data/mine/'}


def test_in_other_configs_these_names_are_no_variables():
    other = next(CIFAR10.parents[1].glob('demo_*.py'))
    assert load(other, max_epochs=7).train_cfg.max_epochs == 3


@pytest.mark.parametrize('epochs', [1, 50])
def test_shorter_runs_have_shorter_schedules(epochs):
    for path in CONFIGS:
        cfg = load(path, max_epochs=epochs)
        assert cfg.train_cfg.max_epochs == cfg.max_epochs == epochs
        ends = {schedule.end for schedule in cfg.param_scheduler}
        assert max(ends) == epochs


@pytest.mark.parametrize(('epochs', 'periods'), [(4, [4]), (30, [10, 20]), (45, [10, 35])])
def test_cycles_end_at_zero(epochs, periods):
    cfg = load(CIFAR10, max_epochs=epochs)
    (schedule,) = cfg.param_scheduler
    assert schedule.periods == periods == cycles([10, 20, 40], epochs)
    options = {k: v for k, v in schedule.items() if k not in ('type', 'convert_to_iter_based')}
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    steps = 8  # in an epoch
    scheduler = CosineRestartLR.build_iter_from_epoch(optimizer, **options, epoch_length=steps)
    rates = []
    for _ in range(epochs * steps):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    starts = [i for i, rate in enumerate(rates) if rate == pytest.approx(0.1)]
    assert starts == [steps * sum(periods[:i]) for i in range(len(periods))]
    assert rates[-1] < 0.1 * 0.01


def test_every_config_begins_with_its_base():
    for path in CONFIGS:
        assert isinstance(Config.fromfile(path), Config)
        code = [line for line in path.read_text().splitlines() if line and not line.startswith('#')]
        assert code[0].startswith('_base_ = ')
