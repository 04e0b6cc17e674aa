"""Every config loads, builds, and says what its name says."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmhybrid import launch
from mmhybrid.datasets.occluded_shapes import CATEGORIES
from mmhybrid.errors import InputError

CONFIGS = sorted((Path(__file__).resolve().parents[1] / 'configs').glob('*.py'))
COCO = [path for path in CONFIGS if not path.name.startswith('demo_')]
MAIN = next(path for path in CONFIGS if path.name == 'mask_rcnn_tiedresnet50_fpn_2x.py')


def load(path, **options):
    return launch.load_config(
        Namespace(config=str(path), local_rank=0, cfg_options=options, launcher='none', work_dir=None)
    )


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_its_neck_fits_its_backbone(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    if hasattr(model.backbone, 'out_channels'):
        assert list(model.backbone.out_channels) == cfg.model.neck.in_channels
        strides = [s[0] for s in model.rpn_head.prior_generator.strides]
        assert list(model.backbone.out_strides) == strides[: len(model.backbone.out_strides)]
    assert model.backbone.frozen_stages == -1
    assert not model.backbone.norm_eval
    classes = cfg.get('classes') or range(80)
    assert model.roi_head.bbox_head.num_classes == model.roi_head.mask_head.num_classes == len(classes)


@pytest.mark.parametrize('path', COCO, ids=lambda path: path.stem)
def test_follows_the_2x_schedule_on_coco(path):
    cfg = Config.fromfile(path)
    assert path.stem.startswith('mask_rcnn_') and path.stem.endswith('_fpn_2x')
    assert cfg.model.type == 'MaskRCNN'
    assert cfg.train_cfg.max_epochs == 24
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.type, warm_up.end, warm_up.by_epoch) == ('LinearLR', 500, False)
    assert (steps.type, steps.milestones, steps.gamma) == ('MultiStepLR', [16, 22], 0.1)
    assert cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.default_scope == 'mmdet'
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val'), (cfg.test_dataloader, 'val')):
        assert loader.dataset.ann_file == f'annotations/instances_{split}2017.json'
        assert [t.scale for t in loader.dataset.pipeline if t.type == 'Resize'] == [(1333, 800)]
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'OcclusionCocoMetric'


@pytest.mark.parametrize(
    ('name', 'backbone', 'parameters'),
    [
        # MMDetection's Mask R-CNN with ResNet-50 has 44.40M parameters; ResNet-50 without its classifier 23,508,032.
        ('mask_rcnn_resnet50_fpn_2x', 'ResNet', 23_508_032),
        ('mask_rcnn_tiedresnet50_fpn_2x', 'TiedResNet', 21_661_808),
        ('mask_rcnn_tiedresnet50_s_fpn_2x', 'TiedResNet', 11_796_988),
    ],
)
def test_has_the_backbone_it_is_named_for(name, backbone, parameters):
    cfg = Config.fromfile(MAIN.with_name(f'{name}.py'))
    init_default_scope('mmdet')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert type(model.backbone).__name__ == backbone
    assert sum(p.numel() for p in model.backbone.parameters()) == parameters


def test_the_detectors_differ_in_nothing_but_the_backbone():
    configs = [Config.fromfile(path).to_dict() for path in COCO]
    for cfg in configs:
        cfg['model'].pop('backbone')
        cfg.pop('backbone')
        cfg.pop('filename', None)
    assert all(cfg == configs[0] for cfg in configs)


def test_the_demo_names_the_categories_of_its_data_set():
    demo = next(path for path in CONFIGS if path.name.startswith('demo_'))
    assert list(Config.fromfile(demo).classes) == [category['name'] for category in CATEGORIES]


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


def test_an_option_that_cannot_apply_is_refused():
    demo = next(path for path in CONFIGS if path.name.startswith('demo_'))
    with pytest.raises(InputError, match='has no backbone_checkpoint'):
        load(demo, backbone_checkpoint='weights.pth')


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
