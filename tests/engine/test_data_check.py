"""Data that contradict the config are refused before the first iteration."""

import copy
import json
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

MASKS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
BOXES = [dict(type='LoadImageFromFile'), dict(type='mmdet.LoadAnnotations', with_bbox=True)]
MASK_RCNN = dict(
    rpn_head=dict(num_classes=1),
    roi_head=dict(bbox_head=[dict(num_classes=3), dict(num_classes=3)], mask_head=dict(num_classes=3)),
)
SHAPES = tuple(category['name'] for category in CATEGORIES)
NO_MASKS = dict(bbox_head=dict(num_classes=3))


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(data_check, '_REPORTS', {})


@pytest.fixture
def ann_file(tmp_path):
    def write(document=None, name='annotations.json'):
        path = tmp_path / name
        path.write_text(json.dumps(faulty.sound() if document is None else document))
        return str(path)

    return write


def dataset(path, classes=faulty.CATEGORIES, pipeline=MASKS, **changes):
    return dict(
        type='CocoDataset', ann_file=path, data_prefix=dict(img='images/'), metainfo=dict(classes=classes),
        pipeline=pipeline,
    ) | changes  # fmt: skip


def config(train, model=MASK_RCNN, val=None, **changes):
    cfg = dict(train_dataloader=dict(dataset=train), model=model)
    return Config(cfg | (dict(val_dataloader=dict(dataset=val)) if val else {}) | changes)


def refusal(cfg, **options):
    with pytest.raises(InputError) as error:
        data_check.check_config_data(cfg, **options)
    sentence = str(error.value)
    assert sentence.endswith('.') and '\n' not in sentence
    return sentence


def test_a_sound_config_is_told_in_one_note(ann_file):
    path = ann_file()
    notes = data_check.check_config_data(config(dataset(path), val=dataset(path)))
    assert [note.partition(' (')[0] for note in notes] == [
        'Data check of train_dataloader.dataset',
        'Data check of val_dataloader.dataset',
    ]
    assert '2 images, 4 annotations, 3 categories' in notes[0]


@pytest.mark.parametrize(
    ('classes', 'words'),
    [
        (('car', 'person', 'dog'), ("'person' is trained as 'car'", 'order the classes as the file does: person, car')),
        (('person', 'car', 'dog', 'cat'), ('do not list', "'cat'")),
        (('a', 'b', 'c'), ("'a'; 'b'; 'c'", "the file's others are 'person'")),
        ('person', ("write ('person',), with the comma",)),
        (('person', 'person', 'car'), ('stands twice',)),
    ],
)
def test_classes_that_the_file_contradicts(classes, words, ann_file):
    # Not heads that are wrong.
    cfg = config(dataset(ann_file(), classes), model=None)
    sentence = refusal(cfg)
    for word in words:
        assert word.replace('do not list', 'does not list') in sentence
    assert 'train_dataloader.dataset' in sentence and "dict(type='DataCheckHook', allow=[" in sentence
    kinds = [k for k in ('class-missing', 'category-order', 'no-instances', 'classes-malformed') if k in sentence]
    assert data_check.check_config_data(cfg, allow=kinds)


def changed(**fields):
    document = faulty.sound()
    document['annotations'][1] |= fields
    return document


@pytest.mark.parametrize(
    ('document', 'words'),
    [
        (changed(category_id=7), 'a category that the file does not list: 1 (good.jpg annotation 2 category_id 7)'),
        (changed(id=1), 'annotations with the id of another'),
        (changed(bbox=[1, 2, 3]), "'bbox' is [1, 2, 3], not four numbers"),
        (changed(bbox=[1, 2, float('inf'), 3]), 'not finite'),
        (changed(segmentation=[]), 'annotations without a segmentation: 1'),
        (faulty.sound() | {'annotations': []}, 'without an instance to learn from'),
        ([], 'looks like a results file'),
    ],
)
def test_files_that_training_would_die_of(document, words, ann_file):
    assert words in refusal(config(dataset(ann_file(document))))


def test_what_is_dropped_is_noted(ann_file):
    document = faulty.sound()
    document['annotations'][0]['bbox'] = [500, 1, 9, 9]
    document['annotations'][2]['area'] = 0
    notes = ' '.join(data_check.check_config_data(config(dataset(ann_file(document)))))
    assert 'MMDetection leaves out 2 annotations (outside 1, degenerate 1)' in notes
    assert 'boxes that do not touch their image: 1 (good.jpg annotation 1' in notes


@pytest.mark.parametrize(
    ('model', 'words'),
    [
        (dict(roi_head=MASK_RCNN['roi_head'] | dict(mask_head=dict(num_classes=80))), 'roi_head.mask_head has 80'),
        (dict(roi_head=dict(bbox_head=[dict(num_classes=3), dict(num_classes=4)])), 'roi_head.bbox_head.1 has 4'),
        (dict(detector=dict(bbox_head=dict(num_classes=80))), 'detector.bbox_head has 80'),
    ],
)  # fmt: skip
def test_heads_for_other_classes(model, words, ann_file):
    sentence = refusal(config(dataset(ann_file()), model))
    assert f'{words}, train_dataloader.dataset has 3' in sentence


def test_heads_for_other_things_than_the_classes(ann_file):
    semantic = dict(
        roi_head=dict(bbox_head=dict(num_classes=3), semantic_head=dict(type='SCNetSemanticHead', num_classes=183))
    )
    assert data_check.check_config_data(config(dataset(ann_file()), semantic))
    texts = dict(language_model=dict(type='BertModel'), bbox_head=dict(num_classes=256))
    assert data_check.check_config_data(config(dataset(ann_file()), texts))
    panoptic = dict(type='CocoPanopticDataset', ann_file='panoptic.json', pipeline=BOXES)
    assert (
        'was not looked at' in data_check.check_config_data(config(panoptic, dict(bbox_head=dict(num_classes=80))))[0]
    )


def test_heads_that_are_built_count_too(ann_file):
    # FCNMaskHead's default of 80 stands in no config.
    sentence = refusal(config(dataset(ann_file())), heads={'roi_head.mask_head': 80})
    assert 'roi_head.mask_head has 80' in sentence
    model = nn.ModuleDict({'bbox_head': nn.Identity(), 'rpn_head': nn.Identity(), 'module': nn.ReLU()})
    model['bbox_head'].num_classes, model['rpn_head'].num_classes = 7, 1
    assert configs.heads_of_model(model) == {'bbox_head': 7}


def test_masks_that_nothing_loads(ann_file):
    cfg = config(dataset(ann_file(), pipeline=BOXES))
    assert 'with_mask=True' in refusal(cfg)
    boxes = faulty.sound()
    for row in boxes['annotations']:
        del row['segmentation']
    path = ann_file(boxes)
    assert data_check.check_config_data(config(dataset(path, pipeline=BOXES), NO_MASKS))
    cfg = config(dataset(path, pipeline=BOXES), NO_MASKS, dataset(path, pipeline=BOXES))
    cfg.val_evaluator = [dict(metric='bbox'), dict(metric=['bbox', 'segm'])]
    sentence = refusal(cfg)
    assert 'val_dataloader.dataset' in sentence and 'without a segmentation: 4' in sentence


def test_wrappers_lists_and_other_kinds(ann_file):
    path, turned = ann_file(), ann_file(faulty.sound(categories=('car', 'person', 'dog')), 'turned.json')
    both = dict(
        type='ConcatDataset', datasets=[dataset(path), dict(type='RepeatDataset', times=2, dataset=dataset(turned))]
    )
    assert 'train_dataloader.dataset.datasets.1.dataset' in refusal(config(both))
    both['datasets'][1]['dataset']['metainfo'] = dict(classes=('car', 'person', 'dog'))
    assert 'dataset.datasets.1.dataset differs from train_dataloader.dataset.datasets.0' in refusal(config(both))
    # Labels of their own order, and files that are nowhere: left alone.
    other = dict(type='LVISV1Dataset', ann_file='nowhere.json', metainfo=dict(classes=('a', 'b', 'c')))
    remote = dataset('s3://bucket/annotations.json', ('a', 'b', 'c'), backend_args=dict(backend='petrel'))
    panoptic = dict(type='CocoPanopticDataset', ann_file='nowhere.json', metainfo=dict(classes=('a', 'b', 'c')))
    for left_alone in (other, panoptic, remote, dict(type='Numbers')):
        (note,) = data_check.check_config_data(config(left_alone, NO_MASKS))
        assert 'was not looked at' in note
    assert data_check.check_config_data(Config(dict(model=None))) == []


def test_unlabelled_images_need_no_instances(ann_file):
    unlabelled = dataset(ann_file(faulty.sound() | {'annotations': []}), pipeline=[dict(type='LoadEmptyAnnotations')])
    assert len(data_check.check_config_data(config(unlabelled))) == 1


def test_class_types_and_files_of_names(ann_file, tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('\n'.join(faulty.CATEGORIES))
    cfg = config(dataset(ann_file(), str(names)))
    assert data_check.check_config_data(cfg)
    cfg = dict(model=MASK_RCNN, train_dataloader=dict(dataset=dataset(ann_file(), ('a', 'b', 'c'), type=CocoDataset)))
    assert 'does not list' in refusal(cfg)


@pytest.mark.parametrize(
    'changes', [dict(metainfo='person'), dict(ann_file=['a']), dict(data_root=5), dict(data_prefix='a')]
)
def test_settings_of_another_type(changes, ann_file):
    assert 'train_dataloader.dataset' in refusal(config(dataset(ann_file(), **changes)))


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
