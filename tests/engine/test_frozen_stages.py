"""A run whose frozen layers were never loaded is refused."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmhybrid.backbones import TiedResNet
from mmhybrid.engine import FrozenStagesHook
from mmhybrid.errors import InputError

SMALL = dict(depth=50, base_channels=16, base_width=8, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))


def runner(**options):
    model = nn.Module()
    model.backbone = TiedResNet(**SMALL, **options)
    return SimpleNamespace(model=model)


def start(runner, loaded=None):
    hook = FrozenStagesHook()
    if loaded is not None:
        hook.after_load_checkpoint(runner, loaded)
    hook.before_train(runner)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'backbone.pth'
    torch.save({'state_dict': TiedResNet(**SMALL).state_dict()}, path)
    return str(path)


def test_frozen_random_stages_are_refused():
    with pytest.raises(InputError, match=r'frozen tensors .* backbone\.conv1\.weight.*backbone_checkpoint'):
        start(runner(frozen_stages=1, norm_eval=False))


def test_batch_norms_that_never_learn_their_statistics_are_refused():
    with pytest.raises(InputError, match='running_mean'):
        start(runner(frozen_stages=-1, norm_eval=True))


def test_nothing_frozen_is_fine():
    start(runner(frozen_stages=-1, norm_eval=False))


def test_a_pretrained_backbone_is_fine(weights):
    start(runner(frozen_stages=1, norm_eval=True, init_cfg=dict(type='Pretrained', checkpoint=weights)))


def test_a_pretrained_backbone_inside_a_detector_is_fine(weights, tmp_path):
    state_dict = {f'backbone.{k}': v for k, v in torch.load(weights, weights_only=True)['state_dict'].items()}
    torch.save(state_dict, tmp_path / 'detector.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'detector.pth'), prefix='backbone.')
    start(runner(frozen_stages=1, init_cfg=init_cfg))


def test_a_loaded_detector_is_fine():
    source = runner(frozen_stages=1)
    start(runner(frozen_stages=1), loaded={'state_dict': source.model.state_dict()})


@pytest.mark.parametrize('other', [dict(base_width=12), dict(splits=2, blocks=(1, 2))])
def test_weights_of_another_backbone_are_refused(tmp_path, other):
    # mmengine loads what fits and only logs the rest.
    torch.save(TiedResNet(**{**SMALL, **other}).state_dict(), tmp_path / 'other.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth'))
    with pytest.raises(InputError, match='frozen tensors'):
        start(runner(frozen_stages=1, init_cfg=init_cfg))
