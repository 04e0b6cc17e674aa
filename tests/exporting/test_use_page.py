"""The Python of docs/use.md that runs an exported file, against MMDetection on the same picture."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmhybrid.cli import main
from mmhybrid.exporting import checking
from mmhybrid.predicting.detector import Detector
from mmhybrid.predicting.pictures import Picture, Source

from .models import CONFIGS, build

pytest.importorskip('onnxruntime')

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'use.md'
PICTURE = Path('work_dirs', 'demo', 'occluded_shapes', 'val', '000000000001.jpg')


def test_the_page_gives_what_mmdetection_gives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(192, 192), keep_ratio=True),
        dict(type='PackDetInputs', meta_keys=('img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline)
    Path('config.py').write_text(
        f"default_scope = 'mmdet'\nmodel = {CONFIGS['mask_rcnn']}\ntest_dataloader = {dict(dataset=dataset)}\n"
    )
    torch.save({'state_dict': build('mask_rcnn').state_dict()}, 'weights.pth')
    for folder in (Path('work_dirs', 'demo', 'seed0'), PICTURE.parent):
        folder.mkdir(parents=True)
    cv2.imwrite(str(PICTURE), checking.generated_image(211, 333, 0))  # neither square nor a multiple of anything
    words = [
        'export',
        'config.py',
        'weights.pth',
        '--out',
        'work_dirs/demo/seed0/epoch_3.onnx',
        '--shape',
        '122',
        '192',
    ]
    assert main(words) == 0

    blocks = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)
    block = next(block for block in blocks if 'onnxruntime' in block)
    found: dict = {}
    exec(block, found)

    picture = Picture(Source(PICTURE, 'a.jpg', 'a.jpg'), 'a.jpg', str(PICTURE))
    detector = Detector(Config.fromfile('config.py'), 'weights.pth', 'cpu')
    [(_, sample)] = detector.predict([picture], 1, [])
    expected = sample.pred_instances
    assert len(expected) >= 10
    assert np.abs(found['boxes'] - expected.bboxes.numpy()).max() < 0.01
    assert np.abs(found['scores'] - expected.scores.numpy()).max() < 1e-4
    assert np.array_equal(found['labels'], expected.labels.numpy())
    for ours, theirs in zip(found['segmentations'], expected.masks.numpy(), strict=True):
        assert ours.shape == (211, 333)
        assert (ours ^ theirs).sum() <= max(20, 0.02 * (ours | theirs).sum())
    assert sum(mask.sum() for mask in found['segmentations']) > 1000
