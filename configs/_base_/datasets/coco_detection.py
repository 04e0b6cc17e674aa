# MS-COCO detection at 1333x800, evaluated by image occlusion as well.
_base_ = 'mmdet::_base_/datasets/coco_detection.py'

val_evaluator = dict(type='OcclusionCocoMetric')
test_evaluator = dict(type='OcclusionCocoMetric')
