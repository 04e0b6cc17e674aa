"""One test module for all backbones: a new entry of the zoo is tested for free.

Behaviour is tested on narrow forms (the same blocks, depths and connections with a quarter of the channels), numbers on
the full ones.
"""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import mmhybrid
import mmhybrid.registry
from mmhybrid import backbones, zoo
from mmhybrid.errors import InputError

# What makes a class narrow; HCGNet keeps its variants' depth.
NARROW = {
    'TiedResNet': dict(base_channels=16, base_width=8),
    'TiedResNeXt': dict(base_channels=16, base_width=16),
    'TiedResNeSt': dict(base_channels=16),
    'DSNet': dict(base_channels=16),
    'DS2Res2Net': dict(base_channels=16, base_width=8),
    'HSResNet': dict(base_channels=16, base_width=4),
    'SaEResNet': dict(base_channels=16),
    'SEResNet': dict(base_channels=16),
}
NAMES = mmhybrid.list_backbones()
# Compiling and exporting take long: one name of each class, or a few, on every run; all under the mark `slow`.
FEW = set({zoo.VARIANTS[name].type: name for name in reversed(NAMES)}.values())
FEW_TO_EXPORT = {'dsnet50', 'hcgnet_a1', 'resnet50_tiedse', 'sae_resnet18'}


def few_then_all(few):
    return [n if n in few else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]


SIZE = (2, 3, 65, 97)

# Without a classifier. The tests of each family check these against the papers' counts and sums by hand.
PARAMETERS = {
    'tiedresnet50': 21_661_808,
    'tiedresnet50_s': 11_796_988,
    'tiedresnet101': 38_712_944,
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
    'hsresnet101': 39_457_919,
    'hsresnet101_d': 39_477_151,
    'sae_resnet18': 11_865_752 - 513_000,
    'sae_resnet50': 30_603_912 - 2_049_000,
    'sae_resnet101': 54_072_072 - 2_049_000,
    'sae_resnext50': 30_075_784 - 2_049_000,
    'se_resnet50': 28_088_024 - 2_049_000,
}


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
def test_parameters(name):
    config = zoo.backbone_config(name)
    with torch.device('meta'):
        backbone = getattr(backbones, config.pop('type'))(**config)
    assert sum(p.numel() for p in backbone.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize('name', NAMES)
def test_outputs_are_as_told(name):
    backbone = awake(narrow(name))
    outs = backbone(image())
    assert [o.shape[1] for o in outs] == list(backbone.out_channels)
    assert [tuple(o.shape[2:]) for o in outs] == [(-(-65 // s), -(-97 // s)) for s in backbone.out_strides]
    if 'hcgnet_a' not in name:
        assert backbone.out_strides == (4, 8, 16, 32)
    sum(o.square().mean() for o in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


@pytest.mark.parametrize('name', NAMES)
def test_out_indices_select(name):
    backbone = awake(narrow(name)).eval()
    some = narrow(name, out_indices=(2, 0)).eval()
    some.load_state_dict(backbone.state_dict(), strict=False)
    with torch.no_grad():
        every = backbone(image())
        assert same(some(image()), (every[0], every[2]), atol=1e-5)
    assert some.out_channels == (backbone.out_channels[0], backbone.out_channels[2])
    assert some.out_strides == (backbone.out_strides[0], backbone.out_strides[2])


@pytest.mark.parametrize('name', NAMES)
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


@pytest.mark.parametrize('name', NAMES)
def test_freezing_and_norm_eval_survive_train(name):
    backbone = awake(narrow(name, frozen_stages=1, norm_eval=True))
    assert backbone.train() is backbone
    assert not any(m.training for m in backbone.modules() if isinstance(m, _BatchNorm))
    frozen = [n for n, p in backbone.named_parameters() if not p.requires_grad]
    assert frozen
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    sum(o.square().mean() for o in backbone(image())).backward()
    torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1).step()
    after = backbone.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in frozen)
    assert all(torch.equal(before[n], after[n]) for n in before if 'running' in n)
    assert any(not torch.equal(before[n], after[n]) for n in before)
    free = narrow(name, frozen_stages=-1, norm_eval=False).train()
    assert all(p.requires_grad for p in free.parameters())
    assert all(m.training for m in free.modules())


@pytest.mark.parametrize('name', NAMES)
def test_checkpointing_gives_the_same_gradients(name):
    grads = []
    for with_cp in (False, True):
        backbone = awake(narrow(name, with_cp=with_cp)).double()
        x = image((2, 3, 48, 40), dtype=torch.float64)
        sum(o.square().mean() for o in backbone(x)).backward()
        grads.append([p.grad for p in backbone.parameters()])
    assert same(*grads, atol=1e-10)


@pytest.mark.parametrize('name', NAMES)
def test_channels_last_and_autocast(name):
    backbone = awake(narrow(name)).eval().double()
    with torch.no_grad():
        expected = backbone(image(dtype=torch.float64))
        backbone.to(memory_format=torch.channels_last)
        outs = backbone(image(dtype=torch.float64).contiguous(memory_format=torch.channels_last))
        assert same(outs, expected, atol=1e-8)
        backbone.float()
        with torch.autocast('cpu', torch.bfloat16):
            outs = backbone(image())
        assert all(o.isfinite().all() for o in outs)


@pytest.mark.parametrize('norm', [dict(type='SyncBN'), dict(type='GN', num_groups=1)], ids=['SyncBN', 'GN'])
@pytest.mark.parametrize('name', NAMES)
def test_norms(name, norm):
    backbone = narrow(name, norm_cfg=norm)
    wanted, unwanted = (nn.GroupNorm, _BatchNorm) if norm['type'] == 'GN' else (nn.SyncBatchNorm, nn.BatchNorm2d)
    assert any(isinstance(m, wanted) for m in backbone.modules())
    assert not any(isinstance(m, unwanted) for m in backbone.modules())
    if norm['type'] == 'GN':  # SyncBN runs on GPUs only
        backbone(image((1, 3, 48, 40)))


@pytest.mark.parametrize('name', few_then_all(FEW))
def test_compiles_in_one_graph(name):
    backbone = awake(narrow(name)).eval()
    compiled = torch.compile(backbone, fullgraph=True, backend='aot_eager')
    with torch.no_grad():
        assert same(compiled(image()), backbone(image()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', few_then_all(FEW_TO_EXPORT))
def test_onnx_runs_elsewhere(name, tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    backbone = narrow(name).eval()  # as initialised: outputs near 1, so that 1e-4 means something
    names = [f'out{i}' for i in range(len(backbone.out_channels))]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            backbone,
            (image((2, 3, 64, 96)),),
            tmp_path / 'backbone.onnx',
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim('n'), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},),
            input_names=['image'],
            output_names=names,
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / 'backbone.onnx', providers=['CPUExecutionProvider'])
    for size in ((2, 3, 64, 96), (1, 3, 96, 64)):
        outs = [torch.from_numpy(o) for o in session.run(names, {'image': image(size).numpy()})]
        with torch.no_grad():
            assert same(outs, backbone(image(size)), atol=1e-4, rtol=1e-4)


def test_names_are_listed_by_family():
    assert [n for family in zoo.FAMILIES for n in mmhybrid.list_backbones(family)] == NAMES
    assert 'tiedresnet50_s' in mmhybrid.list_backbones('tbc')
    with pytest.raises(InputError, match="no family 'resnet'"):
        mmhybrid.list_backbones('resnet')


def test_mistakes_are_named():
    with pytest.raises(InputError, match="no backbone 'tiedresnet_50'; did you mean tiedresnet50"):
        mmhybrid.create_backbone('tiedresnet_50')
    with pytest.raises(TypeError, match='out_index'):
        mmhybrid.create_backbone('tiedresnet50', out_index=(1,))


def test_variants_cannot_be_changed_by_using_them():
    before = zoo.backbone_config('tiedsenet50')
    before['plugins'][0]['cfg']['blocks'] = 99
    assert zoo.backbone_config('tiedsenet50')['plugins'][0]['cfg']['blocks'] == 8
