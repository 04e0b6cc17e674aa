"""Data that contradict the config are refused in one sentence, and what is left out is noted."""

import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from torch import nn

from mmhybrid.datasets.check import configs
from mmhybrid.engine import data_check
from tests.datasets import faulty

from .checked_data import BOXES, MASK_RCNN, NO_MASKS, config, dataset, refusal


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
