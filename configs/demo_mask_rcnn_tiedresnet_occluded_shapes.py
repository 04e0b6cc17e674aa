# The demo: a small Mask R-CNN on a narrow TiedResNet, trained on a CPU in minutes.
_base_ = [
    '_base_/models/mask_rcnn_narrow_fpn.py',
    '_base_/backbones/tiedresnet50.py',
    '_base_/datasets/occluded_shapes.py',
    '_base_/runtime.py',
]

import importlib

# Weights of the backbone, a path or a URL. Nothing is frozen, with them or without: what small pictures of other things
# taught so narrow a backbone is a start, and no end.
backbone_checkpoint = None
freeze_backbone = False

num_classes = len(_base_.classes)
model = dict(
    # A quarter of the channels; images of 256x256 have no use for stride 4.
    backbone=dict(
        _delete_=True,
        **{**_base_.backbone, 'out_indices': (1, 2, 3)},
        base_channels=16,
        base_width=8,
        **importlib.import_module('mmhybrid.zoo').freezing(backbone_checkpoint, freeze_backbone),
    ),
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)

max_epochs = 3
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs)
test_cfg = dict(type='TestLoop')
# No validation on the way: tools/test.py measures the end.
val_cfg = val_dataloader = val_evaluator = None
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05), clip_grad=dict(max_norm=10)
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', begin=0, end=max_epochs, by_epoch=True, convert_to_iter_based=True),
]
randomness = dict(seed=0)
default_hooks = dict(logger=dict(interval=25), checkpoint=dict(interval=1, max_keep_ckpts=1))
