"""Names and shapes of published files.

The rules below make them of MMDetection's own. The numbers that they are compared with are hashes of the names and
shapes in the real libraries: torchvision 0.29.1, timm 1.0.31 and onedl-mmpretrain 1.3.6, whose modules the feature maps
of converted weights were compared with, too. Where a library is installed, it is asked itself.
"""

import hashlib
import re

import pytest
import torch

from mmhybrid.checkpoints.convert.names import GATE_PARTS, describe, read_names

from .converting import CLASSES

RESNET, RESNEXT = ('ResNet', {}), ('ResNeXt', dict(groups=32, base_width=4))
RESNET_D = ('ResNet', dict(deep_stem=True, avg_down=True))
SE, SE_RESNEXT = ('SEResNet', {}), ('SEResNet', dict(groups=32, base_width=4))
RES2NET, RESNEST = ('Res2Net', {}), ('ResNeSt', dict(stem_channels=64))

TIMM = {
    'resnet18': (('ResNet', dict(depth=18)), '5191d63ec3989592'),
    'resnet50': (RESNET, 'a87e91cd6bd1f939'),
    'resnet101': (('ResNet', dict(depth=101)), 'dbc3ca74fffafc72'),
    'resnet50d': (RESNET_D, '26ed29dda64d7db9'),
    'resnext50_32x4d': (RESNEXT, '20929ac81dfcc94f'),
    'seresnet50': (SE, 'f09b8fa1240f9e00'),
    'seresnext50_32x4d': (SE_RESNEXT, '21ff86054e4de6be'),
    'res2net50d': (RES2NET, '2f02ae6011b1eebe'),
    'resnest50d': (RESNEST, 'fc8c44cda358515c'),
}
MMPRETRAIN = {
    'ResNet': (RESNET, '138f0494d6743dfe'),
    'ResNetV1d': (RESNET_D, '7e805dd3ee8bd104'),
    'ResNeXt': (RESNEXT, 'f17c0978fedf54ac'),
    'SEResNet': (SE, '44f36c652dc0c727'),
    'SEResNeXt': (SE_RESNEXT, '94c390d15fc7bac0'),
    'Res2Net': (RES2NET, '090035ad661b2058'),
    'ResNeSt': (RESNEST, 'fc162037f3cbdb4e'),
}
TORCHVISION = ('resnet18', 'resnet50', 'resnet101', 'resnext50_32x4d')  # timm's names and shapes


def digest(shapes):
    return hashlib.sha256('\n'.join(sorted(f'{k} {tuple(v)}' for k, v in shapes.items())).encode()).hexdigest()[:16]


def shapes_of(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def ours(kind, options):
    with torch.device('meta'):
        return shapes_of(CLASSES[kind](**dict(depth=50) | options))


def gate(name, shape, squeeze, excite):
    name = re.sub(r'attention\.squeeze', squeeze, re.sub(r'attention\.excite', excite, name))
    return name, (*shape, 1, 1) if len(shape) == 2 else shape


def as_timm(shapes):
    renamed = {}
    for name, shape in shapes.items():
        if match := re.fullmatch(r'stem\.(\d)\.(.+)', name):
            name = f'bn1.{match[2]}' if match[1] == '7' else f'conv1.{match[1]}.{match[2]}'
        if 'attention' in name:
            name, shape = gate(name, shape, 'se.fc1', 'se.fc2')
        renamed[name] = shape
    features = 512 if 'layer1.0.conv3.weight' not in shapes else 2048
    return renamed | {'fc.weight': (1000, features), 'fc.bias': (1000,)}


def as_mmpretrain(shapes):
    renamed = {}
    # The Res2Net there pools before each projection; the others where the stride is 2.
    shift = 'stem.0.weight' in shapes and 'layer1.0.convs.0.weight' not in shapes
    for name, shape in shapes.items():
        if match := re.fullmatch(r'stem\.(\d)\.(.+)', name):
            name = f'stem.{int(match[1]) // 3}.{("conv", "bn")[int(match[1]) % 3]}.{match[2]}'
        if shift and (match := re.fullmatch(r'layer1\.0\.downsample\.([12])\.(.+)', name)):
            name = f'layer1.0.downsample.{int(match[1]) - 1}.{match[2]}'
        if 'attention' in name:
            name, shape = gate(name, shape, 'se_layer.conv1.conv', 'se_layer.conv2.conv')
        renamed[f'backbone.{name}'] = shape
    return renamed | {'head.fc.weight': (1000, 2048), 'head.fc.bias': (1000,)}


LAYOUTS = [(as_timm, *case) for case in TIMM.values()] + [(as_mmpretrain, *case) for case in MMPRETRAIN.values()]


@pytest.mark.parametrize(('rule', 'network', 'expected'), LAYOUTS, ids=[*TIMM, *MMPRETRAIN])
def test_the_names_of_the_libraries_become_mmdetections(rule, network, expected):
    own = ours(*network)
    published = rule(own)
    assert digest(published) == expected, 'the rule is not what the library does'
    state = {name: torch.empty(shape, device='meta') for name, shape in published.items()}
    found = read_names(dict(state_dict=state, meta={}) if rule is as_mmpretrain else state, 'a.pth')
    back = {name: tuple(value.shape) for name, value in found.state.items()}
    for block, parts in found.gates.items():
        assert set(parts) == set(GATE_PARTS)
        back |= {f'{block}.attention.{part}': tuple(value.shape) for part, value in parts.items()}
    assert back == own
    assert len(found.left_out) == 2
    assert set(found.names.values()) == set(published) - set(found.left_out)
    assert not found.caffe


def test_the_names_of_torchvisions_detectors():
    own = {name: shape for name, shape in ours(*RESNET).items() if not name.endswith('num_batches_tracked')}
    published = {f'backbone.body.{name}': shape for name, shape in own.items()}
    assert digest(published) == 'c64ef1973113b305', 'not as in its FasterRCNN'
    others = ['backbone.fpn.inner_blocks.0.0.weight', 'rpn.head.conv.0.0.weight', 'roi_heads.box_head.fc6.weight']
    state = {name: torch.empty(shape, device='meta') for name, shape in published.items() | {(n, (1,)) for n in others}}
    found = read_names(state, 'fasterrcnn_resnet50_fpn_coco-258fb6c6.pth')
    assert {name: tuple(value.shape) for name, value in found.state.items()} == own
    assert sorted(found.left_out) == sorted(others)
    assert found.frozen
    assert describe(found) == 'ResNet-50'
    assert not read_names({name.replace('.body', ''): value for name, value in state.items()}, 'a.pth').frozen


@pytest.mark.parametrize(
    ('network', 'title'),
    [
        (RESNET, 'ResNet-50'),
        (('ResNet', dict(depth=34)), 'ResNet-34'),
        (('ResNet', dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,))), 'ResNet of 3 blocks'),
        (RESNET_D, 'ResNet-50 with a deep stem'),
        (SE_RESNEXT, 'SE-ResNeXt-50 32x4d'),
        (('ResNeXt', dict(groups=64, base_width=4, depth=101)), 'ResNeXt-101 64x4d'),
        (RES2NET, 'Res2Net-50'),
        (RESNEST, 'ResNeSt-50'),
    ],
)  # fmt: skip
def test_a_network_is_named_by_its_tensors(network, title):
    state = {name: torch.empty(shape, device='meta') for name, shape in ours(*network).items()}
    assert describe(read_names(state, 'a.pth')) == title


@pytest.mark.parametrize('name', TORCHVISION)
def test_torchvision_itself(name):
    models = pytest.importorskip('torchvision.models', exc_type=Exception)
    with torch.device('meta'):
        assert digest(shapes_of(getattr(models, name)())) == TIMM[name][1]


@pytest.mark.parametrize('name', TIMM)
def test_timm_itself(name):
    timm = pytest.importorskip('timm', exc_type=Exception)
    with torch.device('meta'):
        assert digest(shapes_of(timm.create_model(name))) == TIMM[name][1]


@pytest.mark.parametrize('name', MMPRETRAIN)
def test_mmpretrain_itself(name):
    backbones = pytest.importorskip('mmpretrain.models.backbones', exc_type=Exception)
    options = dict(groups=32, width_per_group=4) if 'NeXt' in name else {}
    shapes = {f'backbone.{k}': v for k, v in shapes_of(getattr(backbones, name)(depth=50, **options)).items()}
    assert digest(shapes | {'head.fc.weight': (1000, 2048), 'head.fc.bias': (1000,)}) == MMPRETRAIN[name][1]
