"""Arguments that cannot be used: one sentence each."""

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import Details, Selection, Settings, compare, evaluate, image_ratios
from mmhybrid.occlusion.analysis.study import Study
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
            dict(settings=Settings(iou_thrs=[0.6, 0.75]), details=Details(errors=True, iou_thr=0.5)),
            r'at IoU 0.5, which is none of the thresholds 0.6, 0.75; give one of these as iou_thr \(--error-iou\), or',
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
    for models, words in (
        (dt, 'of the type list'),
        ({}, r'\[\]'),
        ({'a': dt}, r"\['a'\]"),
        (None, 'of the type NoneType'),
    ):
        with pytest.raises(InputError, match=f'the models are {words}; give a dictionary'):
            compare(gt, models)
        with pytest.raises(InputError, match='the models are'):  # before anything is read
            compare('no such file.json', models)


def test_a_comparison_needs_resamples():
    with pytest.raises(InputError, match=r'a comparison needs bootstrap resamples; give Details\(resamples=1000, \.\.'):
        compare('no such file.json', {'a': [], 'b': []}, details=Details(errors=True))


def test_ratios_go_by_the_ids_of_the_file():
    gt, _ = dataset(1)
    expected = image_ratios(gt)
    for row in gt['images']:
        row['id'] = f'{row["id"]}_a'
    for row in gt['annotations']:
        row['image_id'] = f'{row["image_id"]}_a'
        row['ignore'] = 1
    assert image_ratios(gt, ignore='as-instances') == {f'{key}_a': value for key, value in expected.items()}
    assert set(image_ratios(gt).values()) == {0} != set(expected.values())


def test_shards_are_called_by_what_their_names_have_in_common(tmp_path):
    gt, dt = dataset(1)
    paths = [tmp_path / f'swin_rank{i}.json' for i in range(2)]
    for i, path in enumerate(paths):
        path.write_text(json.dumps(dt[i::2]))
    result = evaluate(gt, paths)['bbox']
    assert result.name == 'swin_rank' and result.all.ar == evaluate(gt, dt)['bbox'].all.ar


def test_notes_on_the_users_values_are_notes_of_the_result():
    gt, dt = dataset(1)
    values = {image['id']: 'night' for image in gt['images']} | {10**6: 'day'}
    by = Selection(values=values)
    note = 'values: 1 of 15 entries are of no image of ground truth, the first is 1000000'
    assert note in evaluate(gt, dt, by=by)['bbox'].notes
    compared = compare(gt, {'a': dt, 'b': dt[::2]}, by=by, details=Details(resamples=10))
    assert all(note in result.notes for result in compared.results)


def test_numbers_of_numpy_are_as_any_others():
    gt, dt = dataset(1)
    ids = [row['id'] for row in gt['categories']][:2]
    plain = Settings([0.3, 0.5, 0.6], 50, False, ids), dict(
        categories=True, instances=True, errors=True, resamples=10, seed=3, confidence=0.9, iou_thr=0.6, min_score=0.3,
        min_images=2,
    )  # fmt: skip
    kinds = {bool: np.bool_, int: np.int32, float: np.float32}
    settings = Settings(np.array([0.3, 0.5, 0.6], np.float32), np.int64(50), np.bool_(0), np.array(ids))
    details = Details(**{key: kinds[type(value)](value) for key, value in plain[1].items()})
    assert (settings, details) == (plain[0], Details(**plain[1]))
    dt = [row | {'score': round(row['score'], 1)} for row in dt]  # some are 0.3
    by = Selection(edges=np.array([0, 0.5, 1], np.float32), thresholds=np.array([0.5]))
    result = evaluate(gt, dt, by=by, settings=settings, details=details)['bbox']
    by = Selection(edges=[0, 0.5, 1], thresholds=[0.5])
    expected = evaluate(gt, dt, by=by, settings=plain[0], details=Details(**plain[1]))['bbox']
    assert result.to_json() == expected.to_json()


@pytest.mark.parametrize(
    ('thresholds', 'told_at'), [([0.6], 0.6), ([0.1, 0.75], 0.75), ([0.1, 0.3], 0.3), ([0.2, 0.5], 0.5)]
)
def test_errors_are_told_at_a_threshold_that_is_matched_at(thresholds, told_at):
    gt, dt = dataset(1)
    details = Details(errors=True)
    result = evaluate(gt, dt, settings=Settings(thresholds), details=details)['bbox']
    expected = evaluate(gt, dt, settings=Settings(thresholds), details=replace(details, iou_thr=told_at))['bbox']
    assert result.strata == expected.strata and result.all.errors.iou_thr == told_at
    note = f'errors are told at IoU {told_at}, since no detection is matched at 0.5'
    assert (note in result.notes) == (0.5 not in thresholds) and note not in expected.notes


def test_where_class_makes_no_difference_a_note_tells_why_there_are_no_categories():
    gt, dt = dataset(1)
    result = evaluate(gt, dt, settings=Settings(class_agnostic=True), details=Details(categories=True))['bbox']
    assert result.all.categories == () and any('no metrics per category' in note for note in result.notes)


def test_a_study_can_be_pickled():
    gt, dt = dataset(1)
    study = pickle.loads(pickle.dumps(Study(gt)))
    (evaluated,) = study.run({'a': dt})
    assert evaluated.result == evaluate(gt, dt, name='a')['bbox']


def test_masks_are_measured_without_boxes():
    gt, _ = dataset(1, masks=True)
    expected = image_ratios(gt, geometry='segm')
    for row in gt['annotations']:
        del row['bbox'], row['area']
    assert image_ratios(gt, geometry='segm') == expected


@pytest.mark.parametrize(
    ('details', 'message'),
    [
        (dict(resamples='200'), "resamples is '200'; give an integer"),
        (dict(errors='yes'), "errors is 'yes'; give True or False"),
        (dict(confidence=None), 'confidence is None; give a number'),
        (dict(resamples=1), 'the number of bootstrap resamples is 1; give 0 or 100'),
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
        ('model.lzma', 'model'),
        ('model.jsonl.zst', 'model'),
        ('instances_predictions.pth', 'instances_predictions'),
        ('runs/model_.json', 'model_'),
        (Path('runs/model.bbox.json'), 'model.bbox'),
        (['runs/dt_rank0.json', 'runs/dt_rank1.json.gz'], 'dt_rank'),
        (('a.rank0.bbox.json', Path('a.rank10.bbox.json')), 'a.rank'),
        (['0.json', '1.json'], '0'),
        (['runs/only_.json'], 'only_'),
        ({'image_id': 1}, 'results'),
        (5, 'results'),
        ([{'image_id': 1}], 'results'),
        ([], 'results'),
    ],
)
def test_names_of_results(results, name):
    assert default_name(results) == name
