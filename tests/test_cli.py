"""The command ``mmhybrid``: counts against independent sums, and what it says of wrong input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mmhybrid import _stack, cli, counting, detector_flops, models_table
from mmhybrid.zoo import list_backbones
from tests.test_zoo import PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
TINY = """
_base_ = '{configs}/{name}.py'
model = dict(test_cfg=dict(rpn=dict(max_per_img=7)))
"""


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(TINY.format(configs=ROOT / 'configs', name='demo_mask_rcnn_tiedresnet_occluded_shapes'))
    return path


def refused(capsys, *argv):
    try:
        status = cli.main([str(a) for a in argv])
    except SystemExit as stop:
        status = stop.code
    err = capsys.readouterr().err
    assert status == 2
    sentences = [line for line in err.splitlines() if line.startswith('error: ')]
    assert len(sentences) == 1 and err.splitlines()[-1] == sentences[0]
    assert 'Traceback' not in err
    return sentences[0]


@pytest.mark.parametrize(('name', 'convolutions'), [('tiedresnet50_s', 2_355_573_472), ('tiedresnet50', 4_388_995_072)])
def test_known_counts(name, convolutions):
    row = models_table.count_model(name, (224, 224))
    assert row.operators == {'conv': convolutions}
    assert row.parameters == PARAMETERS[name]
    assert (row.out_channels, row.out_strides) == ((256, 512, 1024, 2048), (4, 8, 16, 32))


def by_hooks(model, run):
    """Multiply-adds of convolutions and linear layers from the shapes that they see."""
    total = []

    def conv(module, args, out):
        weight = module.weight
        inputs = args[0].shape[0] * args[0].shape[2:].numel()
        where = inputs if isinstance(module, nn.ConvTranspose2d) else out.shape[0] * out.shape[2:].numel()
        total.append(int(where) * weight.numel())

    def linear(module, args, out):
        total.append(args[0].shape[0] * module.weight.numel())

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(conv)
        elif isinstance(module, nn.Linear):
            module.register_forward_hook(linear)
    with torch.no_grad():
        run()
    return sum(total)


def test_a_detector_is_the_sum_of_its_layers(tmp_path):
    path = tmp_path / 'detector.py'
    path.write_text(
        f"_base_ = '{ROOT}/configs/mask_rcnn_resnet50_fpn_2x.py'\n"
        'model = dict(backbone=dict(base_channels=16), neck=dict(in_channels=[64, 128, 256, 512]),\n'
        '             test_cfg=dict(rpn=dict(max_per_img=7)))\n'
    )
    counts = detector_flops.count_detector(str(path), (64, 96))
    parts = {part.name: part for part in counts.parts}
    assert list(parts) == ['backbone', 'neck', 'rpn_head', 'roi_head.bbox_head', 'roi_head.mask_head']
    assert all(part.multiply_adds > 0 for part in counts.parts)
    assert counts.proposals == 7
    assert parts['roi_head.bbox_head'].rois == parts['roi_head.mask_head'].rois == (7,)
    assert sum(p.parameters for p in counts.parts) == counts.total.parameters
    assert sum(p.multiply_adds for p in counts.parts) == counts.total.multiply_adds

    model = detector_flops._build(detector_flops._load(str(path)), str(path))

    def run():
        levels = model.extract_feat(torch.zeros(1, 3, 64, 96))
        model.rpn_head(levels)
        regions = torch.zeros(7, 256, 7, 7)
        model.roi_head.bbox_head(regions)
        model.roi_head.mask_head(torch.zeros(7, 256, 14, 14))

    assert by_hooks(model, run) == counts.total.multiply_adds


@pytest.mark.slow
def test_mask_rcnn_is_as_mmdetection_reports():
    counts = detector_flops.count_detector(str(ROOT / 'configs/mask_rcnn_resnet50_fpn_2x.py'), (1280, 800))
    assert counts.total.parameters == 44_396_336
    assert counts.total.multiply_adds == pytest.approx(260e9, rel=0.01)
    assert [part.rois for part in counts.parts][-2:] == [(1000,), (100,)]


def test_models_prints_whole_lines_into_a_pipe_and_writes_json(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(models_table, 'list_backbones', lambda family: list_backbones(family)[-1:])
    path = tmp_path / 'models.json'
    assert cli.main(['models', '--family', 'senetv2', '--shape', '64', '96', '--json', str(path)]) == 0
    out, err = capsys.readouterr()
    assert '[1/1] se_resnet50 at 64x96' in err
    assert counting.COUNTED in out
    line = next(line for line in out.splitlines() if line.split()[:1] == ['se_resnet50'])
    assert line.split()[1:3] == ['SEResNet', f'{PARAMETERS["se_resnet50"]:,}']
    assert line.rstrip().endswith('arXiv 2311.10807') and '…' not in out
    (model,) = json.loads(path.read_text())['models']
    assert model['parameters'] == PARAMETERS['se_resnet50']
    assert model['multiply_adds'] == sum(model['operators'].values())


def test_grey_images_are_counted(tiny):
    text = tiny.read_text().replace('test_cfg=', 'backbone=dict(in_channels=1), data_preprocessor=GREY, test_cfg=')
    tiny.write_text(text.replace('GREY', 'dict(mean=[114.5], std=[57.6], bgr_to_rgb=False)'))
    counts = detector_flops.count_detector(str(tiny), (64, 96))
    stem = detector_flops._build(detector_flops._load(str(tiny)), str(tiny)).backbone.conv1.weight
    assert stem.shape[1:] == (1, 7, 7)
    assert counts.total.modules['backbone.conv1'] == stem.numel() * 32 * 48


def test_flops_prints_a_table_by_part(tiny, capsys):
    assert cli.main(['flops', str(tiny), '--shape', '64', '96']) == 0
    out, _ = capsys.readouterr()
    assert 'roi_head.mask_head' in out and 'given 7 proposals' in out


def test_wrong_input_is_one_sentence(tiny, tmp_path, capsys, monkeypatch):
    assert 'no config nowhere.py' in refused(capsys, 'flops', 'nowhere.py')
    assert '--shape 64 96' in refused(capsys, 'flops', tiny, '--shape', 50, 96)
    assert 'side of an image' in refused(capsys, 'flops', tiny, '--shape', 'wide', 96)
    assert 'side of an image' in refused(capsys, 'models', '--shape', 0, 96)
    assert 'no folder' in refused(capsys, 'models', '--json', tmp_path / 'none' / 'models.json')
    (tmp_path / 'data.py').write_text('x = 1')
    assert 'no model' in refused(capsys, 'flops', tmp_path / 'data.py')
    (tmp_path / 'typo.py').write_text("model = dict(type='NoSuchDetector')")
    assert 'cannot be built' in refused(capsys, 'flops', tmp_path / 'typo.py')
    assert 'none.json' in refused(
        capsys, 'occlusion', 'eval', '--ann', 'none.json', '--results', 'none.json', '--out-dir', tmp_path
    )
    monkeypatch.setattr(_stack, 'problem', lambda: 'No torch here.')
    assert refused(capsys, 'models') == refused(capsys, 'flops', tiny) == 'error: No torch here.'


@pytest.mark.parametrize('command', [[], ['models'], ['flops'], ['occlusion'], ['occlusion', 'eval']])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, '--help'])
    assert stop.value.code == 0
    assert f'example:\n  mmhybrid {" ".join(command)}'.rstrip() in capsys.readouterr().out


def test_help_and_version_import_nothing_heavy():
    code = (
        'import sys; from mmhybrid import cli\n'
        'try: cli.main(sys.argv[1:])\n'
        "finally: print(*({'torch', 'mmdet', 'numpy', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    for option, text in (('--help', 'occlusion'), ('--version', 'mmhybrid 0.')):
        done = subprocess.run([sys.executable, '-c', code, option], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0 and text in done.stdout
        assert not done.stderr.strip()
