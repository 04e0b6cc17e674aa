import math

import numpy as np
import pytest
import torch
from mmcv.cnn.bricks import ContextBlock
from mmdet.models.backbones.resnest import RSoftmax, SplitAttentionConv2d
from mmdet.models.layers.se_layer import ChannelAttention, SELayer
from torch import nn

from mmhybrid.backbones.tied_resnest import TiedSplitAttentionConv2d
from mmhybrid.inspecting.analyses import gate_readers as readers
from mmhybrid.layers.global_context import GlobalContext, TiedGCB
from mmhybrid.layers.smg import SMG
from mmhybrid.layers.squeeze_excite import SqueezeAggregatedExcite, SqueezeExcite, TiedSE
from mmhybrid.zoo import create_backbone


def randomised(module):
    """In evaluation and float64, with values at random wherever there are any, also of running statistics."""
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point():
            value.data = torch.rand_like(value) + 0.5 if name.endswith('running_var') else torch.randn_like(value)
    return module.double().eval()


def readings(module, *inputs):
    """Type -> what is read while a module computes, and its output."""
    found = {}

    def take(source, values):
        assert source.type not in found
        found[source.type] = values

    with readers.watched(nn.Sequential(module), take):
        output = module(*inputs)
    return found, output


def images(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def excited(z, w1, b1, w2, b2):
    return sigmoid(w2 @ np.maximum(w1 @ z + b1, 0) + b2)


@pytest.mark.parametrize('residual', [False, True])
@pytest.mark.parametrize('blocks', [1, 2])
def test_se_and_tied_se_are_their_equation(blocks, residual):
    layer = randomised(SqueezeExcite(8, reduction=2, blocks=blocks, residual_gate=residual))
    x = images(3, 8, 4, 5)
    found, output = readings(layer, x)
    w1, b1, w2, b2 = (
        getattr(getattr(layer, part), name).detach().numpy()
        for part in ('squeeze', 'excite')
        for name in ('weight', 'bias')
    )
    b1, b2 = b1.reshape(blocks, -1)[0] if b1.size > len(w1) else b1, b2[: len(w2)]
    for image, gate in zip(x.mean((2, 3)).numpy(), found['channel'].numpy(), strict=True):
        expected = np.concatenate([excited(z, w1, b1, w2, b2) for z in np.split(image, blocks)])
        np.testing.assert_allclose(gate, expected, rtol=1e-12)
    # What is read is what scales the channels.
    torch.testing.assert_close(output, x * (found['channel'] + residual)[:, :, None, None])


def test_a_gate_set_by_hand():
    layer = SqueezeExcite(2, reduction=1).double().eval()
    layer.squeeze.weight.data, layer.squeeze.bias.data = torch.eye(2).double(), torch.zeros(2).double()
    layer.excite.weight.data = tensor([[math.log(3), 0], [0, 1]])
    layer.excite.bias.data = tensor([0, -math.log(4)])
    found, _ = readings(layer, tensor([1.0, -5.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 3))
    # sigmoid(log 3) = 3/4; the second mean is negative, so that its bias is left: sigmoid(-log 4) = 1/5.
    np.testing.assert_allclose(found['channel'], [[0.75, 0.2]], rtol=1e-14)


def test_sae_is_its_equation():
    layer = randomised(SqueezeAggregatedExcite(8, reduction=4, cardinality=3))
    x = images(2, 8, 3, 3)
    found, _ = readings(layer, x)
    w1, b1, w2, b2 = (p.detach().numpy() for p in layer.parameters())
    for z, gate in zip(x.mean((2, 3)).numpy(), found['channel'].numpy(), strict=True):
        branches = [np.maximum(w @ z + b, 0) for w, b in zip(np.split(w1, 3), np.split(b1, 3), strict=True)]
        np.testing.assert_allclose(gate, sigmoid(w2 @ np.concatenate(branches) + b2), rtol=1e-12)


@pytest.mark.parametrize('layer', [SELayer(16, ratio=4), ChannelAttention(16)], ids=lambda layer: type(layer).__name__)
def test_mmdetections_gates_are_what_scales_the_channels(layer):
    x = images(3, 16, 4, 4)
    found, output = readings(randomised(layer), x)
    assert found['channel'].shape == (3, 16)
    torch.testing.assert_close(output, x * found['channel'][:, :, None, None])


def pooled(pool, x):
    """Attention (H, W) and z of one map (C, H, W)."""
    scores = np.tensordot(pool.score.weight.detach().numpy()[0, :, 0, 0], x, 1) + pool.score.bias.item()
    attention = np.exp(scores) / np.exp(scores).sum()
    return attention, (x * attention).sum((1, 2))


def normalised(norm, x):
    mean, var, scale, shift = (
        each.detach().numpy() for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / np.sqrt(var + norm.eps) * scale + shift


def linear(conv, x):
    return conv.weight.detach().numpy()[:, :, 0, 0] @ x + conv.bias.detach().numpy()


def test_the_gates_of_an_smg_are_their_equations():
    smg = randomised(SMG(6, 4, 8))
    found, output = readings(smg, images(3, 6, 4, 5))
    inputs = images(3, 6, 4, 5)
    found, output = readings(smg, inputs)
    reused = smg.squeeze(inputs)
    branches = [each.detach().numpy() for each in smg.excite(reused)]
    update, forget = smg.update, smg.forget
    for n in range(3):
        (s3, z3), (s5, z5) = pooled(update.pool3x3, branches[0][n]), pooled(update.pool5x5, branches[1][n])
        h = np.tanh(normalised(update.norm, linear(update.fc, np.concatenate([z3, z5]))))
        e3, e5 = np.exp(linear(update.fc3x3, h)), np.exp(linear(update.fc5x5, h))
        np.testing.assert_allclose(found['update'][n], e5 / (e3 + e5), rtol=1e-10)
        x = reused[n].detach().numpy()
        s, z = pooled(forget.pool, x)
        f = sigmoid(linear(forget.fc2, np.tanh(normalised(forget.norm, linear(forget.fc1, z)))))
        np.testing.assert_allclose(found['forget'][n], f, rtol=1e-10)
        for kind, attention in (('pool3x3', s3), ('pool5x5', s5), ('pool_forget', s)):
            np.testing.assert_allclose(found[kind][n], attention, rtol=1e-10)
        # O = f X' + u3 z3 + u5 z5: what is read is what the module computes with.
        v = e3 / (e3 + e5) * z3 + found['update'][n].numpy() * z5
        expected = f[:, None, None] * x + v[:, None, None]
        np.testing.assert_allclose(output[n].detach(), expected, rtol=1e-9, atol=1e-12)


def test_the_update_gate_is_a_pair_that_sums_to_one():
    gate = randomised(SMG(6, 4, 8)).update
    pair = readers.update_gate(gate, images(5, gate.fc.out_channels, 1, 1))
    assert pair.shape == (5, 2, 4)
    torch.testing.assert_close(pair.sum(1), torch.ones(5, 4).double())
    with torch.no_grad():
        gate.fc3x3.weight.zero_()
        gate.fc5x5.weight.zero_()
        gate.fc3x3.bias.zero_()
        gate.fc5x5.bias.fill_(math.log(3))
    torch.testing.assert_close(
        readers.update_gate(gate, images(1, gate.fc.out_channels, 1, 1)),
        tensor([0.25, 0.75]).reshape(1, 2, 1).expand(1, 2, 4),
    )


@pytest.mark.parametrize(('radix', 'groups'), [(1, 1), (2, 1), (2, 2), (3, 2)])
def test_split_attention_is_mmdetections(radix, groups):
    logits = images(3, 8 * radix, 1, 1)
    shares = readers.split_attention(logits, radix, groups)
    torch.testing.assert_close(shares.flatten(1), RSoftmax(radix, groups)(logits).flatten(1))
    if radix > 1:
        torch.testing.assert_close(shares.sum(1), torch.ones(3, 8).double())


def test_split_attention_is_read_from_the_tied_one_too():
    tied = randomised(TiedSplitAttentionConv2d(8, 1, 1, 1, 2, 2, None, norm_cfg=dict(type='BN')))
    conv = SplitAttentionConv2d(8, 8, 3, padding=1, groups=2, radix=2).double().eval()
    conv.load_state_dict(tied.state_dict())
    x = images(2, 8, 5, 5)
    (one, first), (other, second) = readings(tied, x), readings(conv, x)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(one['split'], other['split'])
    assert one['split'].shape == (2, 8)


def test_attention_of_global_context_set_by_hand():
    block = GlobalContext(4).double().eval()
    block.conv_mask.weight.data = tensor([1.0, 0, 0, 0]).reshape(1, 4, 1, 1)
    block.conv_mask.bias.data.fill_(7)  # which a softmax does not see
    x = images(1, 4, 2, 2)
    x[0, 0] = tensor([[0, math.log(2)], [math.log(3), math.log(4)]])
    found, _ = readings(block, x)
    np.testing.assert_allclose(found['context'], [[[0.1, 0.2], [0.3, 0.4]]], rtol=1e-12)
    assert found['change'].tolist() == [[0.0]]  # its last convolution starts at zero


@pytest.mark.parametrize(
    'block', [GlobalContext(8), TiedGCB(8), ContextBlock(8, 1 / 4)], ids=lambda b: type(b).__name__
)
def test_attention_sums_to_one_and_the_change_is_the_blocks(block):
    x = images(3, 8, 5, 7)
    found, output = readings(randomised(block), x)
    assert found['context'].shape == (3, 5, 7)
    torch.testing.assert_close(found['context'].sum((1, 2)), torch.ones(3).double())
    ratio = (output - x).pow(2).mean((1, 2, 3)).sqrt() / x.pow(2).mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(found['change'][:, 0].double(), ratio, rtol=1e-5, atol=0)
    assert (ratio > 0).all()


def test_the_change_of_nothing_is_none():
    x = torch.tensor([[0.0, 0], [3, -4], [0, 0]]).reshape(3, 2, 1, 1)
    y = torch.tensor([[0.0, 0], [3, 1], [0, 1]]).reshape(3, 2, 1, 1)
    assert readers.change(x, y).flatten().tolist() == [0, 1, math.inf]


def test_a_context_block_that_multiplies_has_a_gate():
    x = images(2, 8, 3, 4)
    block = ContextBlock(8, 1 / 4, pooling_type='avg', fusion_types=('channel_mul',))
    found, output = readings(randomised(block), x)
    assert set(found) == {'channel', 'change'}
    torch.testing.assert_close(output, x * found['channel'][:, :, None, None])


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        # SMG modules of the blocks, 3, 6, 12 and 8, and a transition before each but the first.
        ('hcgnet_b', {kind: [3, 7, 13, 9] for kind in ('update', 'forget', 'pool3x3', 'pool5x5', 'pool_forget')}),
        ('hcgnet_a1', {kind: [8, 9, 9] for kind in ('update', 'forget', 'pool3x3', 'pool5x5', 'pool_forget')}),
        ('se_resnet50', {'channel': [3, 4, 6, 3]}),
        ('sae_resnet50', {'channel': [3, 4, 6, 3]}),
        ('tiedsenet50', {'channel': [3, 4, 6, 3]}),
        ('tiedresnet50_tiedgcb', {'context': [0, 4, 6, 3], 'change': [0, 4, 6, 3]}),
        ('tiedresnest50', {'split': [3, 4, 6, 3]}),
        ('tiedresnet50', {}),
    ],
)
def test_all_gates_of_a_backbone_are_found_by_stage(name, expected):
    found = readers.sources(create_backbone(name))
    counts = {
        kind: [sum(s.type == kind and s.stage == stage for s in found) for stage in range(1, 1 + len(stages))]
        for kind, stages in expected.items()
    }
    assert counts == expected
    assert len(found) == sum(map(sum, expected.values()))


@pytest.mark.parametrize(
    ('name', 'stage'),
    [('backbone.layer3.0.attention', 3), ('layers.4.2.se', 4), ('stage2.1.attention', 2), ('hybrid_block1.0.update', 1),
     ('backbone.transition1.forget', 2), ('blocks.3.gate', None)],
)  # fmt: skip
def test_a_modules_stage_is_in_its_name(name, stage):
    assert readers.Source('channel', name, '').stage == stage


def test_hooks_are_gone_whatever_happens():
    layer = nn.Sequential(TiedSE(16), TiedGCB(16), SMG(16, 4, 8)).eval()
    before = {name: value.clone() for name, value in layer.state_dict().items()}

    def fail(source, values):
        raise RuntimeError('no')

    with pytest.raises(RuntimeError, match='no'), readers.watched(layer, fail):
        assert sum(bool(module._forward_hooks) for module in layer.modules()) == 8
        layer(torch.rand(1, 16, 3, 3))
    assert not any(module._forward_hooks for module in layer.modules())
    assert all(torch.equal(before[name], value) for name, value in layer.state_dict().items())
