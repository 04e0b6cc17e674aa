# Mask R-CNN, TiedResNet-50, FPN, 2x schedule (24 epochs, 16 images a step, 1333x800).
_base_ = [
    '_base_/models/mask_rcnn_fpn.py',
    '_base_/backbones/tiedresnet50.py',
    '_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    '_base_/runtime.py',
]

# ImageNet weights of the backbone, a path or a URL. With them, stage 1 and the batch norms are frozen, as the paper
# trained; with None, nothing is.
backbone_checkpoint = None

model = dict(
    backbone=dict(
        _delete_=True,
        **_base_.backbone,
        frozen_stages=1 if backbone_checkpoint else -1,
        norm_eval=bool(backbone_checkpoint),
        init_cfg=dict(type='Pretrained', checkpoint=backbone_checkpoint) if backbone_checkpoint else None,
    )
)
