"""Schedules of runs of other lengths, by the learning rates that MMEngine's own schedulers then give."""

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from mmhybrid.pretraining.variables import VARIABLES

from .test_configs import CONFIGS, IN1K, load, quick_to_read  # noqa: F401 (a fixture)

STEPS = 8  # in an epoch
MODERN, CIFAR10 = IN1K.with_name('in1k_modern.py'), IN1K.with_name('cifar10.py')


def rates(schedules, epochs):
    """Learning rate of each step, as MMEngine's runner makes and steps its schedulers."""
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    made = [PARAM_SCHEDULERS.build(s, default_args=dict(optimizer=optimizer, epoch_length=STEPS)) for s in schedules]
    found = []
    for _ in range(epochs):
        for _ in range(STEPS):
            found.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in made:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in made:
            if scheduler.by_epoch:
                scheduler.step()
    return found


def of_length(epochs, *schedules, old=100):
    config = ConfigDict(max_epochs=old, train_cfg=dict(max_epochs=old), param_scheduler=list(schedules))
    VARIABLES['max_epochs'](config, epochs)
    return config.param_scheduler


@pytest.mark.parametrize(
    ('epochs', 'expected'),
    [
        (1, [0.1]),
        (2, [0.1, 0.01]),
        (3, [0.1, 0.01, 0.001]),
        (4, [0.1, 0.01, 0.001, 0.001]),
        (10, [0.1] * 3 + [0.01] * 3 + [0.001] * 3 + [0.0001]),
    ],
)
def test_the_papers_steps_in_short_runs(epochs, expected):
    found = rates(load(IN1K, max_epochs=epochs).param_scheduler, epochs)
    assert found[::STEPS] == pytest.approx(expected)


@pytest.mark.parametrize('epochs', [*range(1, 14), 40])
@pytest.mark.parametrize('path', [MODERN, CIFAR10], ids=lambda path: path.stem)
def test_cosines_begin_high_and_end_at_zero(path, epochs):
    found = rates(load(path, max_epochs=epochs).param_scheduler, epochs)
    assert max(found) == pytest.approx(0.1)
    assert 0 < found[-1] < 0.1 * 0.05
    if path == MODERN:  # up, down, and no more
        top = found.index(max(found))
        assert found == sorted(found[:top]) + sorted(found[top:], reverse=True)
        assert top <= 0.1 * len(found) + STEPS


@pytest.mark.parametrize('epochs', [1, 2, 3, 7, 10, 50, 100, 300])
def test_whatever_the_schedule_it_ends_with_the_run(epochs):
    warm = dict(type='LinearLR', start_factor=0.1, begin=0, end=20, by_epoch=True)
    schedules = [
        [warm, dict(type='CosineAnnealingLR', T_max=80, begin=20, end=100, by_epoch=True, convert_to_iter_based=True)],
        [warm, dict(type='MultiStepLR', begin=20, end=100, by_epoch=True, milestones=[40, 78])],
        [dict(type='OneCycleLR', total_steps=100, eta_max=0.1, by_epoch=True, convert_to_iter_based=True)],
        [dict(type='StepLR', step_size=30, by_epoch=True)],
        [dict(type='PolyLR', power=1, eta_min=0, begin=0, end=100, by_epoch=True, convert_to_iter_based=True)],
        [
            dict(type='CosineAnnealingLR', T_max=90, begin=0, end=90, by_epoch=True, convert_to_iter_based=True),
            dict(type='ConstantLR', factor=1, begin=90, end=100, by_epoch=True),
        ],
        [
            warm,
            dict(type='CosineRestartLR', periods=[10, 70], restart_weights=[1, 1], eta_min=0, begin=20, end=100),
        ],
    ]
    for original in schedules:
        made = of_length(epochs, *(ConfigDict(each) for each in original))
        found = rates(made, epochs)
        assert all(0 <= rate <= 0.1 + 1e-9 for rate in found)
        assert max(each.get('end', epochs) for each in made) == epochs
        for each in made:
            length = each.get('end', epochs) - each.get('begin', 0)
            assert length > 0
            assert each.get('T_max', length) == each.get('total_steps', length) == length
            assert sum(each.get('periods', [length])) == length
            assert all(0 < m < length for m in each.get('milestones', []))
            assert each.get('step_size', 1) >= 1


def test_what_counts_iterations_or_is_alone_stays():
    warm = ConfigDict(type='LinearLR', start_factor=0.1, begin=0, end=500, by_epoch=False)
    config = ConfigDict(max_epochs=100, train_cfg=dict(max_epochs=100), param_scheduler=warm)
    VARIABLES['max_epochs'](config, 3)
    assert config.param_scheduler == [warm] and warm.end == 500
    del config.param_scheduler
    VARIABLES['max_epochs'](config, 4)
    assert config.param_scheduler == []


def test_all_configs_are_looked_at():
    assert {path.stem for path in CONFIGS} == {'in1k', 'in1k_modern', 'cifar10', 'cifar100'}
