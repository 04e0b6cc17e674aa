"""Small detectors of every kind that can be exported, whose scores are spread as if they had learned something."""

import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope

PREPROCESSOR = dict(
    type='DetDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_mask=True,
    pad_size_divisor=32,
)
BACKBONE = dict(type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'), norm_eval=False)
NECK = dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=5)


def anchors(scales):
    return dict(type='AnchorGenerator', scales=scales, ratios=[0.5, 1.0, 2.0], strides=[4, 8, 16, 32, 64])


def coder(deviation=1.0):
    return dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[0.1 * deviation, 0.1, 0.2, 0.2])


def extractor(size):
    return dict(
        type='SingleRoIExtractor',
        roi_layer=dict(type='RoIAlign', output_size=size, sampling_ratio=0),
        out_channels=16,
        featmap_strides=[4, 8, 16, 32],
    )


def box_head(**options):
    return (
        dict(
            type='Shared2FCBBoxHead',
            in_channels=16,
            fc_out_channels=32,
            roi_feat_size=7,
            num_classes=3,
            bbox_coder=coder(),
            reg_class_agnostic=False,
        )
        | options
    )


MASK_HEAD = dict(type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, num_classes=3)
RPN = dict(
    type='RPNHead', in_channels=16, feat_channels=16, anchor_generator=anchors([4]), bbox_coder=coder(),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
)  # fmt: skip
RCNN = dict(score_thr=0.1, nms=dict(type='nms', iou_threshold=0.5), max_per_img=40, mask_thr_binary=0.5)
TWO_STAGES = dict(
    data_preprocessor=PREPROCESSOR,
    backbone=BACKBONE,
    neck=NECK,
    rpn_head=RPN,
    train_cfg=None,
    test_cfg=dict(
        rpn=dict(nms_pre=200, max_per_img=60, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0), rcnn=RCNN
    ),
)

CONFIGS = {
    'retinanet': dict(
        type='RetinaNet',
        data_preprocessor=PREPROCESSOR,
        backbone=BACKBONE,
        neck=NECK,
        bbox_head=dict(
            type='RetinaHead', num_classes=3, in_channels=16, stacked_convs=1, feat_channels=16,
            anchor_generator=anchors([4, 5]), bbox_coder=coder(),
        ),
        test_cfg=dict(
            nms_pre=100, min_bbox_size=0, score_thr=0.3, nms=dict(type='nms', iou_threshold=0.5), max_per_img=50
        ),
    ),
    'faster_rcnn': dict(
        type='FasterRCNN',
        roi_head=dict(type='StandardRoIHead', bbox_roi_extractor=extractor(7), bbox_head=box_head()),
        **TWO_STAGES,
    ),
    'mask_rcnn': dict(
        type='MaskRCNN',
        roi_head=dict(
            type='StandardRoIHead', bbox_roi_extractor=extractor(7), bbox_head=box_head(),
            mask_roi_extractor=extractor(14), mask_head=MASK_HEAD,
        ),
        **TWO_STAGES,
    ),
    'cascade_mask_rcnn': dict(
        type='CascadeRCNN',
        roi_head=dict(
            type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1, 0.5, 0.25], bbox_roi_extractor=extractor(7),
            bbox_head=[
                box_head(reg_class_agnostic=True), box_head(), box_head(reg_class_agnostic=True, bbox_coder=coder(0.5))
            ],
            mask_roi_extractor=extractor(14), mask_head=MASK_HEAD,
        ),
        **TWO_STAGES,
    ),
}  # fmt: skip


def build(name, **test_cfg):
    """A detector in evaluation mode."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    cfg = ConfigDict(CONFIGS[name]).copy()
    if test_cfg:
        kept = {**cfg.test_cfg, 'rcnn': {**cfg.test_cfg.rcnn, **test_cfg}} if 'rcnn' in cfg.test_cfg else {}
        cfg.test_cfg = ConfigDict(kept or {**cfg.test_cfg, **test_cfg})
    model = MODELS.build(cfg)
    with torch.no_grad():
        for part, module in model.named_modules():
            if part.endswith(('rpn_cls', 'fc_cls', 'retina_cls', 'conv_logits')):
                module.weight.normal_(0, 0.2 if part.endswith('retina_cls') else 2)
            elif part.endswith(('rpn_reg', 'fc_reg', 'retina_reg')):
                module.weight.normal_(0, 0.5)
    return model.eval()
