"""The metric in MMDetection's own hands, against CocoMetric and the evaluation of the results file."""

import copy
import json
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS
from mmengine.logging import MMLogger

import mmhybrid.registry  # noqa: F401
from mmhybrid.datasets.occluded_shapes import CATEGORIES, generate
from mmhybrid.errors import InputError
from mmhybrid.occlusion import Settings, evaluate

CLASSES = tuple(category['name'] for category in CATEGORIES)


@pytest.fixture(scope='module')
def annotations(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes') / 'data'
    generate(root, {'val': 30}, size=128, progress=False)
    return root / 'annotations' / 'instances_val.json'


def predictions(annotations, classes=CLASSES):
    """Jittered ground truth with random scores and some wrong classes, as MMDetection's data samples."""
    content = json.loads(annotations.read_text())
    names = {c['id']: c['name'] for c in content['categories']}
    rng = np.random.default_rng(0)
    for image in content['images']:
        mine = [a for a in content['annotations'] if a['image_id'] == image['id']]
        boxes = np.array([a['bbox'] for a in mine]) + rng.normal(0, 2.5, (len(mine), 4))
        boxes[:, 2:] = boxes[:, :2] + np.maximum(boxes[:, 2:], 1)
        labels = [classes.index(names[a['category_id']]) if names[a['category_id']] in classes else 0 for a in mine]
        wrong = rng.random(len(mine)) < 0.2
        labels = np.where(wrong, rng.integers(len(classes), size=len(mine)), labels)
        masks = [{'size': a['segmentation']['size'], 'counts': a['segmentation']['counts'].encode()} for a in mine]
        yield dict(
            img_id=image['id'],
            ori_shape=(128, 128),
            pred_instances=dict(
                bboxes=torch.tensor(boxes, dtype=torch.float32),
                scores=torch.tensor(rng.random(len(mine)), dtype=torch.float32),
                labels=torch.tensor(labels),
                masks=masks,
            ),
        )


def plain_and_ours(annotations, samples, **options):
    """What ``CocoMetric`` gives and what ours does, without the strata; how often ``CocoMetric`` evaluated for ours."""
    plain = run(CocoMetric(ann_file=str(annotations), **options), copy.deepcopy(samples))
    metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(annotations), **options))
    asked = []
    results2json = metric.results2json
    metric.results2json = lambda *arguments: (asked.extend(metric.metrics), results2json(*arguments))[1]
    ours = run(metric, copy.deepcopy(samples))
    assert metric.metrics == options.get('metric', ['bbox'])
    return plain, {key: value for key, value in ours.items() if '_occ_' not in key}, asked


def run(metric, samples, classes=CLASSES):
    metric.dataset_meta = dict(classes=classes)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(size=len(metric.results))


def test_adds_the_strata_to_what_coco_metric_gives(annotations, tmp_path):
    kinds = ['bbox', 'segm']
    prefix = str(tmp_path / 'results')
    metric = METRICS.build(
        dict(type='OcclusionCocoMetric', ann_file=str(annotations), metric=kinds, outfile_prefix=prefix)
    )
    ours = run(metric, predictions(annotations))
    plain = run(CocoMetric(ann_file=str(annotations), metric=kinds), predictions(annotations))
    assert {k: v for k, v in ours.items() if '_occ_' not in k} == plain
    assert metric.outfile_prefix == prefix
    for kind in kinds:
        result = evaluate(annotations, f'{prefix}.{kind}.json', (kind,))[kind]
        names = {'mAP': 'ap', 'mAP_50': 'ap50', 'mAP_75': 'ap75', 'AR': 'ar'}
        expected = {
            f'coco/{kind}_{name}_occ_{part.stratum.lower:g}': round(getattr(part, field), 3)
            for part in result.cumulative[1:]
            for name, field in names.items()
        }
        assert {k: v for k, v in ours.items() if k.startswith(f'coco/{kind}') and '_occ_' in k} == expected
        assert len(expected) == 8 * 4
        assert 0 < ours[f'coco/{kind}_mAP'] < 1


@pytest.mark.parametrize(
    ('options', 'by_coco_metric'),
    [
        (dict(metric=['bbox', 'segm']), []),
        (dict(metric=['segm'], metric_items=['mAP', 'mAP_s', 'AR@300']), []),
        (dict(metric=['bbox'], iou_thrs=np.array([0.5, 0.6])), []),
        (dict(metric=['bbox'], classwise=True), ['bbox']),
        (dict(metric=['bbox'], metric_items=['AR_s@1000']), ['bbox']),
        (dict(metric=['bbox'], proposal_nums=(1, 10, 100)), ['bbox']),
        (dict(metric=['proposal', 'bbox']), ['proposal']),
    ],
)
def test_equals_coco_metric_which_evaluates_only_what_is_needed(annotations, options, by_coco_metric):
    samples = list(predictions(annotations))
    plain, ours, asked = plain_and_ours(annotations, samples, **options)
    assert ours == plain and plain
    assert asked == by_coco_metric


def test_equals_coco_metric_where_its_limits_of_detections_differ(annotations):
    samples = list(predictions(annotations))
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0, 100, (150, 4))
    boxes[:, 2:] = boxes[:, :2] + 20
    many = dict(
        bboxes=torch.tensor(boxes, dtype=torch.float32),
        scores=torch.tensor(rng.random(150), dtype=torch.float32),
        labels=torch.zeros(150, dtype=torch.long),
    )
    for sample in samples:
        sample['pred_instances'].pop('masks')
    samples[0]['pred_instances'] = many
    plain, ours, asked = plain_and_ours(annotations, samples, metric=['bbox'])
    assert ours == plain and asked == ['bbox']
    many['labels'] = torch.arange(150) % 2  # more than 100 an image, fewer of a class
    plain, ours, asked = plain_and_ours(annotations, samples, metric=['bbox'])
    assert ours == plain and asked == []


def test_instances_to_ignore_count_for_coco_metric_and_not_for_strata(annotations, tmp_path):
    content = json.loads(annotations.read_text())
    for row in content['annotations'][::3]:
        row['ignore'] = 1
    marked = tmp_path / 'marked.json'
    marked.write_text(json.dumps(content))
    samples = list(predictions(annotations))
    for _ in range(2):  # pycocotools overwrites `ignore`
        plain, ours, asked = plain_and_ours(marked, samples, metric=['proposal', 'bbox'])
        assert ours == plain and asked == ['proposal', 'bbox']
    prefix = tmp_path / 'results'
    metric = dict(type='OcclusionCocoMetric', ann_file=str(marked), metric=['proposal', 'bbox'])
    values = run(METRICS.build(metric | dict(outfile_prefix=str(prefix))), samples)
    part = evaluate(marked, f'{prefix}.bbox.json')['bbox'].cumulative[3]
    assert values['coco/bbox_mAP_occ_0.3'] == round(part.ap, 3)


def test_epochs_do_not_change_one_another_and_nothing_is_written(annotations, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(annotations), metric=['bbox', 'segm']))
    monkeypatch.setattr('mmdet.evaluation.metrics.coco_metric.dump', lambda *arguments: pytest.fail('it was written'))
    first = run(metric, predictions(annotations))
    metric.results.clear()
    assert run(metric, predictions(annotations)) == first
    assert list(tmp_path.iterdir()) == []


def test_mask_scores_go_with_masks(annotations):
    samples = list(predictions(annotations))
    rng = np.random.default_rng(2)
    for sample in samples:
        found = sample['pred_instances']
        found['mask_scores'] = torch.tensor(rng.random(len(found['scores'])), dtype=torch.float32)
    plain, ours, asked = plain_and_ours(annotations, samples, metric=['bbox', 'segm'])
    assert ours == plain and asked == []
    del samples[0]['pred_instances']['mask_scores']
    plain, ours, _ = plain_and_ours(annotations, samples, metric=['segm'])
    assert ours == plain


def test_ground_truth_of_the_data_set(annotations):
    content = json.loads(annotations.read_text())
    samples = list(predictions(annotations))
    numbers = {category['id']: i for i, category in enumerate(content['categories'])}
    for sample in samples:
        sample['instances'] = [
            dict(bbox=[x, y, x + w, y + h], bbox_label=numbers[row['category_id']], ignore_flag=row['iscrowd'])
            for row in content['annotations']
            if row['image_id'] == sample['img_id']
            for x, y, w, h in [row['bbox']]
        ]
    ours = run(METRICS.build(dict(type='OcclusionCocoMetric', metric='bbox')), copy.deepcopy(samples))
    assert {k: v for k, v in ours.items() if '_occ_' not in k} == run(CocoMetric(metric='bbox'), samples)
    assert any('_occ_' in key for key in ours)


def test_format_only_writes_and_evaluates_nothing(annotations, tmp_path):
    prefix = tmp_path / 'submission'
    options = dict(ann_file=str(annotations), format_only=True, outfile_prefix=str(prefix))
    assert run(METRICS.build(dict(type='OcclusionCocoMetric', **options)), predictions(annotations)) == {}
    assert len(json.loads((tmp_path / 'submission.bbox.json').read_text())) > 50


def test_a_subset_of_classes_is_evaluated_as_chosen_categories_are(annotations, tmp_path):
    classes, prefix = CLASSES[:4], str(tmp_path / 'results')
    metric = dict(ann_file=str(annotations), metric='bbox', outfile_prefix=prefix)
    samples = list(predictions(annotations, classes))
    values = run(METRICS.build(dict(type='OcclusionCocoMetric', **metric)), copy.deepcopy(samples), classes)
    assert {key: v for key, v in values.items() if '_occ_' not in key} == run(CocoMetric(**metric), samples, classes)
    result = evaluate(annotations, f'{prefix}.bbox.json', settings=Settings(categories=classes))['bbox']
    for part in result.cumulative[1:]:
        key = f'coco/bbox_mAP_occ_{part.stratum.lower:g}'
        assert values.get(key) == (round(part.ap, 3) if part.num_instances else None)
    assert sum('_mAP_occ_' in key for key in values) > 4


def test_each_note_is_told_once(annotations):
    samples = list(predictions(annotations))
    metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(annotations), metric=['bbox', 'segm']))
    told = []
    for kept in (range(12), range(10), range(30)):  # the numbers of a note change
        for i, sample in enumerate(samples):
            found = dict(sample['pred_instances'], scores=sample['pred_instances']['scores'] * 100)
            if i not in kept:
                found = {key: value[:0] for key, value in found.items()}
            metric.process({}, [sample | dict(pred_instances=found)])
        metric.dataset_meta = dict(classes=CLASSES)
        with mock.patch.object(MMLogger.get_current_instance(), 'warning', told.append):
            metric.evaluate(size=30)
        metric.results.clear()
    images, scores = told
    assert images.startswith('note: 18 of 30 images have no detection') and 'scores outside of 0 to 1' in scores


@pytest.mark.parametrize(
    'options', [dict(metric='proposal', iou_thrs=np.array([0, 0.5])), dict(iou_thrs=np.array([0.5, 0.5, 0.75]))]
)
def test_thresholds_that_coco_metric_takes(annotations, options):
    samples = list(predictions(annotations))
    plain, ours, asked = plain_and_ours(annotations, samples, **options | dict(metric=[options.get('metric', 'bbox')]))
    assert ours == plain and plain and len(asked) == 1


def test_goes_through_pickle_and_evaluates_in_a_forked_process(annotations):
    program = f"""
import os, pickle
from pathlib import Path
from mmdet.registry import METRICS
import mmhybrid.registry
from tests.test_evaluation import predictions, run
annotations = Path({str(annotations)!r})
metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(annotations)))
first = run(metric, list(predictions(annotations)))
metric.results.clear()
child = os.fork()
metric = pickle.loads(pickle.dumps(metric))
again = run(metric, list(predictions(annotations)))
assert again == first and any('_occ_' in key for key in again), again
if child:
    assert os.waitpid(child, 0)[1] == 0
else:
    os._exit(0)
"""
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_strata_of_the_users_choice(annotations):
    def values(**occlusion):
        metric = dict(type='OcclusionCocoMetric', ann_file=str(annotations), metric='bbox', occlusion=occlusion)
        return {key: v for key, v in run(METRICS.build(metric), predictions(annotations)).items() if '_mAP_occ_' in key}

    amodal = values(definition='invisible', thresholds=[0.1, 0.25])
    assert list(amodal) == ['coco/bbox_mAP_occ_0.1', 'coco/bbox_mAP_occ_0.25']
    images = [image['id'] for image in json.loads(annotations.read_text())['images']]
    labelled = values(values={image_id: 'even' if image_id % 2 == 0 else 'odd' for image_id in images})
    assert list(labelled) == ['coco/bbox_mAP_occ_even', 'coco/bbox_mAP_occ_odd']
    with pytest.raises(InputError, match="unknown definition 'x'"):
        values(definition='x')


def test_no_detections_end_nothing(annotations):
    empty = dict(bboxes=torch.empty(0, 4), scores=torch.empty(0), labels=torch.empty(0, dtype=torch.long))
    samples = [dict(img_id=i, ori_shape=(128, 128), pred_instances=empty) for i in range(1, 31)]
    metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(annotations)))
    assert run(metric, samples) == {}


def test_boxes_of_a_diverged_model_end_nothing(annotations):
    samples = list(predictions(annotations))
    samples[3]['pred_instances']['bboxes'][0] = float('nan')
    metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(annotations)))
    values = run(metric, samples)
    assert 'coco/bbox_mAP' in values
    assert not any('_occ_' in key for key in values)


def test_ground_truth_that_cannot_be_used_is_refused_at_the_start(annotations, tmp_path):
    content = json.loads(annotations.read_text())
    content['annotations'][5]['bbox'] = [0, 0, -3, 4]
    broken = tmp_path / 'broken.json'
    broken.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"broken\.json: .*'bbox'"):
        METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(broken)))
