"""What the speed harness counts, by hand: memory, FLOPs and bytes; and the plain HCGNet that it compares with."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'benchmarks'))

from speed_bench import contestants, memory, plain_hcgnet, roofline  # noqa: E402

SMALL = dict(stem='imagenet', blocks=(2, 1, 2), growth_rates=(8, 12, 16))


def test_kept_for_backward_by_hand():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(4, 5, 1))
    x = torch.randn(2, 3, 8, 8)
    # The input, and the ReLU's output, which the ReLU and the second convolution both save. No parameters.
    assert memory.kept_for_backward(module, lambda: module(x)) == 4 * 2 * 8 * 8 * (3 + 4)
    # A multiplication keeps both of its factors; one of them is a view, which holds all of its map.
    parameter = nn.ParameterList([torch.ones(6)])
    y = torch.randn(4, 6)
    assert memory.kept_for_backward(parameter, lambda: y[:1] * parameter[0] * torch.ones(1)) == 4 * (4 * 6 + 1)


@pytest.mark.parametrize('groups', [1, 4, 16])
def test_each_gradient_of_a_convolution_takes_what_the_convolution_takes(groups):
    conv, x = nn.Conv2d(16, 32, 3, groups=groups, bias=False), torch.randn(2, 16, 10, 9)
    forward = 2 * (2 * 32 * 8 * 7) * (16 // groups) * 9
    assert roofline.count(lambda: conv(x).sum().backward()).flops == 2 * forward  # of the weight alone
    assert roofline.count(lambda: conv(x.requires_grad_()).sum().backward()).flops == 3 * forward


def test_flops_and_bytes_of_conv_bn_relu_by_hand():
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
    x, y, weight = 2 * 3 * 8 * 8, 2 * 4 * 8 * 8, 4 * 3 * 3 * 3
    with torch.no_grad():
        work = roofline.count(lambda: module(torch.empty(2, 3, 8, 8)))
    conv, norm, relu = work.runs
    assert conv == ('convolution', 'float32', 2 * y * 3 * 9, 4 * (x + weight + y))
    assert norm[2:] == (0, 4 * (y + 4 * 4 + y))  # scale, shift, mean and variance
    assert relu == ('relu_', 'float32', 0, 4 * (y + y))
    peaks = roofline.Peaks({'float32': 1000.0}, bandwidth=100.0)
    # More FLOPs than bytes allow in the convolution; the others move bytes only.
    assert work.seconds(peaks) == pytest.approx(max(conv[2] / 1000, conv[3] / 100) + (norm[3] + relu[3]) / 100)


def test_views_and_new_memory_move_nothing():
    x = torch.randn(2, 6)

    def call():
        x.view(3, 4).t().expand(2, 4, 3).detach()
        torch.empty(100).copy_(torch.ones(1).expand(100))

    runs = {name: moved for name, _, _, moved in roofline.count(call).runs}
    assert runs == {'ones': 4, 'copy_': 4 + 400} or runs == {'fill_': 4, 'copy_': 4 + 400}


def test_resnet50_has_the_multiply_adds_of_the_literature():
    with torch.device('meta'):
        backbone = contestants.make_backbone('resnet50')
        backbone.eval()
        work = roofline.count(lambda: backbone(torch.empty(1, 3, 224, 224)))
    assert work.flops == 2 * (4_089_184_256 - 2048 * 1000)  # without the classifier


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_a_tied_convolution_is_counted_as_it_runs(layout):
    from mmhybrid.layers import TiedBlockConv2d

    module = TiedBlockConv2d(16, 32, 3, padding=1, blocks=4).to(memory_format=layout)
    x = torch.randn(2, 16, 8, 8).to(memory_format=layout)
    with torch.no_grad():
        work = roofline.count(lambda: module(x))
    assert work.flops == 2 * (2 * 32 * 8 * 8) * (16 // 4) * 9


def random_statistics(module):
    generator = torch.Generator().manual_seed(0)
    for name, value in module.state_dict().items():
        if name.endswith(('running_mean', 'running_var', 'norm.weight', 'norm.bias')):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)


@pytest.mark.parametrize('training', [False, True])
def test_plain_hcgnet_is_hcgnet(training):
    from mmhybrid.backbones.hcgnet import HCGNet
    from mmhybrid.checkpoints.hcgnet import convert_hcgnet

    torch.manual_seed(0)
    plain = plain_hcgnet.PlainHCGNet(SMALL['blocks'], SMALL['growth_rates']).double()
    random_statistics(plain)
    ours = HCGNet(SMALL, norm_eval=False).double()

    def renamed(state):
        return convert_hcgnet({f'features.{name}': value for name, value in state.items()}, SMALL)

    ours.load_state_dict(renamed(plain.state_dict()))
    x = torch.randn(3, 3, 40, 56, dtype=torch.float64)
    for module in (plain.train(training), ours.train(training)):
        outs = module(x)
        sum((out * torch.linspace(-1, 1, out.shape[-1], dtype=out.dtype)).square().sum() for out in outs).backward()
        module.outs = outs
    for a, b in zip(plain.outs, ours.outs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    gradients = renamed(plain.state_dict() | {name: p.grad for name, p in plain.named_parameters()})
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-7, atol=1e-7, msg=lambda m, n=name: n + m)


def test_plain_hcgnet_b_has_the_authors_parameters():
    with torch.device('meta'):
        backbone = plain_hcgnet.PlainHCGNet()
    assert sum(p.numel() for p in backbone.parameters()) + 1244 * 1000 + 1000 == 12_845_501
