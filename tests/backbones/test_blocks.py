"""What the residual blocks share; the tests of each family show it at work."""

import pytest
import torch
from mmdet.models.backbones.resnet import Bottleneck
from torch import nn

from mmhybrid.backbones.blocks import (
    applicable_dcn,
    bottleneck_branch,
    check_block_options,
    make_plugins,
    residual_forward,
)

CONTEXT = dict(type='ContextBlock', ratio=1 / 4)


@pytest.mark.parametrize(
    ('fallback', 'stride', 'expected'),
    [
        ({}, 2, dict(type='DCNv2')),
        (dict(fallback_on_stride=False), 2, dict(type='DCNv2')),
        (dict(fallback_on_stride=True), 1, dict(type='DCNv2')),
        (dict(fallback_on_stride=True), 2, None),
    ],
)
def test_fallback_on_stride_keeps_strided_convolutions_plain(fallback, stride, expected):
    dcn = dict(type='DCNv2', **fallback)
    assert applicable_dcn(dcn, stride) == expected
    assert dcn == dict(type='DCNv2', **fallback)
    assert applicable_dcn(None, stride) is None


def test_options_that_exclude_each_other_or_name_no_position_are_refused():
    check_block_options({})
    check_block_options(dict(dcn=None, conv_cfg=dict(type='ConvWS'), plugins=None))
    with pytest.raises(ValueError, match='together with dcn'):
        check_block_options(dict(dcn=dict(type='DCNv2'), conv_cfg=dict(type='ConvWS')))
    with pytest.raises(ValueError, match="one of after_conv1, after_conv2, after_conv3, not 'end'"):
        check_block_options(dict(plugins=[dict(cfg=CONTEXT, position='after_conv2'), dict(cfg={}, position='end')]))


def test_plugins_get_the_widths_they_are_made_for():
    block = Bottleneck(16, 4)
    plugins = [dict(cfg=dict(CONTEXT, postfix=i), position=f'after_conv{i}') for i in (1, 2, 3)]
    make_plugins(block, plugins, width=8, channels=16)
    assert [getattr(block, f'context_block{i}').in_channels for i in (1, 2, 3)] == [8, 8, 16]
    assert block.with_plugins


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('plugins', [None, [dict(cfg=CONTEXT, position='after_conv2')]])
@pytest.mark.parametrize('downsample', [None, nn.Conv2d(16, 16, 1)])
def test_branch_and_forward_are_mmdetections(downsample, plugins, with_cp):
    block = Bottleneck(16, 4, downsample=downsample, plugins=plugins, with_cp=with_cp).double().eval()
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64, requires_grad=True)
    runs = []
    block.conv1.register_forward_hook(lambda *_: runs.append(1))

    def branch(x):
        return bottleneck_branch(block, x, lambda x: block.relu(block.norm2(block.conv2(x))))

    out = residual_forward(block, branch, x)
    out.sum().backward()
    assert len(runs) == 1 + with_cp
    block.with_cp = False
    assert torch.equal(out, block(x))
