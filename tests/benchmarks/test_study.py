"""The study of tied filters under occlusion: its configs and its runs."""

import gzip
import json
import subprocess

import pytest
import torch

from mmhybrid.errors import InputError
from tests.benchmarks.study_runs import detection, finish

import occlusion_study  # isort: skip
from study import plan, runs  # isort: skip


@pytest.mark.parametrize('size', ['cpu', pytest.param('gpu', marks=pytest.mark.slow)])
@pytest.mark.parametrize('model', plan.MODELS)
def test_a_runs_config_builds_the_planned_network(model, size, tmp_path):
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    import mmhybrid.registry  # noqa: F401

    init_default_scope('mmdet')
    path = tmp_path / 'config.py'
    path.write_text(plan.config_text(plan.MODELS[model], size, tmp_path, seed=3))
    cfg = Config.fromfile(path)
    with torch.device('meta'):
        backbone = MODELS.build(cfg.model.backbone)
        backbone.eval()  # ResNet's returns nothing
        features = backbone(torch.empty(1, 3, 64, 64))
    planned = plan.MODELS[model]
    channels = list(planned.narrow_channels if plan.SIZES[size].narrow else planned.channels)
    assert [feature.shape[1] for feature in features] == channels == cfg.model.neck.in_channels
    assert (cfg.randomness.seed, cfg.train_cfg.max_epochs) == (3, plan.SIZES[size].epochs)
    assert cfg.optim_wrapper.optimizer.lr == plan.SIZES[size].lr
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/instances_train.json'
    assert cfg.test_evaluator.ann_file == str(tmp_path / 'annotations' / 'instances_val.json')


def test_runs_that_are_left_come_seed_by_seed(tmp_path, capsys):
    planned = runs.planned('trial', ['resnet50', 'tiedresnet50'], [0, 1])
    assert [(run.seed, run.model) for run in planned] == [
        (0, 'resnet50'), (0, 'tiedresnet50'), (1, 'resnet50'), (1, 'tiedresnet50'),
    ]  # fmt: skip
    finish(tmp_path, planned[1])
    assert runs.left(tmp_path, planned) == [planned[0], *planned[2:]]
    printed = occlusion_study.table(tmp_path, 'trial', ['resnet50', 'tiedresnet50'], [0, 1]).splitlines()
    assert printed[2].split() == ['tiedresnet50', '12.3', '.']
    assert printed[-1].startswith('3 of 4 runs are left')


def test_a_run_of_another_plan_is_refused(tmp_path):
    run = runs.Run('trial', 'resnet50', 0)
    finish(tmp_path, run, settings={**plan.described('trial'), 'epochs': 99})
    with pytest.raises(InputError, match='other settings'):
        runs.record(tmp_path, run)


def test_failed_runs_are_counted_and_the_others_go_on(tmp_path, monkeypatch):
    begun = []

    def one(root, work_dir, run, threads, keep_checkpoint):
        begun.append(run.seed)
        if run.seed == 1:
            raise subprocess.CalledProcessError(1, 'run', output='a log')
        return dict(seconds=dict(train=1.0), overall={'coco/bbox_mAP': 0.1})

    monkeypatch.setattr(runs, '_do_one', one)
    monkeypatch.setattr(runs, 'generate', lambda *args, **options: None)
    planned = runs.planned('trial', ['resnet50'], [0, 1, 2])
    said = []
    assert runs.do(tmp_path, tmp_path, planned, say=said.append) == 1
    assert begun == [0, 1, 2]
    assert 'trial resnet50 seed 1: failed; see a log' in said
    assert runs.do(tmp_path, tmp_path, planned, minutes=-1) == 0
    assert begun == [0, 1, 2]


@pytest.mark.parametrize(('trained', 'kept'), [(False, True), (True, False)])
def test_an_interrupted_run_goes_on_where_it_was(trained, kept, tmp_path, monkeypatch):
    run, work = runs.Run('trial', 'resnet50', 0), tmp_path / 'work' / 'trial' / 'resnet50' / 'seed0'
    checkpoint = work / f'epoch_{plan.SIZES["trial"].epochs}.pth'
    weights = {'backbone.a': torch.zeros(3, 2), 'backbone.running_mean': torch.zeros(9), 'neck.b': torch.zeros(5)}
    called = []

    def call(command, folder, name, threads):
        called.append([name, *map(str, command)])
        if name == 'train':
            torch.save({'state_dict': weights}, checkpoint)
            (work / 'now' / 'vis_data').mkdir(parents=True)
            (work / 'now' / 'vis_data' / 'scalars.json').write_text('{"step": 25, "loss": 1.23456}\n{"lr": 1}\n')
        else:
            (work / 'val.bbox.json').write_text(json.dumps([detection(1, 1, (0, 0, 1, 1), 0.5)]))
            (work / 'val.segm.json').write_text('[]')
            (work / 'then').mkdir()
            keys = ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50')
            (work / 'then' / 'then.json').write_text(json.dumps(dict.fromkeys(keys, 0.25)))

    monkeypatch.setattr(runs, 'call', call)
    work.mkdir(parents=True)
    if trained:
        torch.save({'state_dict': weights}, checkpoint)
    made = runs._do_one(tmp_path / 'kept', tmp_path / 'work', run, 1, kept)
    assert checkpoint.exists() == kept
    assert [each[0] for each in called] == (['test'] if trained else ['train', 'test'])
    assert trained or '--resume' in called[0]
    assert made == runs.record(tmp_path / 'kept', run)
    assert (made['parameters'], made['detections'], made['overall']['coco/bbox_mAP']) == (6, 1, 0.25)
    assert made['losses'] == ([] if trained else [[25, 1.2346]])
    assert list(work.glob('*.pth')) == [checkpoint] * kept
    assert sorted(path.name for path in run.folder(tmp_path / 'kept').iterdir()) == [runs.DETECTIONS, 'run.json']


def test_kept_detections_are_rounded_and_hold_no_masks(tmp_path):
    path = tmp_path / 'val.bbox.json'
    row = detection(4, 2, (1.26, 2.04, 3.0, 4.449), 0.123456)
    path.write_text(json.dumps([dict(row, segmentation={'counts': 'x'})]))
    content, number = runs.keep(path)
    assert number == 1
    assert json.loads(gzip.decompress(content)) == [detection(4, 2, (1.3, 2.0, 3.0, 4.4), 0.1235)]
    assert runs.keep(path)[0] == content
