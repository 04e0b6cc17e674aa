"""Arguments that cannot be used: one sentence each."""

import math

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import Details, Selection, Settings, compare, evaluate
from mmhybrid.occlusion.api import default_name

from .synthetic import dataset


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(iou_types=('keypoints',)), 'cannot be evaluated; choose from bbox, segm'),
        (dict(iou_types=()), 'cannot be evaluated'),
        (dict(iou_types=5), 'IoU types 5 cannot be evaluated'),
        (dict(by='tbc'), "by is 'tbc'; give a Selection"),
        (dict(by=[0.1, 0.2]), r'by is \[0.1, 0.2\]; give a Selection'),
        (dict(by=5), 'by is 5; give a Selection'),
        (dict(details=dict(errors=True)), "details are {'errors': True}; give Details"),
        (dict(settings=dict(max_dets=5)), "settings are {'max_dets': 5}; give Settings"),
        (dict(ignore='no'), "unknown ignore 'no'; choose from region, as-instances"),
        (dict(gt=None), 'ground truth must be a JSON object, found None'),
        (dict(dt=None), 'results must be a JSON list of detections, found None'),
        (
            dict(settings=Settings(iou_thrs=[0.6, 0.75]), details=Details(errors=True)),
            'errors cannot be told at IoU 0.5; choose from 0.6, 0.75',
        ),
        (dict(engine=5), 'unknown engine 5; choose from pycocotools, hotcoco'),
        (dict(engine='magic'), "unknown engine 'magic'; choose from pycocotools, hotcoco"),
        (dict(by=Selection(definition='iou')), "unknown definition 'iou'"),
        (dict(by=Selection(definition='covered', geometry='amodal')), 'amodal'),
    ],
)
def test_what_cannot_be_asked_for(arguments, message):
    with pytest.raises(InputError, match=message):
        gt, dt = dataset(1)
        evaluate(**(dict(gt=gt, dt=dt) | arguments))


def test_models_are_a_dictionary():
    gt, dt = dataset(1)
    for models, words in ((dt, 'of the type list'), ({}, '{}'), (None, 'of the type NoneType')):
        with pytest.raises(InputError, match=f'the models are {words}; give a dictionary'):
            compare(gt, models)


@pytest.mark.parametrize(
    ('details', 'message'),
    [
        (dict(resamples='200'), "resamples is '200'; give an integer"),
        (dict(errors='yes'), "errors is 'yes'; give True or False"),
        (dict(confidence=None), 'confidence is None; give a number'),
        (dict(resamples=1), '1 bootstrap resamples give no interval'),
        (dict(seed=-1), 'the bootstrap seed is -1'),
        (dict(confidence=1), 'the confidence is 1'),
        (dict(min_score=math.nan), 'the least score is nan'),
    ],
)
def test_details_that_make_no_sense(details, message):
    with pytest.raises(InputError, match=message):
        Details(**details)


@pytest.mark.parametrize(
    ('results', 'name'),
    [
        ('runs/model.bbox.json', 'model.bbox'),
        ('model.json.gz', 'model'),
        ('model.pkl', 'model'),
        ('model.jsonl.zst', 'model'),
        ('instances_predictions.pth', 'instances_predictions'),
        (['runs/rank0.json', 'runs/rank1.json'], 'rank0'),
        ([{'image_id': 1}], 'results'),
        ([], 'results'),
    ],
)
def test_names_of_results(results, name):
    assert default_name(results) == name
