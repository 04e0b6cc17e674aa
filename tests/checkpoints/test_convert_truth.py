"""What `mmhybrid convert` says of feature maps is true of the source itself, also where no tensor tells of it."""

import re

import pytest
import torch

from mmhybrid.backbones import DSNet
from mmhybrid.checkpoints.convert import convert, report, trunk
from mmhybrid.checkpoints.convert.names import read_names
from mmhybrid.checkpoints.convert.targets import NO_WAY
from mmhybrid.errors import InputError
from mmhybrid.zoo import backbone_config, list_backbones

from .converting import largest_difference, maps, plugin, source

NARROW = dict(depth=50, base_channels=16)
SE = [plugin('SqueezeExcite')]
CAFFE = dict(meta=dict(cfg="backbone=dict(type='ResNet', style='caffe')"))


@pytest.fixture(scope='module')
def resnet():
    return source('ResNet', torch.float32, **NARROW)


def loaded(made):
    backbone = trunk.build(made.config)
    backbone.load_state_dict(made.state)
    return backbone.eval() or backbone


ALTERED = {
    'eps': (dict(type='ResNet', norm_cfg=dict(type='BN', eps=1e-2)), 'norm_cfg.eps=0.01'),
    'eps of DSNet': (dict(type='DSNet', norm_cfg=dict(type='SyncBN', eps=1e-2)), 'norm_cfg.eps=0.01'),
    'dilations': (dict(type='SEResNet', dilations=(1, 1, 2, 2)), r'dilations=\(1, 1, 2, 2\)'),
    'convolution': (dict(type='ResNet', plugins=SE, conv_cfg=dict(type='ConvWS')), "conv_cfg={'type': 'ConvWS'}"),
    'branches': (
        dict(type='mmdet.TridentResNet', num_branch=3, test_branch_idx=2, trident_dilations=(1, 2, 3)),
        'num_branch=3, test_branch_idx=2, trident_dilations',
    ),
}  # fmt: skip


@pytest.mark.parametrize(('config', 'told'), ALTERED.values(), ids=list(ALTERED))
def test_options_that_no_tensor_shows_are_told_with_what_they_do(resnet, config, told):
    if 'Trident' in config['type']:
        config = config | dict(num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1), out_indices=(2,))
    state = {k: v for k, v in resnet.state_dict().items() if 'num_stages' not in config or 'layer4' not in k}
    made = convert(state, NARROW | config)
    backbone = trunk.build(made.config)
    backbone.load_state_dict(made.state)
    backbone.eval()
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 64, 64, generator=generator, dtype=torch.float64).float()
    with torch.no_grad():
        theirs = [resnet(image)[i] for i in made.config.get('out_indices', range(4))]
        true = largest_difference(backbone(image), theirs)
    assert true > 1e-3
    assert made.deviation == pytest.approx(true, rel=1e-4)
    sentence = report.equality(made)
    assert 'NOT those of the source' in sentence and f'{true:.2g} times' in sentence
    assert re.search(told, sentence)


def test_maps_of_another_size_are_told(resnet):
    strides = dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
    made = convert(resnet.state_dict(), dict(type='DSNet', **NARROW, **strides))
    assert made.sizes == ('stage 4 is 4x4 in place of 2x2',)
    assert made.deviation < 1e-5, 'of the other stages'
    assert set(made.altered) == {'strides=(1, 2, 2, 1)', 'dilations=(1, 1, 1, 2)'}
    assert 'NOT those' in report.equality(made) and made.sizes[0] in report.equality(made)
    last = convert(resnet.state_dict(), dict(type='ResNet', out_indices=(3,), **NARROW, **strides))
    assert last.deviation is None and 'NOT those' in report.equality(last)


def test_options_that_change_nothing_are_not_told(resnet):
    same = dict(
        strides=[1, 2, 2, 2], dilations=[1, 1, 1, 1], style='pytorch', conv_cfg=dict(type='Conv2d'), with_cp=True
    )
    norms = dict(norm_cfg=dict(type='SyncBN', eps=1e-5, momentum=0.01, requires_grad=False), zero_init_residual=False)
    made = convert(resnet.state_dict(), dict(type='DSNet', **NARROW, **same, **norms))
    assert 0 < made.deviation < 1e-5 and made.altered == ()
    assert 'up to rounding' in report.equality(made)
    for name in list_backbones():
        if (config := backbone_config(name))['type'] not in (*NO_WAY, 'HCGNet'):
            assert trunk.altered(config, False) == (), name


@pytest.mark.parametrize('kind', ['ResNet', 'DSNet'])
def test_both_sides_must_be_of_caffes_form(resnet, kind):
    theirs = source('ResNet', torch.float32, **NARROW, style='caffe')
    content = dict(CAFFE, state_dict=theirs.state_dict())
    target = dict(type=kind, style='caffe', **NARROW)
    with pytest.raises(InputError, match=r'the config within says style=caffe.* stride on the 1x1'):
        convert(content, dict(type=kind, **NARROW))
    with pytest.raises(InputError, match=r"has style='caffe', .* nothing tells that .* say --style caffe"):
        convert(resnet.state_dict(), target)
    with pytest.raises(InputError, match='nothing tells'):
        convert(content, target, style='pytorch')
    with pytest.raises(InputError, match="'pytorch' or 'caffe', not 'torch'"):
        convert(content, target, style='torch')
    for made in (convert(content, target), convert(theirs.state_dict(), target, style='caffe')):
        assert largest_difference(maps(loaded(made)), maps(theirs)) < 1e-5
        assert made.deviation < 1e-5
        assert 'style caffe' in report.equality(made)
        assert any("of Caffe's form" in line and 'BGR' in line for line in report.lines(made, 'a.pth'))
    assert read_names(theirs.state_dict(), 'dir/resnet50_msra-5891d200.pth').caffe == "its name says 'msra'"


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda value: value.int(), r"'conv1.weight' is int32, and weights are taken as plain floating point"),
        (lambda value: value.to(torch.complex64), "'conv1.weight' is complex64"),
        (lambda value: value.to_sparse(), "'conv1.weight' is sparse"),
        (lambda value: value * float('inf'), "'conv1.weight' has values that are infinite or NaN"),
        (lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8), "'conv1.weight' is qint8"),
    ],
)
@pytest.mark.filterwarnings('ignore:.*quantiz.*')
def test_tensors_that_are_no_numbers_to_compute_with_are_refused(resnet, change, message):
    state = {key: change(value) if key == 'conv1.weight' else value for key, value in resnet.state_dict().items()}
    with pytest.raises(InputError, match=message):
        convert(state, dict(type='SEResNet', **NARROW))


def test_gates_are_looked_at_too():
    state = source('SEResNet', torch.float32, **NARROW).state_dict()
    name = 'layer4.2.attention.excite.bias'
    with pytest.raises(InputError, match=f"'{name}' is int64"):
        convert({**state, name: state[name].long()}, dict(type='SEResNet', **NARROW))


def test_half_precision_is_taken(resnet):
    state = {key: value.half() if value.is_floating_point() else value for key, value in resnet.state_dict().items()}
    made = convert(state, dict(type='SEResNet', **NARROW))
    assert made.deviation == 0 and made.state['conv1.weight'].dtype == torch.float32


@pytest.mark.parametrize(
    'options', [dict(num_stages=3), dict(depth=51), dict(no_such=1), dict(style='torch'), dict(norm_cfg=dict(type='X'))]
)
def test_a_target_that_cannot_be_built_is_told(resnet, options):
    with pytest.raises(InputError, match='ResNet cannot be built with the options of --to'):
        convert(resnet.state_dict(), dict(type='ResNet') | NARROW | options)


def test_fewer_stages(resnet):
    options = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
    state = {key: value for key, value in resnet.state_dict().items() if not key.startswith(('layer3', 'layer4'))}
    made = convert(state, dict(type='ResNet', plugins=SE, **NARROW, **options))
    assert made.deviation == 0 and made.altered == ()


def as_torchvision(state):
    """A detector's: frozen norms, which count nothing, and an FPN beside the network."""
    body = {f'backbone.body.{key}': value for key, value in state.items() if not key.endswith('num_batches_tracked')}
    others = ('backbone.fpn.inner_blocks.0.0.weight', 'rpn.head.cls_logits.bias', 'roi_heads.box_head.fc6.weight')
    return body | {key: torch.zeros(1) for key in others}


def test_a_detector_of_torchvision(resnet):
    made = convert(as_torchvision(resnet.state_dict()), dict(type='ResNet', plugins=SE, **NARROW))
    assert made.deviation == 0
    assert len(made.left_out) == 3 and made.left_out[0].startswith('backbone.fpn.')
    # Their first ones have norms without an epsilon.
    without = source('ResNet', torch.float32, **NARROW, norm_cfg=dict(type='BN', eps=0))
    without.load_state_dict(resnet.state_dict())
    true = largest_difference(maps(loaded(made)), maps(without))
    assert made.without_eps == pytest.approx(true, rel=0.5) and 0 < true < 1e-3
    assert any('COCO_V1' in line and f'{made.without_eps:.1e}' in line for line in report.lines(made, 'a.pth'))
    # Newer ones have norms that count.
    counted = {f'backbone.body.{key}': value for key, value in resnet.state_dict().items()}
    assert convert(counted, dict(type='ResNet', plugins=SE, **NARROW)).without_eps is None


@pytest.mark.parametrize('norm', ['FrozenBatchNorm2d', 'BatchNorm2d'])
def test_torchvisions_detectors_themselves(norm):
    detection = pytest.importorskip('torchvision.models.detection', exc_type=Exception)
    norms = {
        'BatchNorm2d': torch.nn.BatchNorm2d,
        'FrozenBatchNorm2d': detection.faster_rcnn.misc_nn_ops.FrozenBatchNorm2d,
    }
    body = detection.backbone_utils.resnet_fpn_backbone(backbone_name='resnet50', weights=None, norm_layer=norms[norm])
    model = detection.FasterRCNN(body, num_classes=91)
    frozen = [module for module in model.backbone.body.modules() if isinstance(module, norms[norm])]
    assert {module.eps for module in frozen} == {1e-5}
    for module in frozen:
        module.running_mean.normal_(0, 0.1)
        module.running_var.uniform_(0.5, 1.5)
    model.eval()
    made = convert(model.state_dict(), 'dsnet50')
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours = loaded(made)(image)
        assert largest_difference(ours, list(model.backbone.body(image).values())) < 1e-5
        assert (made.without_eps is None) == (norm == 'BatchNorm2d')
        if made.without_eps is not None:
            for module in frozen:
                module.eps = 0.0
            true = largest_difference(ours, list(model.backbone.body(image).values()))
            assert made.without_eps == pytest.approx(true, rel=0.5)


def test_plain_sums_and_other_dilations_are_both_told(resnet):
    config = dict(type='DSNet', shortcut='identity_dense', dilations=(1, 1, 2, 1), **NARROW)
    assert isinstance(trunk.build(config), DSNet)
    sentence = report.equality(convert(resnet.state_dict(), config))
    assert 'plain sums' in sentence and 'dilations=(1, 1, 2, 1)' in sentence
