"""What the commands are told: models and their files, settings, and what is refused."""

import json
from pathlib import Path

import pytest

from mmhybrid.occlusion import evaluate
from mmhybrid.occlusion.cli import main
from mmhybrid.occlusion.matching import Settings

from .running import document, refused, results

EVAL = ['eval', '--ann', 'x', '--results', 'y']


def wrong_use(capsys, arguments):
    """The one line of stderr when the options themselves are wrong."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_files_of_one_name_are_told_apart_by_their_folders(files, capsys):
    for folder in ('r50', 'tied'):
        Path(folder).mkdir()
        Path(folder, 'val.json').write_bytes(Path('model.bbox.json').read_bytes())
    models = ['--results', 'r50/val.json', 'tied/val.json', '--out-dir', 'out']
    assert main(['eval', '--ann', 'gt.json', *models]) == 0
    assert [result['name'] for result in document('out')['results']] == ['r50/val', 'tied/val']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['eval', '--results', 'nowhere.json'], 'nowhere.json: no such file'),
        (['eval', '--results', 'a=model.bbox.json', 'a=other.bbox.json'], "two models are called 'a'"),
        (['eval', '--results', 'gone*.json'], 'there is no file gone*.json'),
        (['eval', '--results', 'm=model.bbox.json', 'm=model*.json', '--merge'], "given twice as a part of 'm'"),
        (
            ['compare', '--results', 'model.bbox.json', 'other.bbox.json', '--merge'],
            '--results names one model, but at least two are compared',
        ),
        (['eval', '--results', 'model.bbox.json', '--iou-thrs', '1.5'], 'IoU thresholds'),
        (['eval', '--results', 'model.bbox.json', '--max-dets', '0'], 'max_dets is 0; give a positive'),
        (
            ['eval', '--results', 'model.bbox.json', '--categories', 'unicorn'],
            "no category has the name or id 'unicorn'",
        ),
        (['eval', '--results', 'model.bbox.json', 'other.bbox.json', '--name', 'x'], "two models are called 'x'"),
        (['compare', '--results', 'model.bbox.json'], '--results names one model, but'),
        (['compare', '--results', 'm=*.bbox.json'], '--results names one model, but'),
        (['compare', '--results', 'model.bbox.json', 'other.bbox.json', '--bootstrap', '0'], 'needs resamples'),
        (['compare', '--results', 'model.bbox.json', 'other.bbox.json', '--bootstrap', '1'], 'needs resamples'),
        (['eval', '--results', 'm='], "--results: 'm=' names no file; give NAME=FILE"),
        (
            ['eval', '--results', 'model.bbox.json', './model.bbox.json', '--merge'],
            "given twice as a part of 'model.bbox'",
        ),
        (['eval', '--results', 'model.bbox.json', '--class-agnostic', '--per-category'], '--per-category and --class-'),
        (['eval', '--results', 'model.bbox.json', '--out-dir', 'gt.json/out'], 'is no folder to write in'),
        (['eval', '--results', 'model.bbox.json', '--ratio', 'multi', '--preset', 'tbc'], 'preset and ratio exclude'),
        (['eval', '--results', 'model.bbox.json', '--values', 'gone.csv'], 'gone.csv: no such file'),
        (['eval', '--results', 'model.bbox.json', '--edges', '1', '0'], 'do not increase'),
        (['ratio', '--thresholds', 'inf'], 'a value that is not finite'),
        (['eval', '--results', 'model.bbox.json', '--geometry', 'amodal'], 'amodal'),
        (
            ['eval', '--results', 'model.bbox.json', '--errors', '--error-iou', '0.42'],
            'errors cannot be told at IoU 0.42',
        ),
        (['report', '--results', 'model.bbox.json', '--images', 'gone'], '--images gone: is no folder'),
        (['ratio', '--out', 'r.txt'], 'values are written as .csv or .json'),
        (['ratio', '--out', 'r.csv', '--instances', 'r.csv'], 'name the same file'),
    ],
)
def test_what_cannot_be_used_is_told_in_one_sentence(files, capsys, arguments, message):
    before = sorted(Path().rglob('*'))
    assert message in refused(capsys, [*arguments, '--ann', 'gt.json'], main)
    assert sorted(Path().rglob('*')) == before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['eval', '--ann', 'gt.json'], 'the following arguments are required: --results; mmhybrid occlusion eval'),
        ([*EVAL, '--edges', 'a'], "'a' is no number"),
        ([*EVAL, '--name', ''], "argument --name: '' is empty"),
        (['eval', '--ann', ' ', '--results', 'y'], "argument --ann: ' ' is empty"),
        (['eval', '--ann', 'x', '--results', ''], "argument --results: '' is empty"),
        ([*EVAL, '--bootstrap', '-5'], "'-5' is no whole number from 0"),
        ([*EVAL, '--ignore', 'never'], "invalid choice: 'never'"),
        # In the name of the command that the option was given to, whose help lists what there is.
        ([*EVAL, '--area', '\x1b[2J'], 'unrecognized arguments: --area ?[2J; mmhybrid occlusion eval --help lists'),
        (['ratio', '--ann', 'x', '--max-dets', '5'], 'arguments: --max-dets 5; mmhybrid occlusion ratio --help lists'),
        (['dance'], "invalid choice: 'dance'"),
        ([], 'the following arguments are required: COMMAND; mmhybrid occlusion --help lists'),
    ],
)
def test_wrong_options(capsys, arguments, message):
    assert message in wrong_use(capsys, arguments)


def shards(number=3):
    """The results in parts, one image's after the other's."""
    dt = json.loads(Path('model.bbox.json').read_text())
    for rank in range(number):
        part = [row for row in dt if row['image_id'] % number == rank]
        Path(f'dt_rank{rank}.json').write_text(json.dumps(part))


def numbers(result):
    """A result without its names."""
    return [row | {'categories': None} for row in result['strata']]


@pytest.mark.parametrize(
    ('given', 'name'),
    [
        (['dt_rank0.json', 'dt_rank1.json', 'dt_rank2.json', '--merge'], 'dt_rank'),
        (['dt_rank*.json', '--merge', '--name', 'mine'], 'mine'),
        (['m=dt_rank*.json'], 'm'),
        (['m=dt_rank0.json', 'm=dt_rank1.json', 'm=dt_rank2.json', '--merge'], 'm'),
    ],
)
def test_parts_of_one_model(files, given, name):
    shards()
    (whole,), (merged,) = results(files), results([*files[:2], '--results', *given])
    assert merged['name'] == name and numbers(merged) == numbers(whole)


def test_patterns_that_no_shell_expanded(files):
    shards(2)
    names = [result['name'] for result in results([*files[:2], '--results', 'other*', 'dt_rank?.json'])]
    assert names == ['other.bbox', 'dt_rank0', 'dt_rank1']
    Path('dt_rank0.json').rename('a[0]=*.json')  # is a name, if a file has it
    (result,) = results([*files[:2], '--results', 'a[0]=*.json'])
    assert result['name'] == 'a[0]=*'


def test_two_models_of_two_parts(files):
    shards(2)
    given = ['a=dt_rank0.json', 'b=other.bbox.json', 'a=dt_rank1.json', '--merge']
    whole = results([*files[:2], '--results', 'a=model.bbox.json', 'b=other.bbox.json'])
    assert list(map(numbers, results([*files[:2], '--results', *given]))) == list(map(numbers, whole))


@pytest.mark.parametrize(
    ('options', 'settings'),
    [
        (['--max-dets', '2'], {'max_dets': 2}),
        (['--iou-thrs', '0.5', '0.75'], {'iou_thrs': (0.5, 0.75)}),
        (['--class-agnostic'], {'class_agnostic': True}),
    ],
)
def test_settings_are_those_of_the_library(files, options, settings):
    (result,) = results([*files, *options])
    gt, dt = (json.loads(Path(name).read_text()) for name in ('gt.json', 'model.bbox.json'))
    assert result['strata'] == evaluate(gt, dt, settings=Settings(**settings))['bbox'].to_dict()['strata']
    assert result['strata'] != results(files)[0]['strata']
    assert all(result['settings'][key] == (list(value) if isinstance(value, tuple) else value)
               for key, value in settings.items())  # fmt: skip


@pytest.mark.parametrize(
    ('options', 'threshold'),
    [
        (['--iou-thrs', '0.6'], 0.6),
        (['--iou-thrs', '0.1', '0.75'], 0.75),
        (['--iou-thrs', '0.1', '0.75', '--error-iou', '0.1'], 0.1),
        ([], 0.5),
    ],
)
def test_errors_are_told_at_a_threshold_that_is_matched_at(files, capsys, options, threshold):
    (result,) = results([*files, '--errors', *options])
    assert {row['errors']['iou_thr'] for row in result['strata']} == {threshold}
    told = capsys.readouterr()
    is_other = bool(options) and '--error-iou' not in options
    assert (f'note: errors are told at IoU {threshold}, since no' in told.err) == is_other
    assert f'at IoU {threshold:.2f}' in ' '.join(told.out.split())


def test_all_details_of_class_agnostic_matches(files, capsys):
    assert (
        main(['eval', *files, '--full', '--bootstrap', '2', '--class-agnostic', '--format', 'csv', '--out-dir', 'out'])
        == 0
    )
    names = {'occlusion.csv', 'occlusion_instances.csv', 'occlusion_quality.csv'}
    assert {path.name for path in Path('out').iterdir()} == names
    assert 'note: there are no metrics per category' in capsys.readouterr().err


def test_edges_and_folders_are_told_of_before_anything_is_read(files, capsys, monkeypatch):
    monkeypatch.setattr('mmhybrid.occlusion.analysis.study.load_ground_truth', None)
    monkeypatch.setattr('mmhybrid.occlusion.cli.commands.load_ground_truth', None)
    assert 'do not increase' in refused(capsys, ['eval', *files, '--edges', '1', '0'], main)
    assert 'do not increase' in refused(capsys, ['ratio', *files[:2], '--edges', '1', '0'], main)
    if Path('/proc').is_dir():
        assert '/proc is no folder to write in' in refused(capsys, ['eval', *files, '--out-dir', '/proc/x'], main)


def test_categories_by_name_or_id(files):
    gt = json.loads(Path('gt.json').read_text())
    # The name of the third is the id of the first.
    for row, name in zip(gt['categories'], ('alpha', 'beta', '3', 'delta'), strict=True):
        row['name'] = name
    Path('gt.json').write_text(json.dumps(gt))
    _, second, third, _ = gt['categories']
    (result,) = results([*files, '--categories', str(second['id']), '3', '--per-category'])
    assert [each['id'] for each in result['strata'][0]['categories']] == [second['id'], third['id']]
    (whole,) = results([*files, '--per-category'])
    kept = [each for each in whole['strata'][0]['categories'] if each['id'] in (second['id'], third['id'])]
    assert result['strata'][0]['categories'] == kept
    assert result['strata'][0]['ap'] == pytest.approx(sum(each['ap'] for each in kept) / 2, rel=1e-12)


def test_ignored_instances(files, capsys):
    gt = json.loads(Path('gt.json').read_text())
    plain = results(files)[0]['strata'][0]
    for row in gt['annotations'][::2]:
        row['ignore'] = 1
    Path('gt.json').write_text(json.dumps(gt))
    assert results([*files, '--ignore', 'as-instances'])[0]['strata'][0] == plain
    assert results(files)[0]['strata'][0]['num_instances'] < plain['num_instances']
    for ignore in ('as-instances', 'region'):
        capsys.readouterr()
        assert main(['ratio', '--ann', 'gt.json', '--ignore', ignore]) == 0
        (row,) = (line.split() for line in capsys.readouterr().out.splitlines() if line.startswith('all'))
        assert (row[3] == str(plain['num_instances'])) == (ignore == 'as-instances')


def test_notes_are_told_once(files, capsys):
    gt = json.loads(Path('gt.json').read_text())
    some = [image['id'] for image in gt['images'][:3]]
    few = [row for row in json.loads(Path('model.bbox.json').read_text()) if row['image_id'] in some]
    Path('few.json').write_text(json.dumps(few))
    run = ['--results', 'few=few.json', 'model.bbox.json', '--iou-type', 'bbox', 'segm', '--out-dir', 'out']
    assert main(['eval', '--ann', 'gt.json', *run, '--format', 'json', 'md', 'html']) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith('note: ')]
    assert len(notes) == len(set(notes)) > 0
    kept = {note for result in document('out')['results'] for note in result['notes']}
    partial = '9 of 12 images with instances have no detection'
    assert len(kept) == len(notes) and any(note.startswith(f'note: few: {partial}') for note in notes)
    assert Path('out/occlusion.md').read_text().count(f'- note: few: {partial}') == 1
    assert Path('out/occlusion.html').read_text().count(partial) == 1
