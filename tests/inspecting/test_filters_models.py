"""``inspect filters`` on detectors and backbones: options, pictures of several sizes, and what it says."""

import json

import numpy as np
import pytest
from PIL import Image

from mmhybrid.errors import InputError
from mmhybrid.inspecting import cli
from mmhybrid.zoo import create_backbone


@pytest.mark.parametrize('by', ['patterns', 'weights'])
def test_the_command(by, two_stage, tmp_path, capsys):
    words = ['filters', two_stage.config, two_stage.checkpoint, '--versus', two_stage.config, '--name', 'a', 'b']
    words += ['--by', by, '--limit', '2', '--filters', '4', '--side', '64', '--format', 'png', '--out-dir']
    assert cli.main([*words, str(tmp_path)]) == 0
    numbers = json.loads((tmp_path / 'filters.json').read_text())['numbers']
    assert numbers['by'] == by
    for layers in numbers['models'].values():
        assert len(layers) == 8
        for layer in layers:
            assert layer['pairs'] == sum(layer['counts']) <= 6
            assert len(layer['chosen']) == 4
    assert {each.name for each in tmp_path.iterdir()} == {'filters.png', 'filters_matrices.png', 'filters.json'}
    assert 'several seeds tell' in capsys.readouterr().err


@pytest.mark.parametrize(('layer', 'match'), [('backbone.nothing', 'no module'), ('backbone.bn1', 'no convolution')])
def test_a_layer_without_filters_is_told(layer, match, two_stage, tmp_path):
    words = ['filters', two_stage.config, '--by', 'weights', '--layers', layer, '--limit', '1']
    with pytest.raises(InputError, match=match):
        cli.main([*words, '--out-dir', str(tmp_path)])


def test_checkpointed_blocks_change_no_number(two_stage, tmp_path):
    words = ['filters', two_stage.config, two_stage.checkpoint, '--limit', '1', '--filters', '8', '--side', '64']
    words += ['--layers', 'backbone.layer1.0.conv1', 'backbone.layer4.1.conv1', '--format', 'png']
    found = []
    for recomputed in ('False', 'True'):
        options = ['--cfg-options', f'model.backbone.with_cp={recomputed}', '--out-dir', str(tmp_path / recomputed)]
        assert cli.main([*words, *options]) == 0
        found.append(json.loads((tmp_path / recomputed / 'filters.json').read_text())['numbers'])
    assert found[0] == found[1]
    assert all(layer['normed'] and layer['pairs'] for layer in found[0]['models']['mask_rcnn'])


def pictures_of_three_sizes(folder):
    """Paths of four, which a backbone's pipeline does not bring to one size."""
    rng, paths = np.random.default_rng(0), []
    for i, (width, height) in enumerate([(64, 40), (33, 64), (64, 40), (20, 50)]):
        paths.append(folder / f'{i}.png')
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(paths[-1])
    return [str(path) for path in paths]


def test_numbers_do_not_depend_on_the_size_of_batches(two_stage, tmp_path):
    """Pictures of one batch are padded to the largest, and filters respond to padding too."""
    words = ['filters', two_stage.config, two_stage.checkpoint, '--filters', '8', '--side', '64', '--format', 'png']
    words += ['--layers', 'backbone.conv1', 'backbone.layer2.0.conv1', '--images', *pictures_of_three_sizes(tmp_path)]
    found = []
    for size in ('1', '4'):
        assert cli.main([*words, '--batch-size', size, '--out-dir', str(tmp_path / size)]) == 0
        found.append(json.loads((tmp_path / size / 'filters.json').read_text())['numbers']['models']['mask_rcnn'])
    for one, four in zip(*found, strict=True):
        assert one['pairs'] == four['pairs'] > 0
        np.testing.assert_allclose(
            np.array(one['similarity'], float), np.array(four['similarity'], float), atol=2e-4, equal_nan=True
        )


def test_outputs_that_no_norm_takes_and_a_name_with_or_without_backbone(tmp_path, capsys):
    layers = ['hybrid_block1.0.excite.conv3x3.conv', 'backbone.hybrid_block1.0.squeeze.conv1x1.conv']
    words = ['filters', 'hcgnet_a1', '--images', pictures_of_three_sizes(tmp_path)[0], '--filters', '8']
    assert cli.main([*words, '--side', '64', '--format', 'png', '--layers', *layers, '--out-dir', str(tmp_path)]) == 0
    found = json.loads((tmp_path / 'filters.json').read_text())['numbers']['models']['hcgnet_a1']
    assert [layer['normed'] for layer in found] == [False, True]
    assert f'of 1 of 2 layers ({layers[0]}) no norm takes the output directly' in capsys.readouterr().err


def test_a_whole_backbone_has_no_filters(two_stage, tmp_path):
    """Ours call a tuple of widths what a convolution calls its width."""
    config = tmp_path / 'hcgnet.py'
    backbone = "_delete_=True, type='HCGNet', arch='A1'"
    model = f'model = dict(backbone=dict({backbone}), neck=dict(in_channels=[120, 252, 414]))'
    config.write_text(f'_base_ = {two_stage.config!r}\n{model}\n', encoding='utf-8')
    assert isinstance(create_backbone('hcgnet_a1').out_channels, tuple)
    words = ['filters', str(config), '--layers', 'backbone', '--limit', '1', '--side', '64']
    with pytest.raises(InputError, match='backbone gives no single map'):
        cli.main([*words, '--out-dir', str(tmp_path)])
