# Cascade Mask R-CNN with an FPN; the config that uses it brings the backbone.
_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'
