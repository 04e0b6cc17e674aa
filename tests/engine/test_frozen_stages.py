"""A run whose frozen layers were never loaded is refused, whichever way the weights were to come."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import load_checkpoint
from torch import nn

from mmhybrid.backbones import TiedResNet
from mmhybrid.engine import FrozenStagesHook
from mmhybrid.errors import InputError

SMALL = dict(depth=50, base_channels=16, base_width=8, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
KAIMING = dict(type='Kaiming', layer='Conv2d')


class Detector(BaseModule):
    def __init__(self, backbone, init_cfg=None):
        super().__init__(init_cfg)
        self.backbone = TiedResNet(**{**SMALL, **backbone})


def start(model):
    """The hook, before the first iteration of a run."""
    FrozenStagesHook().before_train(SimpleNamespace(model=model))


def initialised(**options):
    model = Detector(**options)
    model.init_weights()
    return model


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Files of weights: of the backbone, of a detector, of one saved under DDP, of the first stage."""
    folder, weights = tmp_path_factory.mktemp('weights'), TiedResNet(**SMALL).state_dict()

    def save(name, state_dict):
        torch.save({'state_dict': state_dict}, folder / name)
        return str(folder / name)

    return SimpleNamespace(
        backbone=save('backbone.pth', weights),
        detector=save('detector.pth', {f'backbone.{k}': v for k, v in weights.items()}),
        parallel=save('parallel.pth', {f'module.backbone.{k}': v for k, v in weights.items()}),
        stage=save('stage.pth', {k[7:]: v for k, v in weights.items() if k.startswith('layer1.')}),
    )


def test_frozen_random_stages_are_refused():
    with pytest.raises(InputError, match=r'frozen tensors .* backbone\.conv1\.weight.*backbone_checkpoint'):
        start(initialised(backbone=dict(frozen_stages=1, norm_eval=False)))


def test_batch_norms_that_never_learn_their_statistics_are_refused():
    with pytest.raises(InputError, match='running_mean'):
        start(initialised(backbone=dict(norm_eval=True)))


def test_nothing_frozen_is_fine():
    start(initialised(backbone=dict(norm_eval=False)))
    start(nn.Linear(1, 1))  # no backbone


WAYS = {
    'dict': lambda f: dict(type='Pretrained', checkpoint=f.backbone),
    'class': lambda f: dict(type=PretrainedInit, checkpoint=f.backbone),
    'scope': lambda f: dict(type='mmengine.Pretrained', checkpoint=f.backbone),
    'list': lambda f: [dict(type='Pretrained', checkpoint=f.backbone)],
    'list with class': lambda f: [KAIMING, dict(type=PretrainedInit, checkpoint=f.backbone)],
    'tuple': lambda f: (KAIMING, dict(type='Pretrained', checkpoint=f.backbone)),
    'prefix': lambda f: dict(type='Pretrained', checkpoint=f.detector, prefix='backbone.'),
    'prefix without its dot': lambda f: dict(type='Pretrained', checkpoint=f.detector, prefix='backbone'),
    'prefix of DDP': lambda f: dict(type='Pretrained', checkpoint=f.parallel, prefix='module.backbone.'),
}
FROZEN = dict(frozen_stages=1, norm_eval=True)


@pytest.mark.parametrize('way', WAYS)
def test_a_pretrained_backbone_is_fine(files, way):
    start(initialised(backbone=dict(FROZEN, init_cfg=WAYS[way](files))))


@pytest.mark.parametrize('way', ['dict', 'list with class'])
@pytest.mark.parametrize('name', ['detector', 'parallel'])
def test_a_pretrained_detector_is_fine(files, way, name):
    init_cfg = WAYS[way](SimpleNamespace(backbone=getattr(files, name)))
    start(initialised(init_cfg=init_cfg, backbone=FROZEN))


def test_a_part_that_was_loaded_is_not_among_the_missing(files):
    override = dict(type='Pretrained', name='layer1', checkpoint=files.stage)
    init_cfg = [dict(KAIMING, override=override)]
    with pytest.raises(InputError, match=r'^3 of \d+ frozen .*backbone\.conv1\.weight'):  # the stem
        start(initialised(backbone=dict(FROZEN, norm_eval=False, init_cfg=init_cfg)))


@pytest.mark.parametrize('name', ['detector', 'parallel'])
def test_a_loaded_or_resumed_detector_is_fine(files, name):
    model = initialised(backbone=FROZEN)
    load_checkpoint(model, getattr(files, name))
    start(model)
    start(nn.DataParallel(model))


@pytest.mark.parametrize('way', ['dict', 'list with class'])
@pytest.mark.parametrize('other', [dict(base_width=12), dict(splits=2, blocks=(1, 2))], ids=str)
def test_weights_of_another_backbone_are_refused(files, way, other):
    with pytest.raises(InputError, match=r'not those of this TiedResNet: layer1\.0\.'):
        initialised(backbone=FROZEN | other | dict(init_cfg=WAYS[way](files)))
    # Of a detector MMEngine loads what fits and only logs the rest.
    model = initialised(backbone=FROZEN | other)
    load_checkpoint(model, files.detector)
    with pytest.raises(InputError, match=r'frozen tensors .*backbone\.layer1'):
        start(model)


def test_a_backbone_that_loads_in_its_own_way_is_taken_at_its_word(files):
    class Own(TiedResNet):  # as MMDetection's Swin
        def init_weights(self):
            self.load_state_dict(torch.load(self.init_cfg['checkpoint'], weights_only=True)['state_dict'])

    model = Detector(FROZEN)
    for init_cfg in (WAYS['dict'](files), [WAYS['dict'](files)]):
        model.backbone = Own(**SMALL, **FROZEN, init_cfg=init_cfg)
        start(model)
    model.backbone = Own(**SMALL, **FROZEN)
    with pytest.raises(InputError, match='frozen tensors'):
        start(model)
