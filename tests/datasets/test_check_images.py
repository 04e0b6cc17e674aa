"""Image files as MMDetection's reader sees them, and damaged ones."""

import mmcv
import numpy as np
import pytest

from mmhybrid.datasets.check.contents import read_contents
from mmhybrid.datasets.check.images import look, sample

from . import faulty


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return faulty.write(tmp_path_factory.mktemp('faulty'))


def test_images_are_seen_as_mmcvs_reader_sees_them(data):
    contents = read_contents(data[0])
    expected = set()
    for row in contents.image_rows[:-1]:
        path = data[1] / row['file_name']
        try:
            image = mmcv.imfrombytes(path.read_bytes(), flag='color', backend='cv2')
        except Exception:
            image = None
        if image is None or image.shape[:2] != (row['height'], row['width']):
            expected.add(row['file_name'])
    wrong = ('file-missing', 'file-broken', 'file-size', 'file-orientation')
    ours = {
        row['file_name']
        for row in contents.image_rows[:-1]
        if any(kind in wrong for kind, _ in look(str(data[1] / row['file_name']), row['width'], row['height']))
    }
    # Older OpenCV shows half of a file that ends early.
    assert expected | {'truncated.jpg'} == ours


@pytest.mark.parametrize('form', ['JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP'])
@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_orientation_is_read_as_opencv_reads_it(form, orientation, tmp_path):
    exif = faulty.Image.Exif()
    exif[274] = orientation
    path = tmp_path / 'image'
    faulty.picture().save(path, form, **({} if form == 'BMP' else {'exif': exif}))
    height, width = mmcv.imfrombytes(path.read_bytes(), flag='color', backend='cv2').shape[:2]
    assert not [kind for kind, _ in look(str(path), width, height) if kind in ('file-size', 'file-orientation')]
    if (width, height) != (64, 48):
        assert [kind for kind, _ in look(str(path), 64, 48)] in (['file-size'], ['file-orientation'])


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, of damaged metadata
def test_damaged_images_never_raise(tmp_path):
    whole = {'jpg': faulty.jpeg(6), 'png': faulty.image_files()['alpha.png']}
    draws = np.random.default_rng(0)
    for suffix, data in whole.items():
        for turn in range(60):
            damaged = bytearray(data[: draws.integers(1, len(data) + 1)])
            for at in draws.integers(0, len(damaged), turn % 5):
                damaged[at] = draws.integers(0, 256)
            path = tmp_path / f'damaged.{suffix}'
            path.write_bytes(damaged)
            faults = look(str(path), 64, 48)
            assert faults or len(damaged) == len(data) or turn % 5
    for name in ('a\0b', 'x' * 5000, '\udcff', ''):
        assert look(f'{tmp_path}/{name}', 1, 1)[0][0] == 'file-missing'


def test_a_sample_is_spread_evenly():
    assert sample(10, None) == sample(10, 99) == list(range(10))
    assert sample(1000, 3) == [0, 500, 999]
    assert sample(5, 1) == [0]
