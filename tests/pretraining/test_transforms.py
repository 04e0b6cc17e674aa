"""Crops: their bounds, their distribution, and what is in them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.pretraining import PackImageLabel, PaddedRandomCrop, RandomResizedCrop, ResizedCenterCrop

SIDES = st.integers(1, 300)
SEEDS = st.integers(0, 2**32 - 1)


def coordinates(height, width):
    """A picture whose pixels tell their row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.ones_like(rows)], axis=2).astype(np.uint8)


@given(SIDES, SIDES, SEEDS, st.sampled_from([(0.08, 1.0), (0.5, 0.6), (1.0, 1.0)]))
@settings(deadline=None, max_examples=100)
def test_the_part_is_within_the_picture_and_as_asked(height, width, seed, scale):
    np.random.seed(seed)  # noqa: NPY002
    crop = RandomResizedCrop(16, scale=scale)  # kept, since mmcv refers to it weakly
    left, top, w, h = crop.box(height, width)
    assert w >= 1 and h >= 1
    assert left >= 0 and left + w <= width
    assert top >= 0 and top + h <= height
    # Sides are rounded to whole pixels, by half of one at most.
    fits = (w - 0.5) * (h - 0.5) <= height * width * scale[1] and height * width * scale[0] <= (w + 0.5) * (h + 0.5)
    central = abs(2 * left + w - width) <= 1 and abs(2 * top + h - height) <= 1
    assert fits or central
    assert (w - 0.5) / (h + 0.5) <= 4 / 3 or w == 1
    assert (w + 0.5) / (h - 0.5) >= 3 / 4 or h == 1


def test_areas_and_ratios_are_spread_evenly():
    np.random.seed(0)  # noqa: NPY002
    crop = RandomResizedCrop(16, scale=(0.1, 0.5))
    boxes = np.array([crop.box(1000, 1000) for _ in range(3000)])
    areas, ratios = boxes[:, 2] * boxes[:, 3] / 1e6, np.log(boxes[:, 2] / boxes[:, 3])
    assert areas.mean() == pytest.approx(0.3, abs=0.01)
    assert areas.std() == pytest.approx(0.4 / math.sqrt(12), rel=0.05)
    assert ratios.mean() == pytest.approx(0, abs=0.01)
    assert ratios.std() == pytest.approx(2 * math.log(4 / 3) / math.sqrt(12), rel=0.05)
    # Places, too: the left of those that could be at 0 to 1000 - w.
    assert (boxes[:, 0] / (1000 - boxes[:, 2])).mean() == pytest.approx(0.5, abs=0.02)


def test_a_picture_that_no_part_fits_gives_the_middle():
    np.random.seed(0)  # noqa: NPY002
    crop = RandomResizedCrop(16, scale=(1.0, 1.0))
    assert crop.box(30, 300) == (130, 0, 40, 30)
    assert crop.box(300, 30) == (0, 130, 30, 40)


@given(SIDES, SIDES, SEEDS, st.integers(4, 40))
@settings(deadline=None, max_examples=50)
def test_all_crops_have_the_size(height, width, seed, size):
    np.random.seed(seed)  # noqa: NPY002
    for crop in (RandomResizedCrop(size), ResizedCenterCrop(size), ResizedCenterCrop(size, fraction=0.875)):
        results = crop(dict(img=np.full((height, width, 3), 7, np.uint8)))
        assert results['img'].shape == (size, size, 3)
        assert results['img_shape'] == (size, size)
        assert (results['img'] == 7).all()


def test_the_middle_of_a_square_is_the_middle():
    image = coordinates(256, 256)
    assert np.array_equal(ResizedCenterCrop(224, fraction=0.875)(dict(img=image))['img'], image[16:240, 16:240])
    assert np.array_equal(ResizedCenterCrop(256)(dict(img=image))['img'], image)
    wide = coordinates(32, 64)
    assert np.array_equal(ResizedCenterCrop(32)(dict(img=wide))['img'], wide[:, 16:48])


def test_a_padded_crop_is_a_window_of_the_padded_picture():
    np.random.seed(0)  # noqa: NPY002
    image, seen = coordinates(32, 32), set()
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    for _ in range(400):
        out = PaddedRandomCrop(32)(dict(img=image))['img']
        (corner,) = [(y, x) for y in range(9) for x in range(9) if np.array_equal(out, padded[y : y + 32, x : x + 32])]
        seen.add(corner)
    assert len(seen) > 75  # of 81


def test_a_packed_picture_is_bytes_and_tells_its_name():
    packed = PackImageLabel()(dict(img=coordinates(5, 6), label=np.int64(2), img_path='a.jpg'))
    assert packed['inputs'].shape == (3, 5, 6) and packed['inputs'].dtype == torch.uint8
    assert packed['inputs'][0, 4, 0] == 4 and packed['inputs'][1, 0, 5] == 5
    assert (packed['labels'], packed['data_samples'].img_path) == (2, 'a.jpg')
    colours = np.array([[[-3.0, 300.0, 1.6]]], np.float32)
    assert PackImageLabel()(dict(img=colours))['inputs'].flatten().tolist() == [0, 255, 2]
