"""Mistakes in a config become a sentence, and a bug of ours does not."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, TestLoop

import mmhybrid.registry
from mmhybrid import launch, mistakes
from mmhybrid.engine import NonFiniteLossHook

from .telling import told

TestLoop.__test__ = False  # no test, for pytest


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def load(path, **options):
    return launch.load_config(
        Namespace(config=str(path), local_rank=0, cfg_options=options, launcher='none', work_dir=None)
    )


def in_a_run(call):
    """Let MMEngine's loop call something, as it calls a model."""
    model = SimpleNamespace(test_step=lambda batch: call())
    loop = SimpleNamespace(runner=SimpleNamespace(call_hook=lambda *a, **k: None, model=model), fp16=False)
    TestLoop.run_iter(loop, 0, None)


# ---- while a config is read ----


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ("_base_ = 'nowhere.py'", 'config.py has a _base_ that does not exist, {folder}/nowhere.py: correct its path.'),
        ('a = 1\nb = undefined', "config.py fails in line 2 (NameError: name 'undefined' is not defined)"),
        ('def f():\n    return {}["x"]\na = f()', "config.py fails in line 2 (KeyError: 'x')"),
        ('a = = 1', 'config.py is not valid Python (line 1: invalid syntax)'),
        ("_base_ = ['base.py', 'base.py']", 'config.py cannot be read (Duplicate key is not allowed among bases'),
        ("_base_ = 'base.py'\nmodel = dict(depth=dict(a=1))", 'depth is a dict in the child config but is of type'),
        pytest.param(
            "_base_ = 'config.py'",
            'cannot be read (RecursionError: maximum recursion depth exceeded',
            marks=pytest.mark.slow,
        ),
        ("assert False, 'Give another.'", 'fails in line 1 (Give another); correct it.'),
        ("_base_ = 'base.py'\na = _base_.nothing", "config.py fails in line 2 ('ConfigDict' object has no attribute"),
        (
            "custom_imports = dict(imports=['nowhere_at_all'])",
            "imports what is not found (No module named 'nowhere_at_all'",
        ),
        ("custom_imports = dict(imports=['faulty_module'])", 'fails in line 3 of {folder}/faulty_module.py (Attribute'),
    ],
)
def test_a_config_that_cannot_be_read(tmp_path, monkeypatch, text, sentence):
    (tmp_path / 'base.py').write_text('model = dict(depth=50)')
    (tmp_path / 'faulty_module.py').write_text('import os\n\nos.nothing\n')
    (tmp_path / 'config.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    said = told(load, tmp_path / 'config.py')
    assert said.startswith(f'The config {tmp_path}/config.py')
    assert sentence.format(folder=tmp_path) in said


@pytest.mark.parametrize(
    ('name', 'content'), [('a.json', b'{"a": '), ('a.yaml', b'a: [1'), ('a.txt', b''), ('a.py', b'\xff')]
)
def test_a_config_of_another_kind(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert told(load, tmp_path / name).startswith(f'The config {tmp_path / name} cannot be read (')


def test_a_bug_of_ours_that_a_config_meets_is_none_of_the_config(tmp_path, monkeypatch):
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['mmhybrid.buggy'])")
    (tmp_path / 'buggy.py').write_text('None + 1\n')
    monkeypatch.setattr(mmhybrid, '__path__', [*mmhybrid.__path__, str(tmp_path)])
    assert told(load, tmp_path / 'config.py') is None


# ---- while its parts are made ----


@pytest.mark.parametrize(
    ('part', 'sentence'),
    [
        (
            dict(type='TiedResnet'),
            'The config has the type TiedResnet, which is not registered, did you mean TiedResNet',
        ),
        (dict(type='Nothing'), 'The config has the type Nothing, which is not registered: correct it, or name'),
        (
            dict(type='TiedResNet', depth=50, depht=50),
            'TiedResNet in the config has no option depht, did you mean depth?',
        ),
        (dict(type='FPN', nothing=1), 'FPN in the config has no option nothing; correct or remove it.'),
        (dict(type='FPN'), 'missing 3 required positional arguments'),
        (dict(type='TiedResNet', depth=51), 'TiedResNet in the config cannot be used: TiedResNet has depths 50, 101'),
        (dict(type='ResNet', depth=51), 'ResNet in the config cannot be used: invalid depth 51 for resnet'),
        (
            dict(type='FPN', in_channels=3, out_channels=4, num_outs=1),
            'it fails at assert isinstance(in_channels, list)',
        ),
        (
            dict(type='FPN', in_channels=[3], out_channels=-4, num_outs=1),
            'RuntimeError: Trying to create tensor with neg',
        ),
        (
            dict(type='FPN', in_channels=[3], out_channels=4, num_outs=1, conv_cfg=dict(type='TiedBlockCon')),
            'The config has the type TiedBlockCon, which is not registered, did you mean TiedBlockConv?',
        ),
        (dict(depth=50), 'must contain the key "type"'),
    ],
)
def test_a_part_that_cannot_be_made(part, sentence):
    assert sentence in told(MODELS.build, part)


def test_an_optimizer_that_is_not_registered():
    settings = dict(type='OptimWrapper', optimizer=dict(type='AdamWW', lr=1))
    said = told(build_optim_wrapper, torch.nn.Linear(1, 1), settings)
    assert said == 'The config has the type AdamWW, which is not registered, did you mean AdamW or Adam?'
    settings['optimizer'] = dict(type='AdamW', lr=-1)
    assert 'AdamW in the config cannot be used: Invalid learning rate: -1' in told(
        build_optim_wrapper, torch.nn.Linear(1, 1), settings
    )


@pytest.mark.parametrize(
    ('settings', 'sentence'),
    [
        (dict(log_level='Nothing'), "A setting in the config cannot be used: KeyError: 'Nothing'"),
        (dict(randomness=dict(seed='x')), 'A setting in the config cannot be used: TypeError: '),
        (dict(env_cfg=dict(mp_cfg=dict(mp_start_method='x'))), 'A setting in the config cannot be used: '),
        (dict(val_cfg=dict()), 'should be either all None or not None'),
    ],
)
def test_settings_of_the_runner(tmp_path, settings, sentence):
    cfg = Config(dict(model=torch.nn.Linear(1, 1), work_dir=str(tmp_path), **settings))
    assert sentence in told(launch.build_runner, cfg)


def test_a_config_without_a_model():
    assert told(launch.build_runner, Config(dict(work_dir='x'))) == (
        'The config has no model = dict(...), so there is nothing to run.'
    )


@pytest.fixture
def module_of_ours():
    """A module that is taken for one of this package's."""
    code = (
        'class Buggy:\n    def __init__(self, number=1):\n        number + None\n'
        'class Passing:\n    def __init__(self):\n        FPN(nothing=1)\n'
        "class Checking:\n    def __init__(self):\n        raise ValueError('Give another.')\n"
        'def assertion():\n    wrong()\n'
    )
    names = {'__name__': 'mmhybrid.made_up', 'FPN': MODELS.get('FPN')}
    exec(compile(code, '/mmhybrid/made_up.py', 'exec'), names)
    return SimpleNamespace(**{name: names[name] for name in ('Buggy', 'Passing', 'Checking', 'assertion')}, names=names)


def test_a_bug_of_ours_keeps_its_traceback(module_of_ours):
    assert told(MODELS.build, dict(type=module_of_ours.Buggy)) is None
    assert told(MODELS.build, dict(type=module_of_ours.Passing)) is None  # an option that no config gave
    assert 'Checking in the config cannot be used: Give another' in told(
        MODELS.build, dict(type=module_of_ours.Checking)
    )
    assert told(lambda: None + 1) is None
    with pytest.raises(TypeError):
        mistakes.run(lambda: None + 1)


def test_a_data_set_without_annotations(tmp_path):
    (tmp_path / 'none.json').write_text('{"images": [], "annotations": [], "categories": []}')
    dataset = dict(type='CocoDataset', ann_file=str(tmp_path / 'none.json'), pipeline=[])
    said = told(DATASETS.build, dataset)
    assert said.startswith(f'{tmp_path}/none.json has no image with annotations of person, bicycle, car ...')


@pytest.mark.parametrize('content', [b'', b'{"images": [', b'\xff\xd8'])
def test_an_annotation_file_of_another_kind(tmp_path, content):
    (tmp_path / 'a.json').write_bytes(content)
    said = told(DATASETS.build, dict(type='CocoDataset', ann_file=str(tmp_path / 'a.json'), pipeline=[]))
    assert said.startswith(f'{tmp_path}/a.json cannot be read (')


# ---- while it runs ----


def test_what_the_libraries_check_in_a_run(module_of_ours):
    fpn = MODELS.build(dict(type='FPN', in_channels=[3, 4], out_channels=4, num_outs=2))
    maps = torch.zeros(1, 5, 8, 8), torch.zeros(1, 4, 4, 4)
    said = told(in_a_run, lambda: fpn(maps))
    assert said.startswith('FPN expects 3 channels where the backbone gives 5: set model.neck.in_channels')
    assert 'it fails at assert len(inputs) == len(self.in_channels)' in told(in_a_run, lambda: fpn(maps[:1]))
    # Not where code of ours called it, and not what nobody foresaw.
    module_of_ours.names['wrong'] = lambda: fpn(maps[:1])
    assert told(in_a_run, module_of_ours.assertion) is None
    assert told(in_a_run, lambda: {}['x']) is None
    assert told(fpn, maps[:1]) is None


def test_an_option_of_a_data_loader():
    loader = dict(dataset=[1], sampler=dict(type='DefaultSampler', shuffle=False), batchsize=2)
    assert "got an unexpected keyword argument 'batchsize'" in told(Runner.build_dataloader, loader)


def test_what_a_hook_of_ours_hands_on_is_told():
    parameter = torch.nn.Parameter(torch.ones(1))
    parameter.grad = torch.full((1,), float('nan'))
    hook, runner = NonFiniteLossHook(), SimpleNamespace(iter=0)

    def update(loss):
        torch.nn.utils.clip_grad_norm_([parameter], 1, error_if_nonfinite=True)

    assert 'non-finite' in told(lambda: in_a_run(lambda: hook._update(runner, update, torch.ones(()))))
