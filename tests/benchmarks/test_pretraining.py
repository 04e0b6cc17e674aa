"""The benchmark of pre-training: its crops, its settings, its section of the page; the commands are tried by hand."""

import json
import sys
from dataclasses import replace
from functools import cache, partial

import mmengine.config.utils
import pytest
from mmengine.config import Config
from PIL import Image

from mmhybrid.datasets.occluded_shapes import generate
from mmhybrid.errors import InputError
from tests.benchmarks.study_runs import ROOT, detection, finish

import pretraining as benchmark  # isort: skip
from pretraining_steps import arms, crops, page, trials  # isort: skip
from study import analysis, plan, runs  # isort: skip

PAGE = ROOT / 'docs' / 'weights.md'


def test_crops_are_the_visible_boxes_by_class(tmp_path):
    generate(tmp_path / 'data', {'train': 4, 'val': 2}, size=96, progress=False)
    counts = crops.cut(tmp_path / 'data', tmp_path / 'crops', {'train': 'train', 'val': 'test'})
    content = json.loads((tmp_path / 'data' / 'annotations' / 'instances_train.json').read_text())
    names = {each['id']: each['name'] for each in content['categories']}
    large = [row for row in content['annotations'] if min(row['bbox'][2:]) >= crops.MIN_SIDE]
    assert counts['train'] == len(large) > 0
    files = {path.relative_to(tmp_path / 'crops').as_posix() for path in (tmp_path / 'crops').glob('train/*/*.png')}
    assert files == {f'train/{names[row["category_id"]]}/{row["image_id"]}_{row["id"]}.png' for row in large}
    row = max(large, key=lambda row: row['bbox'][2] * row['bbox'][3])
    file = next(each['file_name'] for each in content['images'] if each['id'] == row['image_id'])
    x, y, w, h = row['bbox']
    with (
        Image.open(tmp_path / 'data' / 'train' / file) as whole,
        Image.open(tmp_path / f'crops/train/{names[row["category_id"]]}/{row["image_id"]}_{row["id"]}.png') as crop,
    ):
        left, top = round(max(0, x - 0.1 * w)), round(max(0, y - 0.1 * h))
        assert crop.tobytes() == whole.convert('RGB').crop((left, top, left + crop.width, top + crop.height)).tobytes()
        assert crop.width >= round(w)
    assert crops.cut(tmp_path / 'nowhere', tmp_path / 'crops', {}) == counts, 'cut once, they are kept'


def test_arms_differ_in_their_weights_alone(tmp_path, monkeypatch):
    # MMEngine reads all of MMDetection's metafiles again for each `mmdet::` in a config.
    monkeypatch.setattr(mmengine.config.utils, 'load', cache(mmengine.config.utils.load))
    weights = {'crops': tmp_path / 'a.safetensors', 'cifar10': tmp_path / 'b.safetensors'}
    configs = {}
    for arm, model in arms.compared(weights).models.items():
        file = tmp_path / f'{arm}.py'
        file.write_text(plan.config_text(model, 'cpu', tmp_path, 1))
        configs[arm] = Config.fromfile(file)
    for arm, cfg in configs.items():
        starts = cfg.model.backbone.pop('init_cfg', None)
        assert starts == (dict(type='Pretrained', checkpoint=str(weights[arm])) if arm in weights else None)
        assert (cfg.model.backbone.get('frozen_stages', -1), cfg.model.backbone.norm_eval) == (-1, False)
        assert cfg.to_dict() == configs[arms.NOTHING].to_dict()


def test_a_pretraining_is_normalised_as_its_detector(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text(arms.config_text('cpu', 3))
    cfg = Config.fromfile(file)
    detector = Config.fromfile(plan.DEMO).model.data_preprocessor
    assert {key: cfg.model.data_preprocessor[key] for key in ('mean', 'std', 'bgr_to_rgb')} == {
        key: detector[key] for key in ('mean', 'std', 'bgr_to_rgb')
    }
    assert [each['end'] for each in cfg.param_scheduler] == [1, 3]


def test_weights_of_other_settings_are_not_taken(tmp_path):
    folder = tmp_path / 'cpu' / 'crops'
    folder.mkdir(parents=True)
    (folder / arms.RECORD).write_text(json.dumps(dict(settings=dict(arms.described('cpu'), side=32))))
    with pytest.raises(InputError, match='other settings'):
        arms.record(tmp_path, 'cpu', 'crops')
    assert arms.record(tmp_path, 'cpu', 'cifar10') is None
    with pytest.raises(InputError, match='--cifar10 FOLDER'):
        arms.pretrain(tmp_path, tmp_path, 'cpu', 'cifar10', tmp_path)


def test_from_kept_runs_to_the_page(tmp_path, monkeypatch, capsys):
    kept, work, text = tmp_path / 'kept', tmp_path / 'work', tmp_path / 'weights.md'
    content = json.loads(runs.validation(work, 'trial').read_text())
    boxes = [(row['image_id'], row['category_id'], row['bbox']) for row in content['annotations']]
    for arm, share in ((arms.NOTHING, 3), ('crops', 2)):  # finds every third, and every second
        for seed in (0, 1):
            found = [detection(*each, 0.9) for each in boxes[seed::share]]
            finish(kept, runs.Run('trial', arm, seed), found)
    made = dict(settings=arms.described('trial'), pictures=7, epochs=1, top1=[12.5], weights='w.st', seconds=60.0)
    (kept / 'trial' / 'crops' / arms.RECORD).write_text(json.dumps(made))
    text.write_text(f'# Weights\n\n{page.BEGIN}\nold\n')
    monkeypatch.setattr(analysis, 'Images', partial(analysis.Images, resamples=50))
    options = ['--size', 'trial', '--kept', str(kept), '--work-dir', str(work)]
    monkeypatch.setattr(sys, 'argv', ['pretraining.py', 'analyse', *options, '--page', str(text)])
    assert benchmark.main() == 0
    written = text.read_text()
    assert 'old' not in written
    assert '**from crops of the shapes**, 2 seeds: over all images it is **better**' in written
    assert '| from crops of the shapes | 7 | 32 | 1 | 8 | 12.5% | 1 | `w.st` |' in written
    assert page.render(json.loads((kept / 'trial.json').read_text()), {}) in written
    monkeypatch.setattr(sys, 'argv', ['pretraining.py', 'left', *options, '--seeds', '0'])
    capsys.readouterr()
    assert benchmark.main() == 0
    assert '1 of 3 runs are left' in capsys.readouterr().out


def test_the_page_has_the_recorded_numbers():
    recorded = benchmark.KEPT / 'cpu.json'
    document = json.loads(recorded.read_text()) if recorded.exists() else None
    assert PAGE.read_text(encoding='utf-8').partition(page.BEGIN)[2].strip() == page.render(
        document, trials.recorded(benchmark.KEPT)
    )
    for arm in arms.PRETRAINED if document else ():
        assert document['pretraining'][arm] == arms.record(benchmark.KEPT, 'cpu', arm)


def test_a_plan_of_its_own_leaves_the_study_as_it_is():
    assert runs.Run('cpu', 'resnet50', 0).of is plan.STUDY
    assert runs.Run('cpu', 'crops', 0, arms.compared()).what() == replace(arms.MODEL, title=arms.ARMS['crops'])


def test_trials_become_a_table_and_a_figure(tmp_path):
    made = dict(
        title='a network', epochs=2, seconds=120.0, hardware='CPU', top1=[40.0, 50.04], top5=[90.0, 93.0],
        losses=[[1, 2.3], [20, 1.5]],
    )  # fmt: skip
    text = tmp_path / 'weights.md'
    text.write_text(f'{page.BEGIN}\n')
    page.write(None, {'a': made}, text)
    assert '| a network | 2 | 2 | 40.0, 50.0 | 93.0 |' in text.read_text()
    assert Image.open(tmp_path / 'images' / page.CURVES).width > 500
    assert page.thinned(list(range(10)), 4) == [0, 2, 4, 6, 8, 9]
