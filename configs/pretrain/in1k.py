# ImageNet-1k, the papers' recipe (arXiv 2009.12021): SGD 0.9, 256 pictures a step, 100 epochs, lr 0.1, x0.1 every 30.
# Ours: weight decay 1e-4 on all parameters, changes of colour, and the usual crops of training and validation.
_base_ = ['../_base_/pretraining/folders.py', '../_base_/pretraining/runtime.py']

import importlib

data_root = 'data/imagenet/'
backbone_name = 'tiedresnet50'
num_classes = 1000
image_size = 224
max_epochs = 100

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClassificationPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=importlib.import_module('mmhybrid.pretraining.backbones').backbone_config(backbone_name),
    head=dict(num_classes=num_classes),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', size=image_size),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='PhotoMetricDistortion',
        brightness_delta=32,
        contrast_range=(0.6, 1.4),
        saturation_range=(0.6, 1.4),
        hue_delta=0,
    ),
    dict(type='PackImageLabel'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizedCenterCrop', size=image_size, fraction=0.875),
    dict(type='PackImageLabel'),
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4))
param_scheduler = [dict(type='MultiStepLR', begin=0, end=max_epochs, by_epoch=True, milestones=[30, 60, 90], gamma=0.1)]
# For --auto-scale-lr: pictures in a step, over all GPUs.
auto_scale_lr = dict(enable=False, base_batch_size=256)
