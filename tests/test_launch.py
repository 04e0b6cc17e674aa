"""What a tool does with what goes wrong."""

import errno
import logging
import os
import pickle
import signal

import pytest
import torch

from mmhybrid import launch
from mmhybrid.errors import InputError


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'):
        monkeypatch.setenv(name, '0')  # so that it is restored
    before = signal.getsignal(signal.SIGTERM), logging.Handler.handleError
    yield
    assert (signal.getsignal(signal.SIGTERM), logging.Handler.handleError) == before


def stopped(error, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as exit:
        launch.run(main)
    return exit.value.code, capsys.readouterr().err


def test_weights_only_is_in_force_also_against_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    torch.save(print, tmp_path / 'x.pth')

    def main():
        with pytest.raises(pickle.UnpicklingError):
            torch.load(tmp_path / 'x.pth', weights_only=False)

    launch.run(main)


def test_a_mistake_is_one_sentence(capsys):
    assert stopped(InputError('There is none.'), capsys) == (2, 'error: There is none.\n')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize('where', ['/data/log.json', None])
def test_a_full_disk_is_one_sentence(number, where, capsys):
    error = OSError(number, os.strerror(number), where)
    code, said = stopped(error, capsys)
    assert code == 2
    assert said.startswith(f'error: No space is left on the disk ({os.strerror(number)}: {where or "of the work dir"}')
    assert said.endswith('free some, or choose another --work-dir.\n')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='of Linux')  # noqa: PTH110
def test_a_disk_that_is_really_full(capsys):
    def main():
        with open('/dev/full', 'w') as file:  # noqa: PTH123
            file.write('x')

    with pytest.raises(SystemExit):
        launch.run(main)
    assert 'error: No space is left on the disk' in capsys.readouterr().err


def test_another_error_keeps_its_traceback(capsys):
    with pytest.raises(PermissionError):
        stopped(PermissionError(errno.EACCES, 'no'), capsys)


def test_a_log_on_a_full_disk_is_no_traceback_each_line(capsys):
    class Full(logging.Handler):
        def emit(self, record):
            try:
                raise OSError(errno.ENOSPC if record.msg == 'full' else errno.EIO, 'no')
            except OSError:
                self.handleError(record)

    def main():
        logger = logging.getLogger('full disk')
        logger.propagate = False
        logger.addHandler(Full())
        logger.warning('full')
        assert capsys.readouterr().err == ''
        logger.warning('other')
        assert 'Logging error' in capsys.readouterr().err

    launch.run(main)
