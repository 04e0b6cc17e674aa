"""Configs of data, sound and not, for the data check."""

import pytest
from mmengine.config import Config

from mmhybrid.engine import data_check
from mmhybrid.errors import InputError
from tests.datasets import faulty

MASKS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
BOXES = [dict(type='LoadImageFromFile'), dict(type='mmdet.LoadAnnotations', with_bbox=True)]
MASK_RCNN = dict(
    rpn_head=dict(num_classes=1),
    roi_head=dict(bbox_head=[dict(num_classes=3), dict(num_classes=3)], mask_head=dict(num_classes=3)),
)
NO_MASKS = dict(bbox_head=dict(num_classes=3))


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
