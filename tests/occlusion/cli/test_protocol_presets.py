"""The commands with a benchmark's preset or own strata of instances, from files to tables, and every mistake."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from mmhybrid.occlusion.cli import main, main_eval
from tests.occlusion.pedestrians import STRATA, dataset, miss_rate

from .running import document, refused, results

SEEDS = {'citypersons': 4, 'kaist': 8, 'caltech': 10}


@pytest.fixture(params=STRATA)
def preset(request, tmp_path, monkeypatch):
    """A preset's name; its files, of two models, are in the working folder."""
    monkeypatch.chdir(tmp_path)
    write(*dataset(SEEDS[request.param], request.param))
    return request.param


@pytest.fixture
def people(tmp_path, monkeypatch):
    """Ground truth and results, which are in the working folder too."""
    monkeypatch.chdir(tmp_path)
    gt, dt = dataset(4, 'citypersons')
    write(gt, dt)
    return gt, dt


def write(gt, dt):
    Path('gt.json').write_text(json.dumps(gt))
    Path('model.json').write_text(json.dumps(dt))
    Path('other.json').write_text(json.dumps(dt[::2]))


def loaded():
    return (json.loads(Path(name).read_text()) for name in ('gt.json', 'model.json'))


def test_one_command_gives_the_scripts_numbers(preset, capsys):
    (result,) = results(['--ann', 'gt.json', '--results', 'model.json', '--preset', preset])
    gt, dt = loaded()
    rows = {row['name']: row for row in result['strata'] if row['kind'] == 'instances'}
    assert list(rows) == list(STRATA[preset])
    for name, row in rows.items():
        expected = miss_rate(gt, dt, preset, name)
        assert math.isnan(expected) if row['mr'] is None else row['mr'] == pytest.approx(expected, abs=1e-9)
    shown = capsys.readouterr().out
    assert 'MR^-2' in shown
    for name, row in rows.items():
        if row['mr'] is not None:
            assert re.search(rf'^{re.escape(name)}\s.*\b{100 * row["mr"]:.2f}\b', shown, re.MULTILINE), name


def test_comparison_of_two_models_by_a_preset(preset, capsys):
    both = ['--results', 'model=model.json', 'other=other.json']
    given = ['--ann', 'gt.json', *both, '--preset', preset, '--bootstrap', '100']
    assert main(['compare', *given, '--out-dir', 'out', '--format', 'json']) == 0
    found = document('out')
    differences = {row['name']: row for row in found['comparisons'][0]['differences'] if row['metric'] == 'mr'}
    rows = [{row['name']: row for row in result['strata']} for result in found['results']]
    assert differences.keys() == rows[0].keys()
    seen = 0
    for name, row in differences.items():
        first, second = (each[name]['mr'] for each in rows)
        assert (row['baseline'], row['model']) == (first, second)
        if len({each[name]['num_instances'] for each in rows}) > 1:  # judged on different instances
            assert preset == 'kaist' and row['interval']['low'] is row['p_value'] is None
            told = f'{name}: {rows[0][name]["num_instances"]} and {rows[1][name]["num_instances"]}'
            assert all(any(told in note for note in result['notes']) for result in found['results'])
        if row['interval']['low'] is not None:
            seen += 1
            assert row['interval']['low'] <= row['difference'] == second - first <= row['interval']['high']
            assert 0 < row['p_value'] <= 1
            interval = rows[0][name]['intervals']['mr']
            assert 0 <= interval['low'] <= first <= interval['high'] <= 1
    assert seen >= (1 if preset == 'kaist' else 3)
    assert 'other minus model: bbox MR^-2 in %' in capsys.readouterr().out


def test_ratio_says_how_many_instances_each_stratum_has(preset, capsys):
    assert main(['ratio', '--ann', 'gt.json', '--preset', preset]) == 0
    shown = capsys.readouterr().out
    (result,) = results(['--ann', 'gt.json', '--results', 'model.json', '--preset', preset])
    gt, _ = loaded()
    rows = {row['name']: row for row in result['strata']}
    # Only the protocol of KAIST leaves images without detections out, which a data set alone does not show.
    for name in ('all instances', *STRATA[preset]):
        count = int(re.search(rf'^{re.escape(name)}\s+\d+\s+[\d.]+\s+(\d+)\s', shown, re.MULTILINE)[1])
        assert count >= rows[name]['num_instances'] if preset == 'kaist' else count == rows[name]['num_instances'], name
        assert count > 0 or name != 'all'
    assert 'reasonable: h >= ' in shown
    assert rows['all instances']['num_instances'] < len(gt['annotations'])


def test_own_strata_of_every_attribute(people):
    gt, _ = people
    strata = ['dim: v <= 0.65', 'h >= 50, h < 80', 'large: area > 1500', 'level = 2', 'both: v > 0.2, level <= 1']
    given = ['--ann', 'gt.json', '--results', 'model.json', '--strata', *strata, '--bootstrap', '100']
    (result,) = results([*given, '--miss-rate'])
    holds = {
        'dim': lambda a: a['vis_ratio'] <= 0.65,
        '50 <= h < 80': lambda a: 50 <= a['height'] < 80,
        'large': lambda a: a['bbox'][2] * a['bbox'][3] > 1500,
        'level = 2': lambda a: a['occlusion'] == 2,
        'both': lambda a: a['vis_ratio'] > 0.2 and a['occlusion'] <= 1,
    }
    rows = {row['name']: row for row in result['strata']}
    assert list(rows) == ['all', *holds]
    for name, is_in in holds.items():
        assert rows[name]['num_instances'] == sum(is_in(a) and not a['ignore'] for a in gt['annotations']) > 0
        low, high = (rows[name]['intervals']['mr'][key] for key in ('low', 'high'))
        assert low <= rows[name]['mr'] <= high


def test_recall_is_by_the_hidden_share_where_it_is_annotated(people):
    gt, _ = people
    given = ['--ann', 'gt.json', '--results', 'model.json', '--instances']
    (hidden,) = results([*given, '--visibility', 'vis_ratio'])
    assert hidden['fraction'] == "hidden fraction f ('vis_ratio')"
    shares = np.array([1 - a['vis_ratio'] for a in gt['annotations'] if not a['ignore']])
    assert sum(row['num_instances'] for row in hidden['instances']) == len(shares)
    assert hidden['instances'][0]['num_instances'] == (shares == 0).sum()


@pytest.mark.parametrize(('ratio', 'reduce'), [('mean-hidden', np.mean), ('max-hidden', np.max)])
def test_images_by_what_is_hidden_on_them(people, ratio, reduce):
    gt, _ = people
    given = ['--ratio', ratio, '--edges', '0', '0.5', '1', '--thresholds', '0.4']
    (result,) = results(['--ann', 'gt.json', '--results', 'model.json', *given])
    hidden = {image['id']: [0.0] for image in gt['images']}
    for a in gt['annotations']:
        if not a['ignore']:
            hidden[a['image_id']].append(1 - a['vis_ratio'])
    values = np.array([reduce(each[1:] or [0.0]) for each in hidden.values()])
    rows = {row['name']: row['num_images'] for row in result['strata']}
    assert rows == {
        'all': len(values), 'h = 0': (values == 0).sum(), '0 < h <= 0.5': ((values > 0) & (values <= 0.5)).sum(),
        '0.5 < h <= 1': (values > 0.5).sum(), 'h >= 0.4': (values >= 0.4).sum(),
    }  # fmt: skip


@pytest.mark.parametrize('ratio', ['mean-hidden', 'max-hidden'])
def test_images_of_which_nothing_is_known_are_in_no_stratum(tmp_path, monkeypatch, capsys, ratio):
    """Images 1 and 5 with what is known, 2 without, 3 without instances, 4 with an ignored one that is known."""
    monkeypatch.chdir(tmp_path)
    rows = [(1, 0.5, 0), (1, None, 0), (2, None, 0), (4, 0.5, 1), (5, 1.0, 0)]
    annotations = [
        {'id': n, 'image_id': i, 'category_id': 1, 'bbox': [0, 0, 9, 9], 'area': 81, 'vis_ratio': v, 'ignore': ignore}
        for n, (i, v, ignore) in enumerate(rows, 1)
    ]
    found = [{'image_id': i, 'category_id': 1, 'bbox': [0, 0, 9, 9], 'score': 0.5} for i in (1, 2, 5)]
    images = [{'id': i, 'height': 20, 'width': 20} for i in range(1, 6)]
    write({'images': images, 'categories': [{'id': 1, 'name': 'person'}], 'annotations': annotations}, found)
    (result,) = results(['--ann', 'gt.json', '--results', 'model.json', '--ratio', ratio, '--edges', '0', '1'])
    assert [(row['name'], row['num_images']) for row in result['strata'] if row['kind'] in ('all', 'bin')] == [
        ('all', 5), ('h = 0', 3), ('0 < h <= 1', 1),
    ]  # fmt: skip
    assert next(row['num_images'] for row in result['strata'] if row['name'] == 'h >= 0') == 4
    told = capsys.readouterr().err
    assert "gt.json: on 1 of 5 images no instance's visible share is known; they lie in no stratum by h" in told
    for name, empty in (('values.json', None), ('values.csv', '')):
        assert main(['ratio', '--ann', 'gt.json', '--ratio', ratio, '--out', name, '--force']) == 0
        told = Path(name).read_text()
        told = json.loads(told)['values'] if empty is None else list(csv.DictReader(told.splitlines()))
        assert [row['value'] if row['value'] == empty else float(row['value']) for row in told] == [0.5, empty, 0, 0, 0]
    assert '1 of 5 images lie in no stratum but "all"' in capsys.readouterr().err


def test_labels_of_coco_by_people(people):
    gt, _ = people
    labels = {str(image['id']): ('high', 'low', 'mid')[i % 3] for i, image in enumerate(gt['images'])}
    Path('labels.json').write_text(json.dumps(labels))
    given = ['--ann', 'gt.json', '--results', 'model.json', '--values', 'labels.json']
    (result,) = results([*given, '--preset', 'coco-olac'])
    assert [row['name'] for row in result['strata']] == ['all', 'low', 'mid', 'high']
    Path('labels.json').write_text(json.dumps(labels | {str(gt['images'][0]['id']): 'hihg'}))
    assert main_eval([*given, '--preset', 'coco-olac']) == 2


@pytest.mark.parametrize(('asked', 'limit'), [([], 1000), (['--max-dets', '100'], 100), (['--max-dets', '7'], 7)])
def test_the_limit_of_detections_that_is_asked_for_holds(people, asked, limit):
    (result,) = results(['--ann', 'gt.json', '--results', 'model.json', '--preset', 'citypersons', *asked])
    assert result['settings']['max_dets'] == limit


def test_iou_thresholds_without_a_half_are_told(people, capsys):
    results(['--ann', 'gt.json', '--results', 'model.json', '--preset', 'citypersons', '--iou-thrs', '0.75'])
    assert 'note: miss rates are at IoU 0.75, since no detection is matched at 0.5.' in capsys.readouterr().err


def changed(gt, **fields):
    """The ground truth with other fields of annotations; None for none."""
    rows = [{k: v for k, v in (a | fields).items() if v is not None} for a in gt['annotations']]
    Path('gt.json').write_text(json.dumps(gt | {'annotations': rows}))


@pytest.mark.parametrize(
    ('arguments', 'fields', 'message'),
    [
        (['--preset', 'citypersons'], {'vis_ratio': None}, 'has no visible share, and no whole and visible masks'),
        (['--preset', 'citypersons'], {'vis_ratio': 65}, "field 'vis_ratio' is 65.0, not from 0 to 1"),
        (['--preset', 'citypersons', '--visibility', 'vis'], {}, "has no 'vis'; give each instance's visible share"),
        (['--preset', 'kaist'], {'occlusion': None}, 'has no level of occlusion (looked for as'),
        (['--preset', 'kaist'], {'occlusion': 'partial'}, "field 'occlusion' is 'partial', not a finite number"),
        (['--preset', 'kaist', '--level', 'occ'], {}, "has no 'occ'; give each instance's level"),
        (['--preset', 'kaist', '--iou-type', 'segm'], {}, 'the preset kaist is of boxes; evaluate bbox alone'),
        (['--preset', 'caltech', '--strata', 'v > 0.5'], {}, 'preset and strata exclude each other; give one of them'),
        (['--preset', 'caltech', '--ratio', 'multi'], {}, 'preset and ratio exclude each other; give one of them'),
        (['--preset', 'coco-olac'], {}, 'the preset coco-olac goes by labels of the images; give their file as values'),
        (['--strata', 'vis > 0.5'], {}, "'vis > 0.5' is no condition; write e.g. 'heavy: h >= 50, v <= 0.65'"),
        (['--strata', 'v => 0.5'], {}, "'v => 0.5' is no condition; write e.g."),
        (['--strata', 'v < 0,5'], {}, "'5' is no condition; write e.g."),
        (['--strata', 'v <= 65'], {}, "stratum 'v <= 65': v is a share, from 0 to 1; write e.g."),
        (['--strata', 'v > 0.5, v < 0.2'], {}, 'no visibility is in this range'),
        (['--strata', 'x: v > 0.5', 'x: v > 0.2'], {}, "strata share the name 'x'; give every stratum its own name"),
        (['--strata', 'v > 0.5', '--edges', '0', '1'], {}, 'strata and edges exclude each other; give one of them'),
        (['--ratio', 'mean-hidden'], {'vis_ratio': None}, 'has no visible share'),
    ],
)
def test_mistakes_are_one_sentence(people, capsys, arguments, fields, message):
    gt, _ = people
    changed(gt, **fields)
    error = refused(capsys, ['--ann', 'gt.json', '--results', 'model.json', '--out-dir', 'out', *arguments])
    assert message in error and error.endswith('.')
    assert not Path('out').exists()


def test_the_category_must_be_there_or_named(people, capsys):
    gt, dt = people
    categories = [{'id': 7, 'name': 'person'}, {'id': 8, 'name': 'rider'}]
    moved = [row | {'category_id': row['category_id'] % 2 + 7} for row in (*gt['annotations'], *dt)]
    count = len(gt['annotations'])
    write(gt | {'categories': categories, 'annotations': moved[:count]}, moved[count:])
    given = ['--ann', 'gt.json', '--results', 'model.json', '--preset', 'citypersons', '--out-dir', 'out']
    assert 'evaluates the category 1, which is none of 7, 8; name the one to evaluate' in refused(capsys, given)
    (result,) = results([*given[:-2], '--categories', 'rider'])
    rows = {row['name']: row['mr'] for row in result['strata'] if row['kind'] == 'instances'}
    for name, rate in rows.items():
        assert rate == pytest.approx(miss_rate(gt, dt, 'citypersons', name), abs=1e-9)
