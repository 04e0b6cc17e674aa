"""Calls shared among processes: the same results in the same order, whatever becomes of the other processes."""

import os
import signal
import sys
import time

import pytest

from mmhybrid.occlusion.read import elsewhere

HERE = os.getpid()


def answer(value, pause=0.0, gate=None):
    until(lambda: gate is None or gate.exists())
    time.sleep(pause)
    return value, os.getpid()


def unless_negative(value, pause):
    time.sleep(pause)
    return value if value >= 0 else None


def only_in(process, value):
    if os.getpid() != process:
        os._exit(3)
    return value


def fails_elsewhere(process, value):
    if os.getpid() != process:
        raise ValueError(value)
    return value


def chatters(value):
    if os.getpid() != value:
        print('not a pickle', flush=True)
    return value


def large(value):
    time.sleep(0.02)
    return bytes([value]) * (3 * 2**20)


def fails(value):
    raise ZeroDivisionError(value)


def until(condition):
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError('a minute has passed')


def results(function, calls, gate=None):
    """What all return; the gate, a path, is opened when the other processes are ready, however busy the machine is."""
    with elsewhere.Calls(function, calls) as shared:
        if gate:
            for other in shared._others:
                until(lambda other=other: other._ready or not other.is_alive())
            gate.touch()
        found = shared.results()
        return None if found is None else list(found)


@pytest.fixture(params=[1, 3])
def others(request, monkeypatch):
    monkeypatch.setattr(elsewhere, '_processors', lambda: 1 + request.param)
    return request.param


def test_other_processes_take_part(others, tmp_path):
    gate = tmp_path / 'gate'
    found = results(answer, [(i, 0.02, gate) for i in range(40)], gate)
    assert [value for value, _ in found] == list(range(40))
    processes = [process for _, process in found]
    assert processes[0] == HERE and len(set(processes)) == 1 + others
    own = [process == HERE for process in processes]
    assert own == sorted(own, reverse=True)  # this one begins at the start, the others at the end


@pytest.mark.parametrize('function', [only_in, fails_elsewhere])
def test_without_the_other_this_one_does_it_all(others, function):
    calls = [(HERE, i) for i in range(12)]
    assert results(function, calls) == list(range(12))


def halted_in(process, sign, value):
    if os.getpid() != process:
        os.kill(os.getpid(), sign)
        time.sleep(600)  # a killed one does not come here, and a stopped one is not to go on
    return value


@pytest.mark.skipif(not hasattr(os, 'waitid'), reason='needs signals and waitid')
@pytest.mark.parametrize('name', ['SIGSTOP', 'SIGKILL'])  # SIGTSTP stops nothing in an orphaned process group
def test_one_that_is_stopped_or_killed_is_not_waited_for(monkeypatch, others, name):
    monkeypatch.setattr(elsewhere, 'LEAST_PATIENCE', 600)
    sign = getattr(signal, name)
    calls = [(HERE, sign, i) for i in range(16)]
    with elsewhere.Calls(halted_in, calls) as shared:
        processes = [other._process for other in shared._others]
        for other in shared._others:
            until(lambda other=other: other._ready or not other.is_alive())
        assert list(shared.results()) == list(range(16))
        assert all(process.poll() is not None for process in processes)


def sleeps_in(process, value):
    if os.getpid() != process:
        time.sleep(600)
    return value


def test_one_that_does_not_answer_is_waited_for_with_patience(monkeypatch, others):
    monkeypatch.setattr(elsewhere, 'LEAST_PATIENCE', 0.2)
    with elsewhere.Calls(sleeps_in, [(HERE, i) for i in range(16)]) as shared:
        for other in shared._others:
            until(lambda other=other: other._ready or not other.is_alive())
        assert list(shared.results()) == list(range(16))


def test_output_of_the_function_does_no_harm(others):
    assert results(chatters, [(HERE,)] * 12) == [HERE] * 12


def test_no_process_can_be_started(monkeypatch, others):
    for name, value in (('executable', ''), ('executable', '/nowhere/python'), ('frozen', True)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value, raising=False)
            assert results(answer, [(i,) for i in range(9)]) == [(i, HERE) for i in range(9)]


SILENT = 'import time; time.sleep(600)'
CHATTY = (
    "print('Building'); print('N.'); import sys; argv = ['-c', *sys.argv[2:]]; sys.argv = argv; exec(sys.argv.pop(1))"
)


@pytest.mark.skipif(os.name == 'nt', reason='a script stands for the interpreter')
@pytest.mark.parametrize('program', [SILENT, CHATTY])
def test_what_starts_says_nothing_or_too_much(monkeypatch, tmp_path, others, program):
    interpreter = tmp_path / 'python'
    interpreter.write_text(f'#!{sys.executable}\n{program}\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(interpreter))
    gate = None if program == SILENT else tmp_path / 'gate'
    found = results(answer, [(i, 0.02, gate) for i in range(16)], gate)
    assert [value for value, _ in found] == list(range(16))
    assert ({process for _, process in found} == {HERE}) == (program == SILENT)


def test_no_thread_can_be_started(monkeypatch, others):
    def refuse(self):
        refused.append(self._process)
        raise RuntimeError("can't start new thread")

    refused = []
    monkeypatch.setattr(elsewhere._Other, 'start', refuse)
    assert results(answer, [(i,) for i in range(20)]) == [(i, HERE) for i in range(20)]
    assert len(refused) == others and all(process.poll() is not None for process in refused)


def test_modules_in_the_current_folder_are_not_run(monkeypatch, tmp_path, others):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [path for path in sys.path if path])
    for name in ('json', 'pickle', 're'):
        (tmp_path / f'{name}.py').write_text("open('was run', 'w')")
    gate = tmp_path / 'gate'
    found = results(answer, [(i, 0.02, gate) for i in range(24)], gate)
    assert len({process for _, process in found}) > 1
    assert not (tmp_path / 'was run').exists()


def test_replies_larger_than_a_pipe_without_buffering(monkeypatch, others):
    monkeypatch.setenv('PYTHONUNBUFFERED', '1')
    found = results(large, [(i,) for i in range(40)])
    assert [len(value) for value in found] == [3 * 2**20] * 40


@pytest.mark.parametrize('place', [0, 5, 39])
def test_gives_up(others, place):
    calls = [(-1 if i == place else i, 0.05) for i in range(40)]
    assert results(unless_negative, calls) is None


def test_an_error_is_that_of_the_function(others):
    with pytest.raises(ZeroDivisionError):
        results(fails, [(i,) for i in range(8)])


def test_few_calls_start_no_process(monkeypatch):
    monkeypatch.setattr(elsewhere, '_Other', None)
    assert results(answer, [(0,), (1,)]) == [(0, HERE), (1, HERE)]
    assert results(answer, []) == []


def test_others_begin_before_the_results_are_asked_for(others):
    with elsewhere.Calls(answer, [(i, 0.01) for i in range(8)]) as shared:
        until(lambda: len(shared._work.done) >= 4)
        assert HERE not in {process for _, process in shared._work.done.values()}
        assert [value for value, _ in shared.results()] == list(range(8))


def test_results_that_nobody_asks_for(others):
    with elsewhere.Calls(answer, [(i, 0.05) for i in range(400)]) as shared:
        processes = [other._process for other in shared._others]
        assert all(process.poll() is None for process in processes)
    assert all(process.poll() is not None for process in processes)
    assert len(shared._work.done) < 400
