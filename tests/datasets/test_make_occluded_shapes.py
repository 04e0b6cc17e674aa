"""The folder that a generation writes, and the command: reuse, refusal, interruption, wrong input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from mmhybrid.datasets import occluded_shapes
from mmhybrid.datasets._summary import summarise
from mmhybrid.datasets.cli import main
from mmhybrid.datasets.occluded_shapes import generate, image_rng
from mmhybrid.errors import InputError

SPLITS = {'train': 20, 'val': 10}
TOOL = Path(__file__).parents[2] / 'tools' / 'make_occluded_shapes.py'


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """30 images that no test changes."""
    root = tmp_path_factory.mktemp('shapes') / 'data'
    generate(root, SPLITS, size=128, progress=False)
    return root


def read_files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def test_the_same_data_set_is_reused(dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob('*')}
    assert generate(dataset, SPLITS, size=128, workers=2, progress=False).reused
    assert before == {path: path.stat().st_mtime_ns for path in dataset.rglob('*')}


def test_a_foreign_folder_is_refused_even_by_force(tmp_path):
    (tmp_path / 'notes.txt').write_text('mine')
    for force in (False, True):
        with pytest.raises(InputError, match='not made by this generator'):
            generate(tmp_path, {'train': 2}, size=128, force=force, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ['notes.txt']
    with pytest.raises(InputError, match='is a file'):
        generate(tmp_path / 'notes.txt', {'train': 2}, progress=False)


def test_other_parameters_are_refused_unless_forced(tmp_path):
    root = tmp_path / 'data'
    generate(root, {'train': 3, 'old': 2}, size=128, progress=False)
    (root / 'old' / 'notes.txt').write_text('mine')
    with pytest.raises(InputError, match=r'seed 0, not 1.*--force'):
        generate(root, {'train': 3, 'old': 2}, size=128, seed=1, progress=False)
    generate(root, {'train': 2}, size=128, seed=1, force=True, progress=False)
    generate(tmp_path / 'new', {'train': 2}, size=128, seed=1, progress=False)
    kept = read_files(root)
    assert kept.pop('old/notes.txt') == b'mine'
    assert kept == read_files(tmp_path / 'new')


def test_an_interrupted_run_is_incomplete_and_starts_over(tmp_path, monkeypatch):
    root = tmp_path / 'data'
    monkeypatch.setattr(occluded_shapes, '_CHUNK', 1)
    with monkeypatch.context() as patch:
        patch.setattr(
            occluded_shapes, 'image_rng', lambda seed, split, index: 1 / (2 - index) and image_rng(seed, 0, 0)
        )
        with pytest.raises(ZeroDivisionError):
            generate(root, {'train': 4}, size=128, progress=False)
    assert (root / 'train' / '000000000002.jpg').exists() and not (root / 'dataset.json').exists()
    with pytest.raises(InputError, match='no complete data set'):
        summarise(root)
    assert not generate(root, {'train': 4}, size=128, progress=False).reused
    generate(tmp_path / 'whole', {'train': 4}, size=128, progress=False)
    assert read_files(root) == read_files(tmp_path / 'whole')


def test_a_data_set_that_lost_a_file_is_written_anew(tmp_path):
    root = tmp_path / 'data'
    generate(root, {'train': 3}, size=128, progress=False)
    whole = read_files(root)
    (root / 'train' / '000000000002.jpg').unlink()
    assert not generate(root, {'train': 3}, size=128, progress=False).reused
    assert read_files(root) == whole


# --- wrong input and the command


@pytest.mark.parametrize(
    ('wrong', 'sentence'),
    [
        ({'splits': {}}, 'no split'),
        ({'splits': {'train': 0}}, 'from 1 on, not 0'),
        ({'splits': {'../train': 1}}, 'cannot name a split'),
        ({'splits': {'annotations': 1}}, 'cannot name a split'),
        ({'size': 64}, 'from 96 to 2048, not 64'),
        ({'seed': -1}, 'seed'),
        ({'workers': 0}, 'workers'),
        ({'ratio_range': (0.5, 0.2)}, 'ratio range'),
        ({'ratio_range': (0.0, 1.0)}, 'ratio range'),
        ({'ratio_range': (0.0, float('nan'))}, 'ratio range'),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(tmp_path, wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        generate(tmp_path / 'data', **{'splits': {'train': 2}, **wrong}, progress=False)
    assert not (tmp_path / 'data').exists()


def test_command_prints_a_table_and_reuses(dataset, tmp_path, capsys):
    options = [str(dataset), '--train', '20', '--val', '10', '--size', '128', '--workers', '1']
    assert main(options) == 0
    out = capsys.readouterr().out
    assert 'r = 0' in out and '0.8 < r <= 0.9' in out and 'nothing was drawn' in out
    assert main([*options, '--seed', '1']) == 2
    assert capsys.readouterr().err.startswith('error: ')
    assert main([str(tmp_path / 'new'), '--train', '3', '--val', '0', '--size', '128', '--workers', '1']) == 0
    printed = capsys.readouterr()
    assert 'images/s' in printed.out and 'drawing images: 3 of 3' in printed.err
    assert not (tmp_path / 'new' / 'val').exists()


@pytest.mark.parametrize('options', [[], ['out', '--size', 'big'], ['out', '--colour', 'red']])
def test_command_refuses_wrong_options_in_one_line(options, capsys):
    with pytest.raises(SystemExit) as stop:
        main(options)
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith('error: ') and printed.count('\n') == 1


def test_help_shows_an_example(capsys):
    with pytest.raises(SystemExit) as stop:
        main(['--help'])
    assert stop.value.code == 0
    assert 'example:' in capsys.readouterr().out


def wait_until(condition, seconds=15):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_an_interrupted_command(tmp_path, sent):
    root = tmp_path / 'data'
    # A session of its own, as a terminal gives: Ctrl-C reaches every process in it. SIGKILL goes to the parent alone.
    command = subprocess.Popen(
        [sys.executable, TOOL, root, '--train', '5000', '--size', '128', '--workers', '2'],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: root.joinpath('train').is_dir() and any(root.joinpath('train').iterdir()))
        if sent == signal.SIGINT:
            os.killpg(command.pid, sent)
        else:
            command.send_signal(sent)
        # Standard error closes only when the workers, which share it, have ended too.
        message = command.communicate(timeout=15)[1]
    finally:
        command.kill()
    assert not (root / 'dataset.json').exists()
    if sent == signal.SIGINT:
        assert command.returncode == 130
        assert 'interrupted' in message and 'Traceback' not in message


def test_sheet_shows_the_images_from_the_least_to_the_most_occluded(dataset, tmp_path):
    path = tmp_path / 'new' / 'sheet.png'
    options = [str(dataset), '--train', '20', '--val', '10', '--size', '128', '--sheet', str(path)]
    assert main(options) == 0
    images = json.loads((dataset / 'annotations' / 'instances_train.json').read_text())['images']
    images.sort(key=lambda image: image['occlusion_ratio'])
    with Image.open(path) as sheet:
        assert sheet.size == (6 * 134 + 6, 2 * 134 + 18 + 6)
        for x, record in ((6, images[0]), (6 + 5 * 134, images[-1])):
            with Image.open(dataset / 'train' / record['file_name']) as image:
                assert list(sheet.crop((x, 24, x + 128, 152)).getdata()) == list(image.getdata())
    assert main([*options[:-1], str(tmp_path / 'sheet.txt')]) == 2
