"""Resuming beside MMEngine's other features, in used folders, and from files that hold anything."""

import os
import shutil
import signal

import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from mmhybrid.engine import record, stopping
from mmhybrid.engine.exact_data import NumberedBatches, begin_anew, with_numbered_batches
from mmhybrid.engine.random_states import random_states

from .test_resumable_files import log, names
from .toy_run import config, run


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return run(config(tmp_path_factory.mktemp('whole')))


def keeping(folder, **changes):
    cfg = config(folder, **changes)
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    return cfg


def test_a_run_that_was_taken_back_goes_on_where_it_then_was(whole, tmp_path):
    cfg = keeping(tmp_path)
    run(cfg)
    back = run(config(tmp_path, load_from=str(tmp_path / 'epoch_1.pth')), resume=True, stop_after=12)
    assert back == {**{i: whole[i] for i in range(5, 12)}, 'exit': 143}
    assert run(cfg, resume=True) == {i: whole[i] for i in range(12, 15)}


def test_a_new_run_in_a_used_folder_is_not_confused_with_the_old_one(whole, tmp_path):
    run(keeping(tmp_path, randomness=dict(seed=8)))
    cfg = keeping(tmp_path)
    run(cfg, stop_after=8, signum=signal.SIGKILL)
    assert run(cfg, resume=True) == {i: whole[i] for i in range(5, 15)}


def test_going_back_removes_nothing_that_is_newer(tmp_path):
    cfg = keeping(tmp_path)
    run(cfg, stop_after=7)
    run(cfg, resume=True, stop_after=12)
    assert torch.load(tmp_path / 'epoch_2.pth')['resume']['superseded'] == ['interrupted.pth']
    run(keeping(tmp_path, load_from=str(tmp_path / 'epoch_2.pth')), resume=True, stop_after=11, signum=signal.SIGKILL)
    assert torch.load(tmp_path / 'interrupted.pth')['meta']['iter'] == 12


def test_a_template_with_a_format_is_known(whole, tmp_path):
    cfg = config(tmp_path)
    cfg.default_hooks.checkpoint.filename_tmpl = 'model_{:03d}.pth'
    run(cfg, stop_after=8, signum=signal.SIGKILL)
    (tmp_path / 'last_checkpoint').write_text('')
    assert run(cfg, resume=True) == {i: whole[i] for i in range(5, 15)}
    assert 'model_003.pth' in names(tmp_path)


def test_a_fresh_start_is_told(tmp_path):
    run(config(tmp_path), resume=True)
    assert f'There is no checkpoint in {tmp_path}: the run begins anew.' in log(tmp_path)


def test_averages_of_the_weights_stay_apart_when_a_validation_is_stopped(tmp_path):
    ema = dict(custom_hooks=[dict(type='EMAHook')])
    whole = run(config(tmp_path / 'whole', **ema))
    for watch in (dict(in_val=5), dict(in_val=10), dict(stop_after=7)):
        cfg = config(tmp_path / str(watch), **ema)
        losses = run(cfg, **watch) | run(cfg, resume=True)
        assert {i: loss for i, loss in losses.items() if i != 'exit'} == whole
    ends = [torch.load(tmp_path / name / 'epoch_3.pth') for name in ('whole', str(dict(in_val=5)))]
    for key in ('state_dict', 'ema_state_dict'):
        a, b = (end[key] for end in ends)
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_stopped_twice_in_a_validation(whole, tmp_path):
    cfg = config(tmp_path)
    losses = run(cfg, in_val=5) | run(cfg, resume=True, in_val=5) | run(cfg, resume=True)
    assert losses.pop('exit') == 143
    assert losses == whole


def test_gradients_that_are_being_accumulated_are_waited_for(tmp_path):
    optim = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9), accumulative_counts=3)
    options = dict(by_epoch=False, optim_wrapper=optim, val=False)
    whole = run(config(tmp_path / 'whole', **options))
    cfg = config(tmp_path / 'stopped', **options)
    losses = run(cfg, stop_after=4)
    assert losses.pop('exit') == 143
    assert sorted(losses) == list(range(6))
    assert losses | run(cfg, resume=True) == whole


def test_what_the_checkpoint_lacks_is_told(tmp_path):
    cfg = config(tmp_path, val=False)
    cfg.default_hooks.checkpoint.update(save_optimizer=False, save_param_scheduler=False)
    run(cfg, stop_after=8, signum=signal.SIGKILL)
    run(cfg, resume=True)
    assert 'the checkpoint has no state of the optimizer; the checkpoint has no state of the schedules' in log(tmp_path)


def test_a_random_sampler_of_pytorch_draws_by_the_epoch():
    batches = NumberedBatches(DataLoader(range(9), 2, shuffle=True).batch_sampler, seed=1, rank=0)
    assert isinstance(batches.sampler, RandomSampler)
    first = [batch[:] for batch in batches]
    torch.rand(5)
    batches.skip = 2
    assert [batch[:] for batch in batches] == first[2:]
    batches.epoch, batches.skip = 1, 0
    assert [batch[:] for batch in batches] != first


def test_loaders_and_samplers_of_other_kinds_are_left_alone():
    class Loader(DataLoader):
        pass

    assert with_numbered_batches(Loader(range(3)), 0, 0) is None
    assert with_numbered_batches(DataLoader(range(3), batch_size=None), 0, 0) is None
    loader = with_numbered_batches(DataLoader(range(3)), 0, 0)
    loader.batch_sampler.batches.sampler._indices_of_rank = lambda size: 1 / 0  # as MMDetection's MultiSourceSampler
    begin_anew(loader, 0)


def test_a_signal_is_noted_though_nobody_reads_what_is_said_of_it(monkeypatch):
    def broken(*args):
        raise BrokenPipeError

    monkeypatch.setattr(os, 'write', broken)
    requests = stopping.StopRequests()
    requests.begin()
    os.kill(os.getpid(), signal.SIGTERM)
    assert requests.agreed() == signal.SIGTERM
    requests.end()
    requests.begin()
    assert requests.agreed() is None
    requests.end()


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stopped')
    run(config(folder), stop_after=7)
    return folder


def test_a_real_checkpoint_has_no_problem(stopped):
    assert record.problem(torch.load(stopped / 'interrupted.pth')) is None


STATES = ('resume', 'random_states')


@pytest.mark.parametrize(
    ('path', 'value'),
    [
        (('meta', 'iter'), 10**30), (('meta', 'epoch'), -1), (('meta', 'seed'), 'x'), (('meta', 'iter'), True),
        (('message_hub', 'runtime_info'), {3: 4}), (('param_schedulers',), 'x'), (('param_schedulers',), [5]),
        (('resume',), []), (('resume', 'version'), torch.tensor(1)), (('resume', 'run'), 5),
        (('resume', 'batch'), 'x'), (('resume', 'batch'), -3), (('resume', 'batch'), 10**30),
        (('resume', 'world_size'), 1.0), (('resume', 'sampler_seed'), 10**40), (('resume', 'sampler_seed'), -1),
        (('resume', 'position'), [1]), (('resume', 'position'), [1, -1]), (('resume', 'superseded'), 5),
        (('resume', 'superseded'), ['x' * 5000]), (('resume', 'val_is_due'), torch.tensor(True)),
        (STATES, 'abc'), (STATES, [None]), (STATES, [{}]), ((*STATES, 0, 'torch'), torch.zeros(3, dtype=torch.uint8)),
        ((*STATES, 0, 'numpy', 2), 10**9), ((*STATES, 0, 'numpy', 2), -1), ((*STATES, 0, 'numpy', 1), torch.zeros(3)),
        ((*STATES, 0, 'numpy', 0), 'PCG64'), ((*STATES, 0, 'python', 1), [1]), ((*STATES, 0, 'python', 0), 9),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_what_it_should_be_is_named(path, value, stopped):
    checkpoint = torch.load(stopped / 'interrupted.pth')
    place = checkpoint
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    found = record.problem(checkpoint)
    assert found is not None
    assert found == '.'.join(path[:2])


def test_a_file_that_is_not_what_it_should_be_is_one_sentence(stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / 'run')
    path = tmp_path / 'run' / 'interrupted.pth'
    checkpoint = torch.load(path)
    checkpoint['resume']['random_states'][0]['numpy'][2] = 10**9
    torch.save(checkpoint, path)
    sentence = run(config(tmp_path / 'run'), resume=True)['problem']
    assert sentence.startswith(f'{path} is not resumed, because its resume.random_states is none')


def test_states_of_this_process_are_plain_and_right():
    states = random_states()
    assert record._are_states(states)
