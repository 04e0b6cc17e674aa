# ruff: noqa: D100
_base_ = 'mmhybrid::demo_mask_rcnn_tiedresnet_occluded_shapes.py'

data_root = 'data/own/'
own = dict(data_root=data_root, metainfo=dict(classes=('shape',)))
model = dict(roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))
train_dataloader = dict(dataset=dict(ann_file='train.json', data_prefix=dict(img='train/'), **own))
test_dataloader = dict(dataset=dict(ann_file='val.json', data_prefix=dict(img='val/'), **own))
test_evaluator = dict(ann_file=data_root + 'val.json')
