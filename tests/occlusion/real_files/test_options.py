"""Options that people ask for, against plain pycocotools with the same parameters; shards; and where notes are told."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmhybrid.errors import InputError
from mmhybrid.occlusion import compare, evaluate

from . import reported_results
from .base import Files, call, plain, unchanged
from .outcomes import assert_named, assert_noted, assert_plain, assert_same

ROOT = Path(__file__).parents[3]
ENGINES = ['pycocotools', 'hotcoco']


def kind(value):
    """For names of tests: a repr may hold an address, which differs between processes."""
    return type(value).__name__


@pytest.fixture(params=ENGINES)
def engine(request):
    if request.param == 'hotcoco':
        pytest.importorskip('hotcoco')
    return ('--engine', request.param)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


BOTH = ('--iou-type', 'bbox', 'segm')
OPTIONS = {
    'categories': (['--categories', 'car', 'dog'], {'catIds': [1, 3]}),
    'one category': (['--categories', 'person'], {'catIds': [2]}),
    'class-agnostic': (['--class-agnostic'], {'useCats': 0}),
    'IoU thresholds': (['--iou-thrs', '0.3', '0.5', '0.75', '0.9'], {'iouThrs': [0.3, 0.5, 0.75, 0.9]}),
    'one IoU threshold': (['--iou-thrs', '0.5'], {'iouThrs': [0.5]}),
    'few detections': (['--max-dets', '2'], {'max_dets': 2}),
    'many detections': (['--max-dets', '1000'], {'max_dets': 1000}),
    'all': (
        ['--class-agnostic', '--max-dets', '3', '--iou-thrs', '0.5', '0.6'],
        {'useCats': 0, 'max_dets': 3, 'iouThrs': [0.5, 0.6]},
    ),
}


@pytest.mark.parametrize('name', OPTIONS)
def test_option(files, name, engine):
    options, parameters = OPTIONS[name]
    outcome = files.run('eval', *BOTH, *options, *engine)
    assert_plain(outcome, *(plain(files.gt, files.dt, iou_type, **parameters) for iou_type in BOTH[1:]))
    assert outcome.results[0]['settings'] != unchanged(*engine)[0]['settings']


WRONG = {
    '--categories truck': ['truck', 'car'],
    '--iou-thrs 1.5': ['1.5'],
    '--iou-thrs nan': ['nan'],
    '--max-dets 0': ['0'],
    '--max-dets -3': ['-3'],
    '--max-dets 2.5': ['2.5'],
    '--ignore never': ['never', 'region'],
    '--no-such': ['--no-such', 'eval --help'],
}


@pytest.mark.parametrize('options', WRONG)
def test_what_no_option_is(files, options):
    outcome = files.run('eval', *options.split())
    assert_named(outcome, *WRONG[options])


@pytest.mark.parametrize('command', ['ratio', 'eval', 'compare', 'report'])
def test_a_wrong_option_shows_the_help_of_its_own_command(command):
    given = ['--ann', 'gt.json', *([] if command == 'ratio' else ['--results', 'a.json', 'b.json'])]
    outcome = call([command, *given, '--no-such'])
    assert outcome.code == 2 and f'mmhybrid occlusion {command} --help' in outcome.err


def parts(files):
    for at in range(3):
        files.write(f'shard_{at}.json', [record for record in files.dt if record['image_id'] % 3 == at])


@pytest.mark.parametrize('pattern', ['shard_*.json', 'shard_[0-2].json', 'shard_?.json'])
def test_shards_of_a_pattern(files, pattern):
    """A pattern that no shell has put names for."""
    parts(files)
    files.results = (pattern,)
    assert_same(files.run('eval', '--merge'))


def test_shards_of_a_named_pattern(files):
    parts(files)
    files.results = (f'mine={files.folder}/shard_*.json',)
    outcome = files.run('eval', '--merge')
    assert_same(outcome)
    assert outcome.results[0]['name'] == 'mine'


def test_shards_in_a_module(files):
    parts(files)
    paths = [files.folder / f'shard_{at}.json' for at in range(3)]
    result = evaluate(files.gt, paths)['bbox']
    assert result.strata[0].ap == pytest.approx(plain(files.gt, files.dt)['ap'], rel=1e-12)


def test_a_pattern_of_no_file(files):
    files.results = ('shard_*.json',)
    assert_named(files.run('eval', '--merge'), 'FILE')


def test_a_fault_in_a_shard_names_the_shard(files):
    parts(files)
    files.write('shard_1.json', [{'image_id': 1, 'category_id': 1, 'score': 1}])
    files.results = tuple(f'shard_{at}.json' for at in range(3))
    outcome = files.run('eval', '--merge')
    assert_named(outcome, 'bbox', r'results\[0\]')
    assert 'shard_1.json' in outcome.err.splitlines()[-1]


def test_one_empty_shard(files):
    files.write('rank1.json', [])
    files.results = ('dt.json', 'rank1.json')
    assert_same(files.run('eval', '--merge'))


def test_shards_to_compare(files):
    parts(files)
    files.results = ('shard_0.json', 'shard_1.json')
    outcome = files.run('compare', '--bootstrap', '100')
    assert_noted(outcome.notes, '--merge')
    assert_named(files.run('compare', '--merge', '--bootstrap', '100', '--force'), 'merge|compare')


def test_notes_are_in_all_that_is_written(files):
    files.dt = [record for record in files.dt if record['image_id'] <= 3]
    outcome = files.run('eval', '--format', 'json', 'html', 'md')
    assert_noted(outcome.notes, r'\b9 of (the )?12 images')
    for name in ('occlusion.html', 'occlusion.md'):
        assert '9 of 12 images' in (files.folder / 'out' / name).read_text().replace('of the', 'of'), name


def test_notes_of_two_models_name_the_model(files):
    files.write('weak.json', [record for record in files.dt if record['image_id'] <= 3])
    files.results = ('dt.json', 'weak.json')
    outcome = files.run('eval')
    whole, weak = outcome.results
    assert whole['notes'] == [] and len(weak['notes']) == 1
    assert outcome.notes == weak['notes'] and 'note: weak: 9 of 12 images' in outcome.err


def test_notes_of_a_module(files):
    reported_results.crowded(files)
    result = evaluate(files.gt, files.dt)['bbox']
    assert isinstance(result.notes, tuple) and any('100' in note for note in result.notes)


@pytest.mark.parametrize(
    'arguments',
    [(3, []), ([], []), (None, []), ({}, []), ('', []), (b'gt.json', []), ({'images': 3}, [])],
    ids=kind,
)
def test_wrong_types_of_ground_truth(arguments):
    with pytest.raises(InputError) as caught:
        evaluate(*arguments)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('dt', [3, None, {1, 2}, 'nowhere.json', b'dt.json', [3], [None], iter(()), {'a': 1}], ids=kind)
def test_wrong_types_of_results(files, dt):
    with pytest.raises(InputError) as caught:
        evaluate(files.gt, dt)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    'keywords',
    [
        {'iou_types': 'bbox'},
        {'iou_types': ()},
        {'iou_types': 3},
        {'by': 3},
        {'engine': 3},
        {'details': 1},
        {'ignore': 1},
    ],
    ids=kind,
)
def test_wrong_types_of_keywords(files, keywords):
    if keywords == {'iou_types': 'bbox'}:  # one name is taken for a list of one, or refused
        with contextlib.suppress(InputError):
            assert list(evaluate(files.gt, files.dt, **keywords)) == ['bbox']
        return
    with pytest.raises(InputError) as caught:
        evaluate(files.gt, files.dt, **keywords)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('models', [3, [], {}, {'a': 3, 'b': 4}], ids=kind)
def test_wrong_types_of_models(files, models):
    with pytest.raises(InputError) as caught:
        compare(files.gt, models)
    assert '\n' not in str(caught.value)


@pytest.mark.skipif(not Path('/dev/full').exists(), reason='the system has no /dev/full')
def test_a_full_disk_behind_stdout_is_one_sentence(files):
    files.ratio()
    command = [sys.executable, '-m', 'mmhybrid.cli', 'occlusion', 'ratio', '--ann', files.folder / 'gt.json']
    with Path('/dev/full').open('w') as full:
        environment = os.environ | {'PYTHONPATH': str(ROOT)}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode != 0 and 'Traceback' not in done.stderr and 'Exception' not in done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: ')
