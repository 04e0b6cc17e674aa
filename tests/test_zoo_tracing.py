"""Every backbone traced: by the exporter to ONNX that is built on TorchScript, ``torch.jit.trace`` and ``torch.fx``.

A traced backbone has to compute what the backbone does for images of another number and size. Few names on every run,
all under the mark ``slow``.
"""

import io
import warnings

import pytest
import torch

import mmhybrid
from mmhybrid import zoo

from .test_zoo import SMALLEST, awake, few_then_all, image, narrow

TRACED, OTHER = (2, 3, 64, 96), (1, 3, 96, 64)
OPSETS = (11, 13, 17)  # the oldest that onnxruntime and TensorRT users still have, and two newer ones
all_opsets = [('tiedresnest50', opset) for opset in OPSETS]
first_opset = [(n, OPSETS[0]) for n in sorted(SMALLEST)]


@pytest.fixture
def shallow(monkeypatch):
    """Makes a narrow backbone of one or two blocks in two stages: all that its blocks do, and little to trace."""

    def make(name, **options):
        cls = getattr(mmhybrid.backbones, zoo.VARIANTS[name].type)
        if name == 'hcgnet_a1':
            arch = dict(stem='imagenet', blocks=(1, 2), growth_rates=(8, 8))
            return awake(mmhybrid.create_backbone(name, arch=arch, **options)).eval()
        for depth, (block, _) in cls.arch_settings.items():
            monkeypatch.setitem(cls.arch_settings, depth, (block, (2, 2, 1, 1)))
        two_stages = dict(num_stages=2, strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))
        return awake(narrow(name, **two_stages, **options)).eval()

    return make


def assert_same(outs, expected):
    assert len(outs) == len(expected)
    for out, wanted in zip(outs, expected, strict=True):
        # Of each map's own scale: identity sums (resnet50_dense) grow to hundreds, in which 1e-4 is below float32.
        assert torch.allclose(out, wanted, atol=1e-4 * max(1.0, wanted.abs().max().item()), rtol=0)


def check_onnx(backbone, opset):
    onnxruntime = pytest.importorskip('onnxruntime')
    names = [f'out{i}' for i in range(len(backbone.out_channels))]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        warnings.simplefilter('error', torch.jit.TracerWarning)  # what depends on the traced image
        torch.onnx.export(
            backbone,
            (image(TRACED),),
            file,
            dynamo=False,
            opset_version=opset,
            input_names=['image'],
            output_names=names,
            dynamic_axes=dict(image={0: 'n', 2: 'h', 3: 'w'}),
        )
    session = onnxruntime.InferenceSession(file.getvalue(), providers=['CPUExecutionProvider'])
    outs = [torch.from_numpy(o) for o in session.run(names, {'image': image(OTHER).numpy()})]
    with torch.no_grad():
        assert_same(outs, backbone(image(OTHER)))


@pytest.mark.parametrize(('name', 'opset'), sorted({*first_opset, *all_opsets}))
def test_each_class_exports_to_old_opsets(name, opset, shallow):
    pytest.importorskip('onnx')
    check_onnx(shallow(name), opset)


@pytest.mark.slow
@pytest.mark.parametrize('opset', OPSETS)
@pytest.mark.parametrize('name', few_then_all(()))
def test_every_name_exports_to_old_opsets(name, opset):
    pytest.importorskip('onnx')
    check_onnx(narrow(name).eval(), opset)


def check_jit(backbone):
    with warnings.catch_warnings():
        warnings.simplefilter('error', torch.jit.TracerWarning)
        traced = torch.jit.trace(backbone, (image(TRACED),), check_trace=False)
    with torch.no_grad():
        assert_same(traced(image(OTHER)), backbone(image(OTHER)))


@pytest.mark.parametrize('name', sorted(SMALLEST))
def test_each_class_is_traced_by_jit(name, shallow):
    check_jit(shallow(name))


@pytest.mark.slow
@pytest.mark.parametrize('name', few_then_all(()))
def test_every_name_is_traced_by_jit(name):
    check_jit(awake(narrow(name)).eval())


def check_fx(backbone):
    graph = torch.fx.symbolic_trace(backbone)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = image(OTHER).contiguous(memory_format=memory_format)
        with torch.no_grad():
            outs = graph.to(memory_format=memory_format)(x)
            assert_same(outs, backbone.to(memory_format=memory_format)(x))
        assert all(o.is_contiguous(memory_format=memory_format) for o in outs)


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('name', sorted(SMALLEST))
def test_fx_traces_each_class_and_keeps_each_memory_format(name, with_cp, shallow):
    check_fx(shallow(name, with_cp=with_cp))


@pytest.mark.slow
@pytest.mark.parametrize('name', few_then_all(()))
def test_fx_traces_every_name(name):
    check_fx(awake(narrow(name)).eval())
