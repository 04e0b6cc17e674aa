"""Every backbone by name, with both stems."""

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn

import mmhybrid
import mmhybrid.registry
from mmhybrid.errors import InputError
from mmhybrid.pretraining import backbones

# Parameters of classifiers, of the authors' code or of torchvision's and timm's models of the same name.
PUBLISHED = {
    ('hcgnet_a1', 100): 1_102_651,
    ('hcgnet_a2', 100): 3_133_679,
    ('hcgnet_a3', 100): 11_363_647,
    ('hcgnet_b', 1000): 12_845_501,
    ('hcgnet_c', 1000): 42_153_208,
    ('resnet18', 1000): 11_689_512,
    ('resnet34', 1000): 21_797_672,
    ('resnet50', 1000): 25_557_032,
    ('resnet101', 1000): 44_549_160,
    ('resnet152', 1000): 60_192_808,
    ('resnext50', 1000): 25_028_904,
    ('res2net50', 1000): 23_669_352 + 2_049_000,  # tests/test_configs.py
    ('resnest50', 1000): 27_483_240,
    ('se_resnet50', 1000): 28_088_024,
}


def classifier(name, num_classes=1000, stem='backbone', device='meta', **options):
    with torch.device(device):
        return MODELS.build(
            dict(
                type='mmdet.ImageClassifier',
                backbone={
                    **backbones.backbone_config(name),
                    **options,
                    'type': f'mmdet.{backbones.backbone_config(name)["type"]}',
                },
                head=dict(num_classes=num_classes),
                stem=stem,
            )
        )


@pytest.mark.parametrize(
    ('name', 'num_classes'),
    [
        pytest.param(*key, marks=[pytest.mark.slow] * any(deep in key[0] for deep in ('101', '152')))
        for key in PUBLISHED
    ],
)
def test_parameters_are_those_published(name, num_classes):
    model = classifier(name, num_classes)
    assert sum(p.numel() for p in model.parameters()) == PUBLISHED[name, num_classes]
    assert model.changed_by_stem == []


# One name of each class, and one of each kind of stem, on every run.
FEW = {
    *('tiedresnet50', 'tiedresnest50', 'hcgnet_a1', 'hcgnet_b', 'dsnet50', 'ds2res2net50', 'hsresnet50_d'),
    *('sae_resnet18', 'resnet18', 'res2net50'),
}
every_name = [pytest.param(name, marks=[pytest.mark.slow] * (name not in FEW)) for name in backbones.names()]


@pytest.mark.parametrize('name', every_name)
def test_both_stems_build_and_differ_in_a_7x7_convolution_alone(name):
    own, small = classifier(name), classifier(name, stem='32x32')
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (own, small)]
    assert shapes[0].keys() == shapes[1].keys()
    differing = {key.removeprefix('backbone.') for key in shapes[0] if shapes[0][key] != shapes[1][key]}
    has_deep_stem = 'nest' in name or 'res2net' in name or '_d_' in f'{name}_' or 'hcgnet' in name
    assert differing == set(small.changed_by_stem) == (set() if has_deep_stem else {'conv1.weight'})
    assert own.changed_by_stem == []
    assert not any(model.backbone.norm_eval for model in (own, small))
    before_stages = [m for key, m in small.backbone.named_children() if key in ('conv1', 'stem', 'maxpool')]
    convs = [m for part in before_stages for m in part.modules() if isinstance(m, nn.Conv2d)]
    assert all((conv.kernel_size, conv.stride) == ((3, 3), (1, 1)) for conv in convs) and convs
    assert not any(isinstance(m, nn.MaxPool2d) for part in before_stages for m in part.modules())


@pytest.mark.parametrize(
    'name', ['resnet18', 'hcgnet_a1', pytest.param('hcgnet_b', marks=pytest.mark.slow), 'tiedresnest50']
)
def test_a_small_picture_keeps_its_size_in_the_stem(name):
    model, picture = classifier(name, stem='32x32').eval(), torch.empty(2, 3, 32, 32, device='meta')
    maps = model.backbone(picture)
    assert maps[0].shape[2:] == (32, 32)
    assert maps[-1].shape[2:] == ((8, 8) if name == 'hcgnet_a1' else (4, 4))
    assert model.head(maps[-1]).shape == (2, 1000)


def test_the_new_convolution_is_initialised_as_the_others():
    torch.manual_seed(0)
    model = classifier('resnet18', 10, '32x32', 'cpu', base_channels=16)
    model.init_weights()
    weight = model.backbone.conv1.weight
    assert weight.shape == (16, 3, 3, 3)
    # Kaiming's of fan out, as MMDetection's ResNet.
    assert weight.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.15)
    assert model.head.fc.weight.std().item() == pytest.approx(0.01, rel=0.15)
    assert not model.head.fc.bias.any()


def test_names_are_the_zoos_and_mmdetections():
    assert set(mmhybrid.list_backbones()) < set(backbones.names())
    with pytest.raises(InputError, match="There is no backbone 'tiedresnet5'; did you mean tiedresnet50"):
        backbones.backbone_config('tiedresnet5')
    with pytest.raises(InputError, match='choose from tiedresnet50, '):
        backbones.backbone_config('alexnet')


def test_what_differs_from_a_variant_is_told():
    narrow = {**backbones.backbone_config('tiedresnet50'), 'base_channels': 16, 'base_width': 8, 'with_cp': True}
    assert backbones.differing_options('tiedresnet50', narrow) == {'base_channels': 16, 'base_width': 8}
    assert backbones.differing_options('resnet50', narrow) is None
    assert backbones.differing_options('hcgnet_a1', backbones.backbone_config('hcgnet_a1')) == {}


def test_other_stems_are_refused():
    with pytest.raises(InputError, match=r"model\.stem is 'cifar': choose 'backbone' or '32x32'"):
        classifier('resnet18', stem='cifar')
