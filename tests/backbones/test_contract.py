"""What all backbones' constructors check alike; an ``init_cfg`` of the user is followed to the letter."""

import copy

import numpy as np
import pytest
import torch
from mmengine.model.weight_init import PretrainedInit
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhybrid import backbones, zoo
from mmhybrid.layers import TiedBlockConv2d
from tests.test_zoo import SMALLEST, awake, narrow, same

TWO_STAGES = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
each_class = pytest.mark.parametrize('name', sorted(SMALLEST))
each_resnet = pytest.mark.parametrize('name', sorted(SMALLEST - {'hcgnet_a1'}))


def make(name, **options):
    config = zoo.backbone_config(name)
    cls = getattr(backbones, config.pop('type'))
    return cls(**config | options)


def small(name, **options):
    """Narrow, shallow and initialised."""
    return narrow(name, **(options if name == 'hcgnet_a1' else TWO_STAGES | options))


def stages(name):
    return 3 if name == 'hcgnet_a1' else 4


WRONG_INDICES = [
    *((-1,), (0, -1), (4,), (0, 1, 2, 3, 4), (1, 1), (0, 1, 0), (), (1.0,), (True,), ('0',), (None,)),
    *(2, None, '01', {0, 1}, np.array([0, 1]), ((0, 1),)),
]


@each_class
def test_out_indices_are_checked(name):
    cls = zoo.VARIANTS[name].type
    for wrong in WRONG_INDICES:
        if wrong is None and cls == 'HCGNet':
            continue  # its default
        with pytest.raises(ValueError) as error:
            make(name, out_indices=wrong)
        message = f'out_indices of {cls} must be different integers from 0 to {stages(name) - 1}, not {wrong!r}.'
        assert str(error.value) == message


@each_class
def test_frozen_stages_are_checked(name):
    cls, last = zoo.VARIANTS[name].type, stages(name)
    for wrong in (-2, last + 1, 1.0, True, None, '1', (1,)):
        with pytest.raises(ValueError) as error:
            make(name, frozen_stages=wrong)
        message = f'frozen_stages of {cls} must be an integer from -1 to {last}, not {wrong!r}.'
        assert str(error.value) == message


@each_resnet
def test_the_ends_of_the_ranges_are_taken(name):
    with torch.device('meta'):
        for frozen_stages in (-1, 0, 2):
            backbone = make(name, frozen_stages=frozen_stages, **TWO_STAGES | dict(out_indices=[1, 0]))
            assert len(backbone.out_channels) == 2


@each_resnet
@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_stages=0), 'num_stages of {} must be 1 to 4, not 0'),
        (dict(num_stages=5), 'num_stages of {} must be 1 to 4, not 5'),
        (dict(num_stages=2.0), 'num_stages of {} must be 1 to 4, not 2.0'),
        (dict(num_stages=2), 'strides of {} must give one number for each of its 2 stages'),
        (dict(TWO_STAGES, dilations=1), 'dilations of {} must give one number for each of its 2 stages'),
        (
            dict(TWO_STAGES, out_indices=(0, 3)),
            r'out_indices of {} must be different integers from 0 to 1, not \(0, 3\)',
        ),
    ],
)
def test_stages_are_checked(name, options, message):
    with pytest.raises(ValueError, match=message.format(zoo.VARIANTS[name].type)):
        make(name, **options)


@each_class
@pytest.mark.parametrize('form', [dict, list, tuple])
def test_init_cfg_of_the_user_is_followed_to_the_letter(name, form):
    convs = dict(type='Constant', val=0.25, layer='Conv2d')
    given = convs if form is dict else form([convs, dict(type='Constant', val=0.5, layer='_BatchNorm')])
    before, untouched = copy.deepcopy(given), small(name, init_cfg=[])
    backbone = small(name, init_cfg=given)
    assert given == before == backbone.init_cfg
    norm = 1 if form is dict else 0.5
    for module, other in zip(backbone.modules(), untouched.modules(), strict=True):
        if isinstance(module, nn.Conv2d):
            assert (module.weight == 0.25).all()
        elif isinstance(module, _BatchNorm) and module.weight is not None:
            assert (module.weight == norm).all()  # those that end a residual branch too
        elif isinstance(module, TiedBlockConv2d):
            assert torch.equal(module.weight, other.weight)


@each_class
def test_an_empty_init_cfg_leaves_what_torch_made(name):
    for empty in ([], {}):
        backbone = small(name, init_cfg=empty)
        norms = [m.weight for m in backbone.modules() if isinstance(m, _BatchNorm) and m.weight is not None]
        assert all((weight == 1).all() for weight in norms)


@each_class
def test_pretrained_weights_are_loaded_in_each_form(name, tmp_path):
    source, path = awake(small(name)), str(tmp_path / 'backbone.pth')
    torch.save(source.state_dict(), path)
    for init_cfg in (
        dict(type='Pretrained', checkpoint=path),
        [dict(type='Kaiming', layer='Conv2d'), dict(type=PretrainedInit, checkpoint=path)],
    ):
        assert same(list(source.parameters()), list(small(name, init_cfg=init_cfg).parameters()), atol=0, rtol=0)


@pytest.mark.filterwarnings('ignore:DeprecationWarning. pretrained')
def test_weights_in_mmdetections_old_form_are_loaded(tmp_path):
    source, path = awake(small('tiedresnet50')), str(tmp_path / 'backbone.pth')
    torch.save(source.state_dict(), path)
    loaded = small('tiedresnet50', pretrained=path)
    assert same(list(source.parameters()), list(loaded.parameters()), atol=0, rtol=0)


def test_the_default_is_still_adapted():
    backbone = small('tiedresnet50')
    assert backbone.init_cfg[0]['layer'] == ['Conv2d', 'TiedBlockConv2d']
    assert all((block.norm3.weight == 0).all() for block in backbone.layer2)
