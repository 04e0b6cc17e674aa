from unittest import mock

import numpy as np
import pytest

from mmhybrid.occlusion.analysis import accumulate
from mmhybrid.occlusion.analysis.costs import costliest, estimate_costs
from mmhybrid.occlusion.analysis.errors import classify, count
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth

from ..matching.pycoco_matches import pycoco_matches
from ..synthetic import dataset, reference


class Data:
    """Everything about one random data set; AP of any images by a fresh pycocotools run."""

    def __init__(self, seed, num_images=14):
        self.gt, self.dt = dataset(seed, num_images, many=False)
        self.matches = pycoco_matches(self.gt, self.dt)
        checked = load_ground_truth(self.gt)
        self.kinds = classify(self.matches, checked, load_detections(self.dt, checked))
        self.known = {}
        self.runs = 0

    def ap(self, positions):
        self.runs += 1
        ids = tuple(sorted(self.matches.image_ids[positions].tolist()))
        if ids not in self.known:
            self.known[ids] = reference(self.gt, self.dt, ids)[0]
        return self.known[ids]

    def accumulate(self, matches, members, weights):
        assert matches is self.matches and set(np.unique(weights)) <= {0, 1}
        return {'ap': np.array([[self.ap(part[row[part] > 0]) for part in members] for row in weights])}

    def costliest(self, members, **more):
        with mock.patch.object(accumulate, 'metrics', self.accumulate):
            return costliest(self.matches, self.kinds, members, **more)

    def exact(self, members):
        """AP gained by leaving out each of ``members``."""
        return np.array([self.ap(np.delete(members, i)) for i in range(len(members))]) - self.ap(members)


@pytest.mark.parametrize('seed', range(3))
def test_a_small_stratum_is_exact(seed):
    data = Data(seed)
    members = np.random.default_rng(seed).permutation(14)[:9]
    costs = data.exact(members)
    ids = data.matches.image_ids[members]
    expected = sorted(((-cost, image_id) for cost, image_id in zip(costs, ids, strict=True) if cost > 0))
    assert 3 < len(expected) < 9
    got = data.costliest(members, count=20)
    assert [(-image.cost, image.image_id) for image in got] == expected
    assert data.costliest(members, count=2) == got[:2]
    assert costliest(data.matches, data.kinds, members, count=20) == got, 'our own accumulation should agree'
    for image in got:
        at = np.flatnonzero(data.matches.image_ids == image.image_id)
        assert image.errors == count(data.kinds, data.matches, at)


def test_a_large_stratum_is_exact_on_its_shortlist():
    data = Data(11, num_images=20)
    members = np.arange(20)
    costs = data.exact(members)
    data.runs = 0
    got = data.costliest(members, count=4, shortlist=8)
    assert data.runs == 9
    assert [image.image_id for image in got] == data.matches.image_ids[np.argsort(-costs)[:4]].tolist()
    assert [image.cost for image in got] == sorted(costs)[:-5:-1]
    assert data.costliest(members, count=8, shortlist=1) == data.costliest(members, count=8, shortlist=8)


def weighted_ap(matches, weights):
    """Mean AP without interpolation over classes and thresholds, in plain loops, image i counting ``weights[i]``."""
    values = []
    for category in range(len(matches.category_ids)):
        instances = [i for i in range(len(matches.gt_image)) if matches.gt_category[i] == category]
        total = sum(weights[matches.gt_image[i]] for i in instances if matches.gt_counted[i])
        if not total:
            continue
        for taken, ignored in zip(matches.dt_gt, matches.dt_ignored, strict=True):
            area = true = ranked = 0
            for i in np.flatnonzero((matches.dt_category == category) & ~ignored):
                weight = weights[matches.dt_image[i]]
                ranked += weight
                if taken[i] >= 0:
                    true += weight
                    area += weight * (true / ranked if ranked else 0)
            values.append(area / total)
    return np.mean(values)


@pytest.mark.parametrize('seed', range(3))
def test_the_estimate_is_the_derivative(seed):
    matches = Data(seed, num_images=20).matches
    members = np.random.default_rng(seed).permutation(20)[:15]
    weights = np.zeros(20)
    weights[members] = 1
    step, expected = 1e-5, []
    for member in members:
        up, down = weights.copy(), weights.copy()
        up[member] += step
        down[member] -= step
        expected.append((weighted_ap(matches, down) - weighted_ap(matches, up)) / (2 * step))
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(estimate_costs(matches, members), expected, atol=1e-8)
    assert sum(expected) == pytest.approx(0, abs=1e-8)  # AP does not change if every image counts double


BOX, FAR = [10.0, 10.0, 20.0, 20.0], [40.0, 40.0, 5.0, 5.0]


def scene(boxes):
    """Image i has one instance, ``BOX``, and the detections ``boxes[i]``: (box, score) pairs."""
    gt = {
        'images': [{'id': 7 * i} for i in range(len(boxes))],
        'categories': [{'id': 1, 'name': 'a'}],
        'annotations': [
            {'id': 1 + i, 'image_id': 7 * i, 'category_id': 1, 'bbox': BOX, 'area': 400, 'iscrowd': 0}
            for i in range(len(boxes))
        ],
    }
    return gt, [
        {'image_id': 7 * i, 'category_id': 1, 'bbox': box, 'score': score}
        for i, pairs in enumerate(boxes)
        for box, score in pairs
    ]


def test_the_estimate_takes_a_class_out_of_the_mean_with_its_only_image():
    gt, dt = scene([[(FAR, 0.9), (BOX, 0.8)], [(BOX, 0.7), (FAR, 0.95)], [(BOX, 0.6)], [(FAR, 0.5)]])
    for row in (gt['annotations'][0], *dt[:2], dt[3]):
        row['category_id'] = 2
    gt['categories'].append({'id': 2, 'name': 'b'})
    matches = pycoco_matches(gt, dt)
    without = weighted_ap(matches, [0, 1, 1, 1]) - weighted_ap(matches, [1, 1, 1, 1])
    assert without == pytest.approx(2 / 3 - (2 / 3 + 1 / 3) / 2)
    estimated = estimate_costs(matches, np.arange(4))
    assert estimated[0] == pytest.approx(without, abs=1e-12)
    # Others count to first order, the false positive of class 2 on image 1 among them.
    slope = weighted_ap(matches, [1, 1 - 1e-6, 1, 1]) - weighted_ap(matches, [1, 1 + 1e-6, 1, 1])
    assert estimated[1] == pytest.approx(slope / 2e-6, abs=1e-6)


def by_hand(boxes, monkeypatch, **more):
    monkeypatch.setattr('tests.occlusion.analysis.test_costs.dataset', lambda *arguments, **more: scene(boxes))
    data = Data(0)
    return data.costliest(np.arange(len(boxes)), **more)


def test_what_costs_most_by_hand(monkeypatch):
    good = [(BOX, 0.8)]
    noisy, missing, harmless = [(BOX, 0.8), (FAR, 0.95), (FAR, 0.94)], [], [(BOX, 0.8), (FAR, 0.1)]
    got = by_hand([good, missing, good, noisy, harmless, good], monkeypatch)
    # Two false positives before everything else halve the precision of all; a false positive after everything is free.
    assert [image.image_id for image in got] == [21, 7]
    assert (got[0].errors.background, got[0].errors.true_positive, got[1].errors.missed) == (2, 1, 1)
    assert got[0].cost > got[1].cost > 0


def test_perfect_detections_cost_nothing(monkeypatch):
    assert by_hand([[(BOX, 0.9)], [(BOX, 0.8)], [(BOX, 0.7)]], monkeypatch) == []


def test_equal_costs_go_by_image_id(monkeypatch):
    got = by_hand([[], [(BOX, 0.8)], [], [(BOX, 0.7)], []], monkeypatch, count=2)
    assert [image.image_id for image in got] == [0, 14]


def test_strata_without_images_or_instances():
    data = Data(3)
    assert data.costliest(np.array([], dtype=int)) == [] and data.costliest(np.arange(14), count=0) == []
    empty = np.setdiff1d(np.arange(14), data.matches.gt_image[data.matches.gt_counted])
    assert len(empty) and data.costliest(empty) == []
    assert estimate_costs(data.matches, empty).tolist() == [0] * len(empty)
    only = data.matches.gt_image[data.matches.gt_counted][:1]
    assert data.costliest(only) == []
