"""Every backbone of the zoo compiled and exported: a few names on every run, all under the mark ``slow``."""

import warnings

import pytest
import torch

from .test_zoo import awake, few_then_all, image, narrow, same

# The tests of layers and backbones have what is peculiar to each.
FEW_TO_COMPILE = {'dsnet50'}
FEW_TO_EXPORT = ()  # some are exported in tests of their own


@pytest.mark.parametrize('name', few_then_all(FEW_TO_COMPILE))
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
            expected = backbone(image(size))
        for out, wanted in zip(outs, expected, strict=True):
            # Of each map's own scale: identity sums (resnet50_dense) grow to hundreds, in which 1e-4 is below float32.
            assert same([out], [wanted], atol=1e-4 * max(1.0, wanted.abs().max().item()), rtol=0)
