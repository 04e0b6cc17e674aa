"""What a tool does with what goes wrong."""

import errno
import logging
import os
import pickle
import signal
from datetime import timedelta

import pytest
import torch
from mmengine.config import Config

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
    assert said.startswith(f'error: No space is left on the disk ({os.strerror(number)}: {where or "of the output"}')
    assert said.endswith('free some, or choose another place.\n')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='of Linux')  # noqa: PTH110
def test_a_disk_that_is_really_full(capsys):
    def main():
        with open('/dev/full', 'w') as file:  # noqa: PTH123
            file.write('x')

    with pytest.raises(SystemExit):
        launch.run(main)
    assert 'error: No space is left on the disk' in capsys.readouterr().err


def test_another_error_keeps_its_traceback(capsys):
    with pytest.raises(KeyError):
        stopped(KeyError('a bug'), capsys)
    assert capsys.readouterr().err == ''


def test_a_log_on_a_full_disk_is_no_traceback_each_line(capsys):
    class Full(logging.Handler):
        def emit(self, record):
            try:
                raise OSError(getattr(errno, record.msg), 'no')
            except OSError:
                self.handleError(record)

    def main():
        logger = logging.getLogger('full disk')
        logger.propagate = False
        logger.addHandler(Full())
        logger.warning('ENOSPC')
        logger.warning('EPIPE')  # what reads the output has ended, and the run goes on
        assert capsys.readouterr().err == ''
        logger.warning('EIO')
        assert 'Logging error' in capsys.readouterr().err

    launch.run(main)


def test_debug_is_an_option_of_the_parser(monkeypatch, capsys):
    monkeypatch.setenv('MMHYBRID_DEBUG', '')
    parser = launch.make_parser('', '')
    assert '--debug' in parser.format_help()
    parser.parse_args(['config.py', '--debug'])
    code, said = stopped(InputError('There is none.'), capsys)
    assert code == 2
    assert said.startswith('Traceback') and said.endswith('\nerror: There is none.\n')


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, dict(broadcast_buffers=False, find_unused_parameters=False)),
        (dict(find_unused_parameters=True), dict(broadcast_buffers=False, find_unused_parameters=True)),
        (
            dict(model_wrapper_cfg=dict(static_graph=True, device_ids=[0]), find_unused_parameters=True),
            dict(static_graph=True),
        ),
    ],
)
def test_a_model_on_cpus_is_wrapped_as_the_config_says(given, expected):
    wrapper = launch._cpu_wrapper(Config(given))
    assert dict(wrapper) == dict(type='MMDistributedDataParallel', device_ids=None, **expected)


def test_another_wrapper_on_cpus_is_left_as_it_is():
    wrapper = dict(type='MMFullyShardedDataParallel', use_orig_params=True)
    assert dict(launch._cpu_wrapper(Config(dict(model_wrapper_cfg=wrapper)))) == wrapper


def test_settings_of_the_job_stay_on_cpus(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'cpu')
    called = []
    monkeypatch.setattr(
        torch.distributed, 'init_process_group', lambda *args, **options: called.append((args, options))
    )
    for env_cfg, seconds in (({}, None), (dict(dist_cfg=dict(backend='nccl', timeout=60)), 60)):
        cfg = Config(dict(launcher='pytorch', **({'env_cfg': env_cfg} if env_cfg else {})))
        launch._adapt_to_cpu(cfg)
        assert cfg.env_cfg.dist_cfg == dict(env_cfg.get('dist_cfg', {}), backend='gloo')
        assert called.pop() == (('gloo',), {'timeout': seconds and timedelta(seconds=seconds)})
        assert cfg.model_wrapper_cfg.device_ids is None


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        ([], 'the following arguments are required: config'),
        (['config.py', '--nope'], 'unrecognized arguments: --nope'),
        (['config.py', '--launcher', 'ssh'], "argument --launcher: invalid choice: 'ssh'"),
    ],
)
def test_wrong_arguments_are_one_sentence(words, sentence, capsys):
    with pytest.raises(SystemExit) as exit:
        launch.make_parser('Train.', 'config.py', 'mmhybrid train').parse_args(words)
    said = capsys.readouterr().err
    assert exit.value.code == 2 and said.startswith(f'error: {sentence}')
    assert said.count('\n') == 1 and said.endswith('; mmhybrid train --help lists the options.\n')
