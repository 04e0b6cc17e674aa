"""ONNX files in onnxruntime against MMDetection's own detection, at sizes other than the traced one."""

import copy
import json

import pytest
import torch
from mmdet.datasets.transforms import Resize
from mmdet.registry import MODELS
from mmengine.config import ConfigDict

from mmhybrid.errors import InputError
from mmhybrid.exporting.parts import Part

from .models import CONFIGS, build

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from mmhybrid.exporting.checking import compare, generated_image  # noqa: E402
from mmhybrid.exporting.onnx_file import resizing, to_onnx  # noqa: E402

TRACED, OTHER = (96, 128), (150, 101)


def export(part, opset=17):
    image = torch.from_numpy(generated_image(*TRACED, 0).transpose(2, 0, 1)[None]).float()
    return to_onnx(part, image, opset, ['a', 'b', 'c'])


@pytest.fixture(scope='module')
def mask_rcnn():
    """A part, as it was exported to the oldest version, and its file."""
    part = Part(build('mask_rcnn'), 'detector').eval()
    return part, export(part, 16)


# A Mask R-CNN detects boxes as a Faster R-CNN does.
NAMES = [pytest.param(name, marks=pytest.mark.slow if name == 'faster_rcnn' else ()) for name in CONFIGS]


@pytest.mark.parametrize('name', NAMES)
def test_a_whole_detector_gives_what_mmdetection_gives(name, mask_rcnn):
    part = mask_rcnn[0] if name == 'mask_rcnn' else Part(build(name), 'detector').eval()
    file = mask_rcnn[1] if name == 'mask_rcnn' else export(part)
    for seed, size in enumerate((TRACED, OTHER)):
        difference = compare(part, file, generated_image(*size, seed))
        assert difference.is_small, difference
        assert difference.compared >= 10
        assert difference.box < 1e-2 and difference.score < 1e-4
    assert ('masks' in [out.name for out in onnx.load_from_string(file).graph.output]) == ('mask' in name)


def test_where_nothing_is_detected_nothing_comes_out():
    part = Part(build('mask_rcnn', score_thr=0.999999), 'detector').eval()
    difference = compare(part, export(part), generated_image(*OTHER, 1))
    assert (difference.compared, difference.unmatched, difference.is_small) == (0, 0, True)


@pytest.mark.slow
def test_boxes_of_all_classes_suppress_each_other_where_the_config_says_so():
    part = Part(build('faster_rcnn', nms=dict(type='nms', iou_threshold=0.1, class_agnostic=True)), 'detector').eval()
    file = export(part)
    agnostic = compare(part, file, generated_image(*OTHER, 1))
    assert agnostic.is_small, agnostic
    apart = Part(build('faster_rcnn', nms=dict(type='nms', iou_threshold=0.1)), 'detector').eval()
    assert not compare(apart, file, generated_image(*OTHER, 1)).is_small


@pytest.mark.parametrize(
    ('what', 'by', 'differs'),
    [('bbox_head.fc_reg', 0.1, 'box'), ('bbox_head.fc_cls', 0.5, 'score'), ('mask_head.conv_logits', 0.5, 'mask')],
)
def test_a_file_of_other_weights_differs(what, by, differs, mask_rcnn):
    other = copy.deepcopy(mask_rcnn[0])
    with torch.no_grad():
        other.detector.roi_head.get_submodule(what).bias[0] += by
    difference = compare(other, mask_rcnn[1], generated_image(*OTHER, 1))
    assert not difference.is_small
    assert getattr(difference, differs) > 5e-3 or difference.unmatched


@pytest.mark.parametrize(('name', 'maps'), [('neck', 5), ('backbone', 4)])
def test_features_of_any_detector(name, maps):
    part = Part(build('retinanet'), name).eval()
    file = export(part)
    difference = compare(part, file, generated_image(*OTHER, 1))
    assert difference.is_small and difference.compared == maps
    with torch.no_grad():
        part.detector.backbone.conv1.weight.mul_(1.1)
    assert not compare(part, file, generated_image(*OTHER, 1)).is_small


def test_a_file_tells_its_classes_and_what_it_takes(mask_rcnn):
    meta = {prop.key: prop.value for prop in onnx.load_from_string(mask_rcnn[1]).metadata_props}
    assert json.loads(meta['classes']) == ['a', 'b', 'c']
    assert meta['image'].startswith('BGR, 0 to 255')
    assert meta['part'] == 'detector'
    assert json.loads(meta['resize']) == 'unknown'


LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='mmdet.PackDetInputs')


@pytest.mark.parametrize(
    ('between', 'resize'),
    [
        ([dict(type='Resize', scale=(1333, 800), keep_ratio=True)], dict(scale=[1333, 800], keep_ratio=True)),
        ([dict(type='mmdet.Resize', scale=(64, 32))], dict(scale=[64, 32], keep_ratio=False)),
        ([dict(type=Resize, scale=64)], dict(scale=[64, 64], keep_ratio=False)),
        ([dict(type='LoadAnnotations', with_bbox=True)], 'none'),
        ([dict(type='Resize', scale_factor=0.5)], 'unknown'),
        ([dict(type='Resize', scale=(64, 32), interpolation='nearest')], 'unknown'),
        ([dict(type='FixShapeResize', width=64, height=32)], 'unknown'),
        ([dict(type='Resize', scale=(64, 32)), dict(type='Pad', size_divisor=32)], 'unknown'),
    ],
)
def test_how_a_pipeline_resizes(between, resize):
    assert resizing([LOAD, *between, PACK]) == resize


@pytest.mark.parametrize(
    ('name', 'change', 'what'),
    [
        ('faster_rcnn', dict(test_cfg=dict(rcnn=dict(nms=dict(type='soft_nms', iou_threshold=0.5)))), 'soft_nms'),
        ('mask_rcnn', dict(roi_head=dict(mask_head=dict(type='CoarseMaskHead', downsample_factor=2))), 'Its mask head'),
        ('retinanet', dict(bbox_head=dict(type='RetinaSepBNHead', num_ins=5)), 'RetinaSepBNHead'),
    ],
)
def test_what_is_not_written_here_is_refused(name, change, what):
    cfg = ConfigDict(CONFIGS[name]).copy()
    merged = merge(cfg.to_dict(), change)
    if what == 'soft_nms':
        merged['test_cfg']['rcnn']['nms'] = change['test_cfg']['rcnn']['nms']
    with pytest.raises(InputError, match=rf'{what}.*cannot be exported as a whole detector: --part neck'):
        Part(MODELS.build(ConfigDict(merged)).eval(), 'detector')


def merge(old, new):
    return old | {
        key: merge(old[key], value) if isinstance(value, dict) and isinstance(old.get(key), dict) else value
        for key, value in new.items()
    }
