# CIFAR-10 as pictures, the recipe of HCGNet's authors (their training script): SGD 0.9 with Nesterov's momentum, 128
# pictures a step, lr 0.1 in seven cosine cycles of 10, 20, ... 640 epochs, mixup.
# Ours: the learning rate falls with each step, not each epoch; fewer epochs, max_epochs=N, are the cycles that fit.
_base_ = ['../_base_/pretraining/folders.py', '../_base_/pretraining/runtime.py']

import importlib

data_root = 'data/cifar10/'
backbone_name = 'hcgnet_a1'
num_classes = 10
image_size = 32
max_epochs = 1270

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        type='ClassificationPreprocessor',
        mean=[125.31, 122.95, 113.87],
        std=[62.99, 62.09, 66.70],
        bgr_to_rgb=True,
    ),
    backbone=importlib.import_module('mmhybrid.pretraining.backbones').backbone_config(backbone_name),
    # For ImageNet's variants; 'backbone' is their own, for larger pictures (image_size=64).
    stem='32x32',
    head=dict(num_classes=num_classes),
    mixing=dict(mixup=1.0),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizedCenterCrop', size=image_size),
    dict(type='PaddedRandomCrop', size=image_size, padding=0.125),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackImageLabel'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizedCenterCrop', size=image_size),
    dict(type='PackImageLabel'),
]
train_dataloader = dict(batch_size=128, num_workers=2, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
optim_wrapper = dict(
    type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
)
param_scheduler = [
    dict(
        type='CosineRestartLR',
        periods=[10, 20, 40, 80, 160, 320, 640],
        restart_weights=[1, 1, 1, 1, 1, 1, 1],
        eta_min=0,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
auto_scale_lr = dict(enable=False, base_batch_size=128)
