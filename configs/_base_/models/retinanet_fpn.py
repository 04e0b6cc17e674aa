# RetinaNet with an FPN; the config that uses it brings the backbone.
_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'
