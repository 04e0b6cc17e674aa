"""Notes on boxes: where they are probably of another form, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.read.ground_truth import any_sizes
from mmhybrid.occlusion.read.notes import box_notes, federated_note


def scene(seed, count=60):
    """Boxes of whole objects in images of different sizes, as annotated data has them."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(200, 900, (count, 2)).astype(float)
    corner = rng.uniform(0, 0.8, (count, 2)) * sizes[:, ::-1]
    size = rng.uniform(0.02, 1, (count, 2)) * (sizes[:, ::-1] - corner)
    return np.hstack([corner, size]), sizes


def test_sizes_of_images_that_are_none():
    images = [{'height': 10**400, 'width': -(10**400)}, {'height': 2, 'width': 3.5}, {'height': '2', 'width': 3}, {}]
    sizes = any_sizes(images)
    assert sizes[1].tolist() == [2, 3.5] and np.isinf(sizes[0]).all()
    assert np.isnan(sizes[2:]).tolist() == [[True, False], [True, True]]
    assert box_notes(np.full((4, 4), 1.5), sizes, 'x') == []


def corners(boxes):
    return np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 80))
def test_usual_boxes_get_none(seed, count):
    boxes, sizes = scene(seed, count)
    assert box_notes(boxes, sizes, 'x') == box_notes(boxes.round(), sizes, 'x') == []
    boxes[:, 2:] += 1.5  # of COCO, some end beyond the border by a pixel
    boxes[:, :2] -= 0.5
    assert box_notes(boxes, sizes, 'x') == []
    # Predictions that are not clipped: one in thirty leads out.
    boxes[: count // 30, 2] += 400
    assert box_notes(boxes, sizes, 'x') == []
    assert box_notes(boxes, np.full_like(sizes, np.nan), 'x') == []


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(20, 80))
def test_corners_and_shares(seed, count):
    boxes, sizes = scene(seed, count)
    (note,) = box_notes(corners(boxes), sizes, 'gt.json: annotations')
    leave = int(note.split()[2])
    assert note.startswith('gt.json: annotations: ') and f' of {count} boxes leave their images' in note
    assert count / 4 < leave <= count and 'x1, y1, x2, y2' in note
    for form in boxes, corners(boxes):
        shares = form / np.tile(sizes[:, ::-1], 2)
        for given_sizes in (sizes, np.full_like(sizes, np.nan)):
            (note,) = box_notes(shares, given_sizes, 'x')
            assert 'within 0 and 1' in note


def test_boxes_of_other_images_than_these():
    boxes, sizes = scene(0)
    (note,) = box_notes(boxes, sizes / 2, 'x')
    assert 'leave their images' in note and 'corners' not in note


@pytest.mark.parametrize('boxes', [np.zeros((0, 4)), np.zeros((5, 4)), np.array([[0, 0, 1.0, 1]])])
def test_few_and_empty_boxes(boxes):
    assert box_notes(boxes, np.full((len(boxes), 2), 100.0), 'x') == []


def test_an_image_of_one_pixel_is_no_share():
    assert box_notes(np.tile([0.0, 0, 1, 1], (9, 1)), np.ones((9, 2)), 'x') == []


def test_federated_fields():
    images = [{'id': 1, 'neg_category_ids': []}, {'id': 2, 'not_exhaustive_category_ids': [3]}, {'id': 3}]
    (note,) = federated_note(images, 'x')
    assert note.startswith('x: 2 of 3 images') and 'not applied' in note
    assert federated_note(images[2:], 'x') == []
