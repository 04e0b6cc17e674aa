import copy
import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion import matching
from mmhybrid.occlusion.analysis import accumulate
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.results import SAMPLED

from ..matching.pycoco_matches import pycoco_matches
from ..synthetic import dataset, hard_dataset, reference

IOU_TYPES = ['bbox', 'segm']


def matched(gt, dt, iou_type='bbox'):
    checked = load_ground_truth(gt, (iou_type,))
    return matching.match(checked, load_detections(dt, checked, (iou_type,)), iou_type, engine='pycocotools')


def values(metrics, row, stratum):
    return [metrics[name][row, stratum] for name in SAMPLED]


def distinct_scores(dt, seed):
    """The same detections, no two scores alike."""
    scores = np.random.default_rng(seed).permutation(len(dt)) / len(dt)
    return [row | {'score': float(score)} for row, score in zip(dt, scores, strict=True)]


def repeated(gt, dt, counts):
    """Each image as often as ``counts`` (id -> number) says: copies with ids and instance ids of their own."""
    out = {'images': [], 'annotations': [], 'categories': gt['categories']}
    results = []
    for image in sorted(gt['images'], key=lambda image: image['id']):
        for _ in range(counts[image['id']]):
            new = len(out['images'])
            out['images'].append(image | {'id': new})
            for row in gt['annotations']:
                if row['image_id'] == image['id']:
                    out['annotations'].append(row | {'image_id': new, 'id': len(out['annotations']) + 1})
            results += [row | {'image_id': new} for row in dt if row['image_id'] == image['id']]
    return out, results


@pytest.mark.parametrize('iou_type', IOU_TYPES)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), hard=st.booleans())
def test_every_stratum_equals_pycocotools_bit_for_bit(iou_type, seed, hard):
    gt, dt = (hard_dataset if hard else dataset)(seed, masks=iou_type == 'segm')
    assume(gt['annotations'])
    matches = pycoco_matches(gt, dt, iou_type) if not hard else matched(gt, dt, iou_type).matches()
    rng = np.random.default_rng(seed)
    size = len(matches.image_ids)
    members = [np.arange(size), np.array([], dtype=int), *(rng.permutation(size)[:k] for k in (1, 3, 7))]
    metrics = accumulate.metrics(matches, members)
    for i, positions in enumerate(members):
        expected = reference(gt, dt, matches.image_ids[positions].tolist(), iou_type)
        np.testing.assert_array_equal(values(metrics, 0, i), expected)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_weights_of_0_and_1_equal_the_images_left_in_bit_for_bit(seed):
    gt, dt = dataset(seed)
    matches = pycoco_matches(gt, dt)
    rng = np.random.default_rng(seed)
    size = len(matches.image_ids)
    weights = rng.integers(0, 2, (4, size))
    members = [np.arange(size), np.arange(0, size, 2)]
    metrics = accumulate.metrics(matches, members, weights)
    for row in range(len(weights)):
        for i, positions in enumerate(members):
            ids = matches.image_ids[positions[weights[row, positions] > 0]].tolist()
            np.testing.assert_array_equal(values(metrics, row, i), reference(gt, dt, ids))


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32), hard=st.booleans())
def test_repeated_images_equal_copies_bit_for_bit(seed, hard):
    gt, dt = (hard_dataset if hard else dataset)(seed, num_images=7)
    assume(gt['annotations'])
    dt = distinct_scores(dt, seed)
    matches = matched(gt, dt).matches()
    size = len(matches.image_ids)
    weights = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), 3)
    members = [np.arange(size), np.arange(1, size)]
    metrics = accumulate.metrics(matches, members, weights)
    for row in range(len(weights)):
        for i, positions in enumerate(members):
            counts = dict.fromkeys(matches.image_ids.tolist(), 0)
            counts |= dict(zip(matches.image_ids[positions].tolist(), weights[row, positions].tolist(), strict=True))
            copies, results = repeated(gt, dt, counts)
            expected = reference(copies, results, [image['id'] for image in copies['images']])
            np.testing.assert_array_equal(values(metrics, row, i), expected)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_categories_equal_pycocotools_with_one_category(seed):
    gt, dt = dataset(seed)
    matches = pycoco_matches(gt, dt)
    members = [np.arange(len(matches.image_ids)), np.arange(0, len(matches.image_ids), 3)]
    found = accumulate.by_category(matches, members)
    for i, positions in enumerate(members):
        ids = matches.image_ids[positions].tolist()
        for k, category_id in enumerate(matches.category_ids.tolist()):
            one = copy.deepcopy(gt)
            one['annotations'] = [row for row in gt['annotations'] if row['category_id'] == category_id]
            expected = reference(one, [row for row in dt if row['category_id'] == category_id], ids)
            np.testing.assert_array_equal([found[name][i, k] for name in SAMPLED], expected)


def test_blocks_chunks_and_threads_change_nothing(monkeypatch):
    gt, dt = dataset(3)
    matches = pycoco_matches(gt, dt)
    size = len(matches.image_ids)
    weights = np.random.default_rng(0).multinomial(size, np.full(size, 1 / size), 11)
    members = [np.arange(size), np.arange(5)]
    expected = accumulate.metrics(matches, members, weights, threads=1)
    assert len(np.unique(expected['ap'][:, 0])) == 11
    for block, table in ((1, 2**28), (700, 2**28), (2**20, 1), (700, 100_000)):
        monkeypatch.setattr(accumulate, 'BLOCK', block)
        monkeypatch.setattr(accumulate, 'TABLE_BYTES', table)
        for threads in (1, 4):
            got = accumulate.metrics(matches, members, weights, threads)
            assert all(np.array_equal(got[name], expected[name], equal_nan=True) for name in SAMPLED)


def test_undefined_without_instances_zero_without_detections():
    gt, dt = dataset(5)
    matches = pycoco_matches(gt, dt)
    kept = np.zeros(len(matches.dt_index), dtype=bool)
    names = [field.name for field in dataclasses.fields(matches)]
    without = {name: getattr(matches, name)[..., kept] for name in names if name.startswith('dt_')}
    everywhere = [np.arange(len(matches.image_ids))]
    assert values(accumulate.metrics(dataclasses.replace(matches, **without), everywhere), 0, 0) == [0, 0, 0, 0]
    nothing = dataclasses.replace(matches, gt_counted=np.zeros_like(matches.gt_counted))
    assert np.isnan(values(accumulate.metrics(nothing, everywhere), 0, 0)).all()
    assert np.isnan(accumulate.by_category(nothing, everywhere)['ap']).all()
    row = np.zeros((1, len(matches.image_ids)), dtype=int)
    assert np.isnan(values(accumulate.metrics(matches, everywhere, row), 0, 0)).all()
