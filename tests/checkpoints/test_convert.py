"""Warm starts against the source itself: MMDetection's backbones with the same weights."""

import copy

import pytest
import torch

from mmhybrid.checkpoints.convert import convert, starts, trunk
from mmhybrid.checkpoints.convert.targets import find_target, targets
from mmhybrid.errors import InputError
from mmhybrid.zoo import backbone_config, list_backbones

from .converting import largest_difference, maps, plugin, source

NARROW = dict(depth=50, base_channels=16)
BOTH = dict(fusion_types=('channel_add', 'channel_mul'))
GCB = [plugin('TiedGCB', blocks=2) | dict(stages=(False, True, True, True))]


def loaded(made, dtype=torch.float64):
    """The target, as anybody makes it, with the converted weights; everything is in the file."""
    backbone = trunk.build(copy.deepcopy(made.config)).to(dtype)
    backbone.load_state_dict(made.state)
    return backbone.eval() or backbone


@pytest.mark.parametrize('name', ['dsnet50', 'sae_resnet50'])
def test_the_whole_network_computes_what_its_source_does(name):
    resnet = source('ResNet', depth=50)
    classifier = {**resnet.state_dict(), 'fc.weight': torch.zeros(7, 2048), 'fc.bias': torch.zeros(7)}
    made = convert(classifier, name)
    assert largest_difference(maps(loaded(made), 64, 96), maps(resnet, 64, 96)) < 1e-10
    assert made.deviation < 1e-10
    assert made.source == 'ResNet-50'
    assert made.left_out == ('fc.weight', 'fc.bias')
    assert len(made.copied) == len(resnet.state_dict())
    assert set(made.state) == set(made.copied).union(*made.new.values())


CASES = {
    'DSNet': ('ResNet', {}, dict(type='DSNet')),
    'DS2Net': ('ResNet', {}, dict(type='DSNet', inner_shortcut=True)),
    'DSNet without X_0': ('ResNet', {}, dict(type='DSNet', include_stage_input=False)),
    'DS2Res2Net': ('Res2Net', {}, dict(type='DS2Res2Net')),
    'SE': ('ResNet', {}, dict(type='SEResNet')),
    'TiedSE': ('ResNet', {}, dict(type='SEResNet', blocks=8)),
    'SaE-ResNeXt': ('ResNeXt', dict(groups=32, base_width=4), dict(type='SaEResNet', groups=32, base_width=4)),
    'SaE-ResNet-18': ('ResNet', dict(depth=18), dict(type='SaEResNet', depth=18)),
    'residual gate': ('ResNet', {}, dict(type='SaEResNet', residual_gate=True)),
    'TiedGCB': ('ResNet', {}, dict(type='ResNet', plugins=GCB)),
    'mmcv GCB': ('ResNet', {}, dict(type='ResNet', plugins=[plugin('ContextBlock', ratio=1 / 4)])),
    'both fusions': ('ResNet', {}, dict(type='ResNet', plugins=[plugin('ContextBlock', ratio=1 / 4, **BOTH)])),
    'TiedSE and GCB': ('ResNet', {}, dict(type='ResNet', plugins=[plugin('TiedSE'), plugin('GlobalContext')])),
    'TiedSE after the 3x3': (
        'ResNeXt',
        dict(groups=4, base_width=4),
        dict(type='ResNeXt', groups=4, base_width=4, plugins=[plugin('TiedSE', 'after_conv2', blocks=4)]),
    ),
    'SaE in DSNet': ('ResNet', {}, dict(type='DSNet', plugins=[plugin('SqueezeAggregatedExcite')])),
    'ResNeSt': ('ResNeSt', dict(stem_channels=64), dict(type='ResNeSt', stem_channels=64, plugins=[plugin('TiedSE')])),
    'Res2Net': ('Res2Net', {}, dict(type='Res2Net', plugins=[plugin('TiedGCB')])),
    'ResNet-D': (
        'ResNet',
        dict(deep_stem=True, avg_down=True),
        dict(type='mmdet.ResNet', deep_stem=True, avg_down=True, plugins=[plugin('TiedSE')]),
    ),
}  # fmt: skip


@pytest.mark.parametrize(('kind', 'options', 'config'), CASES.values(), ids=list(CASES))
def test_new_parts_change_nothing(kind, options, config):
    theirs = source(kind, **NARROW | options)
    made = convert({f'backbone.{k}': v for k, v in theirs.state_dict().items()}, NARROW | config)
    backbone = loaded(made)
    assert made.new
    assert largest_difference(maps(backbone), maps(theirs)) < 1e-10
    assert (starts.RESIDUAL_GATES in made.new) == bool(config.get('residual_gate'))
    if set(made.new) <= {starts.GATES, starts.CONTEXT, starts.CONTEXT_GATES}:
        assert made.deviation == 0, 'a factor of two is exact'
        theirs.norm_eval = False
        in_training = copy.deepcopy(theirs), copy.deepcopy(backbone)
        for module in in_training:
            module.train()
        assert largest_difference(*(maps(module, batch=2) for module in in_training)) < 1e-12
    # The comparison would see a part that does something.
    part = [name for names in made.new.values() for name in names if name.endswith('bias')][-1]
    backbone.state_dict()[part].add_(1)
    assert largest_difference(maps(backbone), maps(theirs)) > 1e-3


def test_in_float32_nothing_but_rounding_differs():
    theirs = source('ResNet', torch.float32, **NARROW)
    made = convert(theirs.state_dict(), dict(type='DSNet', **NARROW))
    assert all(value.dtype != torch.float64 for value in made.state.values())
    assert 0 < made.deviation < 1e-5
    assert (
        made.deviation == largest_difference(maps(loaded(made, torch.float32)), maps(theirs)) or made.deviation < 1e-5
    )


def test_the_dense_shortcuts_are_near_the_identity_with_the_statistics_of_a_batch_too():
    theirs = source('ResNet', **NARROW)
    with torch.no_grad():
        for module in theirs.modules():  # statistics that are true, as a trained network has them
            module.momentum = None if isinstance(module, torch.nn.BatchNorm2d) else 0
            getattr(module, 'reset_running_stats', int)()
        theirs.norm_eval = False
        theirs.train()
        expected = maps(theirs, batch=8)
    made = convert(theirs.state_dict(), dict(type='DSNet', **NARROW))
    backbone = loaded(made)
    plain = loaded(made)
    for stage in (getattr(plain, name) for name in plain.res_layers):
        for block in stage:
            block.source_norm.reset_running_stats()
            block.shortcut.weight.data[-1] = 1
            block.shortcut.bias.data.zero_()

    def error(module):
        module.train()
        ours = maps(module, batch=8)[0]
        return float((ours - expected[0]).pow(2).mean() / expected[0].pow(2).mean())

    assert error(backbone) < error(plain) / 3


def test_se_gates_are_taken_over():
    theirs = source('SEResNet', **NARROW, reduction=8)
    made = convert(theirs.state_dict(), dict(type='SEResNet', **NARROW, reduction=8))
    assert list(made.new) == [starts.COPIED]
    assert largest_difference(maps(loaded(made)), maps(theirs)) == 0
    wider = convert(theirs.state_dict(), dict(type='SaEResNet', **NARROW, reduction=16))
    assert list(wider.new) == [starts.WIDER]
    assert wider.state['layer1.0.attention.squeeze.weight'].shape == (16, 64)
    assert theirs.layer1[0].attention.squeeze.weight.shape == (8, 64)
    assert largest_difference(maps(loaded(wider)), maps(theirs)) < 1e-12


def test_the_same_source_gives_the_same_tensors():
    theirs = source('ResNet', torch.float32, **NARROW).state_dict()
    one = convert(theirs, dict(type='SaEResNet', **NARROW))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    two = convert(theirs, dict(type='SaEResNet', **NARROW))
    assert all(torch.equal(one.state[name], two.state[name]) for name in one.state)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.state['layer1.0.attention.squeeze.weight'].std() > 0


def test_plain_sums_are_told_to_be_another_network():
    theirs = source('ResNet', **NARROW)
    made = convert(theirs.state_dict(), dict(type='DSNet', shortcut='identity_dense', **NARROW))
    assert not made.new
    assert made.deviation > 0.1


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


REFUSED = {
    'depth': (dict(depth=101), 'dsnet50', "ResNet-101, and dsnet50 grows from ResNet-50: 'layer3.6.conv1.weight' has"),
    'smaller': (dict(depth=50), 'dsnet101', "grows from ResNet-101: it lacks 'layer3.6.conv1.weight'"),
    'basic': (dict(depth=34), 'dsnet50', r"of ResNet-34, .*'layer1.0.conv1.weight' has shape \(64, 64, 3, 3\) there"),
    'grouped': (
        dict(type='ResNeXt', depth=50, groups=32, base_width=4),
        'sae_resnet50',
        r"of ResNeXt-50 32x4d, .*'layer1.0.conv1.weight' has shape \(128, 64, 1, 1\) there and \(64, 64, 1, 1\) here",
    ),
    'plain': (dict(depth=50), 'sae_resnext50', r'grows from ResNeXt-50 32x4d: .layer1.0.conv1.weight. has shape \(64,'),
    'D': (dict(depth=50, deep_stem=True, avg_down=True), 'dsnet50', "with a deep stem, .*it lacks 'conv1.weight'"),
    'narrow': (NARROW, 'dsnet50', r"'conv1.weight' has shape \(16, 3, 7, 7\) there"),
    'Res2Net': (dict(type='Res2Net', depth=50), 'dsnet50', "of Res2Net-50, .*it lacks 'conv1.weight'"),
    'ResNet': (dict(depth=50), 'ds2res2net50', "grows from Res2Net-50: it lacks 'stem.0.weight'"),
    'ResNeSt': (dict(type='ResNeSt', depth=50), 'se_resnet50', "of ResNeSt-50, .*it lacks 'conv1.weight'"),
    'SE': (dict(type='SEResNet', depth=50), 'dsnet50', "has gates, 'layer1.0.attention.squeeze.weight' .* no place"),
    'tied SE': (dict(type='SEResNet', depth=50), 'resnet50_tiedse', r'gates that do not fit: .* \(16, 256\), .* tied'),
    'HCGNet': (dict(depth=50), 'hcgnet_b', "of ResNet-50, and hcgnet_b can start from the HCGNet authors' files alone"),
}  # fmt: skip


@pytest.mark.parametrize(('options', 'name', 'message'), REFUSED.values(), ids=list(REFUSED))
def test_another_network_is_refused_with_the_first_tensor_that_differs(options, name, message):
    with torch.device('meta'):  # no numbers are looked at
        state = source(**dict(type='ResNet') | options, dtype=torch.float32).state_dict()
    if 'gates' in message:  # these are copied before they are compared
        state = {key: torch.zeros(value.shape) for key, value in state.items()}
    with pytest.raises(InputError, match=message) as error:
        convert(state, name)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', [n for n in list_backbones() if n.startswith(('tied', 'hsresnet'))])
def test_trunks_of_other_widths_take_nothing(name):
    with pytest.raises(InputError, match=f'No weights can be carried over to {name}: its .* train it from the beg'):
        convert({}, name)


@pytest.mark.parametrize(
    ('content', 'config', 'message'),
    [
        ({}, 'dsnet50', 'holds no tensors of a backbone'),
        ([1], 'dsnet50', 'holds no tensors of a backbone'),
        ({'epoch': 1}, 'dsnet50', 'holds no tensors of a backbone'),
        ({'layer0.conv1.weight': torch.zeros(1)}, 'se_resnet50', "Caffe's form .its stem is called layer0"),
        ({'state_dict': {'a.b': torch.zeros(1)}}, 'dsnet50', "another kind of network, .* it lacks 'conv1.weight'"),
        ({'features.norm5.weight': torch.zeros(1)}, 'dsnet50', "HCGNet's authors, and dsnet50 is no HCGNet"),
        ({}, 'dsnet5', "There is no backbone 'dsnet5'; did you mean dsnet50"),
        ({}, 'no.py', 'There is no config no.py'),
        ({'a.b': torch.zeros(1)}, dict(type='SwinTransformer'), 'SwinTransformer is none of them'),
        ({'a.b': torch.zeros(1)}, dict(type='NoSuch'), 'NoSuch is none of them'),
    ],
)
def test_what_cannot_be_converted_is_told(content, config, message):
    with pytest.raises(InputError, match=message):
        convert(content, config)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(plugins=[plugin('GeneralizedAttention')]), 'GeneralizedAttention, for which no start is known'),
        (dict(type='DSNet', shortcut_norm_cfg=dict(type='GN', num_groups=4)), 'keep no running statistics'),
        (dict(norm_cfg=dict(type='GN', num_groups=4)), "'bn1.weight' has no place|lacks 'gn1.weight'"),
    ],
)
def test_parts_without_a_harmless_start_are_refused(config, message):
    theirs = source('ResNet', **NARROW)
    with pytest.raises(InputError, match=message):
        convert(theirs.state_dict(), dict(type='ResNet') | NARROW | config)


def test_a_gate_after_a_3x3_with_norms_of_its_own_is_refused():
    theirs = source('ResNeSt', **NARROW, stem_channels=64)
    gate = [plugin('TiedSE', 'after_conv2', blocks=4)]
    with pytest.raises(InputError, match='has no norm of its own'):
        convert(theirs.state_dict(), dict(type='ResNeSt', stem_channels=64, plugins=gate, **NARROW))


@pytest.mark.slow  # the tests above have one of each class
@pytest.mark.parametrize('name', [name for name in targets() if not name.startswith('hcgnet')])
def test_every_variant_that_is_offered_has_a_source(name):
    config = backbone_config(name)
    with torch.device('meta'):
        backbone = trunk.build(config)
        theirs = trunk.build(trunk.trunk_config(config)).state_dict()
    assert set(backbone.state_dict()) - starts.new_names(backbone) == set(theirs)


def test_a_config_of_the_package_is_a_target():
    target = find_target('mmhybrid::mask_rcnn_dsnet50_fpn_1x')
    assert (target.name, target.config['type']) == ('mask_rcnn_dsnet50_fpn_1x', 'DSNet')
    with pytest.raises(InputError, match='There is no config mmhybrid::nope'):
        find_target('mmhybrid::nope')
