# ruff: noqa: D100
# MMDetection's own Faster R-CNN, with another backbone. Only the lines below are this project's.
_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmhybrid.registry'], allow_failed_imports=False)

model = dict(
    # Random weights: nothing is frozen. The neck's channels are ResNet-50's, 256 to 2048.
    backbone=dict(_delete_=True, type='TiedResNet', depth=50, frozen_stages=-1, norm_eval=False),
)
