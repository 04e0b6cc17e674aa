"""Notes: one for each number that would mislead, which changes no number; none for what is in order."""

import copy

import numpy as np
import pytest

from . import forms, reported_results
from .base import HEIGHT, WIDTH, Files, encoded, plain
from .outcomes import assert_noted, assert_plain


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


NOTED, HEALTHY = {}, {}


def noted(*patterns, options=()):
    def keep(change):
        NOTED[change.__name__] = change, patterns, options
        return change

    return keep


def healthy(change):
    HEALTHY[change.__name__] = change
    return change


@pytest.mark.parametrize('name', NOTED)
def test_noted(name, files):
    change, patterns, options = NOTED[name]
    change(files)
    gt, dt = copy.deepcopy((files.gt, files.dt))
    outcome = files.run('eval', *options)
    iou_type = 'segm' if 'segm' in options else 'bbox'
    assert_plain(outcome, plain(gt, dt, iou_type))
    assert_noted(outcome.notes, *patterns)


@pytest.mark.parametrize('name', HEALTHY)
def test_healthy(name, files):
    options = HEALTHY[name](files) or ()
    gt, dt = copy.deepcopy((files.gt, files.dt))
    outcome = files.run('eval', *options)
    assert outcome.notes == []
    types = options[1:] if options else ['bbox']
    assert_plain(outcome, *(plain(gt, dt, iou_type) for iou_type in types))


@noted(r'\b11 of (the )?12 images')
def one_image_of_twelve(files):
    files.dt = [record for record in files.dt if record['image_id'] == 7]


@noted('corner')
def corners_as_integers(files):
    for record in files.dt:
        x, y, w, h = record['bbox']
        record['bbox'] = [round(value) for value in (x, y, x + w, y + h)]


@noted('normalised|normalized|0 (to|and) 1|0\\.\\.1')
def boxes_as_fractions_of_the_image(files):
    for record in files.dt:
        record['bbox'] = (np.array(record['bbox']) / [WIDTH, HEIGHT, WIDTH, HEIGHT]).tolist()


@noted('normalised|normalized|0 (to|and) 1|0\\.\\.1')
def boxes_of_ground_truth_as_fractions(files):
    for record in files.gt['annotations']:
        record['bbox'] = (np.array(record['bbox']) / [WIDTH, HEIGHT, WIDTH, HEIGHT]).tolist()


@noted('leave|outside|beyond')
def boxes_of_a_larger_image(files):
    """The detector saw the image at twice its size, and nobody scaled the boxes back."""
    for record in files.dt:
        record['bbox'] = [2 * value for value in record['bbox']]


@noted('match')
def images_mixed_up(files):
    ids = [image['id'] for image in files.gt['images']]
    for record in files.dt:
        record |= {'image_id': ids[record['image_id'] % 12], 'bbox': [0.0, 0.0, 1.5, 2.0]}


@noted('categor|class')
def categories_from_0(files):
    files.gt['categories'].insert(0, {'id': 0, 'name': 'background'})
    for record in files.dt:
        record['category_id'] -= 1


@noted('score')
def logits_for_scores(files):
    for record in files.dt:
        record['score'] = float(np.log(record['score'] / (1 - record['score'])))


@noted('federated|neg_category_ids')
def federated_fields_in_some_images(files):
    for image in files.gt['images'][5:]:
        image |= {'neg_category_ids': [], 'not_exhaustive_category_ids': []}


@noted(r'\b100\b')
def more_than_100_detections_an_image(files):
    reported_results.crowded(files)
    files.gt['annotations'] = files.gt['annotations'][:250]


@noted('polygon', options=('--iou-type', 'segm'))
def polygons_that_leave_the_image(files):
    for annotation in files.gt['annotations'][1:4]:
        annotation |= {'segmentation': [[-400, -400, -390, -400, -390, -390]], 'iscrowd': 0}


@healthy
def as_it_is(files):
    return '--iou-type', 'bbox', 'segm'


@healthy
def boxes_that_touch_the_border(files):
    for record in [*files.gt['annotations'][::3], *files.dt[::3]]:
        x, _, w, h = record['bbox']
        record['bbox'] = [0, 0, w, h] if x < 60 else [WIDTH - w, HEIGHT - h, w, h]


@healthy
def boxes_that_rounding_took_a_little_beyond(files):
    for record in files.dt[::7]:
        _, y, w, h = record['bbox']
        record['bbox'] = [WIDTH - w + 0.25, y, w, h]


@healthy
def a_weak_detector(files):
    files.dt = [record | {'score': record['score'] / 8} for record in files.dt[::2]]
    rng = np.random.default_rng(0)
    for image in files.gt['images']:
        for _ in range(4):
            box = [float(value) for value in (*rng.integers(0, 90, 2), *rng.integers(8, 60, 2))]
            files.dt.append(
                {
                    'image_id': image['id'],
                    'category_id': int(rng.integers(1, 4)),
                    'bbox': box,
                    'score': float(rng.random()),
                }
            )


@healthy
def a_perfect_detector(files):
    files.dt = [
        {'image_id': each['image_id'], 'category_id': each['category_id'], 'bbox': each['bbox'], 'score': 1.0}
        | {'segmentation': encoded(each['segmentation'])}
        for each in files.gt['annotations']
        if not each['iscrowd']
    ]
    return '--iou-type', 'bbox', 'segm'


@healthy
def images_without_instances_and_detections(files):
    files.gt['images'] += [{'id': 50 + i, 'file_name': f'empty_{i}.jpg', 'width': 640, 'height': 480} for i in range(3)]


@healthy
def one_category(files):
    files.gt['categories'] = [{'id': 1, 'name': 'object'}]
    for record in [*files.gt['annotations'], *files.dt]:
        record['category_id'] = 1


@healthy
def categories_that_are_never_detected(files):
    files.gt['categories'] += [{'id': i, 'name': f'rare {i}'} for i in range(4, 80)]


@healthy
def ids_like_those_of_coco(files):
    forms.IMAGE_IDS['with gaps'](files)
    forms.CATEGORY_IDS['with gaps'](files)


@healthy
def categories_from_0_on_both_sides(files):
    forms.CATEGORY_IDS['from 0'](files)


@healthy
def scores_of_0_and_1(files):
    for record in files.dt:
        record['score'] = float(round(record['score']))
    files.dt.sort(key=lambda record: record['image_id'])


@healthy
def exactly_100_detections_in_an_image(files):
    for at in range(100 - sum(record['image_id'] == 4 for record in files.dt)):
        box = [float(at), 5.0, 10.0, 10.0]
        files.dt.append({'image_id': 4, 'category_id': 1, 'bbox': box, 'score': 0.001 * at})


@healthy
def tiny_images_with_tiny_boxes(files):
    """Boxes of a pixel are no fractions."""
    files.gt['images'] = [image | {'width': 4, 'height': 4} for image in files.gt['images']]
    for position, record in enumerate([*files.gt['annotations'], *files.dt]):
        record |= {'bbox': [float(position % 3), 1.0, 1.0, 2.0], 'iscrowd': 0}
    for record in files.gt['annotations']:
        record |= {'area': 2, 'segmentation': [[0, 0, 1, 0, 1, 2]]}


@healthy
def no_crowd_and_no_flags(files):
    files.gt['annotations'] = [each for each in files.gt['annotations'] if not each['iscrowd']]
    for each in files.gt['annotations']:
        each['ignore'] = 0


@healthy
def crowds_that_are_ignored_too(files):
    """As pycocotools itself leaves ground truth behind: `ignore` is what `iscrowd` is."""
    for each in files.gt['annotations']:
        each['ignore'] = each['iscrowd']
