"""What names and shapes of weights do not show."""

import pytest
import torch

from mmhybrid import backbones
from mmhybrid.checkpoints.backbone_files import load_backbone
from mmhybrid.errors import InputError

from . import test_backbone_files
from .test_backbone_files import same, saved, small, written

source = test_backbone_files.source  # a fixture


def kinds(change):
    return lambda state: {n: change(v) if v.is_floating_point() else v for n, v in state.items()}


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (kinds(lambda v: (v * 100).int()), r'conv1\.weight is of the type int32'),
        (kinds(lambda v: v > 0), r'conv1\.weight is of the type bool'),
        (kinds(lambda v: v.to(torch.complex64)), r'conv1\.weight is of the type complex64'),
        (kinds(lambda v: v * float('nan')), r'conv1\.weight has 2352 of 2352 numbers that are not finite'),
        (kinds(lambda v: v.double() * 1e300), r'conv1\.weight has 2352 of 2352 numbers that are not finite'),
        (kinds(lambda v: v.to_sparse()), r'conv1\.weight is a sparse tensor'),
        (kinds(lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8)), r'conv1\.weight is quantised \(qint8\)'),
        (lambda s: s | {'layer1.2.bn3.bias': s['layer1.2.bn3.bias'] / 0}, r'layer1\.2\.bn3\.bias has 64 of 64'),
    ],
)
def test_only_finite_floating_point_numbers_are_weights(source, tmp_path, change, words):
    other = small(1)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(InputError, match=rf'cannot be used: {words}'):
        load_backbone(other, saved(change(source.state_dict()), tmp_path))
    assert same(before, other.state_dict())
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        load_backbone(other, saved(kinds(lambda v, d=dtype: v.to(d))(source.state_dict()), tmp_path))


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(style='caffe'), "style is 'pytorch' there and 'caffe' here"),
        (dict(strides=(2,)), r'strides is \(1,\) there and \(2,\) here'),
        (dict(dilations=(2,)), r'dilations is \(1,\) there and \(2,\) here'),
        (dict(norm_cfg=dict(type='BN', eps=1e-3)), r'eps of layer1\.0\.bn1 is 1e-05 there and 0.001 here'),
        (dict(residual_gate=True), r'residual_gate of layer1\.0\.attention is False there and True here'),
    ],
)
@pytest.mark.parametrize('told', [{}, dict(base_channels=16)])
def test_options_of_which_the_card_is_silent(tmp_path, options, words, told):
    """They are the variant's."""
    own = dict(depth=50, base_channels=16, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    own['norm_eval'] = False
    path = written(backbones.SEResNet(**own), tmp_path, variant='se_resnet50', options=told)
    load_backbone(backbones.SEResNet(**own, with_cp=True, norm_cfg=dict(type='SyncBN')), path)
    other = backbones.SEResNet(**{**own, **options})
    state = torch.random.get_rng_state()
    with pytest.raises(InputError, match=words):
        load_backbone(other, path)
    assert torch.equal(state, torch.random.get_rng_state())


def test_dilations_in_place_of_strides_are_no_other_network(tmp_path):
    two = dict(base_channels=8, base_width=4, num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(1,))
    path = written(small(**two), tmp_path, variant='tiedresnet50', options=two)
    load_backbone(small(1, **two | dict(strides=(1, 1), dilations=(1, 2))), path)
    with pytest.raises(InputError, match=r'strides is \(1, 2\) there and \(1, 1\) here'):
        load_backbone(small(1, **two | dict(strides=(1, 1))), path)
