"""HCGNet: exact counts, what is connected and frozen, and which normalisation each feature map comes from."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmhybrid.backbones.hcgnet import ARCHS, HCGNet

SMALL = dict(stem='imagenet', blocks=(2, 2, 1, 2), growth_rates=(8, 12, 12, 8))
CIFAR = dict(stem='cifar', blocks=(2, 3), growth_rates=(8, 12))


def count(module):
    return sum(p.numel() for p in module.parameters())


def features(backbone, size=(2, 3, 65, 97), dtype=torch.float32):
    return backbone(torch.randn(size, generator=torch.Generator().manual_seed(1)).to(dtype))


def close(xs, ys, atol=1e-5):
    return all(torch.allclose(x, y, atol=atol) for x, y in zip(xs, ys, strict=True))


def batch_norms(module):
    return [m for m in module.modules() if isinstance(m, _BatchNorm)]


@pytest.mark.parametrize(
    ('arch', 'classes', 'parameters', 'channels', 'strides'),
    [
        ('B', 1000, 12_845_501, (160, 368, 952, 1244), (4, 8, 16, 32)),
        ('C', 1000, 42_153_208, (352, 848, 1720, 2428), (4, 8, 16, 32)),
        ('A1', 100, 1_102_651, (120, 252, 414), (1, 2, 4)),
        ('A2', 100, 3_133_679, (240, 408, 716), (1, 2, 4)),
        ('A3', 100, 11_363_647, (504, 828, 1374), (1, 2, 4)),
    ],
)
def test_parameters_channels_and_strides(arch, classes, parameters, channels, strides):
    """The counts are of the authors' classifiers: the backbone and a linear layer on the last map's mean."""
    with torch.device('meta'):
        backbone = HCGNet(arch).eval()
        outs = backbone(torch.empty(1, 3, 64, 32))
    assert count(backbone) + channels[-1] * classes + classes == parameters
    assert backbone.out_channels == channels
    assert backbone.out_strides == strides
    expected = [(c, 64 // s, 32 // s) for c, s in zip(channels, strides, strict=True)]
    assert [tuple(o.shape[1:]) for o in outs] == expected


def test_modules_are_connected_as_the_article_says():
    """Dense connection by hand: the input of each module is the input and all earlier outputs."""
    backbone = HCGNet(SMALL).double().eval()
    x = torch.randn(2, 64, 5, 6, dtype=torch.float64)
    first, second = backbone.hybrid_block1
    a = first(x)
    b = second(torch.cat((x, a), 1))
    assert torch.allclose(backbone.hybrid_block1(x), torch.cat((x, a, b), 1), atol=1e-12)
    conv = backbone.transition1.squeeze.conv1x1.conv
    assert (conv.in_channels, conv.out_channels) == (80, 60)  # alpha = 1.5 of the 40 that go out
    assert backbone.transition1.squeeze.conv3x3.conv.groups == 1
    assert backbone.transition1.forget.fc1.out_channels == 10  # r = 4
    assert first.squeeze.conv1x1.conv.out_channels == 32  # alpha = 4
    assert first.squeeze.conv3x3.conv.groups == 4
    assert first.forget.fc1.out_channels == 4  # r = 2


def test_the_strides_are_where_the_authors_have_them():
    stem = HCGNet(SMALL).stem
    assert [m.stride for m in stem if isinstance(m, nn.Conv2d)] == [(2, 2), (1, 1), (1, 1)]
    assert [m.out_channels for m in stem if isinstance(m, nn.Conv2d)] == [32, 32, 64]
    assert HCGNet(CIFAR).stem[0].out_channels == 16


def test_feature_maps_are_what_the_next_transition_begins_with():
    backbone = HCGNet(SMALL).eval()
    taken = {}
    for i in range(1, 5):
        block = getattr(backbone, f'hybrid_block{i}')
        block.register_forward_hook(lambda *args, i=i: taken.update({i: args[2]}))
    with torch.no_grad():
        outs = features(backbone)
        norms = [getattr(backbone, f'transition{i}').squeeze.conv1x1.norm for i in (1, 2, 3)] + [backbone.norm]
        assert close(outs, [F.relu(norm(taken[i + 1])) for i, norm in enumerate(norms)], atol=0)


def test_nothing_is_computed_twice_or_in_vain():
    backbone = HCGNet(SMALL, out_indices=(1, 0)).eval()
    calls = dict.fromkeys(batch_norms(backbone), 0)
    for norm in calls:
        norm.register_forward_hook(lambda m, *_: calls.update({m: calls[m] + 1}))
    outs = features(backbone)
    assert [o.shape[1] for o in outs] == [80, 64] == list(backbone.out_channels)
    assert backbone.out_strides == (4, 8)
    used = [backbone.stem, backbone.hybrid_block1, backbone.transition1, backbone.hybrid_block2]
    used = {norm for m in used for norm in batch_norms(m)} | {backbone.transition2.squeeze.conv1x1.norm}
    assert calls == {norm: int(norm in used) for norm in calls}
    with torch.no_grad():
        assert close(outs, _same_weights(backbone, HCGNet(SMALL)).eval()(_image())[:2], atol=0)


def _image():
    return torch.randn((2, 3, 65, 97), generator=torch.Generator().manual_seed(1))


def _same_weights(source, target):
    target.load_state_dict(source.state_dict())
    return target


@pytest.mark.parametrize('norm_eval', [True, False])
@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 2, 4])
def test_frozen_stages_and_norm_eval(frozen_stages, norm_eval):
    backbone = HCGNet(SMALL, frozen_stages=frozen_stages, norm_eval=norm_eval)
    assert backbone.train() is backbone
    order = ['stem', 'hybrid_block1', 'transition1', 'hybrid_block2', 'transition2', 'hybrid_block3']
    order += ['transition3', 'hybrid_block4', 'norm']
    expected = order[: {-1: 0, 0: 1, 1: 2, 2: 4, 4: 9}[frozen_stages]]
    assert {name.split('.')[0] for name, p in backbone.named_parameters() if not p.requires_grad} == set(expected)
    for name, module in backbone.named_children():
        assert all(norm.training is not (norm_eval or name in expected) for norm in batch_norms(module))
    before = {name: b.clone() for name, b in backbone.named_buffers()}
    outs = features(backbone)
    if frozen_stages < 4:
        sum(o.square().mean() for o in outs).backward()
    moved = {name.split('.')[0] for name, b in backbone.named_buffers() if not torch.equal(b, before[name])}
    assert moved == (set() if norm_eval else set(order) - set(expected))
    assert all((p.grad is not None) is p.requires_grad for p in backbone.parameters())


@pytest.mark.parametrize('frozen_stages', [-1, 1])
def test_with_cp_gives_the_same_gradients(frozen_stages):
    plain = HCGNet(SMALL, norm_eval=False, frozen_stages=frozen_stages).double().train()
    checkpointed = HCGNet(SMALL, norm_eval=False, frozen_stages=frozen_stages, with_cp=True).double().train()
    _same_weights(plain, checkpointed)
    grads, runs = [], []
    for backbone in (plain, checkpointed):
        backbone.hybrid_block2[1].excite.register_forward_hook(lambda *_: runs.append(1))
        outs = features(backbone, (2, 3, 40, 48), torch.float64)
        sum(o.square().mean() for o in outs).backward()
        grads.append([p.grad for p in backbone.parameters() if p.requires_grad])
    assert close(*grads, atol=1e-12)
    assert len(runs) == 3  # once without, and once more in the backward pass with


def test_one_image_can_be_trained():
    backbone = HCGNet(SMALL, norm_eval=False).train()
    outs = features(backbone, (1, 3, 64, 96))
    sum(o.square().mean() for o in outs).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_group_norm_adapts_its_groups():
    backbone = HCGNet(SMALL, norm_cfg=dict(type='GN', num_groups=32)).train()
    assert not batch_norms(backbone)
    assert backbone.stem[1].num_groups == 32
    assert backbone.hybrid_block1[1].squeeze.conv1x1.norm.num_groups == 24  # of 72 channels
    assert backbone.norm.num_groups == 19  # of 38 channels
    assert {m.norm.num_groups for n, m in backbone.named_modules() if n.endswith(('update', 'forget'))} == {1}
    assert count(backbone) == count(HCGNet(SMALL))
    outs = features(backbone, (2, 3, 40, 48))
    sum(o.square().mean() for o in outs).backward()
    assert close([o[:1] for o in outs], backbone(_first_image()), atol=1e-4)


def _first_image():
    return torch.randn((2, 3, 40, 48), generator=torch.Generator().manual_seed(1))[:1]


def test_synchronised_batch_norm():
    backbone = HCGNet(SMALL, norm_cfg=dict(type='SyncBN', requires_grad=False), norm_eval=False).train()
    assert all(isinstance(norm, nn.SyncBatchNorm) for norm in batch_norms(backbone))
    assert not any(p.requires_grad for norm in batch_norms(backbone) for p in norm.parameters())
    plain = _same_weights(backbone, HCGNet(SMALL, norm_eval=False).train())
    with torch.no_grad():
        expected = features(plain.double(), dtype=torch.float64)
        assert close(features(backbone.double(), dtype=torch.float64), expected, atol=1e-10)


def test_initialisation_is_kaimings():
    backbone = HCGNet('B')
    backbone.init_weights()
    conv = backbone.transition3.squeeze.conv3x3.conv
    assert conv.weight.std().item() == pytest.approx((2 / (476 * 9)) ** 0.5, rel=0.02)
    assert all(norm.weight.min() == norm.weight.max() == 1 for norm in batch_norms(backbone))
    assert backbone.hybrid_block1[0].forget.fc1.bias.abs().max() == 0


@pytest.mark.parametrize(('n', 'with_cp'), [(1, False), (2, True)])
def test_training_compiles_in_one_graph(n, with_cp):
    arch = dict(CIFAR, blocks=(1, 1))
    backbone = HCGNet(arch, norm_eval=False, with_cp=with_cp).double().train()
    compiled = torch.compile(backbone, fullgraph=True, backend='aot_eager')
    grads = []
    for model in (backbone, compiled):
        outs = features(model, (n, 3, 12, 10), torch.float64)
        sum(o.square().mean() for o in outs).backward()
        grads.append([p.grad for p in backbone.parameters()])
        backbone.zero_grad()
    assert close(*grads, atol=1e-10)


@pytest.mark.slow
def test_onnx_export_has_dynamic_batch_and_size(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    backbone = HCGNet(dict(stem='imagenet', blocks=(1, 2), growth_rates=(8, 12))).eval()
    path = tmp_path / 'hcgnet.onnx'
    dynamic = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    torch.onnx.export(
        backbone, (torch.randn(2, 3, 64, 96),), path, dynamo=True, dynamic_shapes=(dynamic,), verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    for size in ((1, 3, 64, 96), (3, 3, 37, 53)):
        x = torch.randn(size)
        outs = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        with torch.no_grad():
            assert close([torch.from_numpy(o) for o in outs], backbone(x), atol=1e-4)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='D'), "variants B, C, A1, A2, A3, not 'D'"),
        (dict(arch=dict(SMALL, depth=50)), 'exactly the keys blocks, growth_rates, stem'),
        (dict(arch=dict(SMALL, stem='patch')), "not 'patch'"),
        (dict(arch=dict(SMALL, blocks=(1, 2))), 'for each hybrid block'),
        (dict(arch=dict(SMALL, blocks=(1, 0, 1, 1))), 'a positive number of modules'),
        (dict(arch=dict(SMALL, growth_rates=(8, 8, 8, 10))), 'not both divisible by groups = 4'),
        (dict(arch=CIFAR, out_indices=(0, 2)), 'out_indices of HCGNet must be different integers from 0 to 1'),
        (dict(arch=CIFAR, frozen_stages=3), 'frozen_stages of HCGNet must be an integer from -1 to 2, not 3'),
        (dict(arch=CIFAR, norm_cfg=dict(type='IN')), "BN, SyncBN, GN, not 'IN'"),
        (dict(arch=CIFAR, norm_cfg=dict(type='GN')), 'must give num_groups'),
    ],
)
def test_arguments_that_cannot_apply_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HCGNet(**options)


def test_the_table_of_variants_is_not_changed_by_use():
    before = {name: dict(arch) for name, arch in ARCHS.items()}
    HCGNet('A1', norm_cfg=dict(type='GN', num_groups=8))
    assert before == ARCHS
