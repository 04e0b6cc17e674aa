"""Recall of listed instances against a loop over dense masks and MMDetection's own."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools import mask

from mmhybrid.errors import InputError
from mmhybrid.occlusion.analysis import bootstrap
from mmhybrid.occlusion.analysis.details import Details
from mmhybrid.occlusion.analysis.listed_recall import find, listed_recall
from mmhybrid.occlusion.read.detections import load_detections
from mmhybrid.occlusion.read.ground_truth import load_ground_truth
from mmhybrid.occlusion.read.instance_lists import load_instance_list

from ..listed import CLASSES, by_hand, dataset, encoded

NAMES = ('occluded_coco', 'separated_coco')


@pytest.fixture
def files(tmp_path):
    """A data set, and its lists as files."""
    gt, dt, *lists = dataset(1, 16)
    paths = {}
    for name, entries in zip(NAMES, lists, strict=True):
        paths[name] = str(tmp_path / f'{name}.pkl')
        (tmp_path / f'{name}.pkl').write_bytes(pickle.dumps(entries))
    return gt, dt, lists, paths


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('thresholds', [(0.3, 0.75), (0.5, 0.5), (-1, 1.0)])
def test_found_as_by_hand(tmp_path, seed, thresholds):
    gt, dt, entries, others = dataset(seed)
    path = tmp_path / 'list.pkl'
    path.write_bytes(pickle.dumps(entries + others))
    truth = load_ground_truth(gt, (), ())
    listed, detections = load_instance_list(path, truth), load_detections(dt, truth, ('segm',))
    assert np.array_equal(find(listed, detections, *thresholds), by_hand(gt, dt, entries + others, *thresholds))


def test_both_thresholds_are_in(tmp_path):
    """A score of 0.3 and an IoU of 3/4 are enough; one pixel or a little of the score less is not."""
    own, three, two = np.zeros((3, 4, 4), dtype=np.uint8)
    own[0], three[0, :3], two[0, :2] = 1, 1, 1
    gt = dataset(0, 1)[0]
    gt['images'][0] |= {'height': 4, 'width': 4}
    name, path = gt['images'][0]['file_name'], tmp_path / 'list.pkl'
    path.write_bytes(pickle.dumps([(name, 'cup', 0, None, encoded(own))]))
    truth = load_ground_truth(gt, (), ())
    for pixels, score, category, is_found in (
        (three, 0.3, 90, True),
        (three, 0.2999999, 90, False),
        (two, 0.9, 90, False),
        (own, 0.9, 3, False),
    ):
        row = {'image_id': 7, 'category_id': category, 'score': score, 'segmentation': encoded(pixels)}
        assert find(load_instance_list(path, truth), load_detections([row], truth, ('segm',))).tolist() == [is_found]


def test_one_detection_may_find_several_and_no_pixels_none(tmp_path):
    gt, name, path = dataset(0, 1)[0], dataset(0, 1)[0]['images'][0]['file_name'], tmp_path / 'list.pkl'
    full, empty = encoded(np.ones((64, 64))), encoded(np.zeros((64, 64)))
    path.write_bytes(pickle.dumps([(name, 'cup', 0, None, rle) for rle in (full, empty, full)]))
    rows = [{'image_id': 7, 'category_id': 90, 'score': 1.0, 'segmentation': rle} for rle in (empty, full)]
    truth = load_ground_truth(gt, (), ())
    listed = load_instance_list(path, truth)
    assert find(listed, load_detections(rows, truth, ('segm',))).tolist() == [True, False, True]
    assert not find(listed, load_detections([], truth, ('segm',))).any()


@pytest.mark.parametrize('seed', range(3))
def test_recall_is_that_of_mmdetection(files, seed, monkeypatch):
    """Its metric, from predictions in memory to the two percentages."""
    metrics = pytest.importorskip('mmdet.evaluation.metrics')
    monkeypatch.setattr('mmengine.ProgressBar', lambda total: SimpleNamespace(update=lambda: None))
    gt, dt, *lists = dataset(seed + 10, 16)
    # Two masks without pixels are a division by zero there.
    lists = [[entry for entry in entries if mask.area(entry[4])] for entries in lists]
    labels = {category: label for label, category in enumerate(CLASSES)}
    outputs = []
    for image in gt['images']:
        own = [row for row in dt if row['image_id'] == image['id']]
        outputs.append((
            None,
            {
                'img_id': image['id'],
                'bboxes': np.array([mask.toBbox(row['segmentation']) for row in own]).reshape(-1, 4),
                'scores': np.array([row['score'] for row in own]),
                'labels': np.array([labels[row['category_id']] for row in own]),
                'masks': [row['segmentation'] for row in own],
            },
        ))  # fmt: skip
    metric = object.__new__(metrics.CocoOccludedSeparatedMetric)  # which would load the lists from the network
    metric._coco_api = SimpleNamespace(imgs={image['id']: image for image in gt['images']})
    metric._dataset_meta = {'classes': tuple(CLASSES.values())}
    metric.score_thr, metric.iou_thr = 0.3, 0.75
    metric.occluded_ann, metric.separated_ann = lists
    theirs = metric.evaluate_occluded_separated(outputs)
    for path, entries in zip(files[3].values(), lists, strict=True):
        with open(path, 'wb') as file:  # noqa: PTH123
            pickle.dump(entries, file)
    made = listed_recall(gt, {'a': dt}, files[3])
    assert [100 * row.recall for row in made.recalls] == pytest.approx(list(theirs.values()), abs=1e-12)
    assert 0 < made.recalls[0].recall < 1


def test_numbers_of_every_list_and_model(files):
    gt, dt, lists, paths = files
    models = {'all': dt, 'half': dt[::2]}
    made = listed_recall(gt, models, paths, Details(resamples=100, seed=3))
    assert [(row.list, row.model) for row in made.recalls] == [(name, model) for name in NAMES for model in models]
    for row, (entries, rows) in zip(made.recalls, [(e, m) for e in lists for m in models.values()], strict=True):
        found = by_hand(gt, rows, entries)
        assert (row.num_listed, row.num_found, row.recall) == (len(entries), found.sum(), found.mean())
        assert row.num_images == len({entry[0] for entry in entries})
        assert 0 <= row.interval.low <= row.recall <= row.interval.high <= 1
    assert made.bootstrap.resamples == 100 and json.dumps(made.to_dict(), allow_nan=False)
    plain = listed_recall(gt, models, paths)
    assert (
        plain.bootstrap is None and plain.comparisons == () and plain.to_dict()['recalls'][0]['interval']['low'] is None
    )


@pytest.mark.parametrize(('seed', 'iou_thr'), [(5, 0.75), (0, 0.95)])  # the latter has a bound below 0 without a limit
def test_resamples_draw_whole_images(files, seed, iou_thr):
    """Intervals and p-values are those of recall worked out anew on each drawn set of images."""
    gt, dt, lists, paths = files
    models = {'all': dt, 'half': dt[::2]}
    made = listed_recall(gt, models, paths, Details(resamples=200, seed=seed), iou_thr=iou_thr)
    weights = bootstrap.draw(len(gt['images']), 200, seed)
    position = {image['file_name']: i for i, image in enumerate(gt['images'])}
    for number, entries in enumerate(lists):
        samples = []
        for row, rows in zip(made.recalls[2 * number :], models.values(), strict=False):
            found = by_hand(gt, rows, entries, iou_thr=iou_thr)
            drawn = [[each[position[entry[0]]] for entry in entries] for each in weights]
            samples.append(np.array([np.average(found, weights=each) if any(each) else np.nan for each in drawn]))
            bounds = np.clip(bootstrap.intervals(samples[-1][:, None], np.array([found.mean()])), 0, 1)[:, 0]
            assert (row.interval.low, row.interval.high) == pytest.approx(tuple(bounds), abs=1e-12)
        compared = made.comparisons[0].differences[number]
        gap = made.recalls[2 * number + 1].recall - made.recalls[2 * number].recall
        assert compared.difference == gap < 0
        assert (compared.baseline, compared.model) == tuple(row.recall for row in made.recalls[2 * number :][:2])
        expected = bootstrap.paired(*samples, gap)
        assert (compared.interval.low, compared.interval.high, compared.p_value) == pytest.approx(expected, abs=1e-12)


def test_the_same_model_twice_does_not_differ(files):
    gt, dt, _, paths = files
    (compared,) = listed_recall(gt, {'a': dt, 'b': dt[::-1]}, paths, Details(resamples=50)).comparisons
    assert (compared.baseline, compared.model) == ('a', 'b')
    assert all((row.difference, row.p_value) == (0, 1) for row in compared.differences)


def test_instances_on_one_image_have_no_interval(files):
    """Drawn again and again it would seem to be known exactly."""
    gt, dt, lists, paths = files
    single = [entry for entry in lists[0] if entry[0] == lists[0][0][0]]
    with open(paths[NAMES[0]], 'wb') as file:  # noqa: PTH123
        pickle.dump(single, file)
    made = listed_recall(gt, {'a': dt, 'b': dt[::2]}, paths, Details(resamples=50))
    row, difference = made.recalls[0], made.comparisons[0].differences[0]
    assert row.num_images == 1 and np.isnan([row.interval.low, difference.interval.low, difference.p_value]).all()
    assert not np.isnan(made.recalls[2].interval.low)


def test_what_would_mislead_is_noted(files):
    gt, dt, lists, paths = files
    assert listed_recall(gt, {'a': dt}, paths).notes == ()
    few = [row for row in dt if row['image_id'] < 60]
    percent = [row | {'score': 100 * row['score']} for row in dt]
    low = [row | {'score': 0.1} for row in dt]
    for results, said in (
        (few, 'm: 11 of 16 images have no detection'),
        (percent, 'scores go up to 90; the threshold 0.3 is meant for scores from 0 to 1'),
        (low, f'm: none of the {len(lists[0])} instances of occluded_coco is found; see whether scores reach 0.3'),
    ):
        assert any(said in note for note in listed_recall(gt, {'m': results}, paths).notes)


@pytest.mark.parametrize('iou_thr', [0, -0.5, 1.01, float('nan')])
def test_iou_thresholds_that_cannot_be(files, iou_thr):
    with pytest.raises(InputError, match=r'IoU threshold is .*; give a number above 0 and up to 1'):
        listed_recall(files[0], {'a': files[1]}, files[3], iou_thr=iou_thr)


def test_results_without_masks(files):
    boxes = [{'image_id': 7, 'category_id': 3, 'score': 1.0, 'bbox': [0, 0, 1, 1]}]
    with pytest.raises(InputError, match="'segmentation' is missing; evaluating segm needs masks"):
        listed_recall(files[0], {'a': boxes}, files[3])
