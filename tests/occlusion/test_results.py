import json
import subprocess
import sys
from pathlib import Path

import pytest

from mmhybrid.occlusion import evaluate, format_table, plot, save_figure, to_json

from .synthetic import dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def results():
    gt, dt = dataset(1, masks=True)
    return list(evaluate(gt, dt, ('bbox', 'segm'), name='a [model] of $5 and $6').values())


def test_dictionary_and_json(results):
    document = json.loads(to_json(results), parse_constant=pytest.fail)
    assert document['schema_version'] == 1
    assert document['results'] == [result.to_dict() for result in results]
    first = document['results'][0]
    assert first['schema_version'] == 1
    assert (first['iou_type'], first['ratio'], first['geometry']) == ('bbox', 'covered', 'bbox')
    assert first['strata'][0] == {
        'name': 'all', 'lower': 0, 'upper': None, 'kind': 'all', 'num_images': 14,
        'num_instances': results[0].all.num_instances, 'num_categories': 3,
        'instances_per_image': results[0].all.num_instances / 14,
        'ap': results[0].all.ap, 'ap50': results[0].all.ap50, 'ap75': results[0].all.ap75, 'ar': results[0].all.ar,
    }  # fmt: skip
    empty = [row for row in first['strata'] if row['num_images'] == 0]
    assert empty and all(row['ap'] is None and row['instances_per_image'] is None for row in empty)


def test_sections(results):
    assert results[0].strata == (results[0].all, *results[0].bins, *results[0].cumulative)
    assert len(results[0].bins) == 11 and len(results[0].cumulative) == 9


def test_table_fits_80_columns_and_loses_nothing(results):
    text = format_table(results, min_images=5)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert '…' not in text and '\x1b' not in text and 'a [model] of $5 and $6' in text
    for result in results:
        for row in result.strata:
            name = row.stratum.name + (' *' if row.num_images < 5 else '')
            density = f'{row.instances_per_image:.1f}' if row.num_images else '-'
            values = (row.ap, row.ap50, row.ap75, row.ar)
            percents = [f'{100 * value:.1f}' if value == value else '-' for value in values]
            cells = [str(row.num_images), str(row.num_instances), density, *percents]
            assert any(line.strip().startswith(name) and line[len(name) + 1 :].split() == cells for line in lines), name
    assert text.count('* fewer than 5 images') == 2
    assert '*' not in format_table(results, min_images=0)


def test_figure_shows_every_stratum(results, tmp_path):
    figure = plot(results, min_images=5)
    assert len(figure.axes) == 4
    upper, lower = figure.axes[0], figure.axes[2]
    assert upper.get_ylabel() == 'COCO AP (%)' and 'occlusion ratio r' in lower.get_xlabel()
    assert upper.get_xlim() == lower.get_xlim()
    bars = lower.patches
    assert [bar.get_height() for bar in bars] == [row.num_images for row in results[0].bins]
    for bar, row in zip(bars, results[0].bins, strict=True):
        assert (bar.get_facecolor()[:3] == (1, 1, 1)) == (row.num_images < 5)
    drawn = [row for row in results[0].cumulative if row.ap == row.ap]
    assert list(upper.lines[0].get_ydata()) == [100 * row.ap for row in drawn]
    save_figure(results, tmp_path / 'figure.png')
    content = (tmp_path / 'figure.png').read_bytes()
    assert content.startswith(b'\x89PNG') and 30_000 < len(content) < 1_000_000


def test_import_is_light():
    code = (
        'import sys, mmhybrid.occlusion, mmhybrid.occlusion.cli;'
        'heavy = {"torch", "mmdet", "mmcv", "mmengine", "matplotlib", "pycocotools", "rich"} & set(sys.modules);'
        'sys.exit(", ".join(sorted(heavy)) or 0)'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_evaluation_needs_no_torch(tmp_path):
    gt, dt = dataset(1)
    (tmp_path / 'both.json').write_text(json.dumps([gt, dt]))
    code = (
        'import json, sys; from mmhybrid.occlusion import evaluate, save_figure;'
        'gt, dt = json.load(open(sys.argv[1]));'
        'save_figure(list(evaluate(gt, dt).values()), sys.argv[2]);'
        'sys.exit(", ".join({"torch", "mmdet", "mmengine", "matplotlib.pyplot"} & set(sys.modules)) or 0)'
    )
    arguments = [tmp_path / 'both.json', tmp_path / 'f.png']
    done = subprocess.run([sys.executable, '-c', code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
