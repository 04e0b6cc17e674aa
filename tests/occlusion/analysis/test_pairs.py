"""Confusions against greedy pairing in plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ..synthetic import CATEGORIES
from .test_errors import mixed
from .test_quality import BOX, FAR, evaluated, overlap, quality, single


def slow_confusion(content, results, matches, iou_type, iou_thr, min_score):
    """Pairs by descending IoU, one after the other, on each image; (instance, detection) -> number."""
    at, counts = matches.settings.at(iou_thr), {}
    shown = [
        int(j)
        for j, score, ignored in zip(matches.dt_index, matches.dt_score, matches.dt_ignored[at], strict=True)
        if score >= min_score and not ignored
    ]
    real = [i for i, row in enumerate(content['annotations']) if not row['iscrowd']]
    pairs = []
    for d in shown:
        for g in real:
            if content['annotations'][g]['image_id'] == results[d]['image_id']:
                iou = overlap(content, results, iou_type, g, d)
                pairs += [(-iou, -results[d]['score'], results[d]['category_id'], d, g)] if iou >= iou_thr else []
    for *_, d, g in sorted(pairs):
        if g in real and d in shown:
            real.remove(g)
            shown.remove(d)
            cell = content['annotations'][g]['category_id'], results[d]['category_id']
            counts[cell] = counts.get(cell, 0) + 1
    for cell in [(content['annotations'][g]['category_id'], None) for g in real]:
        counts[cell] = counts.get(cell, 0) + 1
    for cell in [(None, results[d]['category_id']) for d in shown]:
        counts[cell] = counts.get(cell, 0) + 1
    return counts


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 1000), min_score=st.sampled_from([0, 0.3, 0.7, 2]), iou_thr=st.sampled_from([0.5, 0.8]))
def test_confusions_equal_plain_loops(iou_type, seed, min_score, iou_thr):
    content, results = mixed(seed, masks=iou_type == 'segm')
    matches, gt, dt = evaluated(content, results, iou_type)
    everything = np.arange(len(matches.image_ids))
    parts = np.array_split(np.random.default_rng(seed).permutation(everything), 3)
    whole, *found = quality(matches, gt, dt, [everything, *parts], iou_thr=iou_thr, min_score=min_score)
    expected = slow_confusion(content, results, matches, iou_type, iou_thr, min_score)
    assert {(truth, other): n for truth, other, n in whole.confusion} == expected
    matrix = whole.confusion_matrix(CATEGORIES)
    assert (matrix == sum(each.confusion_matrix(CATEGORIES) for each in found)).all() and matrix[-1, -1] == 0
    instances = [row['category_id'] for row in content['annotations'] if not row['iscrowd']]
    assert matrix[:-1].sum(axis=1).tolist() == [instances.count(k) for k in CATEGORIES]
    at = matches.settings.at(iou_thr)
    assert matrix[:, :-1].sum() == ((matches.dt_score >= min_score) & ~matches.dt_ignored[at]).sum()


def test_confusions_by_hand():
    # The instance of 3 goes to the better box of another class; its own is then background's.
    found = single([(3, BOX, 0)], [(3, [10, 10, 16, 20], 0.9), (7, BOX, 0.4), (7, BOX, 0.2)])
    assert found.confusion == ((3, 7, 1), (None, 3, 1))
    assert found.confusion_matrix((3, 7)).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    # Of equal boxes, that of higher score; what a crowd region took is nowhere.
    found = single([(3, BOX, 0), (7, FAR, 1)], [(3, BOX, 0.8), (7, BOX, 0.9), (7, FAR, 0.9)])
    assert found.confusion == ((3, 7, 1), (None, 3, 1))
    assert single([(3, BOX, 0)], []).confusion == ((3, None, 1),)
