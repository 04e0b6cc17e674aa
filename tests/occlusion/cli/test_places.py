"""Where results go: the same command may replace its own, and no other command takes their place unasked."""

import argparse
import json
from pathlib import Path

import pytest

from mmhybrid.occlusion import Details
from mmhybrid.occlusion.cli import listed, main, main_eval, outputs
from mmhybrid.occlusion.cli.options import FORMATS

from .running import document, refused

OUT = ['--out-dir', 'out', '--format', 'json', 'csv']


def contents(folder='out'):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_the_same_command_replaces_its_own_files(files):
    assert main(['eval', *files, *OUT]) == 0
    before = contents()
    rows = json.loads(Path('model.bbox.json').read_text())
    Path('model.bbox.json').write_text(json.dumps(rows[::3]))  # as after another training
    # Options in another order, the default given, another format: all of it is the same evaluation.
    assert main_eval(['--iou-type', 'bbox', *files[2:], *files[:2], *OUT[:3], 'md', 'json']) == 0
    assert contents()['occlusion.json'] != before['occlusion.json']
    assert contents().keys() == before.keys() | {'occlusion.md'}


@pytest.mark.parametrize(
    'other',
    [
        ['eval', '--ann', 'gt.json', '--results', 'other.bbox.json'],
        ['eval', '--ann', 'gt.json', '--results', 'model.bbox.json', '--edges', '0', '0.5', '1'],
        ['report', '--ann', 'gt.json', '--results', 'model.bbox.json', '--bootstrap', '10'],
    ],
)
def test_another_command_is_refused_before_it_works(files, capsys, monkeypatch, other):
    assert main(['eval', *files, *OUT]) == 0
    before = contents()
    with monkeypatch.context() as patch:
        patch.setattr('mmhybrid.occlusion.cli.commands.Study', None)
        error = refused(capsys, [*other, *OUT[:2]], main)
    there = 'mmhybrid occlusion eval --ann gt.json --results model.bbox.json'
    assert error == f'error: out: holds the results of `{there}`; choose another --out-dir, or --force to replace them.'
    assert contents() == before


def test_with_force_nothing_of_the_other_command_stays(files):
    assert main(['eval', *files, '--errors', *OUT]) == 0
    Path('out/occlusion_mine.csv').write_text('mine')
    Path('out/notes.md').write_text('mine')
    Path('out/occlusion_before.json').write_bytes(contents()['occlusion.json'])  # kept under a name of the user's
    assert main(['eval', *files, '--max-dets', '2', '--out-dir', 'out', '--force', '--format', 'json']) == 0
    assert contents().keys() == {'occlusion.json', 'occlusion_mine.csv', 'occlusion_before.json', 'notes.md'}
    assert document('out')['command'] == (
        'mmhybrid occlusion eval --ann gt.json --results model.bbox.json --max-dets 2'
    )


def test_a_copy_that_the_user_keeps_is_no_result_of_another_command(files):
    assert main(['eval', *files, *OUT[:3], 'json']) == 0
    Path('out/occlusion.json').rename('out/occlusion_before.json')
    assert main(['eval', *files, '--max-dets', '2', *OUT[:3], 'json']) == 0
    assert contents().keys() == {'occlusion.json', 'occlusion_before.json'}


def test_every_file_of_a_command_is_known_again():
    args = argparse.Namespace(min_images=10, class_agnostic=False, format=FORMATS)
    details = Details(categories=True, instances=True, errors=True, quality=True, resamples=100)
    names = [path.name for path in outputs.of_evaluation(Path('out'), args, details, 2, [], miss_rate=True)]
    names += [f'listed{end}' for end, *_ in listed._FILES]
    assert len(names) == 8 + 2 * 5 + 4
    assert not {name for name in names if name not in outputs.names_of(name.partition('_')[0].partition('.')[0])}


def test_by_default_another_command_goes_to_another_folder(files, capsys):
    for number, more in enumerate([[], ['--max-dets', '2'], [], ['--max-dets', '3'], ['--max-dets', '2']]):
        assert main(['eval', *files, *more, '--format', 'json']) == 0
        place = 'model.bbox' + ('', '_2', '', '_3', '_2')[number]
        assert capsys.readouterr().out.splitlines()[-1] == f'wrote work_dirs/occlusion/{place}/occlusion.json'
    assert len(list(Path('work_dirs/occlusion').iterdir())) == 3


@pytest.mark.parametrize('keep', ['csv', 'json'])
def test_results_without_a_record_are_not_replaced(files, capsys, keep):
    run = ['eval', *files, '--out-dir', 'out', '--format', keep]
    assert main(run) == 0
    if keep == 'json':  # as versions before this one wrote it
        Path('out/occlusion.json').write_text(json.dumps({k: v for k, v in document('out').items() if k != 'command'}))
    before = contents()
    assert 'out: holds the results of a command that is not recorded there' in refused(capsys, run, main)
    assert contents() == before and main([*run, '--force']) == 0
