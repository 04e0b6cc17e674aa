"""Mistakes as a user makes them, told by the tools; tests/test_*mistakes.py have one of each kind."""

import shutil
import sys

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from .conftest import DEMO, small


def refused(done, sentence):
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1 and errors[0] == done.stderr.splitlines()[-1]
    assert sentence in errors[0]
    assert 'Traceback' not in done.stderr


@pytest.fixture(scope='module')
def broken(shapes, tmp_path_factory):
    """The data set without one of the images to train on."""
    root = tmp_path_factory.mktemp('broken') / 'da ta'
    shutil.copytree(shapes, root)
    image = min((root / 'train').iterdir())
    image.unlink()
    return root, image


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Untrained weights of the demo."""
    path = tmp_path_factory.mktemp('weights') / 'untrained.pth'
    torch.save({'state_dict': MODELS.build(Config.fromfile(DEMO).model).state_dict()}, path)
    return path


def test_a_config_that_fails(forked_tool, tmp_path):
    (tmp_path / 'config.py').write_text('a = undefined')
    done = forked_tool('train.py', tmp_path / 'config.py', '--debug')
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert 'Traceback (most recent call last):' in lines
    assert lines[-1] == (
        f'error: The config {tmp_path}/config.py fails in line 1 '
        "(NameError: name 'undefined' is not defined); correct it."
    )


def test_an_image_that_a_worker_cannot_read(forked_tool, broken, tmp_path):
    root, image = broken
    options = small(root, train_dataloader__num_workers=1, train_dataloader__persistent_workers=True)
    refused(
        forked_tool('train.py', DEMO, '--work-dir', tmp_path, *options),
        f'The image {image} cannot be read (No such file or directory); replace it, or remove its annotations.',
    )


def test_a_place_for_predictions_is_tried_before_they_are_made(forked_tool, shapes, tmp_path):
    (tmp_path / 'weights.pth').touch()  # would be told next
    done = forked_tool('test.py', DEMO, tmp_path / 'weights.pth', '--out', '/proc/x.pkl', *small(shapes))
    refused(done, '--out: /proc/x.pkl cannot be written')


@pytest.mark.slow
def test_one_process_of_two_fails(tool, broken, tmp_path):
    torchrun = (sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29513')
    done = tool('train.py', DEMO, '--launcher', 'pytorch', '--work-dir', tmp_path, *small(broken[0]), launcher=torchrun)
    assert done.returncode == 1
    assert done.stderr.count(f'error: The image {broken[1]} cannot be read') == 1
    assert done.stderr.count('Traceback') == 1  # torchrun's own report
    assert 'ChildFailedError' in done.stderr.partition('Traceback')[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'model.neck.in_channels': '[1,2,3]'}, 'set model.neck.in_channels=[128, 256, 512], or other out_indices'),
        (
            {'model.backbone.depht.x': 1},
            'TiedResNet of MaskRCNN in the config has no option depht, did you mean',
        ),
        (
            {'train_cfg.max_epochs': 'x'},
            'EpochBasedTrainLoop in the config cannot be used: ValueError: invalid',
        ),
        ({'train_dataloader.batchsize': 1}, "got an unexpected keyword argument 'batchsize'"),
        ({'train_dataloader.dataset.type': 'CocoDatset'}, 'which is not registered, did you mean CocoDataset'),
        ({'optim_wrapper.optimizer.type': 'AdamWW'}, 'which is not registered, did you mean AdamW'),
        ({'work_dir': '/dev/null/x'}, '/dev/null/x cannot be used (Not a directory); choose another place.'),
        ({'load_from': 'http://127.0.0.1:9/x.pth'}, 'http://127.0.0.1:9/x.pth cannot be downloaded'),
    ],
)
def test_settings(forked_tool, shapes, options, sentence):
    refused(forked_tool('train.py', DEMO, *small(shapes, **options)), sentence)


@pytest.mark.slow
def test_an_output_on_a_full_disk(tool, shapes, tmp_path):
    options = small(shapes, train_cfg__max_epochs=1)
    words = ['bash', '-c', 'exec "$@" > /dev/full', '-', sys.executable]
    refused(tool('train.py', DEMO, '--work-dir', tmp_path, *options, launcher=words), 'No space is left on the disk')


@pytest.mark.slow
def test_a_list_of_evaluators_and_drawings_without_a_hook(forked_tool, shapes, checkpoint, tmp_path):
    (tmp_path / 'config.py').write_text(
        f"_base_ = '{DEMO}'\n"
        'default_hooks = dict(visualization=None)\n'
        'visualizer = None\n'
        'test_dataloader = dict(dataset=dict(pipeline=[\n'
        "    dict(type='LoadImageFromFile'),\n"
        "    dict(type='Resize', scale=(192, 192), keep_ratio=True),\n"
        "    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),\n"
        "    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),\n"
        ']))\n'
        f"coco = dict(type='CocoMetric', metric='bbox', ann_file='{shapes}/annotations/instances_val.json')\n"
        f"test_evaluator = [coco, dict(type='DumpDetResults', out_file_path='{tmp_path}/dump.pkl')]\n"
    )
    done = forked_tool(
        'test.py', tmp_path / 'config.py', checkpoint, '--work-dir', tmp_path,
        '--json-prefix', tmp_path / 'val', '--show-dir', 'drawn', '--out', tmp_path / 'out.pkl', *small(shapes),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all((tmp_path / name).stat().st_size for name in ('val.bbox.json', 'dump.pkl', 'out.pkl'))
    assert len(list(tmp_path.glob('*/drawn/*.jpg'))) == 10
