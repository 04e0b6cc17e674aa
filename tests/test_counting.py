"""Multiply-adds of backbones and detectors, against sums over their layers and against PyTorch's own counter."""

from pathlib import Path

import pytest
import torch
from torch import nn

from mmhybrid.counting import backbones, count_detector, count_model, detectors
from tests.test_zoo import NAMES, PARAMETERS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(('name', 'convolutions'), [('tiedresnet50_s', 2_355_573_472), ('tiedresnet50', 4_388_995_072)])
def test_known_counts(name, convolutions):
    row = count_model(name, (224, 224))
    assert row.operators == {'conv': convolutions}
    assert row.parameters == PARAMETERS[name]
    assert (row.out_channels, row.out_strides) == ((256, 512, 1024, 2048), (4, 8, 16, 32))


def images_side(name):
    return 32 if name in backbones.CIFAR else 224


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_pytorchs_own_counter_counts_the_same(name):
    flop_counter = pytest.importorskip('torch.utils.flop_counter')  # PyTorch 2.0 has none
    side = images_side(name)
    with torch.device('meta'), torch.no_grad(), flop_counter.FlopCounterMode(display=False) as counter:
        backbones.build(name).eval()(torch.zeros(1, 3, side, side))
    assert counter.get_total_flops() == 2 * count_model(name, (side, side)).multiply_adds


def by_hooks(model, run):
    """Multiply-adds of convolutions and linear layers from the shapes that they see."""
    total = []

    def conv(module, args, out):
        weight = module.weight
        inputs = args[0].shape[0] * args[0].shape[2:].numel()
        where = inputs if isinstance(module, nn.ConvTranspose2d) else out.shape[0] * out.shape[2:].numel()
        total.append(int(where) * weight.numel())

    def linear(module, args, out):
        total.append(args[0].shape[0] * module.weight.numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(conv)
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(linear)
    with torch.no_grad():
        run()
    return sum(total)


def test_a_detector_is_the_sum_of_its_layers(tmp_path):
    path = tmp_path / 'detector.py'
    path.write_text(
        f"_base_ = '{ROOT}/configs/mask_rcnn_resnet50_fpn_2x.py'\n"
        'model = dict(backbone=dict(base_channels=16), neck=dict(in_channels=[64, 128, 256, 512]),\n'
        '             test_cfg=dict(rpn=dict(max_per_img=7)))\n'
    )
    counts = count_detector(str(path), (64, 96))
    parts = {part.name: part for part in counts.parts}
    assert list(parts) == ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head', 'roi_head.mask_head']
    assert all(part.multiply_adds > 0 for part in counts.parts)
    assert counts.proposals == 7
    assert parts['roi_head.bbox_head'].rois == parts['roi_head.mask_head'].rois == (7,)
    assert sum(p.parameters for p in counts.parts) == counts.total.parameters
    assert sum(p.multiply_adds for p in counts.parts) == counts.total.multiply_adds

    model = detectors._build(detectors._load(str(path)), str(path))

    def run():
        levels = model.extract_feat(torch.zeros(1, 3, 64, 96))
        model.rpn_head(levels)
        regions = torch.zeros(7, 256, 7, 7)
        model.roi_head.bbox_head(regions)
        model.roi_head.mask_head(torch.zeros(7, 256, 14, 14))

    assert by_hooks(model, run) == counts.total.multiply_adds


@pytest.mark.slow
def test_mask_rcnn_is_as_mmdetection_reports():
    counts = count_detector(str(ROOT / 'configs/mask_rcnn_resnet50_fpn_2x.py'), (1280, 800))
    assert counts.total.parameters == 44_396_336
    assert counts.total.multiply_adds == pytest.approx(260e9, rel=0.01)
    assert [part.rois for part in counts.parts][-2:] == [(1000,), (100,)]


def test_grey_images_are_counted(tmp_path):
    path = tmp_path / 'grey.py'
    path.write_text(
        f"_base_ = '{ROOT}/configs/demo_mask_rcnn_tiedresnet_occluded_shapes.py'\n"
        'grey = dict(mean=[114.5], std=[57.6], bgr_to_rgb=False)\n'
        'model = dict(backbone=dict(in_channels=1), data_preprocessor=grey, test_cfg=dict(rpn=dict(max_per_img=7)))\n'
    )
    counts = count_detector(str(path), (64, 96))
    stem = detectors._build(detectors._load(str(path)), str(path)).backbone.conv1.weight
    assert stem.shape[1:] == (1, 7, 7)
    assert counts.total.modules['backbone.conv1'] == stem.numel() * 32 * 48
