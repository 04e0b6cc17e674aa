"""The tools as a user runs them: train, resume, test, in one process and in two."""

import json
import os
import re
import signal
import sys

import numpy as np
import pytest
import torch

from mmhybrid.occlusion import evaluate

from .conftest import DEMO, small


@pytest.fixture(scope='module')
def trained(tool, shapes, tmp_path_factory):
    """A work dir with a checkpoint after one epoch."""
    work_dir = tmp_path_factory.mktemp('run')
    done = tool('train.py', DEMO, '--work-dir', work_dir, *small(shapes, train_cfg__max_epochs=1))
    assert done.returncode == 0, done.stderr
    return work_dir


def run_test(tool, trained, shapes, prefix, *options, **launch):
    done = tool(
        'test.py', DEMO, trained / 'epoch_1.pth', '--work-dir', prefix.parent / 'test', '--json-prefix', prefix,
        *options, *small(shapes), **launch,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {
        key: float(value) for key, value in re.findall(r'coco/(\w+(?:\.\d)?): (-?[\d.]+)', done.stdout + done.stderr)
    }


@pytest.fixture(scope='module')
def scalars(forked_tool, trained, shapes, tmp_path_factory):
    prefix = tmp_path_factory.mktemp('one') / 'val'
    return prefix, run_test(forked_tool, trained, shapes, prefix)


def test_training_writes_a_checkpoint_that_holds_only_data(trained):
    checkpoint = torch.load(trained / 'epoch_1.pth', weights_only=False)
    assert checkpoint['meta']['epoch'] == 1
    assert any(key.startswith('backbone.layer1.0.conv2.convs.3') for key in checkpoint['state_dict'])


def test_testing_adds_the_strata_and_writes_coco_results(scalars, shapes):
    prefix, values = scalars
    ground_truth = shapes / 'annotations' / 'instances_val.json'
    for iou_type in ('bbox', 'segm'):
        assert {f'{iou_type}_mAP', f'{iou_type}_mAP_50', f'{iou_type}_mAP_occ_0.4'} <= values.keys()
        result = evaluate(ground_truth, f'{prefix}.{iou_type}.json', (iou_type,))[iou_type]
        assert values[f'{iou_type}_mAP'] == pytest.approx(result.all.ap, abs=6e-4)
        for part in result.cumulative[1:]:
            assert values[f'{iou_type}_mAP_occ_{part.stratum.lower:g}'] == pytest.approx(part.ap, abs=6e-4)
    assert {r['image_id'] for r in json.loads((prefix.parent / 'val.bbox.json').read_text())} <= set(range(1, 19))


def test_two_processes_give_the_same_numbers_as_one(tool, trained, shapes, scalars, tmp_path):
    torchrun = (sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29511')
    values = run_test(tool, trained, shapes, tmp_path / 'val', '--launcher', 'pytorch', launcher=torchrun)
    assert values == scalars[1]
    # After one epoch AP is about 0, so the detections themselves, too.
    for iou_type in ('bbox', 'segm'):
        two, one = (json.loads(p.with_suffix(f'.{iou_type}.json').read_text()) for p in (tmp_path / 'val', scalars[0]))
        assert len(one) > 100
        assert two == one


def test_folded_batch_norms_give_the_same_numbers(forked_tool, trained, shapes, scalars, tmp_path):
    values = run_test(forked_tool, trained, shapes, tmp_path / 'val', '--fuse', '--show-dir', 'drawn')
    assert len(list((tmp_path / 'test').glob('*/drawn/*.jpg'))) == 10
    assert values == pytest.approx(scalars[1], abs=1e-4)
    log = next((tmp_path / 'test').rglob('*.log')).read_text()
    assert len(re.findall(r'Folded (\d+) of \1 batch norms for this test; 0 remain', log)) == 1
    # After one epoch AP is about 0, so the detections themselves, too.
    fused, plain = (boxes(prefix) for prefix in (tmp_path / 'val', scalars[0]))
    assert len(plain) > 100
    found = [np.isclose(fused, box, rtol=0, atol=(0, 0, 1e-4, *[0.01] * 4)).all(axis=1).any() for box in plain]
    assert np.mean(found) > 0.99  # one at the very edge of a threshold may be missing


def boxes(prefix):
    results = json.loads(prefix.with_suffix('.bbox.json').read_text())
    return np.array([[r['image_id'], r['category_id'], r['score'], *r['bbox']] for r in results])


@pytest.mark.slow  # tests/engine trains in two processes too
def test_two_processes_train(tool, shapes, tmp_path):
    torchrun = (sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29512')
    options = small(shapes, train_cfg__max_epochs=1)
    done = tool('train.py', DEMO, '--launcher', 'pytorch', '--work-dir', tmp_path, *options, launcher=torchrun)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'epoch_1.pth').exists()


def test_resume_goes_on_from_the_checkpoint(forked_tool, trained, shapes, tmp_path):
    options = small(shapes, train_cfg__max_epochs=2)
    resumed = forked_tool('train.py', DEMO, '--work-dir', tmp_path, '--resume', trained / 'epoch_1.pth', *options)
    assert resumed.returncode == 0, resumed.stderr
    assert 'Epoch(train) [1]' not in resumed.stdout
    assert (tmp_path / 'epoch_2.pth').exists()


def test_weights_are_not_resumed(forked_tool, trained, shapes, tmp_path):
    torch.save({'state_dict': torch.load(trained / 'epoch_1.pth')['state_dict']}, tmp_path / 'weights.pth')
    done = forked_tool('train.py', DEMO, '--work-dir', tmp_path, '--resume', tmp_path / 'weights.pth', *small(shapes))
    assert done.returncode == 2
    assert 'weights.pth holds weights and no run to resume' in done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_signal_to_the_whole_job_saves_and_resume_goes_on_there(tool, shapes, tmp_path):
    options = small(shapes, train_cfg__max_epochs=2, train_dataloader__num_workers=2)
    job = tool('train.py', DEMO, '--work-dir', tmp_path, *options, wait=False)
    seen = next(line for line in job.stdout if 'Epoch(train) [1][1/4]' in line)
    os.killpg(job.pid, signal.SIGTERM)
    output = seen + job.stdout.read()
    assert job.wait(60) == 143, output
    stopped = int(re.search(r'Stopped by SIGTERM after iteration (\d+): interrupted.pth', output)[1])
    with pytest.raises(ProcessLookupError):
        os.killpg(job.pid, 0)  # no worker is left
    done = tool('train.py', DEMO, '--work-dir', tmp_path, '--resume', *options)
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line)['step'] for line in scalars_of(tmp_path)]
    assert steps == list(range(stopped + 1, 9))


def scalars_of(work_dir):
    """Lines of the last run's log of losses."""
    path = max(work_dir.glob('*/vis_data/scalars.json'), key=lambda path: path.stat().st_mtime_ns)
    return [line for line in path.read_text().splitlines() if '"loss"' in line]


def test_an_earlier_run_is_not_overwritten(forked_tool, trained, shapes):
    before = (trained / 'epoch_1.pth').stat().st_mtime_ns
    done = forked_tool('train.py', DEMO, '--work-dir', trained, *small(shapes, train_cfg__max_epochs=1))
    assert done.returncode == 2
    assert 'holds an earlier run (epoch_1.pth)' in done.stderr
    assert (trained / 'epoch_1.pth').stat().st_mtime_ns == before


def test_a_checkpoint_that_would_run_code_is_not_read(tool, shapes, tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / 'written'), 'w'))

    torch.save({'state_dict': {}, 'payload': Payload()}, tmp_path / 'bad.pth')
    done = tool('test.py', DEMO, tmp_path / 'bad.pth', '--work-dir', tmp_path, *small(shapes))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith(f'error: The checkpoint {tmp_path / "bad.pth"} is not read')
    assert not (tmp_path / 'written').exists()


@pytest.mark.parametrize(
    ('name', 'args', 'sentence'),
    [
        ('train.py', ['nowhere.py'], 'There is no config nowhere.py'),
        (
            'train.py',
            [DEMO, '--cfg-options', 'data_root=/nowhere'],
            '/nowhere/annotations/instances_train.json does not',
        ),
        ('train.py', [DEMO, '--resume', 'nowhere.pth'], 'There is no checkpoint nowhere.pth'),
        ('test.py', [DEMO, 'nowhere.pth'], 'There is no checkpoint nowhere.pth'),
    ],
)
def test_mistakes_get_one_sentence(forked_tool, name, args, sentence):
    done = forked_tool(name, *args)
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert sentence in error
    assert 'Traceback' not in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU makes --amp valid')
def test_amp_needs_a_gpu(forked_tool, shapes):
    done = forked_tool('train.py', DEMO, '--amp', *small(shapes))
    assert done.returncode == 2
    assert '--amp needs a GPU' in done.stderr
