import json

import cv2
import pytest
import torch

from mmhybrid.cli import main
from mmhybrid.exporting import checking

from .models import CONFIGS, build

onnxruntime = pytest.importorskip('onnxruntime')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A config that stands alone and its checkpoint."""
    folder = tmp_path_factory.mktemp('run')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='PackDetInputs')]
    dataset = dict(type='CocoDataset', metainfo=dict(classes=('a', 'b', 'c')), pipeline=pipeline)
    text = f"default_scope = 'mmdet'\nmodel = {CONFIGS['retinanet']}\ntest_dataloader = {dict(dataset=dataset)}\n"
    (folder / 'config.py').write_text(text)
    torch.save({'state_dict': build('retinanet').state_dict()}, folder / 'weights.pth')
    return folder


def test_the_command_writes_what_it_has_compared(run, capsys, tmp_path):
    cv2.imwrite(str(tmp_path / 'photo.png'), checking.generated_image(90, 70, 3))
    words = [str(run / 'config.py'), str(run / 'weights.pth'), '--out', str(tmp_path / 'a.onnx')]
    assert main(['export', *words, '--shape', '96', '128', '--images', str(tmp_path / 'photo.png')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(':')[0] for line in lines[-3:-1]] == ['96x128', '141x89']
    assert all('50 detections' in line for line in lines[-3:-1])
    session = onnxruntime.InferenceSession(tmp_path / 'a.onnx', providers=['CPUExecutionProvider'])
    assert [out.name for out in session.get_outputs()] == ['boxes', 'scores', 'labels']
    assert session.get_inputs()[0].shape == [1, 3, 'height', 'width']
    assert json.loads(session.get_modelmeta().custom_metadata_map['classes']) == ['a', 'b', 'c']
    assert main(['export', *words]) == 2
    assert 'a.onnx is there already' in capsys.readouterr().err


def test_what_detects_nothing_is_compared_with_a_lower_threshold(run, capsys, tmp_path):
    words = [str(run / 'config.py'), str(run / 'weights.pth'), '--shape', '64', '96', '--out']
    assert (
        main(['export', *words, str(tmp_path / 'a.onnx'), '--cfg-options', 'model.test_cfg.score_thr=0.9999999']) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert [' 0 detections' in line for line in lines[-6:-1]] == [True, True, False, False, False]
    assert lines[-4].startswith('Nothing was detected')
    # The file has the threshold of the config.
    session = onnxruntime.InferenceSession(tmp_path / 'a.onnx', providers=['CPUExecutionProvider'])
    pixels = checking.generated_image(64, 96, 0).transpose(2, 0, 1)[None].astype('float32')
    assert len(session.run(None, {'image': pixels})[0]) == 0
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta['resize']) == 'none'


def test_what_could_not_be_compared_is_not_written(run, capsys, tmp_path):
    words = [str(run / 'config.py'), str(run / 'weights.pth'), '--shape', '64', '96']
    options = ['--cfg-options', 'model.test_cfg.min_bbox_size=9999', 'model.test_cfg.nms_pre=20']
    assert main(['export', *words, '--out', str(tmp_path / 'new' / 'a.onnx'), *options]) == 2
    assert 'nothing could be compared' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()


def test_weights_may_be_missing_where_they_are_allowed_to(run, capsys, tmp_path):
    state = torch.load(run / 'weights.pth')['state_dict']
    del state['bbox_head.retina_cls.bias']
    torch.save({'state_dict': state}, tmp_path / 'partly.pth')
    words = [str(run / 'config.py'), str(tmp_path / 'partly.pth'), '--part', 'backbone', '--shape', '64', '96']
    assert main(['export', *words]) == 2
    assert '--allow-missing' in capsys.readouterr().err
    assert main(['export', *words, '--allow-missing', 'bbox_head.retina_cls']) == 0


def test_a_file_that_differs_is_not_written(run, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(checking, 'FEATURE_TOLERANCE', 0.0)
    words = [str(run / 'config.py'), str(run / 'weights.pth'), '--out', str(tmp_path / 'a.onnx')]
    assert main(['export', *words, '--part', 'neck', '--shape', '64', '96']) == 1
    assert 'does not give what MMDetection gives' in capsys.readouterr().err
    assert not (tmp_path / 'a.onnx').exists()


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['{run}/nothing.py', '{run}/weights.pth'], 'There is no config {run}/nothing.py'),
        (['{run}/config.py', '{run}/nothing.pth'], 'There is no checkpoint {run}/nothing.pth'),
        (['{run}/config.py', '{run}/weights.pth', '--opset', '11'], '--opset 11 is too old'),
        (['{run}/config.py', '{run}/weights.pth', '--opset', '99', '--shape', '64', '64'], '--opset 99 is too new for'),
        (['{run}/config.py', '~nobodyx/weights.pth'], 'There is no checkpoint ~nobodyx/weights.pth'),
        (['{run}/config.py', 'https://a.b/c.pth'], 'The checkpoint is a URL'),
        (['{run}/config.py', '{run}/weights.pth', '--images', '{run}/config.py'], 'cannot be read (it is not an image'),
    ],
)
def test_mistakes_are_one_sentence(run, capsys, words, sentence):
    assert main(['export', *(word.format(run=run) for word in words)]) == 2
    assert sentence.format(run=run) in capsys.readouterr().err.strip().splitlines()[-1]


def test_without_onnxruntime_it_says_what_to_install(run, capsys, monkeypatch):
    from mmhybrid.exporting import cli

    monkeypatch.setattr(cli, 'find_spec', lambda name: None)
    assert main(['export', str(run / 'config.py'), str(run / 'weights.pth')]) == 2
    assert 'pip install onnx onnxruntime' in capsys.readouterr().err
