import json

import numpy as np
import pytest
import torch

from mmhybrid.backbones import DS2Res2Net, DSNet
from mmhybrid.errors import InputError
from mmhybrid.inspecting.analyses import shortcuts
from mmhybrid.inspecting.cli import main
from mmhybrid.layers import DenseShortcut

NAN = np.nan


def narrow(**options):
    return DSNet(50, base_channels=4, **options)


def set_weights(stage, value):
    """Weights of block l and source i of a stage: value(l, i) in even channels and -value(l, i) in odd ones."""
    first = 0 if stage.include_stage_input else 1
    signs = torch.tensor([1.0, -1.0])
    for l, block in enumerate(stage, 1):  # noqa: E741
        if block.shortcut.identity:
            continue
        for row in range(block.shortcut.num_sources):
            w = block.shortcut.weight.data[row]
            w.copy_(value(l, row + first) * signs.repeat(len(w) // 2))


def test_a_stage_set_by_hand_gives_its_matrix():
    stage = narrow().layer2
    set_weights(stage, lambda l, i: 10 * l + i)  # noqa: E741
    found = shortcuts.stage_matrices(stage)
    expected = [[10, NAN, NAN, NAN], [20, 21, NAN, NAN], [30, 31, 32, NAN], [40, 41, 42, 43]]
    np.testing.assert_array_equal(found['mean_abs'], expected)
    np.testing.assert_array_equal(found['std'], expected)  # half of them +, half -
    np.testing.assert_array_equal(found['mean'], np.where(np.isnan(expected), NAN, 0))
    start = [[1, NAN, NAN, NAN], [1 / 2] * 2 + [NAN] * 2, [1 / 3] * 3 + [NAN], [1 / 4] * 4]
    np.testing.assert_allclose(found['start'], start, rtol=1e-7)


def test_without_the_stages_input_its_column_is_empty():
    stage = narrow(include_stage_input=False).layer1
    set_weights(stage, lambda l, i: 10 * l + i)  # noqa: E741
    found = shortcuts.stage_matrices(stage)['mean_abs']
    np.testing.assert_array_equal(found, [[NAN, NAN, NAN], [NAN, 21, NAN], [NAN, 31, 32]])
    assert {name: values.tolist() for name, values in shortcuts.parts(found).items()} == {
        'newest': [21, 32], 'input': [], 'between': [31],
    }  # fmt: skip


def test_sources_are_parted_by_their_age():
    matrix = np.array([[1, NAN, NAN], [2, 3, NAN], [4, 5, 6]])
    found = shortcuts.parts(matrix)
    assert {name: values.tolist() for name, values in found.items()} == {
        'newest': [1, 3, 6], 'input': [2, 4], 'between': [5],
    }  # fmt: skip


@pytest.mark.parametrize('start', ['mean', 'last', 'zero'])
def test_the_start_is_what_training_starts_from(start):
    shortcut = DenseShortcut(3, 4, start=start)
    expected = {'mean': [0.25] * 4, 'last': [0, 0, 0, 1], 'zero': [0] * 4}[start]
    np.testing.assert_array_equal(shortcuts.start_values(shortcut), expected)
    np.testing.assert_array_equal(shortcuts.weight_statistics(shortcut)['mean_abs'], expected)


def test_weights_near_zero_are_counted():
    shortcut = DenseShortcut(4, 2)
    shortcut.weight.data = torch.tensor([[0.0, 0.009, -0.009, 0.02], [1.0, -0.5, 0.011, -0.009]])
    found = shortcuts.weight_statistics(shortcut)
    np.testing.assert_array_equal(found['near_zero'], [0.75, 0.25])
    np.testing.assert_allclose(found['mean_abs'], [0.0095, 0.38], rtol=1e-6)
    np.testing.assert_allclose(found['mean'], [0.005, 0.1255], rtol=1e-6)


@pytest.mark.parametrize(
    ('backbone', 'count', 'convolutions'), [(DSNet, 13, 1), (DS2Res2Net, 39, 3)], ids=['DS2Net', 'DS2Res2Net']
)
def test_inner_shortcuts_are_those_across_convolutions_of_stride_one(backbone, count, convolutions):
    model = backbone(50, base_channels=4, inner_shortcut=True)
    found = [
        (stage, *each) for stage in range(1, 5) for each in shortcuts.inner_shortcuts(getattr(model, f'layer{stage}'))
    ]
    assert len(found) == count
    assert {i for _, _, i, _ in found} == set(range(1, convolutions + 1))
    blocks = {(stage, block) for stage, block, _, _ in found}
    every = {(stage, block) for stage, n in enumerate((3, 4, 6, 3), 1) for block in range(1, n + 1)}
    assert blocks == every - {(2, 1), (3, 1), (4, 1)}  # whose 3x3 has stride 2
    assert sum(1 for module in model.modules() if isinstance(module, DenseShortcut)) == count + 16


def test_the_command_tells_what_was_learnt(tmp_path, capsys):
    from mmhybrid.zoo import create_backbone

    model = create_backbone('ds2net50')
    set_weights(model.layer1, lambda l, i: 0.25 * l + i)  # noqa: E741
    model.layer2[1].inner.weight.data.fill_(-3)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'learnt.pth')
    words = ['shortcuts', 'ds2net50', str(tmp_path / 'learnt.pth'), '--versus', 'dsnet50', '--name', 'learnt', 'fresh']
    assert main([*words, '--device', 'cpu', '--out-dir', str(tmp_path / 'out')]) == 0
    found = json.loads((tmp_path / 'out/shortcuts.json').read_text(encoding='utf-8'))
    learnt, fresh = found['numbers']['models'].values()
    assert learnt['stages'][0]['name'] == 'layer1'
    assert learnt['stages'][0]['mean_abs'] == [[0.25, None, None], [0.5, 1.5, None], [0.75, 1.75, 2.75]]
    assert [row['mean'] for row in learnt['inner'] if (row['stage'], row['block']) == ('layer2', 2)] == [-3]
    assert fresh['inner'] == [] and fresh['stages'][2]['mean_abs'] == fresh['stages'][2]['start']
    # 1/4, 6/4 and 11/4 in layer1, where 1, 1/2 and 1/3 were; as they were in layer2, 3 and 4.
    ones = [1 / l for n in (4, 6, 3) for l in range(1, n + 1)]  # noqa: E741
    assert f'{(0.25 + 1.5 + 2.75 + sum(ones)) / 16:.3f} for the newest source' in found['answer'][0]
    assert any('fresh: all weights are where training starts' in note for note in found['notes'])
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == sorted(
        ['shortcuts.json', *(f'shortcuts{name}.{form}' for name in ('', '_inner') for form in ('png', 'svg'))]
    )
    assert 'layer1' in capsys.readouterr().out


@pytest.mark.parametrize(('name', 'what'), [('hcgnet_a1', 'no dense shortcuts'), ('resnet50_dense', 'identity_dense')])
def test_a_model_without_weighted_shortcuts_is_refused(tmp_path, name, what):
    with pytest.raises(InputError, match=f'{what}.*ds2net50'):
        main(['shortcuts', name, '--device', 'cpu', '--out-dir', str(tmp_path)])
    assert not list(tmp_path.iterdir())
