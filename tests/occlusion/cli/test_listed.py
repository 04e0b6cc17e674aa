"""``mmhybrid occlusion listed`` from pickles to tables."""

import csv
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mmhybrid.occlusion.cli import main

from ..listed import by_hand, dataset

GT, DT, *LISTS = dataset(1, 16)
MODELS = {'full': DT, 'half': DT[::2]}
PATHS = ['occluded_coco.pkl', 'separated_coco.pkl']
QUICK = ['--bootstrap', '100']


def run(arguments):
    return main(['listed', *arguments])


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('gt.json').write_text(json.dumps(GT))
    for name, rows in MODELS.items():
        Path(f'{name}.segm.json').write_text(json.dumps(rows))
    for path, entries in zip(PATHS, LISTS, strict=True):
        Path(path).write_bytes(pickle.dumps(entries))


def arguments(*models, lists=PATHS):
    return ['--ann', 'gt.json', '--results', *models, '--lists', *lists, '--out-dir', 'out', *QUICK]


TWO = arguments('full=full.segm.json', 'half=half.segm.json')
ONE = arguments('full=full.segm.json')


def refused(capsys, given):
    assert run(given) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: ')
    return error


def rows_of(path):
    with Path(path).open(newline='') as file:
        return list(csv.DictReader(file))


def test_two_models_on_two_lists(capsys):
    assert run([*TWO, '--format', 'json', 'csv', 'md']) == 0
    out, err = capsys.readouterr()
    expected = [by_hand(GT, rows, entries) for entries in LISTS for rows in MODELS.values()]
    document = json.loads(Path('out/listed.json').read_text())
    assert [row['num_found'] for row in document['recalls']] == [found.sum() for found in expected]
    table = [line.split() for line in out.splitlines() if line.startswith(('occluded_coco', 'separated_coco'))]
    values = rows_of('out/listed.csv')
    for found, row, cells, line in zip(expected, document['recalls'], values, table[:4], strict=True):
        low, high = row['interval'].values()
        assert line == [
            row['list'], row['model'], str(row['num_images']), str(len(found)), str(found.sum()),
            f'{100 * found.mean():.2f}', f'[{100 * low:.1f},', f'{100 * high:.1f}]',
        ]  # fmt: skip
        assert [cells['list'], cells['model'], cells['num_found']] == [row['list'], row['model'], str(found.sum())]
        assert [float(cells[key]) for key in ('recall', 'recall_low', 'recall_high')] == [found.mean(), low, high]
    (compared,) = document['comparisons']
    assert 'half minus full: segm recall in %' in out and (compared['baseline'], compared['model']) == ('full', 'half')
    for number, row in enumerate(rows_of('out/listed_differences.csv')):
        gap = expected[2 * number + 1].mean() - expected[2 * number].mean()
        own = compared['differences'][number]
        assert float(row['difference']) == own['difference'] == pytest.approx(gap)
        assert (row['stratum'], row['metric'], float(row['baseline_value'])) == (own['name'], 'recall', own['baseline'])
        assert float(row['p_value']) == own['p_value'] and f'{100 * gap:+.1f}' in table[4 + number]
    text = Path('out/listed.md').read_text()
    assert '| list | model | images | listed | found | recall |' in text and '### half minus full' in text
    assert (document['score_thr'], document['iou_thr'], document['bootstrap']['resamples']) == (0.3, 0.75, 100)
    assert 'note:' not in err and out.splitlines()[-1].startswith('wrote out')


def test_one_model(capsys):
    assert run([*ONE, '--format', 'csv', 'json', '--bootstrap', '0', '--score-thr', '0.5', '--iou-thr', '0.5']) == 0
    assert sorted(path.name for path in Path('out').iterdir()) == ['listed.csv', 'listed.json']
    document = json.loads(Path('out/listed.json').read_text())
    found = [by_hand(GT, DT, entries, 0.5, 0.5).sum() for entries in LISTS]
    assert [row['num_found'] for row in document['recalls']] == found
    assert run([*TWO, '--format', 'csv', '--bootstrap', '0', '--out-dir', 'two']) == 0
    assert [path.name for path in Path('two').iterdir()] == ['listed.csv']
    assert document['bootstrap'] is None and document['comparisons'] == []
    assert np.isnan([float(row['recall_low'] or 'nan') for row in rows_of('out/listed.csv')]).all()
    out, _, rest = capsys.readouterr().out.partition('wrote')
    assert 'minus' not in rest and out.startswith('full: segm recall in %') and '[' not in out
    assert 'score >= 0.5 has mask IoU >= 0.5' in out


def test_its_own_files_are_written_again_and_no_others(capsys):
    both = [*TWO, '--format', 'json', 'csv', 'md']
    assert run(both) == run(both) == 0
    for name in ('listed.json', 'listed.csv', 'listed_differences.csv', 'listed.md'):
        kept = Path('out', name).read_text()
        Path('out', name).write_text('mine')
        assert f'{name}: exists and was not written by this command' in refused(capsys, both)
        Path('out', name).write_text(kept)
    Path('listed.json').write_text('[]')
    given = [*arguments('full.segm.json', lists=['listed.json']), '--out-dir', '.']
    assert 'listed.json: is an input of this run' in refused(capsys, given)


def test_what_the_ground_truth_lacks_is_told(capsys):
    lost, few = GT['images'][0]['file_name'], GT | {'images': GT['images'][1:], 'categories': GT['categories'][:2]}
    Path('gt.json').write_text(json.dumps(few))
    for name, rows in MODELS.items():
        kept = [row for row in rows if row['image_id'] != GT['images'][0]['id'] and row['category_id'] != 90]
        Path(f'{name}.segm.json').write_text(json.dumps(kept))
    assert run(TWO) == 0
    err = capsys.readouterr().err
    document = json.loads(Path('out/listed.json').read_text())
    for path, entries, told in zip(PATHS, LISTS, document['lists'], strict=True):
        kept = [entry for entry in entries if entry[0] != lost and entry[1] != 'cup']
        name = path.removesuffix('.pkl')
        assert (told['name'], told['file'], told['num_entries']) == (name, path, len(entries))
        assert told['missing_classes'] == ['cup']
        assert told['missing_images'] == [lost] * any(entry[0] == lost for entry in entries)
        assert {row['num_listed'] for row in document['recalls'] if row['list'] == name} == {len(kept)}
        assert f'note: {path}: {sum(entry[1] == "cup" for entry in entries)} of {len(entries)} instances are' in err
    assert f"lacks 1 of their images: ['{lost}']" in err and "lacks 1 of their classes: ['cup']" in err
    assert document['notes']


def test_a_harmful_list_is_refused_and_not_run(capsys, tmp_path):
    class Call:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'made'),)

    Path(PATHS[1]).write_bytes(pickle.dumps([(*LISTS[1][0][:3], Call(), LISTS[1][0][4])]))
    assert 'separated_coco.pkl: cannot be read as a pickle (RefusedError' in refused(capsys, TWO)
    assert not Path('made').exists() and not Path('out').exists()


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (arguments('full.segm.json', lists=[PATHS[0]] * 2), "two lists are called 'occluded_coco'"),
        (arguments('full.segm.json', lists=['none.pkl']), 'none.pkl: no such file'),
        (arguments('none.json'), 'none.json: no such file'),
        (arguments('a=full.segm.json', 'a=half.segm.json'), "two models are called 'a'"),
        ([*ONE, '--iou-thr', '0'], 'the IoU threshold is 0; give a number above 0 and up to 1'),
        ([*ONE, '--bootstrap', '1'], 'the number of bootstrap resamples is 1'),
    ],
)
def test_what_cannot_be_used_is_one_sentence(capsys, given, said):
    assert said in refused(capsys, given)


def test_results_without_masks(capsys):
    boxes = [{key: row[key] for key in ('image_id', 'category_id', 'score')} | {'bbox': [0, 0, 1, 1]} for row in DT]
    Path('full.segm.json').write_text(json.dumps(boxes))
    assert "field 'segmentation' is missing; evaluating segm needs masks" in refused(capsys, ONE)


def test_names_may_hold_anything(capsys):
    Path('a|b\x1b[31m.pkl').write_bytes(pickle.dumps(LISTS[0]))
    given = arguments('x|y\x1b=full.segm.json', 'half.segm.json', lists=['a|b\x1b[31m.pkl'])
    assert run([*given, '--format', 'json', 'csv', 'md']) == 0
    out, text = capsys.readouterr().out, Path('out/listed.md').read_text()
    assert '\x1b' not in out + text + Path('out/listed.csv').read_text()
    assert 'a|b?[31m' in out and r'| a\|b?[31m | x\|y? |' in text
    assert json.loads(Path('out/listed.json').read_text())['lists'][0]['name'] == 'a|b\x1b[31m'
