import warnings

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData
from PIL import Image

from mmhybrid.predicting.drawing import Drawing
from mmhybrid.predicting.pictures import Picture, Source

BOX = (100.0, 40.0, 220.0, 150.0)
NEAR = 12  # pixels: half of a line, and the text beside the corner


@pytest.fixture
def pixels():
    """A picture whose channels and corners differ."""
    across, down = np.meshgrid(np.arange(300), np.arange(200))
    return np.stack([across // 2, down, 255 - across // 3], -1).astype(np.uint8)


@pytest.fixture
def draw(tmp_path):
    visualizer = DetLocalVisualizer(vis_backends=None)
    visualizer.dataset_meta = dict(classes=('a', 'b'), palette=[(255, 0, 0), (0, 255, 0)])

    def drawn(image, score_thr, frame=None, box=BOX, **options):
        source = Source(tmp_path / 'source', 'given', 'clip.avi')
        name = 'sub/name.png' if frame is None else f'clip/{frame:06d}.jpg'
        picture = Picture(source, name, image if frame is not None else str(image), frame)
        found = InstanceData(bboxes=torch.tensor([box]), scores=torch.tensor([0.5]), labels=torch.tensor([1]))
        drawing = Drawing(visualizer, tmp_path / 'drawn', score_thr, **options)
        path = drawing.draw(picture, DetDataSample(pred_instances=found), 10)
        drawing.close()
        return path

    return drawn


def save(pixels, path, orientation=1):
    image = Image.fromarray(pixels[:, :, ::-1])
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def difference(one, other):
    return np.abs(one.astype(int) - other).max(-1)


def test_without_detections_above_the_threshold_the_picture_comes_back(draw, pixels, tmp_path):
    path = draw(save(pixels, tmp_path / 'a.png'), 1)
    assert path == tmp_path / 'drawn' / 'sub' / 'name.png'
    assert difference(mmcv.imread(path), pixels).max() <= 2


def test_a_detection_changes_the_picture_near_its_box_alone(draw, pixels, tmp_path):
    changed = difference(mmcv.imread(draw(save(pixels, tmp_path / 'a.png'), 0.3)), pixels)
    x0, y0, x1, y1 = map(int, BOX)
    assert changed[y0 - 1 : y1 + 1, [x0, x1]].mean() > 30
    outside = np.ones(changed.shape, bool)
    outside[y0 - NEAR : y1 + NEAR, x0 - NEAR : x1 + NEAR] = False
    assert changed[outside].max() <= 2


@pytest.mark.parametrize('orientation', [3, 6, 8])
def test_a_picture_is_drawn_as_it_is_seen(draw, pixels, tmp_path, orientation):
    turned = {3: np.rot90(pixels, 2), 6: np.rot90(pixels, -1), 8: np.rot90(pixels)}[orientation]
    drawn = mmcv.imread(draw(save(pixels, tmp_path / 'a.png', orientation), 1))
    assert difference(drawn, turned).max() <= 2


def test_frames_become_pictures_or_a_video(draw, pixels, tmp_path):
    path = draw(pixels, 1, frame=3, frames=True)
    assert path == tmp_path / 'drawn' / 'clip' / '000003.jpg'
    assert difference(mmcv.imread(path), pixels).mean() < 4
    path = draw(pixels, 1, frame=3)
    assert path == tmp_path / 'drawn' / 'clip.mp4'
    frame = cv2.VideoCapture(str(path)).read()[1]
    assert difference(frame, pixels).mean() < 8 < difference(frame[:, :, ::-1], pixels).mean()


def test_a_box_that_ends_at_the_border_is_no_reason_to_warn(draw, pixels, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        draw(save(pixels, tmp_path / 'a.png'), 0.3, box=(-1.0, -1.0, 301.0, 201.0))
