"""docs/use.md in small: one's own data set of one class, from a folder of pictures and a COCO file to detections."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.runner import FlexibleRunner

from mmhybrid import launch
from mmhybrid.cli import main
from mmhybrid.datasets.occluded_shapes import generate

from .conftest import REPO, small

OWN = REPO / 'examples' / 'own_data'


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """A user's folder, elsewhere."""
    root = tmp_path_factory.mktemp('project')
    shutil.copytree(OWN, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns('__pycache__'))
    data = root / 'data' / 'own'
    generate(data / 'made', {'train': 6, 'val': 3}, size=128, progress=False)
    for split in ('train', 'val'):
        coco = json.loads((data / 'made' / 'annotations' / f'instances_{split}.json').read_text())
        coco['categories'] = [dict(id=1, name='shape')]
        for annotation in coco['annotations']:
            annotation['category_id'] = 1
        (data / f'{split}.json').write_text(json.dumps(coco))
        (data / 'made' / split).rename(data / split)
    return root


def test_ten_lines_are_enough():
    lines = [line for line in (OWN / 'config.py').read_text().splitlines() if line and not line.startswith('#')]
    assert len(lines) <= 10


def test_from_a_folder_of_pictures_to_detections(forked_tool, project, tmp_path, capsys):
    config, data = project / 'config.py', project / 'data' / 'own'
    assert main(['data', 'check', str(config), '--cfg-options', f'data_root={data}']) == 0
    assert 'Nothing is wrong.' in capsys.readouterr().out
    options = small(data, train_cfg__max_epochs=1)
    done = forked_tool('train.py', config, '--work-dir', tmp_path / 'run', *options)
    assert done.returncode == 0, done.stderr
    checkpoint = tmp_path / 'run' / 'epoch_1.pth'
    assert torch.load(checkpoint)['meta']['dataset_meta']['classes'] == ('shape',)
    done = forked_tool(
        'predict.py', data / 'val', config, checkpoint, '--ann', data / 'val.json', '--out-dir', tmp_path / 'out',
        '--cfg-options', 'model.test_cfg.rcnn.score_thr=0',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / 'out' / 'drawn').iterdir())) == 3
    found = json.loads((tmp_path / 'out' / 'results.segm.json').read_text())
    assert {record['category_id'] for record in found} == {1}
    words = ['occlusion', 'eval', '--ann', data / 'val.json', '--results', tmp_path / 'out' / 'results.bbox.json']
    assert main([str(word) for word in [*words, '--out-dir', tmp_path / 'eval']]) == 0


def test_the_config_for_fsdp_builds(project, monkeypatch):
    # As far as one comes without a GPU: FSDP shares a model out when the training begins.
    monkeypatch.chdir(project)
    monkeypatch.setitem(os.environ, 'LOCAL_RANK', '0')
    parser = launch.make_parser('', '')
    cfg = launch.load_config(parser.parse_args(['fsdp.py', '--work-dir', 'run']))
    runner = launch.build_runner(cfg)
    assert type(runner) is FlexibleRunner
    assert type(runner.strategy).__name__ == 'FSDPStrategy'
    assert runner.strategy._is_full_state_dict()
    assert runner.strategy.model_wrapper == dict(use_orig_params=True)
    names = {type(hook).__name__ for hook in runner.hooks}
    assert {'ResumableCheckpointHook', 'LoadedWeightsHook', 'NonFiniteLossHook', 'DataCheckHook'} <= names
    model = runner.strategy.build_model(runner.model)
    assert model.roi_head.bbox_head.num_classes == 1
    assert Path('run').is_dir()
