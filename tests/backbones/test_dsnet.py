"""DSNet and DS2Res2Net: exact counts, ResNet and Res2Net as special cases, the stages against their equation."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.models import Res2Net, ResNet
from torch import nn

from mmhybrid.backbones import DS2Res2Net, DSNet
from mmhybrid.layers.dense_shortcut import DenseShortcut

SMALL = dict(base_channels=16)  # a quarter of the channels: fast, and as deep
TWO_STAGES = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
INNER = dict(inner_shortcut=True)
KINDS = {'ds': (DSNet, {}), 'ds2': (DSNet, INNER), 'ds2_res2': (DS2Res2Net, dict(base_width=8))}
every_kind = pytest.mark.parametrize('kind', KINDS)
ds2_kinds = pytest.mark.parametrize('kind', ['ds2', 'ds2_res2'])


def build(kind, **kwargs):
    cls, options = KINDS[kind]
    return cls(50, **SMALL, **options, **kwargs)


def build_plain(kind, **kwargs):
    plain = Res2Net(depth=50, base_width=8, **SMALL) if kind == 'ds2_res2' else ResNet(50, **SMALL, **kwargs)
    plain.eval()
    return plain


def features(backbone, size=(2, 3, 65, 97), dtype=torch.float32):
    return backbone(torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(1)))


def equal(a, b, atol=1e-4):
    return len(a) == len(b) and all(torch.allclose(x, y, atol=atol) for x, y in zip(a, b, strict=True))


def stages(backbone):
    return [getattr(backbone, name) for name in backbone.res_layers]


def shortcuts(backbone):
    return [m for m in backbone.modules() if isinstance(m, DenseShortcut)]


def shortcut_norms(backbone):
    inner = [norm for m in shortcuts(backbone) for norm in m.norms]
    return inner + [block.source_norm for stage in stages(backbone) for block in stage]


def randomise_norms(backbone):
    torch.manual_seed(2)
    for m in backbone.modules():
        if isinstance(m, nn.BatchNorm2d):
            if m.affine:
                nn.init.uniform_(m.weight, 0.2, 0.5)
                nn.init.normal_(m.bias, std=0.1)
            nn.init.normal_(m.running_mean, std=0.1)
            nn.init.uniform_(m.running_var, 0.5, 2)
        if isinstance(m, DenseShortcut) and not m.identity:
            nn.init.uniform_(m.weight, 0.2, 0.5)
            nn.init.normal_(m.bias, std=0.1)


def by_hand(blocks=(3, 4, 6, 3), inner=False):
    """A ResNet classifier added up, with two numbers (w, a shift) per channel for each source of each block."""
    total, inplanes = 3 * 64 * 49 + 2 * 64 + 2048 * 1000 + 1000, 64
    for stage, num_blocks in enumerate(blocks):
        planes = 64 * 2**stage
        total += inplanes * 4 * planes + 2 * 4 * planes  # projection
        for block in range(1, num_blocks + 1):
            total += inplanes * planes + 9 * planes**2 + 4 * planes**2 + 2 * (2 + 4) * planes
            total += block * 2 * 4 * planes  # sources X_0 ... X_{l-1}
            total += 2 * planes if inner and (block > 1 or stage == 0) else 0  # stride 1
            inplanes = 4 * planes
    return total


@pytest.mark.parametrize(
    ('cls', 'options', 'parameters', 'expected'),
    [
        # As 1000-class classifiers.
        (DSNet, {}, 25_637_928, by_hand()),
        (DSNet, INNER, 25_643_688, by_hand(inner=True)),
        (DSNet, dict(depth=101, **INNER), 45_166_760, by_hand((3, 4, 23, 3), inner=True)),
        (DSNet, dict(include_stage_input=False), 25_607_720, by_hand() - 2 * (3 * 256 + 4 * 512 + 6 * 1024 + 3 * 2048)),
        (DSNet, dict(shortcut='identity_dense'), 25_557_032, 25_557_032),  # ResNet-50's
        (DS2Res2Net, dict(inner_shortcut=False), 25_799_248, 25_718_352 + by_hand() - 25_557_032),
        (DS2Res2Net, {}, 25_806_268, 25_799_248 + 2 * 3 * (3 * 26 + 3 * 52 + 5 * 104 + 2 * 208)),
    ],
)
def test_parameters(cls, options, parameters, expected):
    with torch.device('meta'):
        backbone = cls(**{'depth': 50, **options})
    assert sum(p.numel() for p in backbone.parameters()) + 2048 * 1000 + 1000 == parameters == expected


@pytest.mark.parametrize('options', [{}, dict(style='caffe'), dict(deep_stem=True, avg_down=True)])
@every_kind
def test_is_resnet_where_the_weights_say_so(kind, options):
    """w = 1 for the last source with a norm that is the identity, and w = 0 elsewhere."""
    options = {} if kind == 'ds2_res2' else options
    dense, plain = build(kind, **options).double().eval(), build_plain(kind, **options).double()
    randomise_norms(plain)
    rest = dense.load_state_dict(plain.state_dict(), strict=False)
    own = ('shortcut', 'inner', 'source_norm')
    assert not [*rest.unexpected_keys, *(k for k in rest.missing_keys if not any(name in k for name in own))]
    for shortcut in shortcuts(dense):
        nn.init.zeros_(shortcut.weight)
        for norm in shortcut.norms:
            nn.init.normal_(norm.running_mean)
    for block in (block for stage in stages(dense) for block in stage):
        nn.init.ones_(block.shortcut.weight[-1])
        nn.init.constant_(block.source_norm.running_var, 1 - block.source_norm.eps)
    with torch.no_grad():
        expected = features(plain, dtype=torch.float64)
        assert min(x.max() for x in expected) > 0.1
        assert equal(features(dense, dtype=torch.float64), expected, atol=1e-12)


@every_kind
def test_a_resnet_checkpoint_starts_as_that_resnet(kind):
    plain, dense = build_plain(kind), build(kind, shortcut_start='last').eval()
    dense.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():  # up to the norms' eps
        expected = features(plain)
        assert equal(features(dense), expected, atol=1e-3 * min(x.max() for x in expected))


def norm_by_hand(norm, x, training):
    statistics = (None, None) if training else (norm.running_mean, norm.running_var)
    return F.batch_norm(x, *statistics, norm.weight, norm.bias, training, eps=norm.eps)


def weighted_by_hand(shortcut, i, norm, x, training):
    """A norm of source i whose affine part is w and the shift."""
    statistics = (None, None) if training else (norm.running_mean, norm.running_var)
    return F.batch_norm(x, *statistics, shortcut.weight[i], shortcut.bias[i], training, eps=norm.eps)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('include_x0', [True, False])
@pytest.mark.parametrize('options', [{}, INNER, dict(shortcut='identity_dense')], ids=str)
def test_a_stage_is_its_equation(options, include_x0, training):
    """X_l = ReLU(F_l(X_{l-1}) + the sum over i < l of w_{l,i} Norm(X_i)), written out for a whole stage."""
    stage = DSNet(50, include_stage_input=include_x0, norm_eval=False, **SMALL, **options).double().layer2
    randomise_norms(stage.train(training))
    x = torch.randn(2, 64, 12, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    projection, norm0 = stage[0].downsample
    out, xs = x, [norm_by_hand(norm0, F.conv2d(x, projection.weight, stride=2), training)]
    for number, block in enumerate(stage):
        stride = 2 if number == 0 else 1
        a = norm_by_hand(block.bn1, F.conv2d(out, block.conv1.weight), training).relu()
        b = norm_by_hand(block.bn2, F.conv2d(a, block.conv2.weight, stride=stride, padding=1), training)
        if options == INNER and stride == 1:
            b = b + weighted_by_hand(block.inner, 0, block.inner.norms[0], a, training)
        out = norm_by_hand(block.bn3, F.conv2d(b.relu(), block.conv3.weight), training)
        if number == 0 and not include_x0:
            out = out + xs.pop()  # ResNet's first block
        elif 'shortcut' in options:
            out = out + sum(xs)
        else:
            for i, source in enumerate(xs):
                norm = stage[i if include_x0 else i + 1].source_norm
                out = out + weighted_by_hand(block.shortcut, i, norm, source, training)
        xs.append(out := out.relu())
    assert torch.allclose(stage(x), out, atol=1e-10)


def test_a_res2net_block_has_a_shortcut_across_each_3x3():
    block, w = build('ds2_res2').double().eval().layer2[1], 16
    randomise_norms(block)
    x = torch.randn(2, 128, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).relu()
    sources, ys = [torch.randn_like(x), x], []
    a = block.bn1(block.conv1(x)).relu()
    for i in range(3):
        part = a[:, i * w : (i + 1) * w] + (ys[-1] if ys else 0)
        y = norm_by_hand(block.bns[i], F.conv2d(part, block.convs[i].weight, padding=1), False)
        ys.append((y + weighted_by_hand(block.inner[i], 0, block.inner[i].norms[0], part, False)).relu())
    out = block.bn3(block.conv3(torch.cat([*ys, a[:, 3 * w :]], 1)))
    for w, shift, source in zip(block.shortcut.weight, block.shortcut.bias, sources, strict=True):
        out = out + w[:, None, None] * source + shift[:, None, None]
    assert torch.allclose(block(x, sources), out.relu(), atol=1e-10)


def test_ds2_res2net_101_has_the_same_outputs():
    backbone = DS2Res2Net(101, **SMALL).eval()
    shapes = [tuple(o.shape[1:]) for o in features(backbone)]
    assert shapes == [(64, 17, 25), (128, 9, 13), (256, 5, 7), (512, 3, 4)]
    assert (backbone.out_channels, backbone.out_strides) == ((64, 128, 256, 512), (4, 8, 16, 32))


@pytest.mark.parametrize(
    'options',
    [
        dict(strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2), out_indices=(3, 1)),
        dict(stem_channels=64),  # no projection in DSNet's first stage
        dict(norm_cfg=dict(type='GN', num_groups=4)),
        dict(shortcut_norm_cfg=dict(type='GN', num_groups=8)),
        dict(conv_cfg=dict(type='ConvWS')),
    ],
    ids=str,
)
@ds2_kinds
def test_mmdetections_options_keep_working(kind, options):
    backbone = build(kind, zero_init_residual=False, norm_eval=False, **options)
    outs = features(backbone, (2, 3, 64, 96))
    assert backbone.out_channels == tuple(o.shape[1] for o in outs)
    assert backbone.out_strides == tuple(64 // o.shape[2] for o in outs)
    sum(o.square().mean() for o in outs).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in backbone.parameters())
    assert all(isinstance(norm, nn.GroupNorm) == ('GN' in str(options)) for norm in shortcut_norms(backbone))


@every_kind
def test_with_cp_the_branches_run_twice_and_the_shortcuts_once(kind):
    backbone = build(kind, norm_eval=False, with_cp=True)
    sum(o.square().mean() for o in features(backbone, (2, 3, 32, 32))).backward()
    block = backbone.layer4[0]
    assert (block.norm1.num_batches_tracked, block.source_norm.num_batches_tracked) == (2, 1)


@ds2_kinds
def test_deformable_convolution(kind):
    dcn = dict(type='DCNv2', deform_groups=1, fallback_on_stride=True)
    backbone = build(kind, dcn=dcn, stage_with_dcn=(False, False, True, True))
    assert 'fallback_on_stride' in dcn  # MMDetection's blocks take it out
    name = 'convs.0.conv_offset.weight' if kind == 'ds2_res2' else 'conv2.conv_offset.weight'
    deformable = [[name in block.state_dict() for block in stage] for stage in stages(backbone)]
    assert deformable == [[False] * 3, [False] * 4, [False] + [True] * 5, [False] + [True] * 2]  # first: stride 2
    features(backbone, (1, 3, 64, 64))


@pytest.mark.parametrize(('kind', 'middle'), [('ds', 32), ('ds2_res2', 4 * 16)])
def test_plugins_get_the_channels_of_their_position(kind, middle):
    context = dict(type='ContextBlock', ratio=1 / 4)
    plugins = [dict(cfg=dict(context, postfix=f'_{i}'), position=f'after_conv{i}') for i in (1, 2, 3)]
    backbone = build(kind, plugins=plugins)
    contexts = [getattr(backbone.layer2[0], f'context_block_{i}') for i in (1, 2, 3)]
    assert [m.in_channels for m in contexts] == [middle, middle, 128]
    sum(o.sum() for o in features(backbone, (1, 3, 64, 64))).backward()
    assert all(p.grad is not None for m in contexts for p in m.parameters())


@ds2_kinds
def test_initialisation(kind):
    backbone, kept = build(kind), build(kind, zero_init_residual=False, shortcut_start='last')
    backbone.init_weights()
    for stage in stages(backbone):
        for number, block in enumerate(stage, start=1):
            assert (block.norm1.weight.min(), block.norm3.weight.abs().max()) == (1, 0)
            weights = block.shortcut.weight
            assert torch.equal(weights, torch.full_like(weights, 1 / number))
    kept.init_weights()
    assert kept.layer1[0].norm3.weight.min() == 1
    assert not any(p.any() for name, p in kept.named_parameters() if 'inner' in name)


@pytest.mark.parametrize('kind', [pytest.param('ds2', marks=pytest.mark.slow), 'ds2_res2'])
def test_exports_with_dynamic_batch_and_size(kind):
    backbone = build(kind, **TWO_STAGES).eval()
    height, width, size = torch.export.Dim('h', min=16), torch.export.Dim('w', min=16), (3, 3, 37, 53)
    if kind == 'ds2_res2':  # MMDetection's average-pool downsampling (ceil_mode) exports for multiples of its stride
        height, width, size = 8 * height, 8 * width, (3, 3, 136, 152)
    dynamic = {0: torch.export.Dim('n'), 2: height, 3: width}
    program = torch.export.export(backbone, (torch.randn(2, 3, 144, 160),), dynamic_shapes=(dynamic,))
    with torch.no_grad():
        assert equal(features(program.module(), size), features(backbone, size))


@pytest.mark.parametrize(
    ('cls', 'options', 'message'),
    [
        (DSNet, dict(depth=18), 'DSNet has depths 50, 101, 152, not 18'),
        (DSNet, dict(shortcut='identity_dense', **INNER), 'cannot apply'),
        (DSNet, dict(dcn=dict(type='DCNv2'), conv_cfg=dict(type='ConvWS')), 'together with dcn'),
        (DSNet, dict(plugins=[dict(cfg={}, position='end')]), 'position of a plugin'),
        (DS2Res2Net, dict(style='caffe'), "always has style='pytorch'"),
        (DS2Res2Net, dict(scales=1), 'scales must be at least 2'),
    ],
)
def test_arguments_that_cannot_apply_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=message):
        cls(**{'depth': 50, **options})
