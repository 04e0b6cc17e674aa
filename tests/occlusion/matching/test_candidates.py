"""Which masks hotcoco need not see: a bound on IoU is never below what pycocotools draws and measures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from mmhybrid.occlusion.read.checks import Records
from mmhybrid.occlusion.read.runlengths import Masks, measure
from mmhybrid.occlusion.read.segmentations import check_ground_truth

HEIGHT, WIDTH = 40, 60

coordinates = st.one_of(st.integers(-60, 120), st.floats(-60, 120), st.floats(-1, 2), st.floats(38, 62))
polygons = st.lists(st.lists(coordinates, min_size=6, max_size=12).map(lambda p: p[: len(p) // 2 * 2]), min_size=1)
boxes = st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1), st.integers(1, 40), st.integers(1, 60))


def drawn(segmentation):
    return mask.merge(mask.frPyObjects(segmentation, HEIGHT, WIDTH))


def extents_of(segmentations):
    rows = [{'segmentation': value} for value in segmentations]
    return check_ground_truth(Records('gt', 'annotations', rows), np.tile([HEIGHT, WIDTH], (len(rows), 1)))[1]


def blob(box, seed):
    """A mask with holes."""
    y, x, height, width = box
    pixels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    pixels[y : y + height, x : x + width] = 1
    pixels &= np.random.default_rng(seed).random(pixels.shape) < (1 if seed % 2 else 0.8)
    return mask.encode(np.asfortranarray(pixels))


@settings(max_examples=300, deadline=None)
@given(st.lists(polygons, min_size=1, max_size=5))
def test_polygons_are_drawn_within_their_extents(segmentations):
    for value, (left, top, right, bottom) in zip(segmentations, extents_of(segmentations), strict=True):
        rows, columns = np.nonzero(mask.decode(drawn(value)))
        if len(rows):
            assert left <= columns.min() and columns.max() + 1 <= right
            assert top <= rows.min() and rows.max() + 1 <= bottom


def test_extents_of_encoded_masks_are_over_the_height_of_the_image():
    values = [[[1, 2, 5, 2, 5, 9], [20, 0, 21, 0, 21, 1]], blob((4, 7, 3, 3), 1), [[7, 8, 9, 8, 9, 30]]]
    assert extents_of(values).tolist() == [[0, -1, 22, 10], [7, 0, 10, HEIGHT], [6, 7, 10, 31]]
    assert extents_of(values[1:2]).tolist() == [[7, 0, 10, HEIGHT]]
    assert extents_of(values[:1]).tolist() == [[0, -1, 22, 10]]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(polygons, boxes), min_size=1, max_size=5), st.lists(boxes, min_size=1, max_size=8), st.data())
def test_no_pair_has_a_larger_iou_than_its_bound(instances, detections, data):
    fast = pytest.importorskip('mmhybrid.occlusion.matching.hot')
    instances = [blob(each, 1) if isinstance(each, tuple) else each for each in instances]
    found = [blob(box, seed) for seed, box in enumerate(detections)]
    crowd = data.draw(st.lists(st.booleans(), min_size=len(instances), max_size=len(instances)))
    rles = [each if isinstance(each, dict) else drawn(each) for each in instances]
    iou = np.array(mask.iou(found, rles, crowd))

    text = b''.join(rle['counts'] for rle in found)
    offsets = np.cumsum([0, *(len(rle['counts']) for rle in found)])
    sizes = np.tile([HEIGHT, WIDTH], (len(found), 1))
    masks = Masks(sizes, text, offsets, *measure(text, offsets, sizes.prod(axis=1)))
    of_dt, of_gt = np.indices(iou.shape).reshape(2, -1)
    bound = fast._most_iou(masks.spans(of_dt), masks.areas[of_dt], extents_of(instances)[of_gt])
    assert (bound >= iou.ravel()).all()


def test_the_bound_tells_masks_apart():
    fast = pytest.importorskip('mmhybrid.occlusion.matching.hot')
    extents = extents_of([[[10, 10, 20, 10, 20, 20, 10, 20]]])
    spans, areas = np.array([[30, 40], [10, 20], [8, 22]]), np.array([100, 100, 1000])
    assert fast._most_iou(spans, areas, extents).tolist() == [0, 1.2, 0.144]
