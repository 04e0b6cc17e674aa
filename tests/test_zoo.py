"""One test module for all backbones: a new entry of the zoo is tested for free.

Behaviour is tested on narrow forms (the same blocks, depths and connections with a quarter of the channels), numbers on
the full ones.
"""

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmhybrid
import mmhybrid.registry
from mmhybrid import backbones, zoo
from mmhybrid.errors import InputError
from mmhybrid.layers import pooling

# What makes a class narrow; HCGNet keeps its variants' depth.
NARROW = {
    'TiedResNet': dict(base_channels=16, base_width=8),
    'TiedResNeXt': dict(base_channels=16, base_width=16),
    'TiedResNeSt': dict(base_channels=16),
    'DSNet': dict(base_channels=16),
    'DS2Res2Net': dict(base_channels=16, base_width=8),
    'HSResNet': dict(base_channels=16, base_width=5),  # odd, so that a half of a group is uneven
    'SaEResNet': dict(base_channels=16),
    'SEResNet': dict(base_channels=16),
}
NAMES = mmhybrid.list_backbones()
# One name of each class, and of DS2Net, whose blocks differ from DSNet's.
FEW = {'ds2net50', *{zoo.VARIANTS[name].type: name for name in reversed(NAMES)}.values()}
# The same with the smallest HCGNet, where time counts.
SMALLEST = FEW - {'hcgnet_b'} | {'hcgnet_a1'}
# More of the same blocks than a shorter variant has, or other splits: their behaviour is for the slow tests, their
# counts for all.
DEEPER = {n for n in NAMES if '101' in n or '152' in n} | {'hcgnet_c', 'hcgnet_a2', 'hcgnet_a3', 'hsresnet50_d_24w4s'}
every_name = pytest.mark.parametrize(
    'name', [pytest.param(name, marks=[pytest.mark.slow] * (name in DEEPER)) for name in NAMES]
)
# What concerns stages and norms, and neither widths nor splits: one name of each class, a deep stem, and the plug-ins.
DISTINCT = SMALLEST | {'hsresnet50_d', 'tiedsenet50', 'tiedresnet50_tiedgcb'}
SIZE = (2, 3, 65, 97)
# What `frozen_stages=1` freezes: the stem, in one module or in two, and the first stage.
FIRST_STAGES = ({'conv1', 'bn1', 'layer1'}, {'stem', 'layer1'}, {'stem', 'hybrid_block1'})

# Without a classifier, which is 2,049,000 on 2048 channels. Each family's tests check them against sums by hand.
PARAMETERS = {
    'tiedresnet50': 23_710_808 - 2_049_000,
    'tiedresnet50_s': 13_845_988 - 2_049_000,
    'tiedresnet101': 40_761_944 - 2_049_000,
    'tiedresnet101_s': 19_967_273,
    'tiedresnet152': 52_759_408,
    'tiedsenet50': 21_661_808 + 41_302,
    'tiedsenet101': 38_791_374,
    'tiedresnet50_tiedgcb': 21_661_808 + 2_520_845,
    'tiedresnet101_tiedgcb': 43_499_022,
    'tiedresnext50': 20_422_892 - 2_049_000,
    'tiedresnext50_s': 12_850_498 - 2_049_000,
    'tiedresnext101': 34_560_908 - 2_049_000,
    'tiedresnext101_s': 18_104_273,
    'tiedresnest50': 15_748_200 - 2_049_000,
    'tiedresnest50_s': 15_748_200 - 2_049_000,
    'tiedresnest101': 25_674_312 - 2_049_000,
    'resnet50_tiedse': 23_508_032 + 41_302,
    'hcgnet_b': 12_845_501 - 1_245_000,
    'hcgnet_c': 42_153_208 - 2_429_000,
    'hcgnet_a1': 1_102_651 - 41_500,
    'hcgnet_a2': 3_133_679 - 71_700,
    'hcgnet_a3': 11_363_647 - 137_500,
    'dsnet50': 25_637_928 - 2_049_000,
    'dsnet101': 43_103_296,
    'ds2net50': 25_643_688 - 2_049_000,
    'ds2net101': 43_117_760,
    'resnet50_dense': 23_508_032,
    'ds2res2net50': 23_757_268,
    'hsresnet50': 21_197_964,
    'hsresnet50_d': 21_217_196,
    'hsresnet50_28w6s': 51_758_313,
    'hsresnet50_d_24w4s': 27_549_936 - 2_049_000,
    'hsresnet101': 39_457_919,
    'hsresnet101_d': 39_477_151,
    'sae_resnet18': 11_865_752 - 513_000,
    'sae_resnet50': 30_603_912 - 2_049_000,
    'sae_resnet101': 54_072_072 - 2_049_000,
    'sae_resnext50': 30_075_784 - 2_049_000,
    'se_resnet50': 28_088_024 - 2_049_000,
}


def few_then_all(few):
    """All names, all but a few of them under the mark ``slow``."""
    return [name if name in few else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def narrow(name, **overrides):
    torch.manual_seed(0)
    variant = zoo.VARIANTS[name]
    options = dict(NARROW.get(variant.type, {}))
    if variant.type == 'HCGNet':
        from mmhybrid.backbones.hcgnet import ARCHS

        arch = ARCHS[variant.options['arch']]
        options['arch'] = {**arch, 'growth_rates': tuple(8 for _ in arch['growth_rates'])}
    return mmhybrid.create_backbone(name, **options, **overrides)


def image(size=SIZE, **kwargs):
    return torch.randn(size, generator=torch.Generator().manual_seed(1), **kwargs)


def awake(backbone):
    """Zero-initialised residual branches would hide most of a network from a test."""
    generator = torch.Generator().manual_seed(2)
    for module in backbone.modules():
        if isinstance(module, _BatchNorm | nn.GroupNorm | nn.LayerNorm) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1, generator=generator)
    return backbone


def same(a, b, **tolerance):
    return len(a) == len(b) and all(torch.allclose(x, y, **tolerance) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize('name', NAMES)
def test_parameters_and_channels(name):
    config = zoo.backbone_config(name)
    with torch.device('meta'):
        backbone = getattr(backbones, config.pop('type'))(**config)
    assert sum(p.numel() for p in backbone.parameters()) == PARAMETERS[name]
    assert tuple(backbone.out_channels) == zoo.VARIANTS[name].out_channels


@every_name
def test_outputs_are_as_told_and_everything_trains(name):
    backbone = awake(narrow(name)).train()
    assert all(m.training for m in backbone.modules())
    outs = backbone(image())
    assert [o.shape[1] for o in outs] == list(backbone.out_channels)
    assert [tuple(o.shape[2:]) for o in outs] == [(-(-65 // s), -(-97 // s)) for s in backbone.out_strides]
    if 'hcgnet_a' not in name:
        assert backbone.out_strides == (4, 8, 16, 32)
    sum(o.square().mean() for o in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize('name', few_then_all(SMALLEST))
def test_one_image_trains(name):
    """An epoch's last batch may be one image: no batch norm may meet a single value per channel."""
    backbone = awake(narrow(name)).train()
    outs = backbone(image((1, 3, 40, 40)))
    assert [o.shape[:2] for o in outs] == [(1, c) for c in backbone.out_channels]
    sum(o.square().mean() for o in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize('name', few_then_all({'tiedresnest50', 'hcgnet_a1'}))
def test_more_images_train_as_without_the_exception_for_one(name, monkeypatch):
    results = []
    for _ in range(2):
        backbone = awake(narrow(name)).train()
        outs = backbone(image((2, 3, 40, 40)))
        sum(o.square().mean() for o in outs).backward()
        results.append([*outs, *(p.grad for p in backbone.parameters()), *backbone.buffers()])
        monkeypatch.setattr(pooling, 'normalise_pooled', lambda norm, x: norm(x))
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize('name', few_then_all(DISTINCT))
def test_out_indices_select(name):
    backbone = awake(narrow(name)).eval()
    some = narrow(name, out_indices=(2, 0)).eval()
    some.load_state_dict(backbone.state_dict(), strict=False)
    with torch.no_grad():
        every = backbone(image())
        assert same(some(image()), (every[0], every[2]), atol=1e-5)
    assert some.out_channels == (backbone.out_channels[0], backbone.out_channels[2])
    assert some.out_strides == (backbone.out_strides[0], backbone.out_strides[2])


@every_name
def test_evaluation_is_deterministic_and_state_dicts_round_trip(name):
    backbone = awake(narrow(name))
    backbone(image())  # running statistics that are not the initial ones
    backbone.eval()
    other = narrow(name).eval()
    assert not other.load_state_dict(backbone.state_dict()).missing_keys
    with torch.no_grad():
        expected = backbone(image())
        assert same(expected, backbone(image()), atol=0, rtol=0)
        assert same(expected, other(image()), atol=0, rtol=0)


@pytest.mark.parametrize('norm_eval', [True, False])
@pytest.mark.parametrize('name', few_then_all(DISTINCT))
def test_freezing_and_norm_eval_survive_train(name, norm_eval):
    backbone = awake(narrow(name, frozen_stages=1, norm_eval=norm_eval))
    assert backbone.train() is backbone
    frozen = {n.split('.')[0] for n, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen in FIRST_STAGES
    norms = {n: m for n, m in backbone.named_modules() if isinstance(m, _BatchNorm)}
    learning = {n for n in norms if not norm_eval and n.split('.')[0] not in frozen}
    assert {n for n, m in norms.items() if m.training} == learning
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    sum(o.square().mean() for o in backbone(image())).backward()
    torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1).step()
    after = backbone.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before if n.split('.')[0] in frozen)
    assert {n for n, m in norms.items() if m.num_batches_tracked > 0} == learning
    assert all((p.grad is not None) is p.requires_grad for p in backbone.parameters())
    assert any(not torch.equal(before[n], after[n]) for n in before)


@every_name
def test_checkpointing_recomputes_and_gives_the_same_gradients(name):
    grads, runs = [], []
    for with_cp in (False, True):
        backbone = awake(narrow(name, with_cp=with_cp)).double()
        runs.append(0)
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda *_: runs.append(runs.pop() + 1))
        x = image((2, 3, 48, 40), dtype=torch.float64)
        sum(o.square().mean() for o in backbone(x)).backward()
        grads.append([p.grad for p in backbone.parameters()])
    assert same(*grads, atol=1e-12)
    assert runs[1] > runs[0]


@every_name
def test_autocast_and_channels_last_throughout(name):
    backbone = awake(narrow(name)).eval()
    strange = []

    def look(module, args, out):
        # An input may be a slice of channels: contiguous in no format, but with neighbouring channels.
        contiguous = not is_map(out) or out.is_contiguous(memory_format=torch.channels_last)
        if not contiguous or any(is_map(x) and x.stride(1) != 1 for x in args):
            strange.append(type(module).__name__)

    with torch.no_grad():
        with torch.autocast('cpu', torch.bfloat16):
            assert all(o.dtype == torch.bfloat16 and o.isfinite().all() for o in backbone(image()))
        expected = backbone.double()(image(dtype=torch.float64))
        for module in backbone.to(memory_format=torch.channels_last).modules():
            module.register_forward_hook(look)
        outs = backbone(image(dtype=torch.float64).contiguous(memory_format=torch.channels_last))
    assert not strange
    assert all(o.is_contiguous(memory_format=torch.channels_last) for o in outs)
    assert same(outs, expected, atol=1e-10)


def is_map(x):
    return isinstance(x, torch.Tensor) and x.dim() == 4 and x.shape[1] > 1 and x.shape[2:].numel() > 1


@pytest.mark.parametrize('norm', [dict(type='SyncBN'), dict(type='GN', num_groups=1)], ids=['SyncBN', 'GN'])
@pytest.mark.parametrize('name', few_then_all(DISTINCT))
def test_norms(name, norm):
    backbone = narrow(name, norm_cfg=norm)
    wanted, unwanted = (nn.GroupNorm, _BatchNorm) if norm['type'] == 'GN' else (nn.SyncBatchNorm, nn.BatchNorm2d)
    assert any(isinstance(m, wanted) for m in backbone.modules())
    assert not any(isinstance(m, unwanted) for m in backbone.modules())
    if norm['type'] == 'GN':  # SyncBN runs on GPUs only
        backbone(image((1, 3, 48, 40)))


def test_names_are_listed_by_family():
    assert [n for family in zoo.FAMILIES for n in mmhybrid.list_backbones(family)] == NAMES
    assert 'tiedresnet50_s' in mmhybrid.list_backbones('tbc')
    with pytest.raises(InputError, match="no family 'resnet'"):
        mmhybrid.list_backbones('resnet')


def test_mistakes_are_named():
    with pytest.raises(InputError, match="no backbone 'tiedresnet_50'; did you mean tiedresnet50"):
        mmhybrid.create_backbone('tiedresnet_50')


@pytest.mark.parametrize('name', sorted(FEW))
def test_each_class_is_registered_and_refuses_unknown_arguments(name):
    kind = zoo.VARIANTS[name].type
    assert MODELS.get(kind) is getattr(backbones, kind)
    with pytest.raises(TypeError, match="unexpected keyword argument 'out_index'"):
        mmhybrid.create_backbone(name, out_index=(1,))


def test_variants_cannot_be_changed_by_using_them():
    before = zoo.backbone_config('tiedsenet50')
    before['plugins'][0]['cfg']['blocks'] = 99
    assert zoo.backbone_config('tiedsenet50')['plugins'][0]['cfg']['blocks'] == 8
