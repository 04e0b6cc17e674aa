"""Where in a file the weights are."""

import pytest
import torch
from torch import nn

from mmhybrid.backbones import TiedResNet
from mmhybrid.checkpoints import publishing
from mmhybrid.checkpoints.backbone_files import load_backbone, read_backbone

from . import test_backbone_files
from .loading import SMALL, pretrained
from .test_backbone_files import same, saved, small

source = test_backbone_files.source  # a fixture


def test_models_that_torch_averages(source, tmp_path):
    model = nn.Module()
    model.backbone = source
    path = saved(torch.optim.swa_utils.AveragedModel(model).state_dict(), tmp_path)
    part = read_backbone(path)
    assert (part.prefix, part.left_out) == ('module.backbone.', ('n_averaged',))
    assert same(part.state, source.state_dict())
    other = TiedResNet(**SMALL, init_cfg=pretrained(path))
    other.init_weights()
    assert same(other.state_dict(), source.state_dict())


@pytest.mark.parametrize('keys', [('checkpoint',), ('checkpoint', 'state_dict'), ('model', 'state_dict'), ('net',)])
def test_weights_within_parts_of_a_file(source, tmp_path, keys):
    content = source.state_dict()
    for key in reversed(keys):
        content = {key: content, 'optimizer': {'state': {0: {'momentum': torch.ones(3)}}}}
    path = saved(content, tmp_path)
    assert same(read_backbone(path).state, source.state_dict())
    other = TiedResNet(**SMALL, init_cfg=pretrained(path))
    other.init_weights()
    assert same(other.state_dict(), source.state_dict())


def test_averaged_weights_are_taken_and_that_is_said(source, tmp_path, told):
    """Of timm's files, as mmhybrid publish takes them."""
    averaged = small(2)
    content = dict(
        state_dict=source.state_dict(), state_dict_ema={f'module.{n}': v for n, v in averaged.state_dict().items()}
    )
    path = saved(content, tmp_path)
    by_hand, by_init = small(1), TiedResNet(**SMALL, init_cfg=pretrained(path))
    load_backbone(by_hand, path)
    by_init.init_weights()
    for other in (by_hand, by_init):
        assert same(other.state_dict(), averaged.state_dict())
    assert sum('they are averaged ones' in message for message in told) == 2
    found = publishing.find(path)
    assert (found.ema, same(found.state, averaged.state_dict())) == ('averaged', True)
    assert same(publishing.find(path, ema=False).state, source.state_dict())
