"""What `make test-stock` adds on MMDetection's stock line; on another line there is nothing to test here.

Its short suite is these tests and the ones of the other files that the Makefile names.
"""

import re
from importlib.metadata import PackageNotFoundError, version

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config

import mmhybrid
import mmhybrid.registry
from mmhybrid import zoo

from ..test_zoo import FEW, awake, image, narrow
from ..tools.conftest import REPO


def installed(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


pytestmark = pytest.mark.skipif(installed('mmdet') is None, reason='for the stock line of OpenMMLab')


def test_it_is_the_stock_line_that_is_tested():
    pins = dict(re.findall(r'^([\w-]+)==([\w.]+)$', (REPO / 'constraints-stock.txt').read_text(), re.MULTILINE))
    assert {name: installed(name).partition('+')[0] for name in pins} == pins
    assert not any(installed(name) for name in ('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection'))


@pytest.mark.parametrize('name', mmhybrid.list_backbones())
def test_the_registry_builds_every_backbone(name):
    config = zoo.backbone_config(name)
    with torch.device('meta'):
        backbone = MODELS.build(config)
    assert type(backbone).__name__ == config['type']


def test_every_config_is_read():
    for path in sorted((REPO / 'configs').glob('*.py')):
        assert Config.fromfile(path).model.backbone


@pytest.mark.parametrize('name', sorted(FEW))
def test_one_backbone_of_each_class_learns(name):
    backbone = awake(narrow(name))
    outs = backbone(image())
    assert [o.shape[1] for o in outs] == list(backbone.out_channels)
    sum(o.square().mean() for o in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())
