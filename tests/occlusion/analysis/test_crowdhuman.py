"""CrowdHuman's AP, MR^-2 and JI against MMDetection's metric on the same files, and against loops over single boxes."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion.analysis.crowdhuman import IOU_THR, SETTINGS, ap, clipped, jaccard, ji
from mmhybrid.occlusion.analysis.miss_rate import miss_rates
from mmhybrid.occlusion.matching import Index, match
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from tests.occlusion.analysis.crowdhuman_loops import by_loops
from tests.occlusion.crowds import Reference, crowd, person
from tests.occlusion.synthetic import dataset


def _loaded(lines, records, folder):
    """Both clipped, from files, with the results' sizes."""
    path = folder / 'annotation.odgt'
    path.write_text('\n'.join(map(json.dumps, lines)))
    gt = load_ground_truth(path)
    rows = [
        {'image_id': each['ID'], 'category_id': 1, 'bbox': row['box'], 'score': row['score']}
        for each in records
        for row in each['dtboxes']
    ]
    sizes = np.array([[each['height'], each['width']] for each in records], float)
    return clipped(gt, load_detections(rows, gt), sizes)


def _matches(gt, dt, engine='pycocotools'):
    return match(gt, dt, 'bbox', Index.of(gt, dt, SETTINGS), engine).matches()


def _measured(gt, dt, members, weights=None):
    matches = _matches(gt, dt)
    best = ji(jaccard(gt, dt, matches), members, weights)
    return np.stack([ap(matches, members, weights), miss_rates(matches, members, weights, 'crowdhuman'), best])


@pytest.mark.parametrize('engine', ['pycocotools', 'hotcoco'])
@pytest.mark.parametrize('seed', range(8))
def test_boxes_and_labels_are_mmdetections(seed, engine, tmp_path):
    if engine == 'hotcoco':
        pytest.importorskip('hotcoco')
    lines, records = crowd(seed)
    gt, dt = _loaded(lines, records, tmp_path)
    reference = Reference(lines, records, tmp_path)
    for boxes, name in (gt.boxes, 'gt_boxes'), (dt.boxes, 'dt_boxes'):
        theirs = np.concatenate([getattr(each, name)[:, :4] for each in reference.samples.values()])
        np.testing.assert_allclose(np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), theirs, rtol=0, atol=1e-12)
    matches = _matches(gt, dt, engine)
    kept = ~matches.dt_ignored[0]
    images = [gt.image_names[i] for i in matches.dt_image[kept]]
    ours = zip(images, matches.dt_score[kept].tolist(), matches.is_true_positive[0, kept].tolist(), strict=True)
    assert list(ours) == reference.labels()
    assert 0 < kept.sum() < len(kept)


def test_of_two_instances_of_equal_iou_mmdetection_takes_the_first(tmp_path):
    """The other one is then free, which the second detection can take here and not there."""
    lines = [{'ID': 'a', 'gtboxes': [person([10, 0, 10, 10]), person([12, 0, 10, 10])]}]
    boxes = [{'box': [11, 0, 10, 10], 'score': 0.9}, {'box': [7, 0, 10, 10], 'score': 0.8}]
    records = [{'ID': 'a', 'width': 50, 'height': 50, 'dtboxes': boxes}]
    assert _matches(*_loaded(lines, records, tmp_path)).is_true_positive.tolist() == [[True, True]]
    assert [label for _, _, label in Reference(lines, records, tmp_path).labels()] == [1, 0]


@pytest.mark.parametrize('seed', range(8))
def test_all_three_are_mmdetections(seed, tmp_path):
    lines, records = crowd(seed, 25)
    gt, dt = _loaded(lines, records, tmp_path)
    odd = np.arange(1, 25, 2)
    ours = _measured(gt, dt, [np.arange(25), odd])
    for s, chosen in enumerate((range(25), odd)):
        reference = Reference([lines[i] for i in chosen], [records[i] for i in chosen], tmp_path)
        np.testing.assert_allclose(ours[:, 0, s], reference.measured(), rtol=1e-12)


def test_jaccard_of_each_image_is_mmdetections(tmp_path):
    lines, records = crowd(3, 40)
    gt, dt = _loaded(lines, records, tmp_path)
    found = jaccard(gt, dt, Index.of(gt, dt, SETTINGS))
    reference = Reference(lines, records, tmp_path)
    for t in range(10):
        theirs = reference.jaccard(1e-1 * t)
        np.testing.assert_allclose(found.ratios[t], [each['ratio'] for each in theirs], rtol=1e-12)
        assert found.counts[t].tolist() == [bool(each['n'] or each['m']) for each in theirs]


@pytest.mark.parametrize('seed', range(4))
def test_a_resample_is_a_data_set_with_copies(seed, tmp_path):
    lines, records = crowd(seed, ties=False)
    gt, dt = _loaded(lines, records, tmp_path)
    rng = np.random.default_rng(seed)
    weights = np.stack([np.bincount(rng.integers(12, size=12), minlength=12) for _ in range(3)])
    ours = _measured(gt, dt, [np.arange(12)], weights)
    for r, row in enumerate(weights.tolist()):
        copies = [
            [each[i] | {'ID': f'{i},{copy}'} for i, times in enumerate(row) for copy in range(times)]
            for each in (lines, records)
        ]
        np.testing.assert_allclose(ours[:, r, 0], Reference(*copies, tmp_path).measured(), rtol=1e-12)


@pytest.mark.parametrize('seed', range(8))
def test_equals_loops(seed, tmp_path):
    lines, records = crowd(seed, fewest=0)
    gt, dt = _loaded(lines, records, tmp_path)
    everything = [np.arange(len(lines))]
    assert ap(_matches(gt, dt), everything)[0, 0] == pytest.approx(by_loops(lines, records)[0], rel=1e-12)
    pytest.importorskip('scipy')
    lines = [each | {'gtboxes': [row | {'tag': 'person', 'extra': {}} for row in each['gtboxes']]} for each in lines]
    gt, dt = _loaded(lines, records, tmp_path)
    found = jaccard(gt, dt, Index.of(gt, dt, SETTINGS))
    assert ji(found, everything)[0, 0] == pytest.approx(by_loops(lines, records)[1], rel=1e-12)


def _one_image(persons, found, tmp_path, size=(100, 100)):
    lines = [{'ID': 'a', 'gtboxes': list(map(person, persons))}]
    boxes = [{'box': box, 'score': score} for box, score in found]
    return _loaded(lines, [{'ID': 'a', 'width': size[0], 'height': size[1], 'dtboxes': boxes}], tmp_path)


def test_by_hand(tmp_path):
    """Right, wrong, right: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1; above 0.8 only the first is left."""
    persons = [[0, 0, 10, 10], [50, 50, 10, 10]]
    gt, dt = _one_image(persons, [(persons[0], 0.9), ([80, 0, 10, 10], 0.8), (persons[1], 0.7)], tmp_path)
    precise = ap(_matches(gt, dt), [np.arange(1), np.arange(0)])
    assert precise[0, 0] == pytest.approx(0.5 * (1 / 2 + 2 / 3) / 2)
    assert math.isnan(precise[0, 1])
    pytest.importorskip('scipy')
    found = jaccard(gt, dt, Index.of(gt, dt, SETTINGS))
    np.testing.assert_allclose(found.ratios[[0, 6, 7, 8, 9], 0], [2 / 3, 2 / 3, 1 / 3, 1 / 2, 0], rtol=1e-5)
    best = ji(found, [np.arange(1), np.arange(0)])
    assert best[0, 0] == found.ratios[0, 0]
    assert math.isnan(best[0, 1])


def test_iou_of_a_half_is_enough_for_ji_alone(tmp_path):
    gt, dt = _one_image([[0, 0, 20, 10]], [([0, 0, 10, 10], 0.9)], tmp_path)
    assert 0.5 < IOU_THR == SETTINGS.iou_thrs[0]
    matches = _matches(gt, dt)
    assert not matches.is_true_positive.any()
    assert ap(matches, [np.arange(1)]).tolist() == [[0]]
    pytest.importorskip('scipy')
    assert ji(jaccard(gt, dt, matches), [np.arange(1)])[0, 0] == pytest.approx(1, rel=1e-5)


def test_nothing_detected(tmp_path):
    gt, dt = _one_image([[0, 0, 20, 10]], [], tmp_path)
    matches = _matches(gt, dt)
    assert ap(matches, [np.arange(1)]).tolist() == [[0]]
    pytest.importorskip('scipy')
    assert ji(jaccard(gt, dt, matches), [np.arange(1)]).tolist() == [[0]]


def test_clipping_changes_what_it_must_alone():
    content, results = dataset(1, many=False)
    third = 1 / 3
    content['annotations'][0]['bbox'] = [third, 0.1, 0.2, 0.7]
    content['annotations'][1]['bbox'] = [-5, 60, 20, 20]
    content['annotations'][2]['bbox'] = [70, 70, 20, 20]
    content['annotations'][3]['bbox'] = [-70, 3, 20, 20]
    gt = load_ground_truth(content)
    cut, _ = clipped(gt, load_detections(results, gt))
    assert cut.boxes[:4].tolist() == [[third, 0.1, 0.2, 0.7], [0, 60, 15, 4], [63, 63, 1, 1], [0, 3, 0, 20]]
    assert cut.notes == gt.notes
    again, _ = clipped(cut, load_detections(results, cut))
    np.testing.assert_array_equal(again.boxes, cut.boxes)
    # An image without a size keeps its boxes, and the note counts it.
    unsized = content['annotations'][1]['image_id']
    content['images'] = [{'id': each['id']} if each['id'] == unsized else each for each in content['images']]
    gt = load_ground_truth(content)
    cut, _ = clipped(gt, load_detections(results, gt))
    assert cut.boxes[1].tolist() == [-5, 60, 20, 20]
    assert 'ground truth: 1 of 14 images have no' in cut.notes[-1]
    assert gt.boxes[1].tolist() == [-5, 60, 20, 20]


def test_what_cannot_be_measured_is_refused(tmp_path, monkeypatch):
    content, results = dataset(1)
    gt = load_ground_truth(content)
    dt = load_detections(results, gt)
    with pytest.raises(InputError, match='of one category, but 4 are evaluated'):
        ap(_matches(gt, dt), [np.arange(1)])
    one = replace(SETTINGS, categories=[3])
    index = Index.of(gt, dt, one)
    monkeypatch.setitem(sys.modules, 'scipy.sparse', None)
    with pytest.raises(InputError, match=r'pip install scipy'):
        jaccard(gt, dt, index)
