"""Notes where a number would mislead, and none where it is as usual."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion import Details, Settings, compare, evaluate
from mmhybrid.occlusion.analysis.notes import images_note, scores_note, shards_note, shift_note

from ..synthetic import dataset

IDS = (1, 2, 3, 5, 8, 13)
FEW = Details(resamples=2)


def crowds(rng, images=12, instances=6, classes=IDS, masks=False):
    """``(gt, dt)`` of a good detector: one detection an instance, a little off."""
    gt = {
        'images': [{'id': i, 'height': 400, 'width': 600} for i in range(1, images + 1)],
        'categories': [{'id': i, 'name': f'class {i}'} for i in classes],
        'annotations': [],
    }
    for image in gt['images']:
        for _ in range(instances):
            box = [*rng.integers(0, 300, 2).tolist(), *rng.integers(20, 90, 2).tolist()]
            row = {'id': len(gt['annotations']) + 1, 'image_id': image['id'], 'category_id': int(rng.choice(classes))}
            x, y, w, h = box
            shape = {'segmentation': [[x, y, x + w, y, x + w, y + h, x, y + h]]} if masks else {}
            gt['annotations'].append(row | shape | {'bbox': box, 'area': w * h, 'iscrowd': 0})
    dt = [detection(row, rng, masks) for row in gt['annotations']]
    return gt, dt


def detection(row, rng, masks=False):
    x, y, w, h = row['bbox']
    box = [x + 1, y + 1, w, h]
    shape = {'segmentation': [[x, y, x + w, y, x + w, y + h, x, y + h]]} if masks else {'bbox': box}
    return {key: row[key] for key in ('image_id', 'category_id')} | shape | {'score': float(rng.uniform(0.05, 1))}


def notes(gt, dt, iou_type='bbox', **chosen):
    return list(evaluate(gt, dt, iou_type, **chosen)[iou_type].notes)


def only(found, *words):
    (note,) = found
    assert all(word in note for word in words), note


def test_healthy_sets_have_none():
    rng = np.random.default_rng(0)
    gt, dt = crowds(rng)
    assert notes(gt, dt) == []
    assert notes(gt, dt, by=None, settings=Settings(class_agnostic=True)) == []
    # Few images, empty images, low scores, wrong classes, and detections beyond the limit where instances are few.
    assert notes(*crowds(rng, images=1)) == notes(*crowds(rng, images=2, instances=1)) == []
    empty = gt | {'images': [*gt['images'], *({'id': i, 'height': 9, 'width': 9} for i in range(100, 140))]}
    assert notes(empty, dt) == []
    weak = [row | {'score': row['score'] / 100, 'category_id': int(rng.choice(IDS))} for row in dt]
    assert notes(gt, weak) == []
    many = dt + [detection(gt['annotations'][0], rng) | {'score': 0.001} for _ in range(200)]
    assert notes(gt, many) == []
    assert notes(*dataset(3)) == notes(*dataset(4)) == []
    masked = crowds(rng, masks=True)
    assert notes(*masked, 'segm') == []


def test_images_without_detections():
    gt, dt = crowds(np.random.default_rng(1))
    some = [row for row in dt if row['image_id'] <= 3]
    only(notes(gt, some), '9 of 12 images have no detection')
    more = gt | {'images': [*gt['images'], {'id': 99}]}
    only(notes(more, some), '9 of 12 images with instances have no detection')
    assert notes(gt, [row for row in dt if row['image_id'] > 2]) == []  # a weak detector misses two
    only(notes(gt, []), 'no detection', 'every instance counts as missed')


@pytest.mark.parametrize(
    ('missed', 'told'),
    [
        (range(90, 100), True),  # the end of a run of 100
        (range(75), True),
        (range(0, 100, 4), True),  # one of four shards
        (range(0, 100, 7), False),
        ([3, 4], False),
        ([3, 4, 5, 30, 31, 60, 61], False),
        ([], False),
    ],
)
def test_which_images_without_detections_are_told(missed, told):
    detected = np.ones(100, dtype=bool)
    detected[list(missed)] = False
    found = list(images_note(np.ones(100, dtype=bool), detected))
    assert len(found) == told and all(f'{len(missed)} of 100 images' in note for note in found)
    empty = ~detected  # the same images without instances
    assert list(images_note(~empty, detected)) == []


def test_images_that_a_weak_detector_skips_by_chance_are_not_told():
    rng = np.random.default_rng(2)
    filled = np.ones(300, dtype=bool)
    told = [len(list(images_note(filled, rng.random(300) > share))) for share in rng.uniform(0, 0.2, 400)]
    assert sum(told) <= 0.02 * len(told)


def test_scores():
    gt, dt = crowds(np.random.default_rng(3))
    only(notes(gt, [row | {'score': row['score'] * 100} for row in dt]), 'scores outside of 0 to 1: 72 of 72 (')
    only(notes(gt, [row | {'score': row['score'] - 0.5} for row in dt]), 'scores outside', '-0.4')
    assert list(scores_note(np.array([0, 1 + 1e-7, 0.5]))) == []
    only(scores_note(np.array([0, 2, 0.5])), 'scores outside of 0 to 1: 1 of 3 (0 to 2)')


def test_the_limit_of_detections():
    rng = np.random.default_rng(4)
    gt, dt = crowds(rng, images=3, instances=130, classes=[1])
    only(notes(gt, dt), 'limit of 100', 'leaves out 90 on 3 of 3 images', '130 instances', '--max-dets')
    assert notes(gt, dt, settings=Settings(max_dets=130)) == []
    gt, dt = crowds(rng, images=3, instances=130, classes=[1, 2])
    assert notes(gt, dt) == []  # of each class fewer than 100
    only(notes(gt, dt, settings=Settings(class_agnostic=True)), 'limit of 100 detections an image leaves out 90')
    only(notes(gt, dt, settings=Settings(max_dets=40)), 'limit of 40 detections an image and category', '3 of 3')
    only(notes(gt, dt, settings=Settings(max_dets=40, categories=[2])), 'limit of 40', '3 of 3')


APART, RUNS = (2, 3, 5, 7, 11, 13), (10, 11, 12, 20, 21, 22)
SHIFTS = {
    'class indices that count from 0': (IDS, IDS.index),
    'class indices that count from 1': (APART, lambda category: APART.index(category) + 1),
    'larger by 1': (RUNS, lambda category: category - 1),
    'smaller by 1': (RUNS, lambda category: category + 1),
}


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('words', SHIFTS)
def test_categories_that_are_shifted(words, iou_type):
    rng = np.random.default_rng(5)
    ids, written = SHIFTS[words]
    gt, dt = crowds(rng, images=60, classes=ids, masks=iou_type == 'segm')
    moved = [row | {'category_id': written(row['category_id'])} for row in dt]
    moved = [row for row in moved if row['category_id'] in ids]  # others are refused
    found = notes(gt, moved, iou_type)
    assert any('categories look shifted' in note and words in note for note in found), found


def test_a_permutation_of_categories_is_told_where_nothing_matches():
    gt, dt = crowds(np.random.default_rng(6), classes=[1, 2, 3, 4])
    swapped = [row | {'category_id': {1: 3, 2: 4, 3: 1, 4: 2}[row['category_id']]} for row in dt]
    only(notes(gt, swapped), 'no detection matches any instance', 'check the category ids')


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40))
def test_random_classes_do_not_look_shifted(seed, size):
    rng = np.random.default_rng(seed)
    row = np.arange(60)
    given_ids, wanted = rng.integers(1, size + 1, (2, 60))
    if (given_ids == wanted).sum():
        assert shift_note(np.stack([row, wanted, given_ids], axis=1), range(1, size + 1)) is None


def test_boxes_elsewhere():
    rng = np.random.default_rng(7)
    gt, dt = crowds(rng)
    away = [row | {'bbox': [500, 390, 5, 5]} for row in dt]
    only(notes(gt, away), 'no detection matches any instance', 'of this data set')
    corners = [row | {'bbox': [x, y, x + w, y + h]} for row in dt for x, y, w, h in [row['bbox']]]
    only(notes(gt, corners), 'corners', 'give x, y, width, height')  # and not that boxes leave their images, too
    # Also where images have no size, and where no box leaves its image.
    for image in gt['images']:
        image |= {'height': 4000, 'width': 4000}
    only(notes(gt, corners), 'look like corners', 'give x, y, width, height')


def test_shards_of_one_model():
    gt, dt = crowds(np.random.default_rng(8))
    odd, even = ([row for row in dt if row['image_id'] % 2 == rest] for rest in (1, 0))
    first, second = compare(gt, {'a': odd, 'b': even}, details=FEW).results
    assert not any('--merge' in note for note in first.notes)
    assert any('a and b share no image' in note and '--merge' in note for note in second.notes)
    same = compare(gt, {'a': dt, 'b': copy.deepcopy(dt)}, details=FEW).results
    assert [result.notes for result in same] == [(), ()]


@pytest.mark.parametrize(
    ('first', 'second', 'told'),
    [
        (range(500), range(500, 1000), True),
        (range(505), range(500, 1000), True),  # padded to equal shards
        (range(600), range(500, 1000), False),
        ([1], [2], False),  # a tiny set
        ([], range(5), False),
        (range(5), range(5), False),
    ],
)
def test_which_models_look_like_shards(first, second, told):
    found = list(shards_note({'x': np.array(first, dtype=int)}, 'y', np.array(second, dtype=int)))
    assert len(found) == told


def test_notes_go_by_ground_truth_then_detections():
    gt, dt = crowds(np.random.default_rng(9))
    gt['annotations'][0]['ignore'] = 1
    ignore, scores = notes(gt, [row | {'score': 50} for row in dt])
    assert 'ignore' in ignore and 'scores' in scores
    document = evaluate(gt, dt)['bbox'].to_dict()
    assert document['notes'] == [ignore] and document['schema_version'] == 3
