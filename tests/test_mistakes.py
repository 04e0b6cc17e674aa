"""What the system or a data worker refuses becomes a sentence, and how it is told."""

import errno
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from mmhybrid import early_checks, mistakes
from mmhybrid.errors import InputError

from .telling import told


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


# ---- data workers ----


class Images(list):
    def __getitem__(self, i):
        path = super().__getitem__(i)
        if callable(path):
            path()
        return TRANSFORMS.build(dict(type='LoadImageFromFile'))(dict(img_path=str(path)))['img'].shape


def passed_on(item):
    """The sentence about what a worker passes on."""
    batches = iter(DataLoader(Images([item]), num_workers=1))
    try:
        return told(next, batches)
    finally:
        batches._shutdown_workers()


@pytest.fixture
def naming(monkeypatch):
    monkeypatch.setattr(LoadImageFromFile, 'transform', LoadImageFromFile.transform)
    early_checks.name_unreadable_images()
    early_checks.name_unreadable_images()
    assert not hasattr(LoadImageFromFile.transform.__wrapped__, '__wrapped__')


def test_an_image_that_cannot_be_read_is_named_also_by_a_worker(tmp_path, naming):
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.jpg').write_text('text')
    (tmp_path / 'folder.jpg').mkdir()
    for name, reason in (
        ('none.jpg', 'No such file or directory'),
        ('empty.jpg', 'it is empty'),
        ('text.jpg', 'it is not an image, or damaged'),
        ('folder.jpg', 'Is a directory'),
    ):
        expected = f'The image {tmp_path / name} cannot be read ({reason}); replace it, or remove its annotations.'
        assert told(Images([tmp_path / name]).__getitem__, 0) == expected
        assert passed_on(tmp_path / name) == expected


def test_what_a_worker_passes_on(tmp_path):
    assert passed_on((tmp_path / 'none.txt').read_text).startswith(f'There is no {tmp_path}/none.txt (from ')
    assert passed_on(lambda: np.empty(1 << 46)).startswith('There is not enough memory (Unable to allocate')
    assert 'it fails at assert isinstance(in_channels, list)' in passed_on(
        lambda: MODELS.get('FPN')(in_channels=3, out_channels=4, num_outs=1)
    )
    assert passed_on(lambda: {}['x']) is None
    assert passed_on(lambda: None + 1) is None
    assert passed_on(lambda: os._exit(1)).startswith('A process that loads data has ended, often for want of memory (')


# ---- what the system refuses ----


def test_files_and_folders(tmp_path):
    (tmp_path / 'file').touch()
    assert told((tmp_path / 'none').read_text) == (
        f'There is no {tmp_path}/none (from {os.getcwd()}); put it there, or correct its path.'  # noqa: PTH109
    )
    for mistake in (tmp_path.read_text, (tmp_path / 'file' / 'x').mkdir, (tmp_path / 'file').mkdir):
        assert 'cannot be used (' in told(mistake) and told(mistake).endswith('choose another place.')

    def many():
        raise OSError(errno.EMFILE, 'Too many open files', 'x')

    assert told(many).startswith('Too many files are open (x): raise the limit')


def test_memory():
    assert told(np.empty, 1 << 46).startswith('There is not enough memory (Unable to allocate')
    assert told(torch.empty, 1 << 46).startswith('There is not enough memory (')
    assert told(bytearray, 1 << 50) == (
        'There is not enough memory: lower the batch size or the size of the images, or num_workers.'
    )

    def gpu(kind, said):
        raise kind(said)

    said = told(gpu, torch.cuda.OutOfMemoryError, 'CUDA out of memory. Tried to allocate 2.00 GiB.')
    assert said.startswith('There is not enough GPU memory (CUDA out of memory. Tried to allocate 2.00 GiB)')
    assert said.endswith('or use --amp.')
    assert 'GPU memory' in told(gpu, RuntimeError, 'CUDA error: out of memory\nCompile with ...')


def test_the_end_of_an_input(tmp_path):
    def load_pickle(path):
        with path.open('rb') as file:
            return pickle.load(file)

    (tmp_path / 'empty.pkl').touch()
    assert told(load_pickle, tmp_path / 'empty.pkl').startswith(
        f'{tmp_path}/empty.pkl cannot be read (EOFError: Ran out'
    )

    def ask():
        raise EOFError

    assert told(ask) == 'An input ended too early (EOFError).'


def test_another_process_that_ended():
    def lost():
        raise RuntimeError('[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1234')

    assert told(lost).startswith('Another process of this job has ended or cannot be reached')


def test_a_library_that_is_missing():
    assert 'is missing' in told(lambda: __import__('nowhere_at_all'))
    assert told(lambda: __import__('mmhybrid.nowhere_at_all')) is None


# ---- how it is told ----


def test_ctrl_c_debugging_and_control_characters(capsys, monkeypatch):
    def mistake(kind, *args):
        raise kind(*args)

    assert mistakes.run(lambda: mistake(KeyboardInterrupt)) == 130
    assert capsys.readouterr().err == 'error: ended by Ctrl-C.\n'
    assert mistakes.run(lambda: mistake(InputError, 'No \x1b[31mfile\n.')) == 2
    assert capsys.readouterr().err == 'error: No ?[31mfile .\n'
    monkeypatch.setenv('MMHYBRID_DEBUG', '1')
    assert mistakes.run(lambda: mistake(InputError, 'No file.')) == 2
    lines = capsys.readouterr().err.splitlines()
    assert (lines[0], lines[-1]) == ('Traceback (most recent call last):', 'error: No file.')


PRINT = (
    'import sys\nfrom mmhybrid import mistakes\nsys.exit(mistakes.run(lambda: [print(i) for i in range(99999)] and 0))'
)


def test_a_reader_that_has_seen_enough_and_a_full_disk():
    """Neither imports torch."""
    # Without a buffer it is another case: what is written fails at once.
    for buffered in ({}, {'PYTHONUNBUFFERED': '1'}):
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONUNBUFFERED'} | buffered
        command = f'"{sys.executable}" -c "{PRINT}" | head -n 1; echo ${{PIPESTATUS[0]}}'
        done = subprocess.run(['bash', '-c', command], capture_output=True, text=True, env=environment)
        assert (done.stdout, done.stderr) == ('0\n0\n', '')
        for count in (99999, 1):  # the second one fits into a buffer, which is written last
            words = [sys.executable, '-c', PRINT.replace('99999', str(count))]
            with open('/dev/full', 'w') as full:  # noqa: PTH123
                done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, env=environment)
            assert done.returncode == 2
            assert done.stderr.startswith('error: No space is left on the disk') and done.stderr.count('\n') == 1
