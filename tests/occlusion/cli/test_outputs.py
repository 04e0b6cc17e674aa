"""Where a command writes: nothing that a user made is lost, followed out of its place, or waited for."""

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from mmhybrid import outputs
from mmhybrid.errors import InputError
from mmhybrid.occlusion.cli import main
from mmhybrid.occlusion.cli.outputs import is_ours

from ..synthetic import dataset

WRITER = outputs.Writer([], False, is_ours)
pytestmark = pytest.mark.skipif(os.name == 'nt', reason='links and pipes of POSIX')


@pytest.fixture
def ratio(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('gt.json').write_text(json.dumps(dataset(2)[0]))
    return ['ratio', '--ann', 'gt.json', '--out', 'r.csv']


def refused(capsys, arguments):
    assert main(arguments) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith('error: '))
    return line


@pytest.mark.parametrize('force', [[], ['--force']])
@pytest.mark.parametrize(
    ('make', 'kind'),
    [
        (os.mkfifo, 'a named pipe'),
        (os.mkdir, 'a folder'),
        (lambda path: socket.socket(socket.AF_UNIX).bind(path), 'a socket'),
    ],
)
def test_only_regular_files_are_replaced(ratio, capsys, make, kind, force):
    make('r.csv')
    before = os.lstat('r.csv')
    assert f'r.csv: is no regular file ({kind}); choose another place' in refused(capsys, [*ratio, *force])
    assert os.lstat('r.csv').st_ino == before.st_ino


@pytest.mark.parametrize('target', ['mine.csv', 'gone.csv', 'earlier.csv', '/dev/null'])
def test_a_link_is_not_followed(ratio, capsys, target):
    assert main([*ratio[:-1], 'earlier.csv']) == 0
    Path('mine.csv').write_text('mine')
    before = {path: path.read_bytes() for path in Path().iterdir()}
    Path('r.csv').symlink_to(target)
    assert 'r.csv: is a link, which no command of ours made' in refused(capsys, ratio)
    assert Path('r.csv').is_symlink()
    assert main([*ratio, '--force']) == 0
    assert not Path('r.csv').is_symlink() and Path('r.csv').read_bytes() == before[Path('earlier.csv')]
    Path('r.csv').unlink()
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_folder_may_be_a_link_that_leads_somewhere(ratio, capsys):
    Path('real').mkdir()
    Path('link').symlink_to('real')
    assert main([*ratio[:-1], 'link/r.csv']) == 0 and Path('real/r.csv').exists()
    Path('lost').symlink_to('nowhere')
    assert 'lost is no folder to write in' in refused(capsys, [*ratio[:-1], 'lost/r.csv'])


def test_names_of_one_file_are_told(ratio, capsys):
    Path('sub').mkdir()
    assert 'name the same file' in refused(capsys, [*ratio, '--instances', 'sub/../r.csv'])
    os.link('gt.json', 'r.json')
    assert 'is an input of this run' in refused(capsys, [*ratio[:-1], 'r.json', '--force'])


def test_a_partial_file_cannot_be_foreseen_nor_stays(ratio, monkeypatch, tmp_path):
    names = []

    def write(descriptor, *arguments):
        (name,) = (path for path in tmp_path.iterdir() if path.name.startswith('.'))
        names.append(name)
        raise OSError('the disk is full')

    monkeypatch.setattr(outputs.os, 'fdopen', write)
    path = tmp_path / 'r.csv'
    for _ in range(2):
        with pytest.raises(InputError, match=r'cannot be written .the disk is full'):
            WRITER.write({path: lambda: b'x'})
    assert names[0] != names[1] and not any(name.exists() for name in names)
    # A name that is taken after all, by a link: what it leads to stays.
    victim = tmp_path / 'victim'
    victim.write_text('mine')
    monkeypatch.setattr(outputs.secrets, 'token_hex', lambda size: 'taken')
    (tmp_path / '.taken.part').symlink_to(victim)
    with pytest.raises(InputError, match='cannot be written'):
        WRITER.write({path: lambda: b'x'})
    assert victim.read_text() == 'mine' and not path.exists()


def test_permissions_are_those_of_any_new_file(ratio):
    previous = os.umask(0o027)
    try:
        assert main(ratio) == 0
    finally:
        os.umask(previous)
    assert stat.S_IMODE(Path('r.csv').stat().st_mode) == 0o640


def test_what_appeared_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / 'r.csv'
    WRITER.check([path])
    path.write_text('mine')
    with pytest.raises(InputError, match='was not written by this command'):
        WRITER.write({path: lambda: 'ours'})
    assert path.read_text() == 'mine'


def test_a_users_large_json_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / 'r.json'
    path.write_text(json.dumps({'other': 'x' * 10_000, 'schema': 'mmhybrid.occlusion', 'schema_version': 2}))
    monkeypatch.setattr(outputs.json, 'loads', None)
    assert not is_ours(path)
