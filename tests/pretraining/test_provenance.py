"""What a run began with, and what its recipe does not name."""

import subprocess
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from mmhybrid.backbones import TiedResNet
from mmhybrid.checkpoints.backbone_files import write_backbone
from mmhybrid.pretraining import provenance

from ..checkpoints.loading import SMALL
from .test_configs import CIFAR10

NOTHING = dict(amp=False, auto_scale_lr=False, on_nonfinite=None)


def options(flags=None, **given):
    given = {key.replace('__', '.'): value for key, value in given.items()}
    return provenance.options(Namespace(config=str(CIFAR10), cfg_options=given, **NOTHING | (flags or {})))


def test_what_the_recipe_says_is_no_option():
    assert options(max_epochs=1270, model__mixing__mixup=1.0, optim_wrapper__optimizer__lr=0.1) == {}
    assert options(param_scheduler__0__periods=(10, 20, 40, 80, 160, 320, 640)) == {}


def test_what_differs_from_the_recipe_is_kept():
    given = {'max_epochs': 2, 'model.mixing': None, 'train_dataloader.batch_size': 16, 'image_size': 64}
    given |= {'model.stem': 'backbone', 'param_scheduler.0.eta_min': 0.1, 'new_setting.key': [1]}
    assert options(**given) == given
    flags = dict(amp=True, auto_scale_lr=True, on_nonfinite='skip')
    assert options(flags) == flags


def test_what_is_told_elsewhere_and_paths_are_left_out():
    given = {'backbone_name': 'resnet18', 'num_classes': 2, 'data_root': '/home/me', 'model.backbone.depth': 50}
    given |= {'model.backbone.init_cfg.checkpoint': '/home/me/x.pth', 'train_dataloader.dataset.data_root': '/home/me'}
    assert options(**given, load_from='/home/me/y.pth') == {}
    assert options(train_dataloader__num_workers=0, default_hooks__logger__interval=1) == {}


def test_files_that_a_model_begins_with(tmp_path):
    facts = dict(variant='tiedresnet50', data='ImageNet-1k', licence='research only', top1=70.0)
    weights = write_backbone(TiedResNet(**SMALL).state_dict(), tmp_path / 'in1k.safetensors', facts)
    torch.save(dict(state_dict={'head.fc.weight': torch.zeros(2, 2)}), tmp_path / 'head.pth')
    model = dict(
        backbone=dict(type='TiedResNet', init_cfg=[dict(type='Pretrained', checkpoint=str(weights))]),
        head=dict(init_cfg=dict(type='mmengine.Pretrained', checkpoint=str(tmp_path / 'head.pth'))),
    )
    first, second = provenance.beginnings(model)
    assert first.items() >= (facts | dict(file=weights.name)).items()
    assert second == dict(file='head.pth')
    assert provenance.beginnings(dict(backbone=dict(init_cfg=dict(type='Kaiming'), norm_eval=False))) == []
    assert list(provenance.pretrained_files(dict(backbone=dict(pretrained='torchvision://resnet50')))) == [
        'torchvision://resnet50'
    ]


def test_the_commit(tmp_path, monkeypatch):
    git = ['git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=a@b']
    monkeypatch.setattr(provenance, '_REPOSITORY', tmp_path)
    assert provenance.commit() is None
    subprocess.run([*git, 'init', '-q'], check=True)
    (tmp_path / 'a').write_text('1')
    subprocess.run([*git, 'add', 'a'], check=True)
    subprocess.run([*git, 'commit', '-q', '-m', 'a'], check=True)
    head = subprocess.run([*git, 'rev-parse', 'HEAD'], capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv('GIT_DIR', '/nowhere')
    assert provenance.commit() == head
    (tmp_path / 'a').write_text('2')
    assert provenance.commit() == f'{head}-dirty'
    (tmp_path / 'inner').mkdir()
    monkeypatch.setattr(provenance, '_REPOSITORY', tmp_path / 'inner')  # as installed within another's checkout
    assert provenance.commit() is None
    monkeypatch.setattr(provenance, '_REPOSITORY', tmp_path)
    monkeypatch.setenv('PATH', '')
    assert provenance.commit() is None


def test_the_code_is_where_it_is_looked_for():
    assert Path(provenance.__file__).is_relative_to(provenance._REPOSITORY / 'mmhybrid' / 'pretraining')


@pytest.mark.parametrize('file', ['a/b.pth', 'https://example.org/b.pth', 's3://bucket/b.pth'])
def test_a_place_is_no_part_of_what_is_kept(file):
    assert provenance.told(file, dict(licence=None, parameters=5)) == dict(file='b.pth')
