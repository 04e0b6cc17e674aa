"""tools/predict.py as a user runs it, on pictures, patterns and a video, with the demo's detector before training."""

import json
import shutil

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image

from .conftest import DEMO, small

ALL = ('--cfg-options', 'model.test_cfg.rcnn.score_thr=0')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    cfg = Config.fromfile(DEMO)
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    path = tmp_path_factory.mktemp('untrained') / 'weights.pth'
    torch.save({'state_dict': model.state_dict()}, path)  # no classes: the config's
    return path


@pytest.fixture(scope='module')
def val(shapes):
    return shapes / 'val', shapes / 'annotations' / 'instances_val.json'


@pytest.fixture(scope='module')
def folder(forked_tool, checkpoint, val, tmp_path_factory):
    out = tmp_path_factory.mktemp('folder') / 'out'
    done = forked_tool(
        'predict.py', val[0], DEMO, checkpoint, '--ann', val[1], '--out-dir', out, '--score-thr', 0, *ALL
    )
    assert done.returncode == 0, done.stderr
    return done, out


def records(path):
    return json.loads(path.read_text())


def test_a_folder_gives_what_testing_gives(folder, forked_tool, checkpoint, shapes, tmp_path):
    done = forked_tool(
        'test.py', DEMO, checkpoint, '--work-dir', tmp_path, '--json-prefix', tmp_path / 'val', *small(shapes)
    )
    assert done.returncode == 0, done.stderr
    for kind in ('bbox', 'segm'):
        ours, tested = records(folder[1] / f'results.{kind}.json'), records(tmp_path / f'val.{kind}.json')
        assert len(tested) > 100
        assert sorted(ours, key=json.dumps) == sorted(tested, key=json.dumps)


def test_every_picture_is_drawn(folder, val):
    done, out = folder
    assert '10 pictures, 1,000 detections' in done.stdout
    assert 'pictures: 10 of 10' in done.stderr
    for path in val[0].iterdir():
        before, drawn = mmcv.imread(path), mmcv.imread(out / 'drawn' / path.name)
        assert drawn.shape == before.shape
        assert np.abs(drawn.astype(int) - before).mean() > 5
    images = records(out / 'images.json')
    assert images['complete'] is True
    assert [image['drawn'] for image in images['images']] == [f'drawn/{path.name}' for path in sorted(val[0].iterdir())]
    assert [image['path'] for image in images['images']] == [str(path) for path in sorted(val[0].iterdir())]


def test_force_replaces_results_and_drawings_are_no_pictures(forked_tool, checkpoint, val, tmp_path):
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    path = shutil.copy(next(val[0].iterdir()), pictures / 'a.jpg')
    words = (pictures, DEMO, checkpoint, '--out-dir', pictures, '--score-thr', 1)
    for more in (('--force',), ('--force', '--cfg-options', 'model.roi_head.mask_head=None')):
        done = forked_tool('predict.py', *words, *more, '--allow-missing')
        assert done.returncode == 0, done.stderr
        assert '\n1 picture, ' in done.stdout
    assert 'files left out, since they are in' in done.stderr
    assert sorted(p.name for p in pictures.iterdir()) == ['a.jpg', 'drawn', 'images.json', 'results.bbox.json']
    # Nothing has a score above 1: the picture itself, written as JPEG once more.
    before, drawn = mmcv.imread(path).astype(int), mmcv.imread(pictures / 'drawn' / 'a.jpg')
    assert np.abs(before - drawn).mean() < 4 < np.abs(before - drawn[:, :, ::-1]).mean()


@pytest.mark.parametrize(('number', 'status'), [('SIGINT', 130), pytest.param('SIGTERM', 143, marks=pytest.mark.slow)])
def test_what_was_detected_before_the_end_is_written_and_told(forked_tool, checkpoint, val, tmp_path, number, status):
    (tmp_path / f'ending_{number}.py').write_text(
        'import os, signal\n'
        'from mmcv.transforms import BaseTransform\n'
        'from mmdet.registry import TRANSFORMS\n'
        '@TRANSFORMS.register_module()\n'
        'class Ending(BaseTransform):\n'
        '    calls = 0\n'
        '    def transform(self, results):\n'
        '        Ending.calls += 1\n'
        '        if Ending.calls == 4:\n'
        f'            os.kill(os.getpid(), signal.{number})\n'
        '        return results\n'
    )
    config = tmp_path / 'ending_config.py'
    pipeline = Config.fromfile(DEMO).test_dataloader.dataset.pipeline
    pipeline = [*(step.to_dict() for step in pipeline[:-1]), dict(type='Ending'), pipeline[-1].to_dict()]
    config.write_text(
        f"_base_ = '{DEMO}'\n__import__('sys').path.insert(0, '{tmp_path}')\n"
        f"custom_imports = dict(imports=['mmhybrid.registry', 'ending_{number}'], allow_failed_imports=False)\n"
        f'test_dataloader = dict(dataset=dict(pipeline={pipeline}))\n'
    )
    done = forked_tool('predict.py', val[0], config, checkpoint, '--out-dir', tmp_path / 'out', '--no-draw')
    assert done.returncode == status, done.stderr
    assert '3 of 10 pictures, ' in done.stdout
    assert f'wrote {tmp_path}/out/images.json' in done.stdout
    images = records(tmp_path / 'out' / 'images.json')
    assert (len(images['images']), images['complete']) == (3, False)
    assert (tmp_path / 'out' / 'results.bbox.json').is_file()


def test_batches_of_patterns_and_files_beside_broken_ones(forked_tool, folder, checkpoint, val, tmp_path):
    paths = sorted(val[0].iterdir())
    (tmp_path / 'broken.jpg').write_bytes(b'no picture')
    (tmp_path / 'empty.png').touch()
    shutil.copy(paths[0], tmp_path / 'photo.of.mine')
    turned = Image.open(paths[0]).crop((0, 0, 128, 96))
    exif = turned.getexif()
    exif[0x0112] = 6  # orientation: to be turned by 90 degrees
    turned.save(tmp_path / 'turned.jpg', exif=exif)
    done = forked_tool(
        'predict.py', tmp_path / 'broken.jpg', f'{val[0]}/*[1-4].jpg', tmp_path / 'empty.png', paths[-1],
        tmp_path / 'photo.of.mine', tmp_path / 'turned.jpg', DEMO, checkpoint,
        '--out-dir', tmp_path / 'out', '--batch-size', 3, '--no-draw', '--fuse', *ALL,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'broken.jpg cannot be read (it is not an image, or damaged).' in done.stderr
    assert 'empty.png cannot be read (it is empty).' in done.stderr
    assert not (tmp_path / 'out' / 'drawn').exists()
    images = records(tmp_path / 'out' / 'images.json')['images']
    chosen = [path.name for path in paths if path.stem[-1] in '1234']
    assert len(chosen) == 4
    assert [image['file_name'] for image in images] == [*chosen, paths[-1].name, 'photo.of.mine', 'turned.jpg']
    assert (images[-1]['width'], images[-1]['height']) == (96, 128)
    assert records(tmp_path / 'out' / 'images.json')['complete'] is False
    # The same as one at a time, but for rounding; ids are counted here and COCO's there.
    there = {image['file_name']: image['id'] for image in records(val[1])['images']}
    for image in images[:-1]:
        name = paths[0].name if image['file_name'] == 'photo.of.mine' else image['file_name']
        a = best(tmp_path / 'out', image['id'])
        b = best(folder[1], there[name])
        assert np.allclose(a, b, atol=1e-2)


def best(out, image_id):
    """Scores and boxes of the ten best detections on an image."""
    found = [r for r in records(out / 'results.bbox.json') if r['image_id'] == image_id]
    assert len(found) == 100
    return np.array([[r['score'], *r['bbox']] for r in found[:10]])


def test_a_video_gives_a_video_and_ids_by_frame(forked_tool, checkpoint, val, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 8, (128, 128))
    for path in sorted(val[0].iterdir())[:5]:
        writer.write(mmcv.imread(path))
    writer.release()
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    done = forked_tool(
        'predict.py', tmp_path / 'clip.avi', tmp_path / 'bad.mp4', DEMO, checkpoint,
        '--out-dir', tmp_path / 'out', '--every', 2, '--device', 'cpu', *ALL,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'bad.mp4 cannot be read (it is not a video, or damaged).' in done.stderr
    images = records(tmp_path / 'out' / 'images.json')['images']
    assert [(image['id'], image['video'], image['frame']) for image in images] == [
        (n // 2 + 1, 'clip.avi', n) for n in (0, 2, 4)
    ]
    drawn = mmcv.VideoReader(str(tmp_path / 'out' / 'drawn' / 'clip.mp4'))
    assert (drawn.frame_cnt, drawn.fps, drawn.width, drawn.height) == (3, 4, 128, 128)


@pytest.mark.slow
def test_frames_of_a_video_beside_pictures_of_a_folder_of_its_name(forked_tool, checkpoint, val, tmp_path):
    pictures = tmp_path / 'pictures'
    (pictures / 'clip').mkdir(parents=True)
    shutil.copy(next(val[0].iterdir()), pictures / 'clip' / '000001.jpg')
    shutil.copy(next(val[0].iterdir()), pictures / 'clip' / 'first.jpg')
    writer = cv2.VideoWriter(str(pictures / 'clip.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 8, (64, 48))
    for level in (0, 250):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    names = {'clip/000000.jpg': (64, 48), 'clip/000001.jpg': (128, 128), 'clip/first.jpg': (128, 128)}
    coco = dict(
        images=[dict(id=i, file_name=name, width=w, height=h) for i, (name, (w, h)) in enumerate(names.items(), 5)],
        categories=records(val[1])['categories'],
    )
    (tmp_path / 'ann.json').write_text(json.dumps(coco))
    words = (DEMO, checkpoint, '--out-dir', tmp_path / 'out', '--frames', '--score-thr', 1)
    done = forked_tool('predict.py', pictures, *words, '--ann', tmp_path / 'ann.json')
    assert done.returncode == 2
    assert 'clip/000001.jpg are the same image of --ann' in done.stderr
    assert 'pictures: ' not in done.stderr
    assert not (tmp_path / 'out').exists()
    done = forked_tool('predict.py', pictures / 'clip.avi', *words, '--ann', tmp_path / 'ann.json')
    assert done.returncode == 2
    assert 'is 64x48 pixels, and --ann' in done.stderr
    done = forked_tool('predict.py', pictures, *words)
    assert done.returncode == 0, done.stderr
    images = records(tmp_path / 'out' / 'images.json')['images']
    drawn = {image['drawn']: mmcv.imread(tmp_path / 'out' / image['drawn']) for image in images}
    assert {name: picture.shape[:2] for name, picture in drawn.items()} == {
        'drawn/clip/000001.jpg': (128, 128), 'drawn/clip/first.jpg': (128, 128),
        'drawn/clip_2/000000.jpg': (48, 64), 'drawn/clip_2/000001.jpg': (48, 64),
    }  # fmt: skip
    assert drawn['drawn/clip_2/000000.jpg'].mean() < 10
    assert drawn['drawn/clip_2/000001.jpg'].mean() > 240
    assert {image['file_name'] for image in images} == set(names)


def test_nothing_is_overwritten_and_the_arguments_have_an_order(forked_tool, folder, checkpoint, val):
    before = (folder[1] / 'results.bbox.json').stat().st_mtime_ns
    done = forked_tool('predict.py', val[0], DEMO, checkpoint, '--out-dir', folder[1])
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert 'has files, which would be overwritten' in done.stderr
    assert (folder[1] / 'results.bbox.json').stat().st_mtime_ns == before
    done = forked_tool('predict.py', DEMO, checkpoint, val[0] / '000000000001.jpg')
    assert (done.returncode, done.stderr.count('\n')) == (2, 1)
    assert 'the order is IMAGES ... CONFIG CHECKPOINT' in done.stderr


def test_weights_of_another_model_are_refused(forked_tool, checkpoint, val, tmp_path):
    weights = {k: v for k, v in torch.load(checkpoint)['state_dict'].items() if not k.startswith('roi_head.')}
    torch.save({'state_dict': weights}, tmp_path / 'partly.pth')
    done = forked_tool('predict.py', val[0], DEMO, tmp_path / 'partly.pth', '--out-dir', tmp_path / 'out')
    assert done.returncode == 2
    assert 'The weights do not fit the model' in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / 'out').exists()
