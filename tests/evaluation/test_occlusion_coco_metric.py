"""The metric in MMDetection's own hands, against CocoMetric and the evaluation of the results file."""

import json

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.registry import METRICS

import mmhybrid.registry  # noqa: F401
from mmhybrid.datasets.occluded_shapes import CATEGORIES, generate
from mmhybrid.errors import InputError
from mmhybrid.occlusion import evaluate

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


def test_a_subset_of_classes_is_evaluated_alone(annotations):
    classes = CLASSES[:4]
    metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(annotations), metric='bbox'))
    values = run(metric, predictions(annotations, classes), classes)
    # With r >= 0 left out, the least of the strata still holds only images of the four classes.
    content = json.loads(annotations.read_text())
    ids = {c['id'] for c in content['categories'] if c['name'] in classes}
    content['categories'] = [c for c in content['categories'] if c['id'] in ids]
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] in ids]
    alone = annotations.parent / 'alone.json'
    alone.write_text(json.dumps(content))
    metric = METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(alone), metric='bbox'))
    assert run(metric, predictions(annotations, classes), classes) == values


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
    del content['annotations'][5]['area']
    broken = tmp_path / 'broken.json'
    broken.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"broken\.json: .*'area'"):
        METRICS.build(dict(type='OcclusionCocoMetric', ann_file=str(broken)))
