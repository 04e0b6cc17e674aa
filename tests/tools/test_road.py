"""The road in small: pictures by class, weights, a backbone's file, a detector, boxes drawn on one's own pictures."""

import json
import sys

import numpy as np
from PIL import Image

from mmhybrid import cli

from .conftest import DEMO, REPO, small

sys.path.insert(0, str(REPO / 'benchmarks'))
from pretraining_steps import crops

NARROW = ('model.backbone.base_channels=16', 'model.backbone.base_width=8')


def tiny(pictures):
    loaders = ('train_dataloader', 'val_dataloader')
    quiet = [f'{loader}.{key}' for loader in loaders for key in ('num_workers=0', 'persistent_workers=False')]
    sizes = ['image_size=32', 'max_epochs=1', 'train_dataloader.batch_size=8', 'val_dataloader.batch_size=8']
    return ['--cfg-options', f'data_root={pictures}', *sizes, *quiet, *NARROW, 'model.stem=backbone']


def test_from_pictures_to_a_drawn_detection(forked_tool, shapes, tmp_path, capsys):
    pictures = tmp_path / 'pictures'
    crops.cut(shapes, pictures, {'val': 'train'})
    (pictures / 'val').symlink_to(pictures / 'train')  # the few images of the other split lack a class

    config = REPO / 'configs' / 'pretrain' / 'cifar10.py'
    work = tmp_path / 'pretrained'
    done = forked_tool('pretrain.py', config, '--backbone', 'tiedresnet50', '--work-dir', work, *tiny(pictures))
    assert done.returncode == 0, done.stderr[-2000:]
    top1 = json.loads((work / 'accuracy.json').read_text())['1']['top1']

    assert cli.main(['publish', str(work / 'epoch_1.pth'), '--to', str(tmp_path / 'own.safetensors')]) == 0
    (weights,) = tmp_path.glob('own-????????.safetensors')
    card = json.loads(weights.with_suffix('.json').read_text())
    assert (card['variant'], card['top1'], card['options']) == (
        'tiedresnet50',
        top1,
        dict(base_channels=16, base_width=8),
    )

    run = tmp_path / 'run'
    options = small(shapes, train_cfg__max_epochs=1, backbone_checkpoint=weights)
    done = forked_tool('train.py', DEMO, '--work-dir', run, *options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Weights of TiedResNet: 393 of 393 tensors were loaded' in done.stdout + done.stderr

    out = tmp_path / 'out'
    images = sorted((shapes / 'val').iterdir())[:2]
    thr = ['--score-thr', '0.01', '--cfg-options', 'model.test_cfg.rcnn.score_thr=0.01']
    done = forked_tool('predict.py', *images, DEMO, run / 'epoch_1.pth', '--out-dir', out, *thr)
    assert done.returncode == 0, done.stderr[-2000:]
    (boxes,) = out.rglob('*bbox.json')
    assert json.loads(boxes.read_text())
    for image in images:
        (drawn,) = (path for path in out.rglob(f'{image.stem}*') if path.suffix in ('.jpg', '.png'))
        with Image.open(image) as before, Image.open(drawn) as after:
            assert before.size == after.size
            assert np.abs(np.asarray(before, int) - np.asarray(after.convert('RGB'), int)).max() > 100
