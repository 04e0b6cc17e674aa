"""Data that contradict the config are refused before the first iteration, of each run and of each tool."""

import copy
import logging
import os
from types import SimpleNamespace

import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import HOOKS
from torch import nn

from mmhybrid.datasets.check import configs
from mmhybrid.datasets.occluded_shapes import CATEGORIES
from mmhybrid.engine import DataCheckHook, data_check
from mmhybrid.errors import InputError
from tests.datasets import faulty
from tests.test_configs import CONFIGS, quick_to_read, read  # noqa: F401 the fixture
from tests.tools.conftest import DEMO, small, tool  # noqa: F401 the fixture

from . import toy_run
from .checked_data import NO_MASKS, config, dataset, refusal

SHAPES = tuple(category['name'] for category in CATEGORIES)


def test_only_known_kinds_are_allowed():
    with pytest.raises(InputError, match="allow names 'class_missing'"):
        HOOKS.build(dict(type='mmdet.DataCheckHook', allow=['class_missing']))


def test_a_file_is_read_once_while_it_stays_as_it_is(ann_file, monkeypatch):
    path, calls = ann_file(), []
    whole = data_check.check_annotations
    monkeypatch.setattr(data_check, 'check_annotations', lambda *a, **k: calls.append(a) or whole(*a, **k))
    cfg = config(dataset(path), custom_hooks=[dict(type='DataCheckHook')])
    data_check.check_before_building(cfg)
    assert data_check.check_config_data(cfg) == data_check.check_config_data(cfg)
    assert len(calls) == 1
    ann_file(faulty.sound(categories=('car', 'person', 'dog')))
    os.utime(path, ns=(1, 1))
    assert 'is trained as' in refusal(cfg)
    monkeypatch.setenv('RANK', '1')
    data_check.check_before_building(cfg)  # the first process's work
    monkeypatch.setenv('RANK', '0')
    with pytest.raises(InputError, match='is trained as'):
        data_check.check_before_building(cfg)
    data_check.check_before_building(Config({**cfg, 'custom_hooks': []}))  # not asked for


def test_the_hook_logs_notes(ann_file, caplog):
    model = nn.Module()
    model.bbox_head = nn.Identity()
    model.bbox_head.num_classes = 3
    runner = SimpleNamespace(cfg=config(dataset(ann_file()), NO_MASKS), model=model, logger=logging.getLogger('notes'))
    with caplog.at_level(logging.INFO):
        DataCheckHook().before_train(runner)
    assert 'Data check of train_dataloader.dataset' in caplog.text
    model.bbox_head.num_classes = 4
    with pytest.raises(InputError, match='bbox_head has 4'):
        DataCheckHook().before_train(runner)


@pytest.mark.parametrize('processes', [1, 2])
def test_a_run_is_refused_in_every_process_and_read_in_one(processes, ann_file, tmp_path, monkeypatch):
    path = ann_file(faulty.sound(categories=('car', 'person', 'dog')))
    whole = data_check.check_annotations

    def check(*args, **options):
        (tmp_path / f'read_by_{os.getpid()}').touch()
        return whole(*args, **options)

    monkeypatch.setattr(data_check, 'check_annotations', check)
    loader = toy_run.config(tmp_path).train_dataloader.to_dict() | dict(dataset=dataset(path, pipeline=[]))
    hooks = [dict(type='DataCheckHook')]
    cfg = toy_run.config(tmp_path / 'run', val=False, train_dataloader=loader, custom_hooks=hooks)
    outcomes = toy_run.run(cfg, processes=processes)
    for outcome in outcomes if processes > 1 else [outcomes]:
        assert "'car' is trained as 'person'" in outcome['problem']
        assert 0 not in outcome  # no iteration
    assert len(list(tmp_path.glob('read_by_*'))) == 1


@pytest.mark.parametrize(
    'paths', [[DEMO, *CONFIGS[::20]], pytest.param(CONFIGS, marks=pytest.mark.slow)], ids=['few', 'all']
)
def test_every_config_passes_and_names_the_hooks(ann_file, paths):
    names = {False: CocoDataset.METAINFO['classes'], True: SHAPES}
    files = {demo: ann_file(faulty.sound(categories=tuple(classes)), f'{demo}.json') for demo, classes in names.items()}
    for path in paths:
        cfg = copy.deepcopy(read(path))
        types = [hook.type for hook in cfg.custom_hooks]
        assert types.index('DataCheckHook') < types.index('NumClassCheckHook')
        loaders = [cfg[f'{name}_dataloader'] for name in configs.LOADERS if cfg[f'{name}_dataloader']]
        for loader in loaders:
            loader.dataset.ann_file = files[path == DEMO]
        read_files = [note for note in data_check.check_config_data(cfg) if note.startswith('Data check of')]
        assert len(read_files) == len(loaders) >= 1
        number = len(names[path == DEMO])
        assert set(configs.heads_of_config(cfg.model).values()) == {number}
        assert configs.has_mask_head(cfg.model) == ('mask' in path.stem)


@pytest.mark.slow
def test_the_tool_ends_with_one_sentence(tool, tmp_path):  # noqa: F811
    folder = tmp_path / 'data'
    faulty.write(folder, faulty.sound(categories=SHAPES[::-1]))
    options = small(
        folder,
        train_dataloader__dataset__ann_file='annotations.json',
        train_dataloader__dataset__data_prefix__img='images/',
    )
    done = tool('train.py', DEMO, '--work-dir', tmp_path / 'run', *options)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith('error: train_dataloader.dataset')
    assert 'Traceback' not in done.stderr and 'Epoch(train)' not in done.stdout + done.stderr
