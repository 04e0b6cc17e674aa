"""Features that CKA is of, taken from models, and the command."""

import argparse
import json

import numpy as np
import pytest
import torch
from torch import nn

from mmhybrid.errors import InputError
from mmhybrid.inspecting import cli, subjects
from mmhybrid.inspecting.analyses import cka as analysis
from mmhybrid.inspecting.analyses.features import Recorder, pool, read
from mmhybrid.inspecting.drawing.cka import Panel, draw
from mmhybrid.inspecting.samples import find


def test_pooling_leaves_padding_out():
    maps = torch.zeros(1, 2, 4, 6)
    maps[:, 0, :, :3], maps[:, 1, :, :3] = 1, torch.tensor([2.0, 3, 4])
    maps[..., 3:] = 99
    assert pool(maps, 1, (1.0, 0.5)).tolist() == [[1, 3]]
    assert pool(maps, 2).shape == (1, 8)
    # Of a map of one row a grid of two is that row twice.
    assert pool(maps[:, :, :1], 2, (1.0, 0.5)).tolist() == [[1, 1, 1, 1, 2.5, 3.5, 2.5, 3.5]]


class Net(nn.Module):
    """A backbone whose first map is changed in place by what follows, and which uses one module twice."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.relu = nn.ReLU(inplace=True)
        self.unused = nn.Conv2d(3, 3, 1)
        self.pair = nn.Identity()

    def forward(self, x):
        x = self.relu(self.conv(x))
        self.pair((x, x))
        return (x, self.relu(x - 1))


@pytest.fixture
def subject():
    return subjects.Subject('net', 'net', None, 'backbone', Net(), (), 'cpu')


@pytest.fixture
def batch():
    return subjects.Batch([255 * torch.rand(3, 32, 32) for _ in range(3)], [None] * 3)


def test_features_are_taken_before_they_are_changed_in_place(subject, batch):
    found = Recorder(subject, ['backbone.conv', 'backbone.0'])(batch, 1)
    inputs, _ = subject.normalised(batch)
    assert list(found) == ['backbone.conv', 'backbone.0']
    torch.testing.assert_close(found['backbone.conv'], subject.model.conv(inputs).mean((2, 3)).detach())
    assert (found['backbone.conv'] < 0).any()
    assert (found['backbone.0'] >= 0).all()
    assert not any(module._forward_hooks for module in subject.model.modules())


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('backbone.relu', 'runs more than once'),
        ('backbone.unused', 'gives nothing'),
        ('backbone.7', 'its levels are backbone.0, backbone.1'),
        ('backbone.pair', 'gives no feature map'),
    ],
)
def test_layers_without_one_map_are_told(subject, batch, name, message):
    recorder = Recorder(subject, [name])
    assert recorder.has(name)
    with pytest.raises(InputError, match=message):
        recorder(batch, 1)
    assert not any(module._forward_hooks for module in subject.model.modules())


@pytest.fixture(scope='module')
def loaded(two_stage):
    args = cli.build_parser().parse_args(['cka', *two_stage, '--device', 'cpu', '--limit', '5'])
    (subject,) = subjects.load([two_stage], [], args)
    return subject, find(subject, args, annotated=False), args


def test_features_depend_on_no_other_image(loaded):
    subject, shown, _ = loaded
    counts = []
    alone, together = (read(Recorder(subject), shown, 4, size, counts.append) for size in (1, 3))
    assert counts == [1] * 5 + [3, 2]
    assert alone['backbone.0'].shape == (5, 16 * 16)
    for name, values in alone.items():
        np.testing.assert_allclose(values, together[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ('count', 'layers', 'message'),
    [
        (3, [], '3 images were given'),
        (1, [], '1 image was given'),
        (5, ['backbone.nothing'], "'backbone.nothing': --layers takes levels"),
        (5, ['backbone.0', 'rpn_head'], "'rpn_head'"),
        (5, ['neck.3'], 'its levels are backbone.0, .*neck.2; name another'),
    ],
)
def test_mistakes_are_told(loaded, count, layers, message):
    subject, shown, args = loaded
    args = argparse.Namespace(**{**vars(args), 'layers': layers})
    with pytest.raises(InputError, match=message):
        analysis.run([subject], shown[:count], args)


def test_values_are_printed_in_the_cells_and_none_is_a_dash():
    values = np.array([[1.0, -0.001], [np.nan, 0.456]])
    panel = Panel('a $x$', ['one', 'two'], 'b', ['three', 'four'], values, np.full((2, 2, 2), np.nan))
    figure = draw([panel, panel, panel], 9, 2)
    panels = [axes for axes in figure.axes if axes.get_xlabel()]
    assert len(panels) == 3
    assert [text.get_text() for text in panels[0].texts] == ['1.00', '0.00', '–', '0.46']
    assert panels[0].get_xlabel() == 'level of b'
    assert panels[0].get_ylabel() == 'level of a $x$'
    assert [tick.get_text() for tick in panels[0].get_yticklabels()] == ['one', 'two']


def test_one_model_with_itself(two_stage, tmp_path, capsys):
    out = tmp_path / 'out'
    assert cli.main(['cka', *two_stage, '--out-dir', str(out), '--device', 'cpu', '--format', 'png']) == 0
    document = json.loads((out / 'cka.json').read_text())
    (pair,) = document['numbers']['pairs']
    matrix = np.array(pair['cka'])
    assert matrix.shape == (6, 6)
    np.testing.assert_allclose(np.diag(matrix), 1)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    low, high = (np.array(pair[each]) for each in ('low', 'high'))
    assert (low <= matrix + 1e-6).all()
    assert (matrix <= high + 1e-6).all()
    assert document['numbers']['images'] == 12
    assert document['numbers']['features'][0]['numbers']['backbone.2'] == 64 * 16
    assert 'backbone.0' not in [row[2] for row in document['tables'][0]['rows']][:1]
    assert 'with itself' in capsys.readouterr().out


def test_two_models_and_layers(two_stage, one_stage, tmp_path):
    words = ['cka', *two_stage, '--versus', *one_stage, '--versus', 'tiedresnet50', '--limit', '4', '--grid', '1']
    words += ['--layers', 'backbone.1', 'neck.0', 'backbone.layer3', '--device', 'cpu', '--format', 'svg']
    assert cli.main([*words, '--out-dir', str(tmp_path)]) == 0
    document = json.loads((tmp_path / 'cka.json').read_text())
    first, second = document['numbers']['pairs']
    assert first['columns'] == {'model': 'retinanet', 'levels': ['backbone.1', 'neck.0', 'backbone.layer3']}
    assert second['columns'] == {'model': 'tiedresnet50', 'levels': ['backbone.1', 'backbone.layer3']}
    # The same backbone but for its random values; both lists hold one layer twice, as level and as module.
    assert first['cka'][0] == pytest.approx(first['cka'][2], abs=1e-4)
    assert np.array(second['cka']).shape == (3, 2)
    assert first['low'] == [[None] * 3] * 3
    assert any('need 10 images' in note for note in document['notes'])
    assert any('tiedresnet50 has its initial values' in note for note in document['notes'])


def test_a_dead_level_is_a_note_and_no_number(two_stage, tmp_path):
    dead = torch.load(two_stage.checkpoint, weights_only=False)
    for name, values in dead['state_dict'].items():
        if name.startswith('neck.fpn_convs.1.'):
            values.zero_()
    torch.save(dead, tmp_path / 'dead.pth')
    words = ['cka', two_stage.config, str(tmp_path / 'dead.pth'), '--out-dir', str(tmp_path), '--device', 'cpu']
    assert cli.main([*words, '--format', 'png']) == 0
    document = json.loads((tmp_path / 'cka.json').read_text())
    assert document['numbers']['pairs'][0]['cka'][4] == [None] * 6
    assert any('neck.1 is the same for all images' in note for note in document['notes'])
    assert document['tables'][0]['rows'][4] == ['neck.1', '1,024', '–', '–', '–']


def test_only_dead_levels_still_give_a_sentence():
    panel = Panel('a', ['x'], 'b', ['y'], np.array([[np.nan]]), np.full((1, 1, 2), np.nan))
    assert 'there is no CKA' in analysis._answer(panel, 9)[0]
