"""The four commands as a user runs them."""

import csv
import json
import re
from pathlib import Path

import pytest

from mmhybrid.cli import main as mmhybrid
from mmhybrid.occlusion import evaluate, image_ratios
from mmhybrid.occlusion.cli import main, main_eval
from mmhybrid.occlusion.cli.outputs import is_ours

from .running import document, refused

QUICK = ['--bootstrap', '10']


def rows(path):
    with Path(path).open(newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('command', [[], ['ratio'], ['eval'], ['compare'], ['report']])
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as caught:
        mmhybrid(['occlusion', *command, '--help'])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert 'example:\n  mmhybrid occlusion ' in text and '--ann' in text


def test_help_of_the_tool_has_its_own_name(capsys):
    with pytest.raises(SystemExit):
        main_eval(['--help'])
    assert 'python tools/eval_occlusion.py --ann' in capsys.readouterr().out


def test_ratio_prints_and_writes_each_value(files, capsys):
    gt = json.loads(Path('gt.json').read_text())
    assert main(['ratio', '--ann', 'gt.json', '--out', 'r.csv', '--instances', 'i.json']) == 0
    out = capsys.readouterr().out
    assert '0.2 < r <= 0.3' in out and out.splitlines()[-1] == 'wrote r.csv and i.json'
    assert {int(row['image_id']): float(row['value']) for row in rows('r.csv')} == image_ratios(gt)
    values = json.loads(Path('i.json').read_text())['values']
    assert [row['annotation_id'] for row in values] == [row['id'] for row in gt['annotations']]
    assert main(['ratio', '--ann', 'gt.json', '--ratio', 'pairwise', '--geometry', 'segm']) == 0
    assert 'r > 1' in capsys.readouterr().out


def test_eval_with_all_details(files, capsys):
    formats = ['--format', 'json', 'csv', 'md', 'svg']
    assert main(['eval', *files, '--full', *QUICK, *formats, '--out-dir', 'out']) == 0
    out = capsys.readouterr().out
    for words in (
        'recall',
        'errors per image',
        'scores in % at IoU 0.50',
        'AP in % by category',
        '95% bootstrap interval, 10 resamples',
    ):
        assert words in ' '.join(out.split())
    parts = ['', '_categories', '_instances', '_quality']
    figures = ['', '_recall', '_errors', '_quality']
    names = [f'occlusion{p}.csv' for p in parts] + [f'occlusion{p}.svg' for p in figures]
    assert {path.name for path in Path('out').iterdir()} == {*names, 'occlusion.json', 'occlusion.md'}
    strata = {row['stratum']: float(row['ap']) for row in rows('out/occlusion.csv') if row['ap']}
    assert strata == {
        row['name']: row['ap'] for row in document('out')['results'][0]['strata'] if row['ap'] is not None
    }
    assert all(is_ours(path) for path in Path('out').iterdir())


def test_eval_of_two_models_by_a_property(files, capsys):
    gt = json.loads(Path('gt.json').read_text())
    lines = [f'{image["id"]},{"night" if i % 2 else "day"}' for i, image in enumerate(gt['images'])]
    Path('light.csv').write_text('\n'.join(['image_id,light', *lines]))
    models = ['--results', 'a=model.bbox.json', 'b=other.bbox.json', '--values', 'light.csv', '--out-dir', 'out']
    assert main(['eval', '--ann', 'gt.json', *models]) == 0
    results = document('out')['results']
    assert [result['name'] for result in results] == ['a', 'b']
    assert results[0]['measure'] == {'name': 'light', 'definition': 'user', 'geometry': ''}
    assert [row['name'] for row in results[0]['strata']] == ['all', 'day', 'night']
    assert 'night' in capsys.readouterr().out


def test_images_outside_the_bins_are_told(files, capsys):
    assert main(['eval', *files, '--edges', '0.9', '1', '--thresholds', '--out-dir', 'out']) == 0
    assert 'of 14 images lie in no stratum but "all"' in capsys.readouterr().err


def test_compare(files, capsys):
    models = ['--results', 'model.bbox.json', 'half=other.bbox.json']
    options = ['--bootstrap', '100', '--out-dir', 'out', '--format', 'json', 'csv']
    assert main(['compare', '--ann', 'gt.json', *models, *options]) == 0
    assert 'half minus model.bbox: bbox AP in %' in capsys.readouterr().out
    (comparison,) = document('out')['comparisons']
    whole = comparison['differences'][0]
    results = {result['name']: result['strata'][0]['ap'] for result in document('out')['results']}
    assert whole['metric'] == 'ap' and whole['difference'] == results['half'] - results['model.bbox']
    assert len(rows('out/occlusion_differences.csv')) == len(comparison['differences'])


@pytest.mark.parametrize('engine', [pytest.param('pycocotools', marks=pytest.mark.slow), None])
def test_report(files, capsys, engine):
    from PIL import Image

    gt = json.loads(Path('gt.json').read_text())
    Path('images').mkdir()
    for image in gt['images']:
        image['file_name'] = f'{image["id"]}.jpg'
        Image.new('RGB', (image['width'], image['height'])).save(Path('images', image['file_name']))
    Path('gt.json').write_text(json.dumps(gt))
    options = ['--engine', engine] if engine else []
    run = ['report', *files, *QUICK, *options, '--images', 'images', '--out-dir', 'out', '--iou-type', 'bbox', 'segm']
    assert main(run) == 0
    page = Path('out/occlusion.html').read_text()
    assert re.search('data:image/(jpeg|webp);base64,', page) and 'What was evaluated' in page
    assert len(list(Path('out').iterdir())) == 1 + 1 + 4 + 1 + 2 * 4
    assert all(is_ours(path) for path in Path('out').iterdir())
    Path('out/occlusion.html').write_text('<html>mine</html>')
    assert 'was not written by this command' in refused(capsys, run, main)


@pytest.mark.parametrize('suffix', ['json', 'png', 'svg', 'csv', 'md', 'html'])
@pytest.mark.parametrize('content', [b'{"schema_version": 1}', b'not ours', b''])
def test_a_users_file_is_not_overwritten(files, capsys, suffix, content):
    target = Path('out', f'occlusion.{suffix}')
    target.parent.mkdir()
    target.write_bytes(content)
    arguments = [*files, '--out-dir', 'out', '--format', suffix]
    assert 'was not written by this command' in refused(capsys, arguments)
    assert target.read_bytes() == content and len(list(target.parent.iterdir())) == 1
    assert main_eval([*arguments, '--force']) == 0
    assert target.read_bytes() != content


def test_an_input_is_never_overwritten(files, capsys):
    before = Path('model.bbox.json').read_bytes()
    Path('model.bbox.json').rename('occlusion.json')
    arguments = ['--ann', 'gt.json', '--results', 'occlusion.json', '--out-dir', '.', '--force']
    assert 'is an input of this run' in refused(capsys, arguments)
    assert Path('occlusion.json').read_bytes() == before


def test_numbers_are_those_of_the_library(files):
    assert main_eval([*files, '--out-dir', 'out']) == 0
    gt, dt = (json.loads(Path(name).read_text()) for name in ('gt.json', 'model.bbox.json'))
    assert document('out')['results'][0]['strata'] == evaluate(gt, dt)['bbox'].to_dict()['strata']


def test_empty_tables_can_be_written_again(files):
    gt = json.loads(Path('gt.json').read_text())
    for row in gt['annotations']:
        row['iscrowd'] = 1
    Path('gt.json').write_text(json.dumps(gt))
    for force in ([], ['--force']):
        assert main(['eval', *files, '--full', *QUICK, '--format', 'csv', '--out-dir', 'out', *force]) == 0
    assert Path('out/occlusion_categories.csv').read_text().startswith('schema,')
    assert rows('out/occlusion_categories.csv') == []


def test_full_without_intervals(files):
    assert main(['eval', *files, '--full', '--bootstrap', '0', '--out-dir', 'out']) == 0
    result = document('out')['results'][0]
    assert result['bootstrap'] is None and result['strata'][0]['errors'] and not result['strata'][0]['intervals']


def test_a_stratum_of_one_image_has_no_interval_and_no_verdict(files, capsys):
    gt = json.loads(Path('gt.json').read_text())
    ids = [image['id'] for image in gt['images']]
    Path('x.json').write_text(json.dumps({str(i): 'one' if i == ids[1] else 'rest' for i in ids}))
    models = ['--results', 'model.bbox.json', 'half=other.bbox.json', '--values', 'x.json', '--bootstrap', '100']
    assert main(['compare', '--ann', 'gt.json', *models, '--out-dir', 'out']) == 0
    one = next(row for row in document('out')['results'][0]['strata'] if row['name'] == 'one')
    assert one['num_images'] == 1 and one['ap'] is not None and one['intervals']['ap'] == {'low': None, 'high': None}
    differences = [row for row in document('out')['comparisons'][0]['differences'] if row['name'] == 'one']
    assert all(row['p_value'] is None and row['difference'] is not None for row in differences)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith('one *') and '+' in line)
    assert 'better' not in line and 'worse' not in line
