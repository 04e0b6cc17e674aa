"""What a backbone takes of a file, and what it refuses."""

import itertools

import pytest
import torch
from mmdet.models.backbones import ResNet
from mmengine.runner import load_checkpoint
from torch import nn

import mmhybrid
from mmhybrid import backbones, zoo
from mmhybrid.checkpoints import fitting, loading
from mmhybrid.checkpoints.backbone_files import load_backbone, write_backbone
from mmhybrid.checkpoints.convert import convert, report
from mmhybrid.errors import InputError

from .loading import pretrained
from .test_backbone_files import SUFFIXES, same, saved, small, written


@pytest.fixture(scope='module')
def source():
    return small()


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(base_width=4), r'layer1\.0\.conv1\.weight has the shape \(16, 8, 1, 1\) there and \(8, 8, 1, 1\) here'),
        (dict(base_channels=8), r'conv1\.weight has the shape \(16, 3, 7, 7\) there and \(8, 3, 7, 7\) here'),
        (dict(depth=101, num_stages=3, strides=(1, 2, 2), dilations=(1, 1, 1)), r'layer2\.0\.conv1\.weight, of shape'),
        (dict(mixer=None), r'layer1\.0\.conv2\.mixer\.0\.weight, of shape .* there, is not here'),
    ],
)
def test_another_variant_is_refused_with_the_first_tensor(source, tmp_path, options, words, suffix):
    path = written(source, tmp_path, suffix, variant='tiedresnet50', options=dict(base_channels=16))
    other = small(1, **options)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    for load in (load_backbone, lambda model, path: load_checkpoint(model, str(path), map_location='cpu')):
        with pytest.raises(InputError, match=rf'{path}, which are of tiedresnet50 with base_channels=16, .*: {words}'):
            load(other, path)
    assert same(before, other.state_dict())


@pytest.mark.parametrize(
    'left_out',
    [
        lambda n: n.endswith('conv3.weight') and n.startswith('layer1'),
        lambda n: '.conv' in n,
        lambda n: 'bn' in n and n.startswith('layer1') and n.endswith(('weight', 'bias')),
        lambda n: n.startswith('layer1') and 'running' not in n,
        lambda n: 'running_mean' in n,
        lambda n: n.startswith('layer1.0.conv2.norm'),
    ],
)
@pytest.mark.parametrize(
    'options', [{}, dict(plugins=[dict(cfg=dict(type='TiedSE', blocks=2), position='after_conv3')])]
)
def test_a_part_of_the_weights_is_none(source, tmp_path, left_out, options):
    """Convolutions and norms are no parts that were added, also where a plug-in is."""
    path = saved({n: v for n, v in source.state_dict().items() if not left_out(n)}, tmp_path)
    with pytest.raises(InputError, match=r'not those of this TiedResNet: .* is not there'):
        load_backbone(small(1, **options), path)


def test_a_part_that_is_there_in_part_was_not_added(tmp_path):
    plugins = [dict(cfg=dict(type='TiedSE', blocks=2), position='after_conv3')]
    state = small(plugins=plugins).state_dict()
    path = saved({n: v for n, v in state.items() if not n.endswith('tied_se.excite.weight')}, tmp_path)
    with pytest.raises(InputError, match=r'layer1\.0\.tied_se\.excite\.weight, of shape .* is not there'):
        load_backbone(small(1, plugins=plugins), path)


def test_deformable_convolutions_are_added(tmp_path):
    options = dict(depth=50, base_channels=16, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    dcn = dict(dcn=dict(type='DCNv2', deform_groups=1), stage_with_dcn=(True,))
    source = backbones.SEResNet(**options, norm_eval=False)
    path = written(source, tmp_path, variant='se_resnet50', options=dict(base_channels=16))
    made = load_backbone(backbones.SEResNet(**options, **dcn, norm_eval=False), path)
    assert made.missing
    assert all('conv_offset' in name for name in made.missing)


def test_a_warm_start_without_its_gates_is_refused(tmp_path):
    options = dict(depth=50, base_channels=8, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    plugins = [dict(cfg=dict(type='SqueezeExcite'), position='after_conv3')]
    made = convert(ResNet(**options).state_dict(), dict(type='ResNet', **options, plugins=plugins))
    card = report.card(made, tmp_path / 'source.pth')
    path = write_backbone(made.state, tmp_path / 'x.safetensors', card)
    for init in (None, 'by MMEngine'):
        plain = ResNet(**options, init_cfg=pretrained(path) if init else None)
        with pytest.raises(InputError, match=r'a warm start that does not fit this ResNet: layer1\.0\.squeeze_excite'):
            plain.init_weights() if init else load_backbone(plain, path)
    load_backbone(ResNet(**options, plugins=plugins), path)
    # Where nothing was changed, what is left out is told as ever.
    card['warm_start']['changed'] = 0
    load_backbone(ResNet(**options), write_backbone(made.state, tmp_path / 'y.safetensors', card))


def test_a_network_of_the_same_tensors_that_computes_something_else(tmp_path):
    tiny = dict(base_channels=16, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    source = mmhybrid.create_backbone('tiedresnest50_s', **tiny)
    path = written(source, tmp_path, variant='tiedresnest50_s', options=dict(base_channels=16))
    mmhybrid.create_backbone('tiedresnest50_s', checkpoint=path, **tiny)
    with pytest.raises(InputError, match='avd_first is True there and False here'):
        mmhybrid.create_backbone('tiedresnest50', checkpoint=path, **tiny)


def test_whole_stages_more_are_no_difference(tmp_path):
    path = written(small(num_stages=2, strides=(1, 2), dilations=(1, 1)), tmp_path)
    made = load_backbone(small(1), path)
    assert len(made.loaded) == 79
    assert all(name.startswith('layer2.') for name in made.unknown)


def test_added_parts_begin_anew(source, tmp_path):
    plugins = [dict(cfg=dict(type='TiedSE', blocks=2), position='after_conv3')]
    path = written(source, tmp_path)
    made = load_backbone(small(1, plugins=plugins), path)
    assert len(made.loaded) == 79
    assert made.missing
    with pytest.raises(InputError, match=r'layer1\.0\..*is not there'):  # and would stay random
        load_backbone(small(1, plugins=plugins, frozen_stages=1), path)


class TestAnotherStem:
    """Pictures of 32x32 are met by a smaller first convolution."""

    @pytest.fixture
    def path(self, source, tmp_path):
        state = source.state_dict() | {'conv1.weight': torch.zeros(16, 3, 3, 3)}
        return saved(dict(state_dict={f'backbone.{name}': value for name, value in state.items()}), tmp_path)

    def test_it_is_told_and_begins_anew(self, path, source):
        other = small(1)
        before = {name: value.clone() for name, value in other.state_dict().items()}
        made = load_backbone(other, path)
        assert 'the stem begins anew' in str(made)
        assert '(16, 3, 3, 3) there and (16, 3, 7, 7) here' in str(made)
        stem = {name for name in before if name.startswith(('conv1', 'bn1'))}
        for name, value in other.state_dict().items():
            expected = before if name in stem else source.state_dict()
            assert torch.equal(value, expected[name]), name
        assert made.anew == {name for name in stem if 'num_batches' not in name}

    @pytest.mark.parametrize('options', [dict(frozen_stages=1), dict(norm_eval=True)])
    def test_it_is_not_frozen_at_random(self, path, options):
        with pytest.raises(InputError, match=r'another stem .*must not be frozen: set model.backbone.frozen_stages=-1'):
            load_backbone(small(1, **options), path)

    def test_one_that_was_left_out(self, source, tmp_path):
        state = {n: v for n, v in source.state_dict().items() if not n.startswith(('conv1', 'bn1'))}
        path = write_backbone(state, tmp_path / 'a.pth', dict(stem='32x32', left_out=['conv1.weight', 'bn1.weight']))
        assert 'the stem begins anew' in str(load_backbone(small(1), path))
        with pytest.raises(InputError, match=r'conv1\.weight, of shape .* is not there'):  # nothing tells of it
            load_backbone(small(1), saved(state, tmp_path))

    @pytest.mark.parametrize(
        ('change', 'words'),
        [
            (dict(conv1=torch.zeros(16, 5, 1, 1)), r'conv1\.weight has the shape \(16, 5, 1, 1\) there'),
            (dict(conv1=torch.zeros(16, 3, 5, 5)), r'conv1\.weight has the shape \(16, 3, 5, 5\) there'),
            (dict(conv1=torch.zeros(16, 1, 3, 3)), r'conv1\.weight has the shape \(16, 1, 3, 3\) there'),
            (dict(conv1=torch.zeros(16, 3, 3, 3), bn1=None), r'conv1\.weight has the shape \(16, 3, 3, 3\) there'),
            (dict(bn1=None), r'bn1\.weight, of shape \(16,\) here, is not there'),
        ],
    )
    def test_any_other_is_refused(self, source, tmp_path, change, words):
        state = source.state_dict()
        if 'bn1' in change:
            state = {n: v for n, v in state.items() if not n.startswith('bn1')}
        if 'conv1' in change:
            state |= {'conv1.weight': change['conv1']}
        with pytest.raises(InputError, match=words):
            load_backbone(small(1), saved(state, tmp_path))

    def test_one_of_the_same_shape_is_told(self, source, tmp_path):
        made = load_backbone(small(1), written(source, tmp_path, stem='32x32'))
        assert 'its stem learned with the strides for pictures of 32x32' in str(made)
        assert len(made.loaded) == 79


def test_what_may_differ_is_named(source, tmp_path):
    model = nn.Module()
    model.backbone = small(1, base_width=4)
    loading.tolerate(model, ['backbone.layer1'])
    made = load_backbone(model.backbone, written(source, tmp_path))
    assert made.misshapen
    for beginnings in (['back'], ['']):
        model.backbone = small(1, base_width=4, base_channels=8)
        loading.tolerate(model, beginnings)
        load_backbone(model.backbone, written(source, tmp_path))
    model.backbone = small(1, base_width=4)
    loading.tolerate(model, ['backbone.layer2', 'layer1', 'neck'])
    with pytest.raises(InputError, match=r'layer1\.0\.conv1'):
        load_backbone(model.backbone, written(source, tmp_path))


def test_mmdetections_own_backbones_load_as_before(tmp_path):
    options = dict(depth=18, base_channels=8, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))
    source = ResNet(**options)
    torchvisions = source.state_dict() | {'fc.weight': torch.zeros(2), 'layer4.0.conv1.weight': torch.zeros(3)}
    for state in (torchvisions, {f'backbone.{name}': value for name, value in torchvisions.items()}):
        other = ResNet(**options, init_cfg=pretrained(saved(state, tmp_path)))
        other.init_weights()
        assert same(source.state_dict(), other.state_dict())
    other = ResNet(**{**options, 'base_channels': 16}, init_cfg=pretrained(saved(torchvisions, tmp_path)))
    other.init_weights()  # LoadedWeightsHook refuses it
    assert len([made for _, made in loading.loadings(other)][-1].misshapen) > 10


def test_none_of_the_variants_takes_another_ones_weights():
    """But for those with the same tensors, and with the other's tensors and attention more."""
    names = ('tiedresnet50', 'tiedresnet50_s', 'tiedsenet50', 'hsresnet50', 'hsresnet50_d')
    with torch.device('meta'):
        made = {name: _meta(name) for name in names}
    taken = set()
    for there, here in itertools.permutations(names, 2):
        try:
            fitting.fit(made[here], made[there].state_dict())
        except InputError as error:
            assert 'are not those of this' in str(error)
        else:
            taken.add((there, here))
    assert taken == {('tiedresnet50', 'tiedsenet50')}


def _meta(name):
    config = zoo.backbone_config(name)
    return getattr(backbones, config.pop('type'))(**config, norm_eval=False)
