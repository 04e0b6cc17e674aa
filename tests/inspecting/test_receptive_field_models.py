"""``inspect receptive-field`` on a detector: options, flat pictures, and the figures."""

import json

import numpy as np
import pytest
from PIL import Image

from mmhybrid.inspecting import cli
from mmhybrid.inspecting.analyses import fields
from mmhybrid.inspecting.drawing.receptive_field import draw_maps, draw_sizes


def test_the_command(two_stage, tmp_path, capsys):
    words = ['receptive-field', two_stage.config, two_stage.checkpoint, '--versus', two_stage.config]
    words += ['--name', 'a', 'b', '--limit', '2', '--format', 'png', '--size', '128', '--out-dir', str(tmp_path)]
    assert cli.main(words) == 0
    numbers = json.loads((tmp_path / 'receptive-field.json').read_text())['numbers']
    assert (numbers['height'], numbers['width']) == (128, 128)
    for levels in numbers['models'].values():
        assert [level['level'] for level in levels] == [
            f'{part}.{i}' for part in ('backbone', 'neck') for i in range(3)
        ]
        for level in levels:
            assert 0 < level['side_50'] <= level['side_95']
            assert sum(level['profile_x']) == pytest.approx(1, abs=1e-4)
    assert 'several seeds tell' in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3


def test_checkpointed_blocks_change_no_number_and_levels_are_chosen(two_stage, tmp_path):
    words = ['receptive-field', two_stage.config, two_stage.checkpoint, '--limit', '1', '--size', '64']
    words += ['--levels', 'backbone.0', 'neck.2', '--format', 'png']
    found = []
    for recomputed in ('False', 'True'):
        options = ['--cfg-options', f'model.backbone.with_cp={recomputed}', '--out-dir', str(tmp_path / recomputed)]
        assert cli.main([*words, *options]) == 0
        found.append(json.loads((tmp_path / recomputed / 'receptive-field.json').read_text())['numbers'])
    assert found[0] == found[1]
    assert [level['level'] for level in found[0]['models']['mask_rcnn']] == ['backbone.0', 'neck.2']


def test_a_flat_picture(two_stage, tmp_path, capsys):
    paths = [str(tmp_path / name) for name in ('flat.png', 'square.png')]
    for path, size in zip(paths, ((700, 30), (96, 96)), strict=True):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), np.uint8)).save(path)
    words = ['receptive-field', two_stage.config, two_stage.checkpoint, '--images', *paths, '--format', 'png']
    assert cli.main([*words, '--out-dir', str(tmp_path / 'out')]) == 0
    numbers = json.loads((tmp_path / 'out' / 'receptive-field.json').read_text())['numbers']
    height, width = numbers['height'], numbers['width']
    assert (height, width) == (8, 192)
    for level in numbers['models']['mask_rcnn']:
        x0, y0, x1, y1 = level['theoretical_box']
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
        assert level['side_50'] <= level['side_95'] <= level['theoretical_side'] <= 1.001 * (height * width) ** 0.5
        assert 0 < level['area_share'] <= 1
        assert len(level['profile_y']) == height
    said = capsys.readouterr().err
    assert 'since flat.png allows no more than 192 x 8' in said


def test_figures_of_flat_fields_have_room():
    even = np.ones((8, 192))
    found = {f'a model with a long name {i}': [fields.Field('neck.0', 8, even, even > 0)] for i in range(3)}
    assert draw_maps(found).get_size_inches()[1] >= 3 * 1.2
    lowest, highest = draw_sizes(found).axes[0].get_ylim()
    assert (lowest, highest) == (0, pytest.approx(1.06 * (8 * 192) ** 0.5))
