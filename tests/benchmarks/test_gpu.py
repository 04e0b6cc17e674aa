"""Loans of a GPU: what is skipped, recorded, ended and packed; the real steps in small under the mark `slow`."""

import argparse
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from gpu_steps import detectors, kept, loan, steps  # noqa: E402

FACTS = {'command': 'python benchmarks/gpu.py --minutes 8', 'hardware': {'device': 'a card'}}


def context(tmp_path, seconds=600.0, **options):
    options = dict(data_root=tmp_path, pictures=None, device='cuda', small=False) | options
    return loan.Context(results=tmp_path / 'results', work=tmp_path / 'work', seconds=seconds, **options)


class Day:
    """A clock, and steps that take their time of it."""

    def __init__(self):
        self.now, self.done = 0.0, []

    def step(self, name, seconds=10.0, takes=None, result=None, **options):
        def do(given):
            self.now += seconds if takes is None else takes
            self.done.append((name, given.seconds))
            if isinstance(result, BaseException):
                raise result
            return {'n': len(self.done)} if result is None else result

        return loan.Step(name, seconds, options.pop('most', 3 * seconds), do, **options)

    def run(self, tmp_path, given_steps, seconds=600.0, **options):
        said = []
        made = loan.Loan(
            context(tmp_path, seconds, **options), FACTS, tmp_path / 'all.tar.gz', said.append, lambda: self.now
        )
        self.now = 0.0
        return made.do(given_steps), said


def kept_step(tmp_path, name):
    return kept.read_json(kept.step_path(tmp_path / 'results', name))


def test_what_is_done_is_skipped_and_what_failed_is_tried_again(tmp_path):
    day = Day()
    broken = [day.step('a'), day.step('b', result=ValueError(f'no file {ROOT}/x/y.py')), day.step('c')]
    failed, said = day.run(tmp_path, broken)
    assert failed == 1
    assert [name for name, _ in day.done] == ['a', 'b', 'c'], 'the next ones go on'
    assert [kept_step(tmp_path, name)['status'] for name in 'abc'] == ['ok', 'failed', 'ok']
    assert 'ValueError: no file x/y.py' in kept_step(tmp_path, 'b')['result']['failed'][0]
    assert any(line.startswith('b: failed after 10 s, 9.7 min left') for line in said)
    mended = [day.step('a'), day.step('b'), day.step('c')]
    assert day.run(tmp_path, mended)[0] == 0
    assert [name for name, _ in day.done[3:]] == ['b']
    assert kept_step(tmp_path, 'b')['hardware'] == {'device': 'a card'}


def test_a_step_says_itself_what_was_wrong_or_is_left(tmp_path):
    day = Day()
    given = [day.step('wrong', result={'failed': ['nms differs']}), day.step('long', result={'left': ['seed 3']})]
    assert day.run(tmp_path, given)[0] == 1
    assert [kept_step(tmp_path, name)['status'] for name in ('wrong', 'long')] == ['failed', 'partial']
    day.run(tmp_path, given)
    assert [name for name, _ in day.done] == ['wrong', 'long'] * 2


def test_no_step_begins_that_needs_more_time_than_is_left(tmp_path):
    day = Day()
    given = [day.step('a', 60, takes=150), day.step('large', 100), day.step('small', 20, most=500)]
    _, said = day.run(tmp_path, given, seconds=240)
    assert day.done == [('a', 180.0), ('small', 240 - 150 - loan.RESERVE)], 'and none may take more than that'
    assert 'large: left for later, needs 100 s, 1.5 min left' in said
    assert not kept.step_path(tmp_path / 'results', 'large').exists()


def test_without_a_data_set_the_others_are_done(tmp_path):
    day = Day()
    given = [day.step('train', needs='data_root'), day.step('study')]
    _, said = day.run(tmp_path, given, data_root=None)
    assert [name for name, _ in day.done] == ['study']
    assert 'train: left out, it needs --data-root' in said


def test_an_interruption_keeps_what_was_done(tmp_path):
    day = Day()
    with pytest.raises(KeyboardInterrupt):
        day.run(tmp_path, [day.step('a'), day.step('b', result=KeyboardInterrupt())])
    assert [path.name for path in (tmp_path / 'results').rglob('*') if path.is_file()] == ['a.json']
    with tarfile.open(tmp_path / 'all.tar.gz') as tar:
        assert tar.getnames() == ['gpu/a.json']


def scalar_rows(number, **more):
    times = [9.0, 5.0, *[0.5] * (number - 2)]
    rows = [{'lr': 0.01, 'data_time': 0.1, 'loss': 2.0 - 0.1 * i, 'time': t, **more} for i, t in enumerate(times)]
    return [row | {'iter': i + 1, 'step': i + 1, 'memory': 1000 + i} for i, row in enumerate(rows)]


def test_scalars_become_images_a_second(tmp_path):
    for i, rows in enumerate([scalar_rows(9), [{'coco/bbox_mAP': 0.1, 'step': 9}]]):
        path = tmp_path / f'2026010{i}' / 'vis_data' / 'scalars.json'
        path.parent.mkdir(parents=True)
        path.write_text('\n'.join(map(json.dumps, rows)) + '\n')
    found = detectors.summary(detectors.scalars(tmp_path), batch=8)
    assert found['images_per_second'] == 16.0 and found['seconds'] == 0.5
    assert found['memory_mib'] == 1008 and found['data_seconds'] == 0.1
    assert found['losses'][:2] == [2.0, 1.9] and len(found['losses']) == 9
    with pytest.raises(ValueError, match='no iteration'):
        detectors.summary([], 8)


@pytest.mark.parametrize(
    ('iterations', 'test', 'wrong'),
    [
        (10, {'coco/bbox_mAP': 0.0, 'detections': 900}, []),
        (10, {'detections': 0}, []),
        (10, {'detections': 900}, ['the test gave no AP']),
        (30, {'detections': 0}, ['the test gave no AP']),
    ],
)
def test_a_run_that_ended_well_may_still_be_wrong(tmp_path, iterations, test, wrong):
    job = detectors.Job('retinanet', iterations, more=2, test=True)
    resumed = {'steps': [iterations + 1, iterations + 2]}
    found = {'losses': [1.0] * iterations, 'memory_mib': 9, 'resumed': resumed, 'test': test}
    assert detectors.problems(found, iterations, job, context(tmp_path)) == wrong
    found |= {'losses': [1.0], 'memory_mib': None, 'resumed': {'steps': [1, 2]}}
    assert len(detectors.problems(found, iterations, job, context(tmp_path))) == len(wrong) + 3


def test_precisions_stand_beside_one_another(tmp_path):
    results = tmp_path / 'results'
    kept.write_json(kept.step_path(results, 'train'), {'result': detectors.summary(scalar_rows(9), 8)})
    kept.write_json(kept.step_path(results, 'train_fp32'), {'result': {'failed': ['x']}})
    others = {'fp16': 'train', 'fp32': 'train_fp32'}
    found = detectors.beside(results, detectors.summary(scalar_rows(9), 16), 'bf16', others)
    assert found['images_per_second'] == {'bf16': 32.0, 'fp16': 16.0}


@pytest.mark.parametrize(
    ('name', 'small'),
    [
        *(('train', True), ('train', False), ('train_bf16', False), ('train_fp32', False), ('nccl', False)),
        *(('retinanet', False), ('cascade', True), ('hcgnet', False)),
    ],
)
def test_the_options_fit_the_configs(tmp_path, name, small):
    """What a GPU would be asked to do, as the tools read it."""
    from mmhybrid import launch

    (step,) = (step for step in steps.steps() if step.name == name)
    _, job = step.do.args
    run = detectors._Run(job, context(tmp_path, small=small), tmp_path)
    child = run.train('train', 7, resume=tmp_path / 'iter_5.pth')
    words = [str(word) for word in child.words]
    assert ('--amp' in words) == (name != 'train_fp32')
    assert (words[:2] == ['-m', 'torch.distributed.run']) == (name == 'nccl') == ('--launcher' in words)
    parser = launch.make_parser('', '')
    for flag in ('--amp', '--auto-scale-lr'):
        parser.add_argument(flag, action='store_true')
    parser.add_argument('--resume')
    cfg = launch.load_config(without_launcher(parser.parse_args(words[words.index('tools/train.py') + 1 :])))
    assert cfg.train_cfg.to_dict() == dict(type='IterBasedTrainLoop', max_iters=7)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert {'FrozenStagesHook', 'NonFiniteLossHook'} <= {hook.type for hook in cfg.custom_hooks}
    assert (cfg.default_hooks.checkpoint.interval, cfg.default_hooks.checkpoint.by_epoch) == (7, False)
    resize = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == 'Resize')
    assert tuple(resize.scale) == ((160, 96) if small else (1333, 800))
    assert cfg.train_dataloader.batch_size == (2 if small else 8)
    assert cfg.optim_wrapper.get('dtype') == ('bfloat16' if name == 'train_bf16' else None)
    test = [str(word) for word in run.test('test', tmp_path / 'iter_5.pth').words]
    test_parser = launch.make_parser('', '')
    test_parser.add_argument('checkpoint')
    test_parser.add_argument('--json-prefix')
    cfg = launch.load_config(without_launcher(test_parser.parse_args(test[1:])))
    resize = next(t for t in cfg.test_dataloader.dataset.pipeline if t.type == 'Resize')
    assert tuple(resize.scale) == ((160, 96) if small else (1333, 800))
    test_cfg = cfg.model.test_cfg
    assert (test_cfg.rcnn if 'rcnn' in test_cfg else test_cfg).score_thr == 0.0


def without_launcher(args):
    return argparse.Namespace(**{**vars(args), 'launcher': 'none'})


def test_the_harness_and_the_study_know_what_is_asked_of_them():
    from speed_bench import modes
    from study import plan

    for section, names in steps.SPEED.items():
        parts = modes.DETECTOR_PARTS if section == 'detectors' else modes.MODULE_PARTS
        assert {part for name in names for part in modes.Mode(name).parts} <= set(parts)
    assert set(steps.STUDY_MODELS) <= set(plan.MODELS) and plan.BASELINE in steps.STUDY_MODELS
    assert plan.SIZES['gpu'].amp and not plan.SIZES['gpu'].narrow
    assert set(steps.SPEED) == set(steps.SPEED_OPTIONS) == set(steps.SPEED_SMALL)


def test_every_step_fits_into_a_loan():
    """One of a quarter of an hour, of which a minute is for starting the machine."""
    assert all(step.seconds <= min(step.most, 14 * 60 - loan.RESERVE) for step in steps.steps())


def gpu(*words):
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    words = [sys.executable, str(ROOT / 'benchmarks' / 'gpu.py'), *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, env=env)


@pytest.mark.slow
def test_the_command_says_what_is_wrong(tmp_path):
    done = gpu('--minutes', 1)
    assert done.returncode == 1 and 'error: no GPU was found; --small rehearses' in done.stderr
    done = gpu('--small', '--steps', 'nothing')
    assert "There is no step 'nothing'; there are: operators, train" in done.stderr
    help = gpu('--help').stdout
    assert 'tar xzf all.tar.gz -C benchmarks/results' in help and 'operators (' in help


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
    """A data set in COCO's layout, with its 80 names, of the images that this package draws."""
    from mmdet.datasets import CocoDataset

    from mmhybrid.datasets.occluded_shapes import generate

    root = tmp_path_factory.mktemp('coco')
    generate(root, {'train': 10, 'val': 10}, size=128, progress=False)
    names = CocoDataset.METAINFO['classes']
    for split in ('train', 'val'):
        (root / split).rename(root / f'{split}2017')
        content = json.loads((root / 'annotations' / f'instances_{split}.json').read_text())
        content['categories'] = [{'id': i, 'name': name} for i, name in enumerate(names, 1)]
        (root / 'annotations' / f'instances_{split}2017.json').write_text(json.dumps(content))
    return root


@pytest.fixture
def pictures(coco, tmp_path):
    """Pictures of ten classes, the same ones to train on and to test with."""
    folder = tmp_path / 'pictures'
    for i, image in enumerate(sorted((coco / 'train2017').iterdir())):
        (folder / 'train' / f'class{i}').mkdir(parents=True)
        (folder / 'train' / f'class{i}' / image.name).symlink_to(image)
    (folder / 'test').symlink_to(folder / 'train')
    return folder


@pytest.mark.slow
def test_all_steps_in_small(coco, pictures, tmp_path):
    options = ['--small', '--data-root', coco, '--pictures', pictures, '--work', tmp_path]
    done = gpu(*options, '--archive', tmp_path / 'home.tar.gz')
    results = tmp_path / 'small' / 'results'
    found = {path.stem: kept.read_json(path) for path in (results / 'gpu').glob('*.json')}
    assert done.returncode == 0, done.stdout
    assert {name: document['status'] for name, document in found.items()} == {s.name: 'ok' for s in steps.steps()}
    assert found['train']['result']['resumed']['steps'] == [4, 5, 6, 7, 8]
    for path in [*(results / 'gpu').glob('*.json'), results / 'speed_small.json']:
        assert str(tmp_path) not in path.read_text() and str(ROOT) not in path.read_text()
    with tarfile.open(tmp_path / 'home.tar.gz') as tar:
        names = set(tar.getnames())
    assert {f'gpu/{s.name}.json' for s in steps.steps()} | {'speed_small.json'} <= names
    assert 'study/trial/resnet50/seed0/run.json' in names
    again = gpu(*options)
    assert again.stdout.count('done before') == len(steps.steps())
