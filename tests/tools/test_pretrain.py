"""tools/pretrain.py as a user runs it: a few small pictures, a narrow network, and a run that goes on to the bit."""

import json
import re
import shutil
import sys

import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmhybrid import cli
from mmhybrid.pretraining import provenance

from .conftest import REPO

CIFAR10 = REPO / 'configs' / 'pretrain' / 'cifar10.py'
MODERN = REPO / 'configs' / 'pretrain' / 'in1k_modern.py'
TORCHRUN = (sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29517')


@pytest.fixture(scope='module')
def colours(tmp_path_factory):
    """Two classes that their colour tells: 16 pictures each to train with, 5 each to validate with."""
    root = tmp_path_factory.mktemp('colours')
    random = np.random.default_rng(0)
    for part, count in (('train', 16), ('val', 5)):
        for channel, name in enumerate(('blue', 'green')):  # as mmcv orders channels
            for i in range(count):
                image = random.integers(0, 120, (36, 40, 3), dtype=np.uint8)
                image[..., channel] += 120
                mmcv.imwrite(image, str(root / part / name / f'{i}.jpg'))
    return root


def small(root, **options):
    options = {
        'data_root': root,
        'num_classes': 2,
        'image_size': 16,
        'max_epochs': 2,
        'model.backbone.base_channels': 4,
        'model.backbone.num_stages': 2,
        'model.backbone.strides': '(1,2)',
        'model.backbone.dilations': '(1,1)',
        'model.backbone.out_indices': '(1,)',
        'train_dataloader.batch_size': 8,
        'train_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False,
        'val_dataloader.num_workers': 0,
        'val_dataloader.persistent_workers': False,
        'val_dataloader.batch_size': 4,
        'default_hooks.logger.interval': 1,
    } | {key.replace('__', '.'): value for key, value in options.items()}
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


@pytest.fixture(scope='module')
def trained(forked_tool, colours, tmp_path_factory):
    """A finished run of two epochs, and what it printed."""
    work_dir = tmp_path_factory.mktemp('run')
    done = forked_tool('pretrain.py', CIFAR10, '--backbone', 'resnet18', '--work-dir', work_dir, *small(colours))
    assert done.returncode == 0, done.stderr
    return work_dir, done.stdout + done.stderr


def card_of(checkpoint, folder, *words):
    """Publish a checkpoint; its card, and the file."""
    before = set(folder.glob('*.json'))
    assert cli.main(['publish', *map(str, (checkpoint, '--to', folder, *words))]) == 0
    (card,) = set(folder.glob('*.json')) - before
    return json.loads(card.read_text()) | dict(file=card.with_suffix('.safetensors'))


def weights(path):
    return torch.load(path)['state_dict']


def test_it_tells_its_progress_and_accuracy(trained):
    work_dir, output = trained
    assert '32 pictures of 2 classes' in output
    assert re.search(r'Epoch\(train\) \[2\]\[4/4\] .*eta: .*loss: \d', output)
    told = re.findall(r'Epoch\(val\) \[(\d)\]\[3/3\] +accuracy/top1: ([\d.]+)', output)
    kept = json.loads((work_dir / 'accuracy.json').read_text())
    assert [epoch for epoch, _ in told] == list(kept) == ['1', '2']
    assert [float(value) for _, value in told] == [pytest.approx(kept[e]['top1'], abs=1e-3) for e in kept]
    assert all(set(each) == {'top1', 'weights'} and each['top1'] % 10 == 0 for each in kept.values())  # of 10 pictures
    assert 'Data check' not in output


def test_a_checkpoint_tells_what_was_trained(trained):
    checkpoint = torch.load(trained[0] / 'epoch_2.pth')
    assert checkpoint['state_dict']['head.fc.weight'].shape == (2, 8)
    assert checkpoint['state_dict']['backbone.conv1.weight'].shape == (4, 3, 3, 3)
    assert checkpoint['meta']['dataset_meta']['classes'] == ('blue', 'green')
    record = json.loads(json.dumps(checkpoint['meta']['mmhybrid_pretraining']))
    options = record.pop('recipe_options')
    assert options.items() >= {'max_epochs': 2, 'image_size': 16, 'train_dataloader.batch_size': 8}.items()
    assert not any('data_root' in key or 'backbone' in key or 'classes' in key for key in options)
    assert record.pop('commit') == provenance.commit()
    assert record.pop('mean') == pytest.approx([125.31, 122.95, 113.87])
    assert record.pop('std') == pytest.approx([62.99, 62.09, 66.70])
    assert record.pop('data').startswith('colours')
    assert record == dict(
        version=1,
        variant='resnet18',
        type='ResNet',
        options=dict(base_channels=4, num_stages=2, strides=[1, 2], dilations=[1, 1]),
        stem='32x32',
        left_out=['conv1.weight'],
        num_classes=2,
        train_images=32,
        image_size=16,
        recipe='cifar10',
        epochs=2,
        iterations=8,
        max_epochs=2,
        batch_size=8,
        ema=False,
        started_from=[],
    )


@pytest.mark.slow  # tests/engine resumes to the bit in many ways
def test_a_resumed_run_is_the_unbroken_one_to_the_bit(forked_tool, trained, colours, tmp_path):
    # From within an epoch, with mixup drawn in the training process and crops in the data loader.
    options = ['--backbone', 'resnet18', '--work-dir', tmp_path]
    saving = dict(default_hooks__checkpoint__by_epoch=False, default_hooks__checkpoint__interval=3)
    first = forked_tool('pretrain.py', CIFAR10, *options, *small(colours, **saving))
    assert first.returncode == 0, first.stderr
    resumed = tmp_path / 'resumed'
    options[-1] = resumed
    done = forked_tool('pretrain.py', CIFAR10, *options, '--resume', tmp_path / 'iter_6.pth', *small(colours, **saving))
    assert done.returncode == 0, done.stderr
    assert 'Epoch(train) [2][2/4]' not in done.stdout + done.stderr
    assert list(json.loads((resumed / 'accuracy.json').read_text())) == ['2']
    for folder, name, epochs, iterations in ((tmp_path, 'iter_6.pth', 1.5, 6), (resumed, 'iter_8.pth', 2, 8)):
        record = torch.load(folder / name)['meta']['mmhybrid_pretraining']
        assert (record['epochs'], record['iterations'], record['started_from']) == (epochs, iterations, [])
        assert 'before_resume' not in record['recipe_options']
    # An interrupted epoch was not measured, the end of the last one was.
    assert card_of(tmp_path / 'iter_6.pth', tmp_path / 'published')['top1'] is None
    top1 = json.loads((resumed / 'accuracy.json').read_text())['2']['top1']
    assert card_of(resumed / 'iter_8.pth', tmp_path / 'published')['top1'] == top1
    unbroken, again = weights(tmp_path / 'iter_8.pth'), weights(resumed / 'iter_8.pth')
    assert unbroken.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in unbroken.items())
    assert all(torch.equal(value, unbroken[name]) for name, value in weights(trained[0] / 'epoch_2.pth').items())


def test_it_learns_with_the_modern_recipe_and_the_average_goes_on(forked_tool, colours, tmp_path):
    average = f'custom_hooks.{len(Config.fromfile(MODERN).custom_hooks) - 1}.gamma'
    options = {average: 4, 'optim_wrapper.optimizer.lr': 0.05, 'model.head.label_smoothing': 0.05, 'max_epochs': 6}
    run = ['pretrain.py', MODERN, '--backbone', 'resnet18']
    done = forked_tool(*run, '--work-dir', tmp_path / 'a', *small(colours, **options))
    assert done.returncode == 0, done.stderr
    accuracy = json.loads((tmp_path / 'a' / 'accuracy.json').read_text())
    assert accuracy['6']['top1'] >= 90
    done = forked_tool(
        *run, '--work-dir', tmp_path / 'b', '--resume', tmp_path / 'a' / 'epoch_5.pth', *small(colours, **options)
    )
    assert done.returncode == 0, done.stderr
    both = [torch.load(tmp_path / name / 'epoch_6.pth') for name in 'ab']
    assert both[0]['meta']['mmhybrid_pretraining']['ema'] is True
    assert any(
        not torch.equal(value, both[0]['ema_state_dict'][f'module.{name}'])
        for name, value in both[0]['state_dict'].items()
    )
    assert card_of(tmp_path / 'b' / 'epoch_6.pth', tmp_path / 'published')['top1'] == accuracy['6']['top1']
    for part in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(value, both[1][part][name]) for name, value in both[0][part].items())
    assert json.loads((tmp_path / 'b' / 'accuracy.json').read_text())['6'] == accuracy['6']


def test_test_py_measures_the_same(forked_tool, trained, colours, tmp_path):
    options = small(colours, backbone_name='resnet18')
    done = forked_tool('test.py', CIFAR10, trained[0] / 'epoch_2.pth', '--work-dir', tmp_path, *options)
    assert done.returncode == 0, done.stderr
    found = re.search(r'accuracy/top1: ([\d.]+)', done.stdout + done.stderr)
    assert float(found[1]) == json.loads((trained[0] / 'accuracy.json').read_text())['2']['top1']


def test_test_py_refuses_folders_in_another_order(forked_tool, trained, colours, tmp_path):
    for name, other in (('blue', 'z_blue'), ('green', 'a_green')):
        shutil.copytree(colours / 'val' / name, tmp_path / 'val' / other)
    options = small(tmp_path, backbone_name='resnet18')
    done = forked_tool('test.py', CIFAR10, trained[0] / 'epoch_2.pth', '--work-dir', tmp_path / 'run', *options)
    assert done.returncode == 2
    assert 'epoch_2.pth was trained on other classes than the folders' in done.stderr.strip().splitlines()[-1]


def test_a_card_tells_what_a_run_began_with(forked_tool, trained, colours, tmp_path):
    for part in ('train', 'val'):
        for name, other in (('blue', 'sky'), ('green', 'grass'), ('green', 'leaf')):
            shutil.copytree(colours / part / name, tmp_path / 'mine' / part / other)
    facts = ['--data', 'ImageNet-1k', '--licence', 'research only']
    own = dict(num_classes=3, max_epochs=1)
    for key, file in (
        ('model.backbone.init_cfg.checkpoint', card_of(trained[0] / 'epoch_2.pth', tmp_path / 'first', *facts)['file']),
        ('load_from', trained[0] / 'epoch_2.pth'),
    ):
        beginning = {key: file} | ({} if key == 'load_from' else {'model.backbone.init_cfg.type': 'Pretrained'})
        run = ['pretrain.py', CIFAR10, '--backbone', 'resnet18', '--work-dir', tmp_path / key]
        run += ['--allow-missing', 'backbone.conv1', 'backbone.bn1']  # the stem is not in the file
        done = forked_tool(*run, *small(tmp_path / 'mine', **own, **beginning))
        assert done.returncode == 0, done.stderr
        card = card_of(tmp_path / key / 'epoch_1.pth', tmp_path / 'published')
        (start,) = card['started_from']
        assert start['file'] == file.name
        assert (card['data'], card['epochs'], card['top1'] is None) == ('mine', 1, False)
        if key == 'load_from':
            assert (start['data'].startswith('colours'), card['licence']) == (True, None)
        else:
            assert (start['data'], start['licence'], card['licence']) == ('ImageNet-1k', *['research only'] * 2)
            assert start['tensors_sha256'] == json.loads(file.with_suffix('.json').read_text())['tensors_sha256']
            options = small(tmp_path / 'mine', **own | dict(max_epochs=2))
            done = forked_tool(*run, '--resume', *options)
            assert done.returncode == 0, done.stderr
            again = card_of(tmp_path / key / 'epoch_2.pth', tmp_path / 'published')
            assert (again['started_from'], again['licence']) == (card['started_from'], 'research only')
            assert again['recipe_options']['before_resume'] == card['recipe_options']


def test_a_last_batch_of_one_picture_is_left_out(forked_tool, colours, tmp_path):
    # A map of 1x1 of one picture has no deviation.
    options = dict(image_size=8, max_epochs=1, train_dataloader__batch_size=31, model__stem='backbone')
    run = ['pretrain.py', CIFAR10, '--backbone', 'resnet18', '--work-dir', tmp_path]
    done = forked_tool(*run, *small(colours, **options))
    assert done.returncode == 0, done.stderr
    assert 'Epoch(train) [1][1/1]' in done.stdout + done.stderr


@pytest.mark.slow
def test_two_processes_train_and_count_each_picture_once(tool, colours, tmp_path):
    args = ['--backbone', 'resnet18', '--launcher', 'pytorch', '--work-dir', tmp_path]
    done = tool('pretrain.py', CIFAR10, *args, *small(colours, max_epochs=1), launcher=TORCHRUN)
    assert done.returncode == 0, done.stderr
    record = torch.load(tmp_path / 'epoch_1.pth')['meta']['mmhybrid_pretraining']
    assert (record['batch_size'], record['epochs']) == (16, 1)
    top1 = json.loads((tmp_path / 'accuracy.json').read_text())['1']['top1']
    assert top1 % 10 == 0
    assert card_of(tmp_path / 'epoch_1.pth', tmp_path / 'published')['top1'] == top1


def test_the_work_dir_is_named_for_config_and_backbone(forked_tool, trained, colours):
    done = forked_tool('pretrain.py', CIFAR10, '--backbone', 'resnet18', *small(colours, max_epochs=1))
    assert done.returncode == 0, done.stderr
    assert 'work_dirs/cifar10_resnet18' in done.stdout + done.stderr
    again = forked_tool('pretrain.py', CIFAR10, '--backbone', 'resnet18', *small(colours, max_epochs=1))
    assert again.returncode == 2
    assert 'work_dirs/cifar10_resnet18 holds an earlier run (epoch_1.pth)' in again.stderr


@pytest.mark.parametrize(
    ('config', 'options', 'sentence'),
    [
        (CIFAR10, dict(data_root='/nowhere'), 'there is no folder train in /nowhere'),
        (CIFAR10, dict(num_classes=10), 'The pictures have 2 classes (blue, green) and the classifier has 10'),
        (CIFAR10, dict(num_classes='two'), 'num_classes=two is no whole number'),
        (CIFAR10, dict(backbone_name='resnet50'), '--backbone and --cfg-options backbone_name=... say the same'),
        (CIFAR10, dict(train_dataloader__batch_size=33), 'are 32 pictures to train with, which fill no batch of 33'),
        (CIFAR10, dict(model__stem='cifar'), "model.stem is 'cifar': choose 'backbone' or '32x32'"),
        (CIFAR10, dict(model__mixing__mixup=-1), 'must not be negative'),
        (REPO / 'configs/retinanet_resnet50_fpn_1x.py', {}, 'is no pre-training config'),
    ],
)
def test_mistakes_get_one_sentence(forked_tool, colours, tmp_path, config, options, sentence):
    args = ['--backbone', 'resnet18', '--work-dir', tmp_path]
    done = forked_tool('pretrain.py', config, *args, *small(colours, **options))
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert sentence in error
    assert 'Traceback' not in done.stderr


def test_an_unknown_backbone_is_not_begun(forked_tool, colours, tmp_path):
    done = forked_tool('pretrain.py', CIFAR10, '--backbone', 'tiedresnet5', '--work-dir', tmp_path, *small(colours))
    assert done.returncode == 2
    assert "There is no backbone 'tiedresnet5'; did you mean tiedresnet50" in done.stderr


def test_a_picture_that_is_none_is_named(forked_tool, colours, tmp_path):
    for part in ('train', 'val'):
        for name in ('blue', 'green'):
            (tmp_path / 'data' / part / name).mkdir(parents=True)
            (tmp_path / 'data' / part / name / '1.jpg').write_bytes((colours / 'val' / name / '1.jpg').read_bytes())
    (tmp_path / 'data' / 'train' / 'green' / '1.jpg').write_bytes(b'no picture')
    options = small(tmp_path / 'data', train_dataloader__batch_size=2)
    done = forked_tool('pretrain.py', CIFAR10, '--backbone', 'resnet18', '--work-dir', tmp_path / 'run', *options)
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()[-1]
    assert 'train/green/1.jpg cannot be read' in error
    assert error.endswith('; replace it, or remove it.')
