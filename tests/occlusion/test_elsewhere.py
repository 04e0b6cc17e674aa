"""Calls shared among processes: the same results in the same order, whatever becomes of the other processes."""

import os
import sys
import time

import pytest

from mmhybrid.occlusion import elsewhere

HERE = os.getpid()


def answer(value, pause=0.0):
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


def fails(value):
    raise ZeroDivisionError(value)


@pytest.fixture(params=[1, 3])
def others(request, monkeypatch):
    monkeypatch.setattr(elsewhere, '_processors', lambda: 1 + request.param)
    return request.param


def test_other_processes_take_part(others):
    found = elsewhere.results(answer, [(i, 0.05) for i in range(60)])
    assert [value for value, _ in found] == list(range(60))
    processes = [process for _, process in found]
    assert processes[0] == HERE and len(set(processes)) == 1 + others
    own = [process == HERE for process in processes]
    assert own == sorted(own, reverse=True)  # this one begins at the start, the others at the end


@pytest.mark.parametrize('function', [only_in, fails_elsewhere])
def test_without_the_other_this_one_does_it_all(others, function):
    calls = [(HERE, i) for i in range(12)]
    assert elsewhere.results(function, calls) == list(range(12))


def test_output_of_the_function_does_no_harm(others):
    assert elsewhere.results(chatters, [(HERE,)] * 12) == [HERE] * 12


def test_no_process_can_be_started(monkeypatch, others):
    for name, value in (('executable', ''), ('executable', '/nowhere/python'), ('frozen', True)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value, raising=False)
            assert elsewhere.results(answer, [(i,) for i in range(9)]) == [(i, HERE) for i in range(9)]


@pytest.mark.parametrize('place', [0, 5, 39])
def test_gives_up(others, place):
    calls = [(-1 if i == place else i, 0.05) for i in range(40)]
    assert elsewhere.results(unless_negative, calls) is None


def test_an_error_is_that_of_the_function(others):
    with pytest.raises(ZeroDivisionError):
        elsewhere.results(fails, [(i,) for i in range(8)])


def test_few_calls_start_no_process(monkeypatch):
    monkeypatch.setattr(elsewhere, '_Other', None)
    assert elsewhere.results(answer, [(0,), (1,)]) == [(0, HERE), (1, HERE)]
    assert elsewhere.results(answer, []) == []
