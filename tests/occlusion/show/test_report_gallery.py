import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as mask_api

from mmhybrid.errors import InputError
from mmhybrid.occlusion.analysis.errors import KINDS
from mmhybrid.occlusion.show.report.gallery import GalleryGroup, GalleryImage
from mmhybrid.occlusion.show.report.page import render_report
from mmhybrid.occlusion.show.report.pictures import COLOURS, DT_KINDS, QUALITY, Shown, draw_gallery_image
from mmhybrid.occlusion.strata import all_images

from ..sample import result
from . import pages

GREY = (90, 90, 90)


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp('images') / 'grey.png'
    Image.new('RGB', (640, 480), GREY).save(path)
    return path


def draw(path, gt=(), dt=(), missed=None, kinds=None, labels='', masks=None):
    missed = [False] * len(gt) if missed is None else missed
    kinds = ['true_positive'] * len(dt) if kinds is None else kinds
    shown = [Shown(box, labels, 'missed' if flag else 'found') for box, flag in zip(gt, missed, strict=True)]
    shown += map(Shown, dt, [labels] * len(dt), kinds, [0.5] * len(dt), masks or [None] * len(dt))
    image = Image.open(io.BytesIO(draw_gallery_image(path, shown)))
    assert image.format == 'JPEG'
    return np.asarray(image).astype(int)


def share(pixels, colour, tolerance=90):
    """Which part of the pixels has about this colour; JPEG blurs thin lines."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return (np.abs(pixels.reshape(-1, 3) - rgb).sum(axis=1) < tolerance).mean()


def edges(image, x, y, w, h):
    """The pixels on the frame of a box, without its corners and its upper edge, where labels stand."""
    return np.concatenate([image[y + 30 : y + h - 5, x], image[y + 30 : y + h - 5, x + w], image[y + h, x + 5 : x + w]])


def test_kinds_are_those_of_the_error_anatomy():
    assert DT_KINDS == KINDS and set(COLOURS) == {'found', 'missed', *KINDS}


def test_ground_truth_found_and_missed(photo):
    found, missed = (60, 100, 200, 200), (350, 100, 200, 200)
    image = draw(photo, [found, missed], missed=[False, True])
    assert share(edges(image, *found), COLOURS['found']) > 0.95
    # Dashes of 8 pixels, gaps of 6.
    assert 0.4 < share(edges(image, *missed), COLOURS['missed']) < 0.75
    assert share(image[120:280, 80:240], '#5a5a5a', 12) == 1  # nothing is drawn inside
    above = image[80:99, 350:420]
    assert share(above, COLOURS['missed']) > 0.3  # only the missed one has a label
    assert share(image[70:95, 60:260], '#5a5a5a', 30) > 0.99


@pytest.mark.parametrize('kind', DT_KINDS)
def test_detections_are_in_the_colour_of_their_kind(photo, kind):
    box = (100, 100, 200, 200)
    image = draw(photo, dt=[box], kinds=[kind])
    shares = {name: share(edges(image, *box), COLOURS[name], 60) for name in DT_KINDS}
    assert max(shares, key=shares.get) == kind and shares[kind] > 0.6


def test_boxes_scale_with_the_picture(photo, tmp_path):
    assert draw(photo).shape == (480, 640, 3)
    Image.new('RGB', (1280, 960), GREY).save(tmp_path / 'large.png')
    image = draw(tmp_path / 'large.png', [(200, 400, 400, 400)])
    assert image.shape == (480, 640, 3) and share(edges(image, 100, 200, 200, 200), COLOURS['found']) > 0.95
    for size, expected in (((100, 50), (100, 200)), ((100, 1000), (960, 96)), ((3000, 10), (2, 640))):
        Image.new('L', size).save(tmp_path / 'small.png')
        assert draw(tmp_path / 'small.png').shape[:2] == expected  # enlarged by 2 at most, no higher than 960


def test_masks_fill(photo):
    mask = np.zeros((480, 640), np.uint8)
    mask[100:300, 100:300] = 1
    image = draw(photo, dt=[(100, 100, 200, 200)], masks=[mask_api.encode(np.asfortranarray(mask))])
    blue = np.array([0x56, 0xB4, 0xE9])
    assert np.abs(image[200, 200] - (0.35 * blue + 0.65 * 90)).max() < 6 and np.abs(image[400, 500] - 90).max() < 4


def test_labels_do_not_cover_each_other_and_wrong_ones_come_first(photo):
    # Forty detections at one place: at most a few labels fit around it.
    boxes = [(200, 200, 60, 60)] * 41
    image = draw(photo, dt=boxes, kinds=['true_positive'] * 40 + ['background'], labels='umbrella')
    labels = np.abs(image - np.array([0xFF, 0xFF, 0xFF])).sum(axis=2) < 30
    assert labels[170:200, 200:300].sum() > 200  # the wrong one has the first place, above the box


def test_names_beyond_ascii_are_drawn(photo):
    box = [(100, 100, 200, 200)]
    images = [draw(photo, dt=box, labels=name) for name in ('Fußgänger', 'пешеход', 'Fussganger')]
    assert (images[0] != images[1]).any() and (images[0] != images[2]).any()


def test_size_of_a_busy_picture(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((1280, 960), Image.Resampling.BICUBIC).save(tmp_path / 'noise.png')
    boxes = np.random.default_rng(1).uniform(0, 900, (60, 4))
    shown = [Shown(box, 'x', 'missed') for box in boxes] + [Shown(box, 'y', 'partial', 0.1) for box in boxes]
    data = draw_gallery_image(tmp_path / 'noise.png', shown)
    assert QUALITY == 70 and len(data) < 250_000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4), max_size=8), st.text(max_size=12))
def test_any_box_and_label(photo, boxes, label):
    boxes = [[x, y, abs(w), abs(h)] for x, y, w, h in boxes]
    assert draw(photo, boxes, boxes, [True] * len(boxes), labels=label).shape == (480, 640, 3)


def test_a_mask_of_another_size(photo):
    with pytest.raises(InputError, match=r'a mask has the shape \(4, 4\)'):
        draw(photo, dt=[(0, 0, 1, 1)], masks=[{'size': [4, 4], 'counts': b''}])


def test_files_that_are_no_images(tmp_path, photo):
    (tmp_path / 'text.jpg').write_text('no image')
    (tmp_path / 'cut.png').write_bytes(photo.read_bytes()[:200])
    for name in ('text.jpg', 'cut.png', 'missing.jpg', '.'):
        with pytest.raises(InputError, match='cannot be read as an image'):
            draw(tmp_path / name)


def test_gallery_without_files():
    def page(groups):
        return pages.read(render_report([result(full=False, strata=(all_images(),))], gallery=groups))

    images = [GalleryImage(9, '', 0.002, None, {'instances': 1}), GalleryImage(7, 'x.jpg', 0.001)]
    made = page([GalleryGroup('all', images, 'A', 'bbox', 'all'), GalleryGroup('r = 0', [], 'A', 'bbox', 'bin')])
    section = made.first('section', aria_labelledby='images')
    assert [node.text for node in section.all('h3')] == ['All images']  # one model, one IoU type; r = 0 has no images
    assert [node.text for node in section.all('figcaption')] == [
        'image 9 costs 0.20 points of AP: 1 instance', 'x.jpg (id 7) costs 0.10 points of AP'
    ]  # fmt: skip
    assert made.text.count('not at hand') == 1 and 'give the folder in which they lie (--images)' in section.text
    assert not list(section.all('ul', 'img', class_='absent'))
    assert not list(page([GalleryGroup('r = 0', [])]).all('section', aria_labelledby='images'))
