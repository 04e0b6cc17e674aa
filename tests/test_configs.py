"""Every config loads, builds, trains a step, and says what its name says."""

import copy
import re
from functools import cache
from pathlib import Path

import mmengine.config.utils
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch.nn.modules.batchnorm import _BatchNorm

from mmhybrid import zoo
from mmhybrid.datasets.occluded_shapes import CATEGORIES

from . import config_page

REPO = Path(__file__).resolve().parents[1]
CONFIGS = sorted((REPO / 'configs').glob('*.py'))
COCO = [path for path in CONFIGS if not path.name.startswith('demo_')]
MAIN = next(path for path in CONFIGS if path.name == 'mask_rcnn_tiedresnet50_fpn_2x.py')
TOLD = config_page.told()

# Prefix of a config's name: MMDetection's class of the detector.
DETECTORS = {
    'mask_rcnn': 'MaskRCNN',
    'cascade_mask_rcnn': 'CascadeRCNN',
    'cascade_rcnn': 'CascadeRCNN',
    'retinanet': 'RetinaNet',
}
# MMDetection's own: class and parameters without the classifier.
BASELINES = {
    'resnet50': ('ResNet', 23_508_032),
    'resnet101': ('ResNet', 42_500_160),
    'resnext50': ('ResNeXt', 25_028_904 - 2_049_000),
    'res2net50': ('Res2Net', 23_669_352),
    'resnest50': ('ResNeSt', 27_483_240 - 2_049_000),
}
# Training takes long: all detectors and four families on every run, all configs under the mark `slow`.
FEW = (
    *('mask_rcnn_tiedresnet50_s_fpn_2x', 'cascade_mask_rcnn_hcgnet_b_fpn_1x'),
    *('cascade_rcnn_ds2res2net50_fpn_1x', 'retinanet_hsresnet50_d_fpn_1x'),
)
FEW_THEN_ALL = [pytest.param(p, id=p.stem, marks=() if p.stem in FEW else pytest.mark.slow) for p in COCO]


@pytest.fixture(scope='module', autouse=True)
def quick_to_read():
    """MMEngine reads all of MMDetection's metafiles again for each `mmdet::` in a config."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', cache(mmengine.config.utils.load))
        yield


@cache
def read(path):
    return Config.fromfile(path)


def parts(path):
    """Detector, backbone and schedule that a config is named for."""
    return re.fullmatch(rf'({"|".join(DETECTORS)})_(\w+)_fpn_(1x|2x)', path.stem).groups()


def build(cfg, device):
    init_default_scope(cfg.default_scope)
    with torch.device(device):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_its_neck_fits_its_backbone(path):
    cfg = read(path)
    model = build(cfg, 'meta')
    if hasattr(model.backbone, 'out_channels'):
        assert list(model.backbone.out_channels) == cfg.model.neck.in_channels
        head = model.rpn_head if 'rpn_head' in cfg.model else model.bbox_head
        strides = [s[0] for s in head.prior_generator.strides]
        taken = model.backbone.out_strides[cfg.model.neck.get('start_level', 0) :]
        assert list(taken) == strides[: len(taken)]
    assert model.backbone.frozen_stages == -1
    assert not model.backbone.norm_eval
    assert TOLD[path.stem].detector == sum(p.numel() for p in model.parameters())
    classes = cfg.get('classes') or range(80)
    heads = [m for m in model.modules() if type(m).__name__.endswith('Head') and 'RPN' not in type(m).__name__]
    assert {m.num_classes for m in heads if hasattr(m, 'num_classes')} == {len(classes)}
    if path in COCO:
        detector, backbone, _ = parts(path)
        assert type(model).__name__ == DETECTORS[detector]
        assert model.with_mask == ('mask' in detector)
        parameters = sum(p.numel() for p in model.backbone.parameters())
        assert TOLD[path.stem].backbone == parameters
        if backbone in BASELINES:
            assert (type(model.backbone).__name__, parameters) == BASELINES[backbone]
        else:
            expected = zoo.backbone_config(backbone)
            assert {key: cfg.model.backbone.to_dict()[key] for key in expected} == expected


def listed(value):
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize('path', FEW_THEN_ALL)
def test_trains_a_step_and_detects(path):
    cfg = copy.deepcopy(read(path))
    masks = 'mask' in path.stem
    if 'rpn_head' in cfg.model:  # few proposals, and a head that is quick to make
        cfg.model.train_cfg.rpn_proposal.max_per_img = 40
        cfg.model.test_cfg.rpn.max_per_img = 20
        for stage in listed(cfg.model.train_cfg.rcnn):
            stage.sampler.num = 8
        for head in listed(cfg.model.roi_head.bbox_head):
            head.fc_out_channels = 32
    test_cfg = cfg.model.test_cfg.get('rcnn') or cfg.model.test_cfg
    test_cfg.update(score_thr=0.0, max_per_img=5)
    cfg.optim_wrapper.optimizer.lr *= cfg.param_scheduler[0].start_factor  # as the warm-up's first step
    model = build(cfg, 'cpu')
    (model.rpn_head if 'rpn_head' in cfg.model else model.bbox_head).init_weights()
    before = {name: p.detach().clone() for name, p in model.backbone.named_parameters() if p.dim() > 1}
    data = demo_mm_inputs(2, [(3, 64, 96), (3, 96, 70)], num_items=[3, 1], num_classes=80, with_mask=masks)
    losses = model.train_step(data, build_optim_wrapper(model, cfg.optim_wrapper))
    assert {name.split('.')[-1] for name in losses} >= {'loss_cls', 'loss_bbox'} | ({'loss_mask'} if masks else set())
    assert all(value.isfinite().all() for value in losses.values())
    after = dict(model.backbone.named_parameters())
    assert all(p.isfinite().all() for p in after.values())
    assert not torch.equal(after[next(iter(before))], before[next(iter(before))])
    model.eval()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train()  # the statistics of one step would let a random network's features explode
    with torch.no_grad():
        sample, _ = model.test_step(data)
    found = sample.pred_instances
    assert 0 < len(found) <= 5
    assert found.bboxes.isfinite().all() and found.scores.isfinite().all()
    assert ('masks' in found) == masks


@pytest.mark.parametrize('path', COCO, ids=lambda path: path.stem)
def test_follows_its_schedule_on_coco(path):
    cfg = read(path)
    detector, _, schedule = parts(path)
    epochs, milestones = {'1x': (12, [8, 11]), '2x': (24, [16, 22])}[schedule]
    assert cfg.train_cfg.max_epochs == epochs
    lr = 0.01 if detector == 'retinanet' else 0.02
    assert cfg.optim_wrapper.type == 'OptimWrapper' and 'clip_grad' not in cfg.optim_wrapper
    assert cfg.optim_wrapper.optimizer.to_dict() == dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.0001)
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.type, warm_up.end, warm_up.by_epoch) == ('LinearLR', 500, False)
    assert (steps.type, steps.end, steps.milestones, steps.gamma) == ('MultiStepLR', epochs, milestones, 0.1)
    assert cfg.auto_scale_lr.base_batch_size == 16
    assert (TOLD[path.stem].batch, TOLD[path.stem].lr) == (16, lr)
    assert cfg.default_scope == 'mmdet'
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.val_dataloader, 'val'), (cfg.test_dataloader, 'val')):
        assert loader.dataset.ann_file == f'annotations/instances_{split}2017.json'
        assert [t.scale for t in loader.dataset.pipeline if t.type == 'Resize'] == [(1333, 800)]
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert evaluator.type == 'OcclusionCocoMetric'
        assert evaluator.metric == (['bbox', 'segm'] if 'mask' in detector else 'bbox')


def test_the_detectors_differ_in_nothing_but_the_backbone():
    frames = {}
    for path in COCO:
        detector, _, schedule = parts(path)
        cfg = read(path).to_dict()
        del cfg['model']['backbone'], cfg['model']['neck']['in_channels']
        assert frames.setdefault((detector, schedule), cfg) == cfg
    assert len(frames) == 8


def test_the_demo_names_the_categories_of_its_data_set():
    demo = next(path for path in CONFIGS if path.name.startswith('demo_'))
    assert list(read(demo).classes) == [category['name'] for category in CATEGORIES]
