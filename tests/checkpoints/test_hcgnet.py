"""Conversion of the HCGNet authors' weights: their state dict is made here from the article, under their names."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from mmhybrid.backbones.hcgnet import ARCHS, HCGNet
from mmhybrid.checkpoints.hcgnet import convert_hcgnet, renamed
from mmhybrid.errors import InputError

SMALL = dict(stem='imagenet', blocks=(1, 2), growth_rates=(8, 12))


def norm(name, c):
    yield from ((f'{name}.{part}', (c,)) for part in ('weight', 'bias', 'running_mean', 'running_var'))
    yield f'{name}.num_batches_tracked', ()


def conv(name, c_out, c_in, k=1, bias=True):
    yield f'{name}.weight', (c_out, c_in, k, k)
    if bias:
        yield f'{name}.bias', (c_out,)


def smg(name, c_in, c_mid, c, groups, r):
    """One module: four pre-activated convolutions, then the parts of the update gate and of the forget gate."""
    convs = (('conv1_1x1', c_in, c_mid, c_in, 1), ('conv2_3x3', c_mid, c, c_mid // groups, 3))
    for part, width, c_out, per_group, k in (*convs, ('conv_3x3', c, c, 1, 3), ('conv_5x5', c, c, 1, 3)):
        yield from norm(f'{name}.{part}.norm', width)
        yield from conv(f'{name}.{part}.conv', c_out, per_group, k, bias=False)
    yield from conv(f'{name}.global_context3x3', 1, c)
    yield from conv(f'{name}.global_context5x5', 1, c)
    yield from conv(f'{name}.fcall', 2 * c // r, 2 * c)
    yield from norm(f'{name}.bn_attention', 2 * c // r)
    yield from conv(f'{name}.fc3x3', c, 2 * c // r)
    yield from conv(f'{name}.fc5x5', c, 2 * c // r)
    yield from conv(f'{name}.global_forget_context', 1, c)
    yield from norm(f'{name}.bn_forget', c // r)
    yield from conv(f'{name}.fc1', c // r, c)
    yield from conv(f'{name}.fc2', c, c // r)


def authors_shapes(blocks, growth_rates, classes=1000, c=64):
    """Names and shapes of an ImageNet classifier, in the authors' order."""
    for i, (c_in, c_out) in enumerate(((3, 32), (32, 32), (32, 64))):
        yield from conv(f'features.conv{i}', c_out, c_in, 3, bias=False)
        yield from norm(f'features.norm{i}', c_out)
    for b, (n, k) in enumerate(zip(blocks, growth_rates, strict=True), start=1):
        for m in range(1, n + 1):
            yield from smg(f'features.hybridblock{b}.SMG{m}', c, 4 * k, k, groups=4, r=2)
            c += k
        if b < len(blocks):
            half = c // 2
            yield from smg(f'features.transition{b}', c, c - (c - half) // 2, half, groups=1, r=4)
            c = half
    yield from norm('features.norm5', c)
    yield 'classifier.weight', (classes, c)
    yield 'classifier.bias', (classes,)


def authors_weights(blocks, growth_rates, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in authors_shapes(blocks, growth_rates):
        if name.endswith('num_batches_tracked'):
            weights[name] = torch.tensor(len(weights))
        elif len(shape) == 1:  # positive, as variances must be
            weights[name] = torch.rand(shape, generator=generator, dtype=dtype) + 0.5
        else:
            weights[name] = torch.randn(shape, generator=generator, dtype=dtype) / math.prod(shape[1:]) ** 0.5
    return weights


class Authors:
    """The authors' network in evaluation, computed from their state dict by the article's equations."""

    def __init__(self, weights):
        self.weights = weights

    def norm(self, name, x):
        w, b, mean, var = (
            self.weights[f'{name}.{part}'].reshape(1, -1, 1, 1)
            for part in ('weight', 'bias', 'running_mean', 'running_var')
        )
        return (x - mean) / (var + 1e-5).sqrt() * w + b

    def conv(self, name, x, **options):
        return F.conv2d(x, self.weights[f'{name}.weight'], self.weights.get(f'{name}.bias'), **options)

    def pool(self, name, x):
        score = self.conv(name, x)
        e = (score - score.amax((2, 3), keepdim=True)).exp()
        return (x * e).sum((2, 3), keepdim=True) / e.sum((2, 3), keepdim=True)

    def smg(self, name, x, groups, stride):
        """Return what the first convolution sees, and the module's output."""
        tap = F.relu(self.norm(f'{name}.conv1_1x1.norm', x))
        y = F.relu(self.norm(f'{name}.conv2_3x3.norm', self.conv(f'{name}.conv1_1x1.conv', tap)))
        y = self.conv(f'{name}.conv2_3x3.conv', y, stride=stride, padding=1, groups=groups)
        c = y.shape[1]
        branches = {}
        for kernel, dilation in (('3x3', 1), ('5x5', 2)):
            branch = F.relu(self.norm(f'{name}.conv_{kernel}.norm', y))
            branch = self.conv(f'{name}.conv_{kernel}.conv', branch, padding=dilation, dilation=dilation, groups=c)
            branches[kernel] = self.pool(f'{name}.global_context{kernel}', branch)
        z = torch.cat((branches['3x3'], branches['5x5']), 1)
        h = torch.tanh(self.norm(f'{name}.bn_attention', self.conv(f'{name}.fcall', z)))
        u3x3, u5x5 = self.conv(f'{name}.fc3x3', h).exp(), self.conv(f'{name}.fc5x5', h).exp()
        v = (u3x3 * branches['3x3'] + u5x5 * branches['5x5']) / (u3x3 + u5x5)
        z = self.pool(f'{name}.global_forget_context', y)
        f = torch.tanh(self.norm(f'{name}.bn_forget', self.conv(f'{name}.fc1', z)))
        return tap, torch.sigmoid(self.conv(f'{name}.fc2', f)) * y + v

    def __call__(self, x, blocks):
        for i, stride in enumerate((2, 1, 1)):
            x = F.relu(self.norm(f'features.norm{i}', self.conv(f'features.conv{i}', x, stride=stride, padding=1)))
        x = F.max_pool2d(x, 3, 2, 1)
        taps = []
        for b, n in enumerate(blocks, start=1):
            for m in range(1, n + 1):
                x = torch.cat((x, self.smg(f'features.hybridblock{b}.SMG{m}', x, 4, 1)[1]), 1)
            if b < len(blocks):
                tap, x = self.smg(f'features.transition{b}', x, 1, 2)
                taps.append(tap)
        return (*taps, F.relu(self.norm('features.norm5', x)))


def detector_name(name):
    """Name of a classifier's entry in the backbone of the authors' detector (their detection/hcgnet.py)."""
    name = re.sub(r'^features\.conv(\d)', r'stem\1.conv', name)
    name = re.sub(r'^features\.norm([0-2])', r'stem\1.bn1', name)
    name = re.sub(r'^features\.norm5', 'bn1', name)
    name = re.sub(r'^features\.hybridblock(\d)\.SMG(\d+)', lambda m: f'hybridblock{m[1]}.{int(m[2]) - 1}', name)
    name = re.sub(r'^features\.transition(\d)', lambda m: f'transition{int(m[1]) + 1}', name)
    return 'backbone.' + re.sub(r'(conv\w+)\.norm\.', r'\1.bn1.', name)


def cifar_shapes(blocks, growth_rates, classes=100):
    """Names and shapes of a classifier for CIFAR, in the authors' order."""
    c = 2 * growth_rates[0]
    yield from conv('features.conv0', c, 3, 3, bias=False)
    for name, shape in authors_shapes(blocks, growth_rates, classes, c):
        if not re.match(r'features\.(conv|norm)[0-2]', name):
            yield name.replace('hybridblock', 'HybridBlock').replace('transition', 'Transition'), shape


@pytest.fixture(scope='module')
def weights():
    return authors_weights(SMALL['blocks'], SMALL['growth_rates'])


@pytest.mark.parametrize(('arch', 'parameters'), [('B', 12_845_501), ('C', 42_153_208)])
def test_names_map_one_to_one_in_order_and_shape(arch, parameters):
    shapes = dict(authors_shapes(ARCHS[arch]['blocks'], ARCHS[arch]['growth_rates']))
    with torch.device('meta'):
        theirs = {name: torch.empty(shape) for name, shape in shapes.items()}
        ours = HCGNet(arch).state_dict()
    buffers = ('running_mean', 'running_var', 'num_batches_tracked')
    assert sum(t.numel() for name, t in theirs.items() if not name.endswith(buffers)) == parameters
    converted = convert_hcgnet(theirs, arch)
    assert list(converted) == list(ours)
    assert len(converted) == len(theirs) - 2  # all but the classifier
    for mine, own in zip(converted.values(), theirs.values()):  # noqa: B905 (theirs ends with the classifier)
        assert mine is own


@pytest.mark.parametrize('arch', ['A1', 'A2', 'A3'])
def test_classifiers_for_cifar_have_names_with_capitals(arch):
    shapes = dict(cifar_shapes(ARCHS[arch]['blocks'], ARCHS[arch]['growth_rates']))
    with torch.device('meta'):
        theirs = {name: torch.empty(shape) for name, shape in shapes.items()}
        ours = HCGNet(arch).state_dict()
    buffers = ('running_mean', 'running_var', 'num_batches_tracked')
    count = sum(t.numel() for name, t in theirs.items() if not name.endswith(buffers))
    assert count == dict(A1=1_102_651, A2=3_133_679, A3=11_363_647)[arch]  # of the authors' code
    assert list(convert_hcgnet(dict(net=theirs, acc=97.0), arch)) == list(ours)


def test_the_backbone_of_the_authors_detector_has_the_same_tensors(weights):
    backbone = {detector_name(k): v for k, v in weights.items() if not k.startswith('classifier')}
    known = ('stem0.bn1.bias', 'hybridblock2.1.conv1_1x1.bn1.weight', 'transition2.conv2_3x3.conv.weight', 'bn1.weight')
    assert {f'backbone.{name}' for name in known} < set(backbone)
    detector = {
        'neck.lateral_convs.0.conv.weight': torch.zeros(1),
        **backbone,
        'mask_head.conv_logits.bias': torch.zeros(1),
    }
    converted = convert_hcgnet(dict(meta=dict(epoch=12), state_dict=detector), SMALL)
    plain = convert_hcgnet(weights, SMALL)
    assert list(converted) == list(plain)
    assert all(a is b for a, b in zip(converted.values(), plain.values(), strict=True))
    assert list(renamed({name.removeprefix('backbone.'): value for name, value in backbone.items()})) == list(plain)
    assert renamed(dict(HCGNet(SMALL).state_dict())) is None


def test_the_converted_weights_compute_what_the_authors_do(weights):
    backbone = HCGNet(SMALL).double().eval()
    backbone.load_state_dict(convert_hcgnet(weights, SMALL))
    x = torch.randn(2, 3, 41, 58, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        outs = backbone(x)
    for out, expected in zip(outs, Authors(weights)(x, SMALL['blocks']), strict=True):
        assert expected.std() > 0.01
        assert torch.allclose(out, expected, rtol=1e-9, atol=1e-9)
    assert int(backbone.norm.num_batches_tracked) == list(weights).index('features.norm5.num_batches_tracked')


@pytest.mark.parametrize('key', ['state_dict', 'net', None])
@pytest.mark.parametrize('prefix', ['module.', ''])
@pytest.mark.parametrize('classifier', [True, False])
def test_wrappings_are_taken_off(weights, key, prefix, classifier):
    state_dict = {prefix + k: v for k, v in weights.items() if classifier or not k.startswith('classifier')}
    checkpoint = state_dict if key is None else {'epoch': 630, key: state_dict, 'best_acc': 78.5}
    converted = convert_hcgnet(checkpoint, SMALL)
    plain = convert_hcgnet(weights, SMALL)
    assert list(converted) == list(plain)
    assert all(a is b for a, b in zip(converted.values(), plain.values(), strict=True))


def test_files_from_before_batches_were_counted_are_taken(weights):
    old = {k: v for k, v in weights.items() if not k.endswith('num_batches_tracked')}
    backbone = HCGNet(SMALL)
    backbone.load_state_dict(convert_hcgnet(old, SMALL))
    assert torch.equal(backbone.norm.weight, weights['features.norm5.weight'].float())


def _without(weights, name):
    return {k: v for k, v in weights.items() if k != name}


@pytest.mark.parametrize(
    ('change', 'arch', 'message'),
    [
        (
            lambda w: w,
            'B',
            r"not of HCGNet-B: it lacks 'hybrid_block1.1.squeeze.conv1x1.norm.weight'.*the first of \d+",
        ),
        (lambda w: _without(w, 'features.norm5.bias'), SMALL, "lacks 'norm.bias' .* the first of 1 such"),
        (lambda w: _without(w, 'features.transition1.fc1.bias'), SMALL, "'transition1.forget.fc1.bias'"),
        (
            lambda w: w | {'features.norm5.bias': torch.zeros(7)},
            SMALL,
            r"'norm.bias' .* has shape \(7,\) instead of \(60,\)",
        ),
        (
            lambda w: w | {'features.hybridblock1.SMG2.fc1.bias': torch.zeros(7)},
            SMALL,
            "has in excess 'hybrid_block1.1.forget.fc1.bias'",
        ),
        (
            lambda w: w | {'features.hybridblock1.SMG1.fc9.bias': torch.zeros(7)},
            SMALL,
            "entry 'features.hybridblock1.SMG1.fc9.bias'",
        ),
        (
            lambda w: {'layer1.0.conv1.weight': torch.zeros(3)},
            SMALL,
            "an entry 'layer1.0.conv1.weight', which no model of the HCGNet authors has",
        ),
        (lambda w: {}, SMALL, 'lacks'),
        (lambda w: {'state_dict': w, 'net': 0}, 'A1', 'not of HCGNet-A1'),
        (lambda w: {'model': w}, SMALL, 'neither a dict of tensors'),
        (lambda w: list(w), SMALL, 'neither a dict of tensors'),
    ],
)
def test_what_does_not_match_is_told_in_one_sentence(weights, change, arch, message):
    with pytest.raises(InputError, match=message) as error:
        convert_hcgnet(change(weights), arch)
    assert '\n' not in str(error.value)
    assert str(error.value).endswith('.')
