"""Whole detectors with their batch norms folded, and the hook that folds them before a test."""

import logging
from pathlib import Path
from types import SimpleNamespace

import mmdet
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from torch import nn

from mmhybrid.engine import FuseNormsHook
from mmhybrid.errors import InputError

from .test_fuse import SIZE, check, count, flat, stirred
from .test_zoo import image


def test_norms_of_shared_convolutions_in_a_head_stay():
    head = MODELS.build(
        dict(
            type='RetinaSepBNHead',
            num_ins=3,
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=2,
            norm_cfg=dict(type='BN'),
            anchor_generator=dict(
                type='AnchorGenerator', strides=[8, 16, 32], ratios=[1.0], octave_base_scale=4, scales_per_octave=1
            ),
        )
    )
    maps = [torch.randn(1, 8, size, size) for size in (8, 4, 2)]
    check(head, *maps, remaining=3 * 2 * 2, call=lambda head, *maps: head(maps))


# Whole detectors

BN = dict(type='BN')
BACKBONE = dict(depth=18, base_channels=16, init_cfg=None)
NECK = dict(in_channels=[16, 32, 64, 128], out_channels=16, norm_cfg=BN)


def build(name, **parts):
    path = Path(mmdet.__file__).parent / '.mim' / 'configs' / '_base_' / 'models' / f'{name}.py'
    cfg = Config.fromfile(path)
    init_default_scope('mmdet')
    cfg.merge_from_dict({'model.backbone': BACKBONE, 'model.neck': NECK, **parts})
    return MODELS.build(cfg.model)


def retinanet():
    return build('retinanet_r50_fpn', **{'model.bbox_head': dict(norm_cfg=BN, in_channels=16, feat_channels=16)})


def test_a_retinanet():
    # ResNet-18; laterals, outputs and two extra levels of the FPN; two towers of four, shared by the levels.
    model = retinanet()
    assert count(model) == 20 + (3 + 3 + 2) + 2 * 4
    check(model, image(SIZE), call=lambda model, x: model(x, mode='tensor'))


def test_a_mask_rcnn():
    roi_head = {
        'model.roi_head.bbox_head': dict(
            type='Shared4Conv1FCBBoxHead', conv_out_channels=16, fc_out_channels=32, in_channels=16, norm_cfg=BN
        ),
        'model.roi_head.mask_head': dict(in_channels=16, conv_out_channels=16, norm_cfg=BN),
        'model.rpn_head': dict(in_channels=16, feat_channels=16),
    }

    def call(model, x, rois, masks):
        maps = model.extract_feat(x)
        return maps, model.rpn_head(maps), model.roi_head.bbox_head(rois), model.roi_head.mask_head(masks)

    model = build('mask-rcnn_r50_fpn', **roi_head)
    # ResNet-18, laterals and outputs of the FPN, and the convolutions of both heads.
    assert count(model) == 20 + (4 + 4) + 4 + 4
    check(model, image(SIZE), torch.randn(3, 16, 7, 7), torch.randn(3, 16, 14, 14), call=call)


# The hook of tools/test.py, which tests/tools runs


def runner_of(model, *hooks):
    messages = []
    logger = logging.Logger('test')
    logger.addHandler(logging.Handler())
    logger.handlers[0].emit = lambda record: messages.append(record.getMessage())
    return SimpleNamespace(model=model, hooks=hooks, logger=logger), messages


def test_the_hook_changes_the_runners_model(tmp_path):
    model = stirred(retinanet())
    with torch.no_grad():
        expected = flat(model(image(SIZE), mode='tensor'))
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path / "store"}', rank=0, world_size=1)
    try:
        runner, messages = runner_of(MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False))
        FuseNormsHook().before_test(runner)
        assert messages == ['Folded 36 of 36 batch norms for this test; 0 remain.']
        assert runner.model.module is model
        with torch.no_grad():
            outs = flat(runner.model.eval()(image(SIZE), mode='tensor'))
    finally:
        torch.distributed.destroy_process_group()
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in zip(outs, expected, strict=True))


def test_the_hook_refuses_averaged_weights():
    runner, _ = runner_of(nn.Sequential(), EMAHook())
    with pytest.raises(InputError, match='take it out of custom_hooks'):
        FuseNormsHook().before_test(runner)
