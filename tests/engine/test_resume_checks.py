"""Changes between a checkpoint's config and this one are named; whatever a checkpoint holds, without a traceback."""

import copy
import io
from types import SimpleNamespace

import mmengine.optim.optimizer.amp_optimizer_wrapper as amp
import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from mmhybrid.engine.resume_checks import (
    Differences,
    classes_problem,
    compare,
    model_problems,
    optimizer_problems,
    plain,
)
from mmhybrid.paths import config_path

OPTIM_WRAPPER = dict(optimizer=dict(type='SGD', lr=0.1))
SCHEDULER = dict(type='MultiStepLR', milestones=[1])
NOW = dict(optim_wrapper=OPTIM_WRAPPER, param_scheduler=SCHEDULER, train_cfg=dict(max_epochs=2), model=dict(type='Toy'))
DEMO = 'demo_mask_rcnn_tiedresnet_occluded_shapes'


def net():
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def changed(then, now):
    """Differences of two configs that have only some parts."""
    return compare(plain(Config(then)), plain(Config(now)))


def nothing(found):
    return not (found.refused or found.ignored or found.inexact)


def sgd():
    return OptimWrapper(torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1))


def config(name, **options):
    cfg = Config.fromfile(str(config_path(name)))
    cfg.merge_from_dict(options)
    return cfg


def test_a_config_is_small_plain_data():
    cfg = config(DEMO)
    cfg.model.roi_head.extra = [nn.ReLU, torch.relu, torch.float16, (1, 2), object()]
    file = io.BytesIO()
    torch.save(plain(cfg), file)
    assert file.tell() < 16_000
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    assert stored['model']['roi_head']['extra'][0] == 'torch.nn.modules.activation.ReLU'
    assert stored['model']['roi_head']['extra'][2:] == ['torch.float16', [1, 2], '<object object>']
    assert nothing(compare(stored, plain(cfg)))


def test_from_1x_to_2x():
    found = compare(plain(config('mask_rcnn_resnet50_fpn_1x')), plain(config('mask_rcnn_resnet50_fpn_2x')))
    assert found.refused == []
    assert found.ignored == [
        "param_scheduler.1.end was 12 and is 24 now (the checkpoint's is kept)",
        "param_scheduler.1.milestones was [8, 11] and is [16, 22] now (the checkpoint's is kept)",
    ]
    assert [phrase.split()[0] for phrase in found.inexact] == ['train_cfg.max_epochs']


def test_another_backbone():
    found = compare(plain(config('mask_rcnn_tiedresnet50_fpn_2x')), plain(config('mask_rcnn_dsnet50_fpn_1x')))
    assert found.inexact[0] == "model.backbone.type was 'TiedResNet' and is 'DSNet' now (this config is followed)"


def test_options_of_the_demo():
    then = config(DEMO)
    now = config(
        DEMO,
        **{
            'optim_wrapper.optimizer.lr': 0.001,
            'train_dataloader.num_workers': 4,
            'train_dataloader.dataset.data_root': '/data/shapes/',
            'train_dataloader.dataset.metainfo.classes': (*then.classes[:-1], 'zebra'),
            'model.roi_head.bbox_head.num_classes': 3,
            'model.roi_head.bbox_head.loss_bbox.loss_weight': 2.0,
            'model.backbone.init_cfg': dict(type='Pretrained', checkpoint='weights.pth'),
            'env_cfg.cudnn_benchmark': True,
        },
    )
    found = compare(plain(then), plain(now))
    assert vars(found) == dict(
        refused=[
            "model.roi_head.bbox_head.num_classes was 10 and is 3 now (the heads' weights are those of other classes)",
            "train_dataloader.dataset.metainfo.classes was ...nt', 'heart', 'arrow', 'gear'] and is ...nt', 'heart', "
            "'arrow', 'zebra'] now (the heads' weights are those of other classes)",
        ],
        ignored=[
            "model.backbone.init_cfg was not set and is {'type': 'Pretrained', 'checkpoint': 'weights.pth'} now "
            "(the checkpoint's weights are kept)",
            "optim_wrapper.optimizer.lr was 0.002 and is 0.001 now (the checkpoint's is kept)",
        ],
        inexact=[
            'model.roi_head.bbox_head.loss_bbox.loss_weight was 1.0 and is 2.0 now (this config is followed)',
            "train_dataloader.dataset.data_root was 'data/occluded_shapes/' and is '/data/shapes/' now (this config is "
            'followed, exact only with the same data)',
            'env_cfg.cudnn_benchmark was False and is True now (this config is followed)',
        ],
    )


def test_another_step_of_the_pipeline():
    now = config(DEMO)
    now.train_dataloader.dataset.pipeline.insert(3, dict(type='PhotoMetricDistortion'))
    found = compare(plain(config(DEMO)), plain(now))
    assert [phrase.split()[0] for phrase in found.inexact] == ['train_dataloader.dataset.pipeline']
    assert "'Resize', 'RandomFlip', 'PackDetInputs'] and is" in found.inexact[0]
    assert "'Resize', 'PhotoMetricDistortion', 'RandomFlip'" in found.inexact[0]


# Weights and the states of optimizers and schedules


SCHEDULES = [
    ('StepLR', dict(step_size=2, gamma=0.5), dict(step_size=3, gamma=0.1, begin=1, end=5, by_epoch=False)),
    ('MultiStepLR', dict(milestones=[2]), dict(milestones=[3, 4], gamma=0.3)),
    ('LinearLR', dict(start_factor=0.1, end=5), dict(start_factor=0.2, end=9, end_factor=0.9)),
    ('ConstantLR', dict(factor=0.1, end=5), dict(factor=0.3, end=7)),
    ('ExponentialLR', dict(gamma=0.9), dict(gamma=0.8)),
    ('CosineAnnealingLR', dict(T_max=5), dict(end=9, eta_min=0.1, convert_to_iter_based=True)),
    ('PolyLR', dict(power=1, end=5), dict(power=2, end=9, eta_min=0.1)),
    ('CosineRestartLR', dict(periods=[2, 2], restart_weights=[1, 1], eta_min=0), dict(periods=[5], eta_min=0.1)),
    ('OneCycleLR', dict(eta_max=1.0, total_steps=9), dict(eta_max=0.5, total_steps=5, three_phase=True)),
    ('ReduceOnPlateauLR', dict(monitor='loss', patience=3), dict(monitor='acc', rule='greater', factor=0.5)),
]


@pytest.mark.parametrize(('kind', 'then', 'now'), SCHEDULES, ids=[kind for kind, *_ in SCHEDULES])
def test_every_setting_of_a_schedule_is_the_checkpoints(kind, then, now):
    def build(options):
        optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
        return PARAM_SCHEDULERS.build(dict(type=kind, optimizer=optimizer, epoch_length=10, **options))

    saved, fresh = build(then), build(now)
    saved.step(*([{'loss': 1.0}] if kind == 'ReduceOnPlateauLR' else []))
    fresh.load_state_dict(saved.state_dict())
    wanted = saved.state_dict()
    assert {name: value for name, value in fresh.state_dict().items() if name in wanted} == wanted
    now = {**then, **now} if kind == 'CosineRestartLR' else now
    found = changed(dict(param_scheduler=dict(type=kind, **then)), dict(param_scheduler=[dict(type=kind, **now)]))
    assert len(found.ignored) == sum(then.get(k) != now.get(k) for k in {*then, *now})
    assert not found.refused and not found.inexact


def test_the_state_of_another_optimizer_is_of_no_use():
    model = net()
    states = {}
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        model(torch.randn(4, 2)).square().mean().backward()
        made = kind(model.parameters(), lr=0.1, **(dict(momentum=0.9) if kind is torch.optim.SGD else {}))
        made.step()
        states[kind] = made.state_dict()
    adam = OptimWrapper(torch.optim.AdamW(model.parameters()))
    assert optimizer_problems(adam, states[torch.optim.SGD]) == [
        "the checkpoint's state is one of another kind of optimizer (it has no betas)"
    ]
    with pytest.raises(KeyError, match='step'):
        adam.load_state_dict(copy.deepcopy(states[torch.optim.SGD]))
    assert optimizer_problems(OptimWrapper(torch.optim.SGD(model.parameters(), lr=1)), states[torch.optim.AdamW])
    found = changed(dict(optim_wrapper=OPTIM_WRAPPER), dict(optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1))))
    assert found.refused == [
        "optim_wrapper.optimizer.type was 'SGD' and is 'AdamW' now (the optimizer's state fits no other)"
    ]


def test_mixed_precision_may_begin_and_end(monkeypatch):
    monkeypatch.setattr(amp, 'is_cuda_available', lambda: True)
    plainly, mixed = (kind(optimizer=torch.optim.SGD(net().parameters(), lr=0.1)) for kind in _wrappers())
    mixed.loss_scaler = SimpleNamespace(state_dict=lambda: dict(scale=8.0))
    assert 'loss_scaler' in mixed.state_dict()
    for to, of in ((plainly, mixed.state_dict()), (mixed, plainly.state_dict())):
        assert optimizer_problems(to, of) == []
        to.load_state_dict(of)
    then, now = (dict(optim_wrapper=dict(OPTIM_WRAPPER, type=kind.__name__)) for kind in _wrappers())
    assert [phrase.split()[0] for phrase in changed(then, now).inexact] == ['optim_wrapper.type']


def _wrappers():
    return OptimWrapper, amp.AmpOptimWrapper


def test_weights_that_fit_have_no_problems():
    model = net()
    state = {k: v for k, v in model.state_dict().items() if 'num_batches' not in k}
    assert model_problems(model, state) == []
    assert model_problems(model, {f'module.{k}': v for k, v in state.items()}) == []
    wrapped = MMDistributedDataParallel.__new__(MMDistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = model
    assert model_problems(wrapped, state) == []


def test_numbers_of_groups_and_parameters():
    model = net()
    one = torch.optim.SGD(model.parameters(), lr=0.1)
    two = torch.optim.SGD([dict(params=list(part.parameters())) for part in model], lr=0.1)
    less = torch.optim.SGD(model[0].parameters(), lr=0.1)
    assert optimizer_problems(OptimWrapper(one), OptimWrapper(two).state_dict()) == [
        'the checkpoint has 2 groups of parameters, the optimizer has 1'
    ]
    assert optimizer_problems(OptimWrapper(one), less.state_dict()) == [
        'group 0 of the optimizer has 2 parameters in the checkpoint and 4 in this run'
    ]
    assert optimizer_problems(OptimWrapper(one), None) == []


def test_several_optimizers():
    def wrappers(**made):
        return OptimWrapperDict(**{k: OptimWrapper(torch.optim.SGD(v.parameters(), lr=0.1)) for k, v in made.items()})

    gan = wrappers(generator=nn.Linear(2, 2), critic=nn.Linear(2, 1))
    assert optimizer_problems(gan, gan.state_dict()) == []
    assert optimizer_problems(gan, wrappers(generator=net(), critic=nn.Linear(2, 1)).state_dict()) == [
        'generator: group 0 of the optimizer has 4 parameters in the checkpoint and 2 in this run'
    ]
    # MMEngine would leave the critic's optimizer as it is.
    assert optimizer_problems(gan, wrappers(generator=nn.Linear(2, 2)).state_dict()) == [
        "the checkpoint has states of the optimizers ['generator'], this run has the optimizers ['critic', 'generator']"
    ]


@pytest.mark.parametrize('kind', ['Adagrad', 'Adadelta', 'Adam', 'Adamax', 'NAdam', 'RMSprop', 'Rprop', 'Adafactor'])
def test_the_state_of_every_optimizer_fits_itself(kind):
    model = net()
    wrapper = OptimWrapper(getattr(torch.optim, kind)(model.parameters(), lr=0.1))
    wrapper.update_params(model(torch.randn(4, 2)).square().mean())
    assert optimizer_problems(wrapper, wrapper.state_dict()) == []


# Stored data of any kind


def _cycle():
    cycle = {}
    cycle['model'] = cycle['optim_wrapper'] = cycle
    return cycle


def _many():
    value = [1, 2]
    for _ in range(60):
        value = [value] * 10
    return dict(model=dict(a=value), param_scheduler=value)


BROKEN = [None, 3, 'text', [1], {3: 4}, dict.fromkeys(plain(Config()), 3), dict.fromkeys(plain(Config()), 'x')]


@pytest.mark.parametrize('then', [*BROKEN, _cycle(), _many(), torch.ones(2), {'model': torch.ones(2)}])
def test_broken_data_tells_nothing(then):
    found = compare(then, plain(Config(NOW)))
    assert isinstance(found, Differences) and not found.refused and not found.ignored
    assert classes_problem(then, dict(classes=['a'])) is None
    assert classes_problem(dict(classes=then), dict(classes=['a'])) is None


STRANGE = [10**5000, float('nan'), {(): ()}, [[]], '\x1b[31m\n' * 100, torch.ones(3), b'x']


@pytest.mark.parametrize('value', STRANGE, ids=map(str, range(len(STRANGE))))
def test_strange_values_are_shown_safely(value):
    then = dict(optim_wrapper=dict(optimizer=dict(type=value, lr=value)), param_scheduler=[dict(type=value, end=value)])
    then['model'] = {'\x1b[31m': value}
    found = compare(then, plain(Config(NOW)))
    phrases = [*found.refused, *found.ignored, *found.inexact]
    assert found.refused and all(phrase.isprintable() and len(phrase) < 500 for phrase in phrases)
    assert nothing(compare(then, then))


@pytest.mark.parametrize('state', [3, [], {}, dict(param_groups=3), dict(param_groups=[3]), dict(param_groups=[{}])])
def test_a_broken_state_of_an_optimizer_is_a_problem(state):
    assert optimizer_problems(sgd(), state)


@pytest.mark.parametrize('moments', [3, {0: 3}, {0: dict(momentum_buffer='x')}, {0: {3: 4}}])
def test_broken_moments_cause_no_traceback(moments):
    groups = [dict(params=[0, [], None, 'x'], momentum=0.9)]
    wrapper = sgd()
    assert len(optimizer_problems(wrapper, dict(param_groups=groups, state=moments))) <= 1
    assert model_problems(nn.Linear(2, 2), moments) and model_problems(nn.Linear(2, 2), {'weight': 3, 3: 4})
