import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mmhybrid.errors import InputError
from mmhybrid.inspecting.analyses.gate_statistics import gate_statistics, inside, map_statistics
from mmhybrid.inspecting.analyses.gates import read
from mmhybrid.inspecting.cli import main
from mmhybrid.inspecting.subjects import Batch
from mmhybrid.layers.global_context import TiedGCB
from mmhybrid.layers.squeeze_excite import TiedSE


def test_statistics_of_a_gate():
    found = gate_statistics([[0.01, 0.42, 0.96], [0.21, 0.42, 0.96]])
    assert found['mean'] == pytest.approx(2.98 / 6)
    assert found['std_channels'] == pytest.approx(np.std([0.11, 0.42, 0.96]))
    assert found['std_images'] == pytest.approx(math.sqrt(0.01 / 3))
    assert (found['shut'], found['open'], found['channels']) == (1 / 6, 2 / 6, 3)
    assert found['histogram'][[0, 4, 8, 19]].tolist() == pytest.approx([1 / 6, 1 / 6, 2 / 6, 2 / 6])


@pytest.mark.parametrize('seed', range(5))
def test_the_variance_of_a_gate_is_that_between_channels_and_that_between_images(seed):
    values = np.random.default_rng(seed).random((2 + seed, 7))
    found = gate_statistics(values)
    assert found['std_channels'] ** 2 + found['std_images'] ** 2 == pytest.approx(values.var())
    assert found['image_share'] == pytest.approx(found['std_images'] ** 2 / values.var())


def test_a_gate_that_no_image_moves_and_one_of_a_single_image():
    still = gate_statistics(np.tile(np.linspace(0, 1, 5), (3, 1)))
    assert still['std_images'] == still['image_share'] == 0
    one = gate_statistics(np.linspace(0, 1, 5)[None])
    assert math.isnan(one['std_images']) and math.isnan(one['image_share'])


def test_statistics_of_attention():
    assert map_statistics(np.full((4, 5), 1 / 20)) == pytest.approx({'entropy': 1, 'area': 1, 'peak': 1})
    single = np.eye(1, 20).reshape(4, 5)
    assert map_statistics(single) == pytest.approx({'entropy': 0, 'area': 1 / 20, 'peak': 20})
    two = np.eye(1, 16).reshape(4, 4) / 2 + np.eye(1, 16, 5).reshape(4, 4) / 2
    assert map_statistics(two) == pytest.approx({'entropy': 1 / 4, 'area': 2 / 16, 'peak': 8})
    assert math.isnan(map_statistics(np.ones((1, 1)))['entropy'])


def test_attention_inside_of_boxes():
    attention = np.arange(1, 9).reshape(2, 4) / 36
    # Cells of 10x10 pixels; the first box has the centre of two in the upper row, the second only part of a cell.
    mass, area = inside(attention, np.array([[4, 0, 16, 12], [36, 16, 40, 20]]), (20, 40))
    assert (mass, area) == pytest.approx((3 / 36, 2 / 8))
    assert inside(attention, np.zeros((0, 4)), (20, 40)) == (0, 0)
    assert inside(attention, np.array([[0, 0, 40, 20], [0, 0, 20, 20]]), (20, 40)) == pytest.approx((1, 1))


def stand_in(sizes):
    """A model of one gate and one attention, which pads images as a detector does, and images of these sizes."""
    backbone = nn.Sequential(TiedSE(16, blocks=2), TiedGCB(16)).eval()
    pixels = {str(i): torch.rand(16, *size) * 255 for i, size in enumerate(sizes)}

    def normalised(batch):
        height, width = (max(each.shape[i] for each in batch.pixels) for i in (1, 2))
        padded = [
            nn.functional.pad(each, (0, width - each.shape[2], 0, height - each.shape[1])) for each in batch.pixels
        ]
        return torch.stack(padded) / 255, batch.data_samples

    def prepare(some, annotated):
        return Batch([pixels[each.name] for each in some], [None] * len(some))

    subject = SimpleNamespace(backbone=backbone, kind='backbone', prepare=prepare, normalised=normalised)
    return subject, [SimpleNamespace(name=name, info={}) for name in pixels]


def test_other_images_of_a_batch_change_nothing():
    subject, samples = stand_in([(8, 8), (8, 8), (8, 12), (4, 12), (8, 8)])
    (alone, _), (together, pictures) = (read(subject, samples, size, draw=3) for size in (1, 5))
    assert [record.source.type for record in together] == ['channel', 'context', 'change']
    for one, other in zip(alone, together, strict=True):
        for before, after in zip([*one.maps, one.statistics()], [*other.maps, other.statistics()], strict=True):
            assert {key: pytest.approx(value, rel=1e-4) for key, value in before.items()} == after
    assert [picture.name for picture in pictures] == ['0', '1', '2']
    assert [attention.shape for attention in together[1].drawn] == [(8, 8), (8, 8), (8, 12)]


PLUGIN = """
_base_ = {base!r}
model = dict(
    backbone=dict(
        depth=50,
        plugins=[dict(cfg=dict(type={type!r}, **{options}), stages=(False, True, True, True), position='after_conv3')],
    ),
    neck=dict(in_channels=[64, 128, 256]),
)
"""


def plugged(base, folder, name, **options):
    config = folder / f'{name.lower()}.py'
    config.write_text(PLUGIN.format(base=base, type=name, options=options), encoding='utf-8')
    return str(config)


def test_the_command_on_plug_ins_of_mmdetections_resnet(two_stage, tmp_path, capsys):
    context = plugged(two_stage.config, tmp_path, 'ContextBlock', ratio=1 / 4)
    tied = plugged(two_stage.config, tmp_path, 'TiedSE', blocks=2)
    words = ['gates', context, '--versus', tied, '--name', 'context', 'tied', '--limit', '3', '--draw', '1']
    assert main([*words, '--device', 'cpu', '--format', 'png', '--out-dir', str(tmp_path / 'out')]) == 0
    found = json.loads((tmp_path / 'out/gates.json').read_text(encoding='utf-8'))
    models = found['numbers']['models']
    assert {name: len(model['modules']) for name, model in models.items()} == {'context': 26, 'tied': 13}
    gate = models['tied']['modules'][0]
    assert (gate['module'], gate['layer'], gate['stage']) == ('layer2.0.tied_se', 'TiedSE', 2)
    assert 0 < gate['mean'] < 1 and gate['channels'] == 64
    attention = models['context']['modules'][0]
    assert attention['type'] == 'context' and 0 < attention['entropy'] <= 1 + 1e-9 and attention['inside_area'] > 0
    assert any('13 global context blocks change nothing' in note for note in found['notes'])
    names = ('gates', 'gates_attention', 'gates_maps_context')
    assert {path.name for path in (tmp_path / 'out').glob('*.png')} == {f'{name}.png' for name in names}
    assert [table['rows'][-1][:3] for table in found['tables']] == [
        ['tied: channel gate', 'all', '13'], ['context: global context', 'all', '13'],
    ]  # fmt: skip
    assert 'tied: channel gate' in ' '.join(capsys.readouterr().out.split())


def test_a_model_without_gates_is_refused(two_stage, tmp_path):
    with pytest.raises(InputError, match=r'ResNet has no gates.*HCGNet'):
        main(['gates', *two_stage, '--device', 'cpu', '--out-dir', str(tmp_path / 'out')])
