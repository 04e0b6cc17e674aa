"""Configs as the tools load them: options of the command line, and data that are not there."""

from argparse import Namespace

import pytest
from mmengine.config import Config

from mmhybrid import launch
from mmhybrid.errors import InputError

from .test_configs import CONFIGS, MAIN, quick_to_read  # noqa: F401 (a fixture)


def load(path, **options):
    return launch.load_config(
        Namespace(
            config=str(path), local_rank=0, cfg_options=options, launcher='none', work_dir=None, allow_missing=None
        )
    )


def test_data_root_on_the_command_line_moves_everything(tmp_path):
    cfg = load(MAIN, data_root=str(tmp_path))
    root = f'{tmp_path}/'
    assert {
        d.data_root for d in (c.dataset for c in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader))
    } == {root}
    assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == root + 'annotations/instances_val2017.json'
    assert 'data/coco' not in cfg.pretty_text


def test_a_backbone_checkpoint_freezes_as_the_paper_trained(tmp_path):
    by_option = load(MAIN, backbone_checkpoint='weights.pth')
    edited = tmp_path / 'edited.py'
    text = MAIN.read_text().replace("'_base_/", f"'{MAIN.parent}/_base_/")
    edited.write_text(text.replace('backbone_checkpoint = None', "backbone_checkpoint = 'weights.pth'"))
    by_hand = Config.fromfile(edited)
    for cfg in (by_option, by_hand):
        assert cfg.model.backbone.frozen_stages == 1
        assert cfg.model.backbone.norm_eval
        assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='weights.pth')
    assert by_option.model.backbone == by_hand.model.backbone


def test_the_demo_freezes_nothing():
    demo = next(path for path in CONFIGS if path.name.startswith('demo_'))
    for checkpoint in (None, 'weights.pth'):
        backbone = load(demo, backbone_checkpoint=checkpoint).model.backbone
        assert (backbone.frozen_stages, backbone.norm_eval) == (-1, False)
        assert backbone.get('init_cfg') == (checkpoint and dict(type='Pretrained', checkpoint=checkpoint))


def test_an_option_that_cannot_apply_is_refused(tmp_path):
    (tmp_path / 'own.py').write_text("model = dict(backbone=dict(type='ResNet', depth=50))")
    with pytest.raises(InputError, match='has no backbone_checkpoint'):
        load(tmp_path / 'own.py', backbone_checkpoint='weights.pth')


def test_data_elsewhere_is_not_looked_for(tmp_path):
    cfg = load(MAIN, data_root=str(tmp_path))
    cfg.train_dataloader.dataset.backend_args = dict(backend='petrel', path_mapping={str(tmp_path): 's3://coco'})
    launch.check_data(cfg, 'train')


def test_missing_data_names_the_path_and_the_way_out(tmp_path):
    cfg = load(MAIN, data_root=str(tmp_path))
    with pytest.raises(InputError, match=rf'{tmp_path}/annotations/instances_train2017\.json .*data_root=DIR'):
        launch.check_data(cfg, 'train', 'val')
    (tmp_path / 'annotations').mkdir()
    for split in ('train', 'val'):
        (tmp_path / 'annotations' / f'instances_{split}2017.json').write_text('{}')
    (tmp_path / 'train2017').mkdir()
    launch.check_data(cfg, 'train')
    with pytest.raises(InputError, match=rf'{tmp_path}/val2017 does not exist'):
        launch.check_data(cfg, 'train', 'val')
