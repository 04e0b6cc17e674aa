"""A data set of sixteen small pictures and two small detectors on MMDetection's ResNet, made once a session."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmhybrid.registry  # noqa: F401  (registers the classes)
from mmhybrid.datasets.occluded_shapes import CATEGORIES, generate
from mmhybrid.zoo import quiet

BASES = Path(__file__).parents[2] / 'configs' / '_base_'
SIDE = 96  # of the pictures; a detector sees them at twice the size, so that annotations must be resized with them
SCALE = 2 * SIDE
_CONFIG = """
_base_ = [{model!r}, {data!r}, {runtime!r}]
data_root = {root!r}
_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=({scale}, {scale}), keep_ratio=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
test_dataloader = dict(dataset=dict(data_root={root!r}, pipeline=_pipeline))
val_dataloader = dict(dataset=dict(data_root={root!r}, pipeline=_pipeline))
train_dataloader = dict(dataset=dict(data_root={root!r}))
test_evaluator = dict(ann_file=data_root + 'annotations/instances_val.json')
val_evaluator = test_evaluator
_backbone = dict(
    _delete_=True, type='mmdet.ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3), norm_eval=True, init_cfg=None
)
"""
_TWO_STAGE = """
model = dict(
    backbone=_backbone,
    neck=dict(in_channels=[16, 32, 64]),
    roi_head=dict(bbox_head=dict(num_classes=10), mask_head=dict(num_classes=10)),
)
"""
_ONE_STAGE = """
model = dict(
    data_preprocessor=dict(pad_size_divisor=32),
    backbone=_backbone,
    neck=dict(in_channels=[16, 32, 64], out_channels=32, start_level=0, num_outs=3),
    bbox_head=dict(
        num_classes=10, in_channels=32, stacked_convs=1, feat_channels=32, anchor_generator=dict(strides=[8, 16, 32])
    ),
    test_cfg=dict(nms_pre=200),
)
"""


class Made(NamedTuple):
    """A detector's files.

    Attributes:
        config: Its config.
        checkpoint: Random weights, of a head whose scores are spread as if it had learnt something.
    """

    config: str
    checkpoint: str


@pytest.fixture(scope='session')
def data_root(tmp_path_factory) -> Path:
    """Occluded shapes: ``train`` with 4 images, ``val`` with 12, annotated with boxes and masks, 96 pixels a side."""
    root = tmp_path_factory.mktemp('shapes')
    generate(root, {'train': 4, 'val': 12}, size=SIDE, progress=False)
    return root


@pytest.fixture(scope='session')
def two_stage(data_root, tmp_path_factory) -> Made:
    """Mask R-CNN, three levels of strides 8, 16 and 32, ten classes; losses, boxes and masks work."""
    return _make('mask_rcnn', str(BASES / 'models/mask_rcnn_narrow_fpn.py'), _TWO_STAGE, data_root, tmp_path_factory)


@pytest.fixture(scope='session')
def one_stage(data_root, tmp_path_factory) -> Made:
    """RetinaNet, of the same levels and classes, without masks."""
    return _make('retinanet', 'mmdet::_base_/models/retinanet_r50_fpn.py', _ONE_STAGE, data_root, tmp_path_factory)


def _make(name: str, base: str, model: str, data_root: Path, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp(name)
    config, checkpoint = folder / f'{name}.py', folder / f'{name}.pth'
    data, runtime = (str(BASES / each) for each in ('datasets/occluded_shapes.py', 'runtime.py'))
    text = _CONFIG.format(model=base, data=data, runtime=runtime, scale=SCALE, root=f'{data_root}/')
    config.write_text(text + model, encoding='utf-8')
    init_default_scope('mmdet')
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = MODELS.build(Config.fromfile(config).model)
        with quiet():
            made.init_weights()
        for part, module in made.named_modules():
            if part.endswith(('rpn_cls', 'fc_cls', 'retina_cls', 'conv_logits')):
                module.weight.data.normal_(0, 2)
            elif part.endswith(('rpn_reg', 'fc_reg', 'retina_reg')):
                module.weight.data.normal_(0, 0.1)
    meta = {'dataset_meta': {'classes': tuple(each['name'] for each in CATEGORIES)}}
    torch.save({'state_dict': made.state_dict(), 'meta': meta}, checkpoint)
    return Made(str(config), str(checkpoint))
