# Cascade Mask R-CNN, ResNeSt-50, FPN, 2x schedule (24 epochs, 16 images a step, 1333x800).
_base_ = [
    '_base_/models/cascade_mask_rcnn_fpn.py',
    '_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    '_base_/runtime.py',
]

import importlib

# ImageNet weights of the backbone, a path or a URL. With them, stage 1 and the batch norms are frozen; with None,
# nothing is.
backbone_checkpoint = None

model = dict(
    backbone=dict(
        type='ResNeSt',
        stem_channels=64,
        radix=2,
        reduction_factor=4,
        **importlib.import_module('mmhybrid.zoo').freezing(backbone_checkpoint),
    )
)
