"""Results as JSON, and what importing the package costs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmhybrid.occlusion import Details, Errors, compare, evaluate, to_json
from mmhybrid.occlusion.cli import main

from . import sample
from .synthetic import dataset

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def results():
    gt, dt = dataset(1, masks=True)
    return list(evaluate(gt, dt, ('bbox', 'segm'), name='a [model] of $5 and $6').values())


def test_dictionary_and_json(results):
    document = json.loads(to_json(results), parse_constant=pytest.fail)
    assert document['schema_version'] == 3 and document['comparisons'] == []
    assert document['results'] == [result.to_dict() for result in results]
    first = document['results'][0]
    assert (first['schema'], first['schema_version'], first['iou_type']) == ('mmhybrid.occlusion', 3, 'bbox')
    assert first['measure'] == {'name': 'r', 'definition': 'covered', 'geometry': 'bbox'}
    assert first['settings'] == {
        'iou_thrs': pytest.approx([0.5 + i / 20 for i in range(10)]), 'max_dets': 100, 'class_agnostic': False,
        'categories': None,
    }  # fmt: skip
    assert (first['ignore'], first['notes']) == ('region', [])
    whole = results[0].all
    assert list(first['strata'][0])[:4] == ['name', 'lower', 'upper', 'kind']
    assert first['strata'][0] == {
        'name': 'all', 'lower': 0, 'upper': None, 'kind': 'all', 'num_images': 14,
        'num_instances': whole.num_instances, 'num_categories': 3, 'instances_per_image': whole.num_instances / 14,
        'ap': whole.ap, 'ap50': whole.ap50, 'ap75': whole.ap75, 'aps': whole.aps, 'apm': None, 'apl': None,
        'ar': whole.ar, 'ap_common': None, 'mr': None, 'miss_curve': [],
        'ji': None, 'ji_score': None, 'intervals': {}, 'errors': None,
        'quality': None, 'categories': [],
    }  # fmt: skip
    empty = [row for row in first['strata'] if row['num_images'] == 0]
    assert empty and all(row['ap'] is None and row['instances_per_image'] is None for row in empty)


def test_details_and_comparisons_are_in_the_json():
    gt, dt = dataset(2)
    compared = compare(gt, {'a': dt, 'b': dt[::2]}, details=Details.full(resamples=10))
    document = json.loads(to_json(compared.results, compared.comparisons), parse_constant=pytest.fail)
    whole = document['results'][0]['strata'][0]
    assert set(whole['intervals']) == {'ap', 'ap50', 'ap75', 'ar'} and whole['errors']['iou_thr'] == 0.5
    assert whole['categories'][0]['name'] == '3' and document['results'][0]['instances'][0]['name'] == 'f = 0'
    assert document['results'][0]['bootstrap'] == {'resamples': 10, 'seed': 0, 'confidence': 0.95}
    (comparison,) = document['comparisons']
    assert comparison['baseline'] == 'a' and len(comparison['differences']) == 7 * 21


def keys(value, path=''):
    """Each place of a document with the keys that are there, but for the bounds of intervals."""
    if isinstance(value, list):
        for each in value:
            yield from keys(each, f'{path}[]')
    elif isinstance(value, dict) and list(value) != ['low', 'high']:
        yield path, set(value)
        for key, each in value.items():
            yield from keys(each, f'{path}.{key}')


# What strata of instances alone have, and intervals of what only some evaluations give.
OPTIONAL = {
    'strata[]': {'ranges', 'prefixes'},
    'differences[]': {'ranges', 'prefixes'},
    'intervals': {'ap50', 'ap75', 'mr', 'ji'},
}


def test_the_documentation_names_every_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gt, dt = dataset(2)
    for annotation in gt['annotations']:
        annotation['vis_ratio'] = annotation['id'] % 3 / 2
    Path('gt.json').write_text(json.dumps(gt))
    for name in 'ab':
        Path(f'{name}.json').write_text(json.dumps(dt))
    run = ['--full', '--bootstrap', '2', '--format', 'json', '--out-dir', '.']
    assert main(['compare', '--ann', 'gt.json', '--results', 'a.json', 'b.json', *run]) == 0
    for name, more in (('own', '--strata=v <= 0.5'), ('crowd', '--preset=crowdhuman')):
        run = [more, '--categories', '3', '--miss-rate', '--bootstrap', '2', '--format', 'json', '--out-dir', name]
        assert main(['compare', '--ann', 'gt.json', '--results', 'a.json', 'b.json', *run]) == 0
    assert main(['ratio', '--ann', 'gt.json', '--out', 'out.json', '--instances', 'instances.json']) == 0
    found = {}
    whole = {'': 'at the top', '.comparisons[].bootstrap': '`results[].bootstrap`'}
    for name, places in {
        **dict.fromkeys(('occlusion', 'own/occlusion', 'crowd/occlusion'), whole),
        'out': {'': 'at the top, of `ratio`', '.values[]': '`values[]` of `--out`'},
        'instances': {'': 'at the top, of `ratio`', '.values[]': '`values[]` of `--instances`'},
    }.items():
        for path, named in keys(json.loads(Path(f'{name}.json').read_text())):
            known = found.setdefault(places.get(path, f'`{path[1:]}`'), named)
            assert known ^ named <= OPTIONAL.get(path.rpartition('.')[2], set())
            known |= named
    text = (ROOT / 'docs' / 'occlusion.md').read_text()
    table = re.search(r'^\| where \| keys \|\n.*\n((?:\|.*\n)+)', text, re.M)[1]
    rows = (re.match(r'\| (.*?) \| (.*) \|$', row).groups() for row in table.splitlines())
    documented = {place: set(re.findall(r'`([a-z0-9_]+)`', re.sub(r'\(.*?\)', '', named))) for place, named in rows}
    assert documented == found


def test_sections(results):
    assert results[0].strata == (results[0].all, *results[0].bins, *results[0].cumulative)
    assert len(results[0].bins) == 11 and len(results[0].cumulative) == 9


def test_error_shares():
    errors = Errors(0.5, 0.3, true_positive=5, duplicate=1, confusion=2, partial=3, background=4, missed=9)
    assert errors.false_positives == 10 and errors.share('partial') == 0.3
    assert sample.result().bins[-1].errors.share('partial') != errors.share('partial')


def test_import_is_light():
    code = (
        'import sys, mmhybrid.occlusion, mmhybrid.occlusion.cli;'
        'heavy = {"torch", "mmdet", "mmcv", "mmengine", "matplotlib", "pycocotools", "rich"};'
        'sys.exit(", ".join(sorted(heavy & set(sys.modules))) or 0)'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_evaluation_needs_no_torch(tmp_path):
    gt, dt = dataset(1)
    for name, content in (('gt', gt), ('dt', dt)):
        (tmp_path / f'{name}.json').write_text(json.dumps(content))
    code = (
        'import sys; from mmhybrid.occlusion import cli;'
        'status = cli.main(["report", "--ann", "gt.json", "--results", "dt.json", "--bootstrap", "10"]);'
        'sys.exit(", ".join({"torch", "mmdet", "mmengine", "matplotlib.pyplot"} & set(sys.modules)) or status)'
    )
    path = {'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, env=path)
    assert done.returncode == 0, done.stderr
