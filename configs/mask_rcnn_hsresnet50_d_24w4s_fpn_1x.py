# Mask R-CNN, HS-ResNet-50-D (24w4s), FPN, 1x schedule (ours: 12 epochs, 16 images a step, 1333x800).
# The size, 27.55M parameters as a classifier, is said to be the paper's; that is unverified.
_base_ = [
    '_base_/models/mask_rcnn_fpn.py',
    '_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '_base_/runtime.py',
]

import importlib

# ImageNet weights of the backbone, a path or a URL. With them, stage 1 and the batch norms are frozen; with None,
# nothing is.
backbone_checkpoint = None

model = importlib.import_module('mmhybrid.zoo').detector_parts('hsresnet50_d_24w4s', backbone_checkpoint)
