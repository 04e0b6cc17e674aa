import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Curve
from PIL import Image
from pycocotools import mask as mask_api

from mmhybrid.errors import InputError
from mmhybrid.occlusion.analysis.errors import KINDS
from mmhybrid.occlusion.show.report.gallery import GalleryGroup, GalleryImage
from mmhybrid.occlusion.show.report.page import render_report
from mmhybrid.occlusion.show.report.pictures import COLOURS, DASHES, DT_KINDS, FONT_SIZE, Shown, draw_picture
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
    return draw_picture(path, shown)


def test_kinds_are_those_of_the_error_anatomy():
    assert DT_KINDS == KINDS and set(COLOURS) == {'found', 'missed', *KINDS}
    # Told apart without colour: by dashes of their own, all but two, one of which is thicker.
    assert set(COLOURS) - set(DASHES) == {'found', 'true_positive'} and len(set(DASHES.values())) == len(DASHES)


def test_frames_and_labels(photo):
    boxes = [(60, 100, 200, 200), (350, 100, 200, 200), (100, 300, 50, 60)]
    made = draw(photo, boxes[:2], boxes[2:], missed=[False, True], kinds=['partial'], labels='dog')
    assert made.size == (640, 480) and made.mime_type == 'image/webp'
    assert [(mark.kind, mark.frame, mark.label) for mark in made.marks] == [
        ('found', 'M60 100H260V300H60z', ''),
        ('missed', 'M350 100H550V300H350z', 'missed: dog'),
        ('partial', 'M100 300H150V360H100z', 'dog 0.50 partial'),
    ]  # fmt: skip
    assert made.frames('missed') == 'M350 100H550V300H350z' and made.frames().count('z') == 3
    # Nothing is drawn into the photograph.
    assert np.abs(np.asarray(Image.open(io.BytesIO(made.photo))).astype(int) - 90).max() < 4


def test_small_boxes_are_above_large_ones_and_found_instances_below_all(photo):
    boxes = [(0, 0, 30, 30), (0, 0, 300, 300), (0, 0, 100, 100)]
    made = draw(photo, [(5, 5, 9, 9)], boxes)
    assert [mark.frame for mark in made.marks] == [
        'M5 5H14V14H5z', 'M0 0H300V300H0z', 'M0 0H100V100H0z', 'M0 0H30V30H0z'
    ]  # fmt: skip


def test_boxes_scale_with_the_picture_and_photographs_are_no_larger_than_files(tmp_path):
    for size, units, pixels in (
        ((1280, 960), (640, 480), (560, 420)), ((100, 50), (640, 320), (100, 50)), ((100, 1000), (96, 960), (84, 840)),
        ((3000, 10), (640, 2), (560, 2)),
    ):  # fmt: skip
        Image.new('L', size).save(tmp_path / 'x.png')
        made = draw(tmp_path / 'x.png', [(0, 0, *size)])
        assert made.size == units and Image.open(io.BytesIO(made.photo)).size == pixels
        assert made.marks[0].frame == f'M0 0H{units[0] - 1}V{units[1] - 1}H0z'


def test_masks_are_outlined(photo):
    # A ring and a spot apart from it, which reaches the picture's edge.
    y, x = np.mgrid[:480, :640]
    far = np.hypot(x - 200, y - 200)
    mask = ((far < 150) & (far > 60)) | (np.hypot(x - 640, y - 480) < 90)
    (mark,) = draw(
        photo, dt=[(50, 50, 300, 300)], masks=[mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))]
    ).marks
    pieces = re.findall(r'M(\d+) (\d+)l([-\d ]+)z', mark.mask)
    assert ''.join(f'M{a} {b}l{c}z' for a, b, c in pieces) == mark.mask and len(pieces) == 3 and len(mark.mask) < 1500
    filled = np.zeros(mask.shape, bool)
    pixels = np.stack([x, y], -1).reshape(-1, 2) + 0.5
    for a, b, steps in pieces:  # even-odd
        points = np.cumsum([[int(a), int(b)], *np.reshape(re.findall(r'-?\d+', steps), (-1, 2)).astype(int)], axis=0)
        filled ^= Curve(points, closed=False).contains_points(pixels).reshape(mask.shape)
    assert (filled & mask).sum() / (filled | mask).sum() > 0.97


def rectangles(made):
    """Where labels are, at half of their font's size a character: less than any font takes."""
    return [
        (x, y - 0.7 * FONT_SIZE, x + 0.5 * FONT_SIZE * len(mark.label), y)
        for mark in made.marks if mark.label and mark.has_room for x, y in [mark.at]
    ]  # fmt: skip


def test_labels_do_not_cover_each_other_and_what_is_missed_or_wrong_comes_first(photo):
    # Forty detections at one place: at most a few labels fit around it.
    boxes = [(200, 200, 60, 60)] * 41
    made = draw(photo, boxes[:1], boxes, [True], ['true_positive'] * 40 + ['background'], labels='umbrella')
    placed = {mark.kind: mark.at for mark in made.marks if mark.has_room}
    assert placed['missed'][1] < 200 and placed['background'][1] > 200  # the missed one has the first place, above
    assert 2 < len(rectangles(made)) < 8 and len([mark for mark in made.marks if not mark.has_room]) > 30
    found = rectangles(made)
    for i, a in enumerate(found):
        assert a[0] >= 0 and a[1] >= 0 and a[3] <= 480
        assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in found[i + 1 :])


def test_size_of_a_busy_photograph(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((1280, 960), Image.Resampling.BICUBIC).save(tmp_path / 'noise.png')
    assert len(draw(tmp_path / 'noise.png').photo) < 60_000


def test_without_webp(photo, monkeypatch):
    Image.init()
    monkeypatch.delitem(Image.SAVE, 'WEBP')
    made = draw(photo)
    assert made.mime_type == 'image/jpeg' and Image.open(io.BytesIO(made.photo)).format == 'JPEG'


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4), max_size=8), st.text(max_size=12))
def test_any_box_and_label(photo, boxes, label):
    boxes = [[x, y, abs(w), abs(h)] for x, y, w, h in boxes]
    assert draw(photo, boxes, boxes, [True] * len(boxes), labels=label).size == (640, 480)


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
    assert not list(section.all('ul', 'image', 'input', class_='absent'))
    assert not list(page([GalleryGroup('r = 0', [])]).all('section', aria_labelledby='images'))


@pytest.mark.parametrize(
    ('number', 'name'), [(1, 'pictures alone'), (2, 'pictures'), (3, 'pictures odd'), (4, 'pictures')]
)
def test_no_picture_is_left_over_in_a_last_row(photo, number, name):
    image = GalleryImage(1, 'x', 0.1, draw(photo))
    html = render_report([result(full=False, strata=(all_images(),))], gallery=[GalleryGroup('all', [image] * number)])
    assert len(list(pages.read(html).first('div', class_=name).all('figure'))) == number
