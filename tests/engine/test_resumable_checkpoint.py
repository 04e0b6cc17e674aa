"""A run that is stopped or killed goes on, to the bit, as the one that was not."""

import signal

import pytest

from .toy_run import config, run

CASES = {
    'epochs': {},
    'epochs, workers': dict(workers=2),
    'epochs, by aspect ratio': dict(ratio=True),
    'epochs, no validation': dict(val=False),
    'iterations': dict(by_epoch=False),
    'iterations, workers': dict(by_epoch=False, workers=2),
    'iterations without end': dict(by_epoch=False, sampler='InfiniteSampler'),
    'iterations without end, workers': dict(by_epoch=False, sampler='InfiniteSampler', workers=2, ratio=True),
}


SLOW = pytest.mark.slow
FEW = ('iterations without end, workers',)


@pytest.mark.parametrize('case', [c if c in FEW else pytest.param(c, marks=SLOW) for c in CASES])
def test_stopped_anywhere_it_goes_on_to_the_bit(case, tmp_path):
    whole = run(config(tmp_path / 'whole', **CASES[case]))
    assert sorted(whole) == list(range(15))
    for after in (2, 5, 7, 14) if CASES[case].get('workers') else (1, 2, 4, 5, 7, 10, 14):
        cfg = config(tmp_path / str(after), **CASES[case])
        losses = run(cfg, stop_after=after)
        assert losses.pop('exit') == 128 + signal.SIGTERM
        assert sorted(losses) == list(range(after))
        losses |= run(cfg, resume=True)
        assert losses == whole
        assert not (tmp_path / str(after) / 'interrupted.pth').exists()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Losses of unbroken runs, by epochs and by iterations."""
    root = tmp_path_factory.mktemp('whole')
    return {by_epoch: run(config(root / str(by_epoch), by_epoch=by_epoch)) for by_epoch in (True, False)}


@pytest.mark.parametrize(
    ('by_epoch', 'workers'),
    [(True, 2), (False, 0), pytest.param(True, 0, marks=SLOW), pytest.param(False, 2, marks=SLOW)],
)
def test_killed_anywhere_it_goes_on_from_the_last_checkpoint(by_epoch, workers, whole, tmp_path):
    interval = 5 if by_epoch else 4
    for after in (6, 9, 10, 14):
        cfg = config(tmp_path / str(after), by_epoch=by_epoch, workers=workers)
        assert run(cfg, stop_after=after, signum=signal.SIGKILL) == {'exit': -signal.SIGKILL}
        losses = run(cfg, resume=True)
        # The checkpoint of a last whole interval comes after the iteration in which the kill was.
        assert min(losses) == (after - 1) // interval * interval
        assert losses == {i: whole[by_epoch][i] for i in losses}


def test_batches_are_the_same_with_any_number_of_workers(whole, tmp_path):
    assert run(config(tmp_path / 'two', workers=2)) == whole[True]
    cfg = config(tmp_path / 'changed', workers=1)
    losses = run(cfg, stop_after=7)
    losses |= run(config(tmp_path / 'changed', workers=2), resume=True)
    assert {i: loss for i, loss in losses.items() if i != 'exit'} == whole[True]


def test_without_a_seed_a_run_goes_on_with_the_one_it_drew(tmp_path):
    cfg = config(tmp_path, randomness=dict(seed=None), val=False)
    cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    losses = run(cfg)
    for file in ('epoch_3.pth', 'epoch_2.pth', 'last_checkpoint'):
        (tmp_path / file).unlink()
    again = run(cfg, resume=True)
    assert again == {i: losses[i] for i in range(5, 15)}


def test_every_epoch_draws_anew_with_workers_that_are_started_anew(tmp_path):
    cfg = config(tmp_path, workers=2, val=False)
    cfg.train_dataloader.persistent_workers = False
    cfg.train_dataloader.sampler.shuffle = False
    cfg.optim_wrapper.optimizer.lr = 0.0
    cfg.model.dropout = 0.0
    losses = run(cfg)
    assert len(set(losses.values())) == len(losses)


@pytest.mark.parametrize(('signum', 'status'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_in_a_validation_that_is_done_again(signum, status, whole, tmp_path):
    for at in (5, 15):
        cfg = config(tmp_path / str(at))
        losses = run(cfg, in_val=at, signum=signum)
        assert losses.pop('exit') == status
        assert sorted(losses) == list(range(at))
        assert (tmp_path / str(at) / 'interrupted.pth').exists()
        before = means(tmp_path / str(at))
        losses |= run(cfg, resume=True)
        assert losses == whole[True]
        assert len(means(tmp_path / str(at))) == 3
        assert before == means(tmp_path / str(at))[: len(before)]


@pytest.mark.parametrize('by_epoch', [True, pytest.param(False, marks=SLOW)])
def test_two_processes_stop_together_and_go_on_to_the_bit(by_epoch, tmp_path):
    options = dict(by_epoch=by_epoch, workers=1, val=by_epoch)
    last = 9 if by_epoch else 15
    unbroken = run(config(tmp_path / 'whole', **options), processes=2)
    assert all(sorted(losses) == list(range(last)) for losses in unbroken)
    assert unbroken[0] != unbroken[1]
    for after, of in ((2, (1,)), (4, (0, 1)), (6, (0,))):  # only one of them may have been told
        cfg = config(tmp_path / str(after), **options)
        stopped = run(cfg, processes=2, stop_after=after, of=of)
        # The other one hears of it in the same iteration.
        assert [losses.pop('exit') for losses in stopped] == [143, 143]
        assert all(sorted(losses) == list(range(after)) for losses in stopped)
        resumed = run(cfg, processes=2, resume=True)
        assert [a | b for a, b in zip(stopped, resumed, strict=True)] == unbroken


def means(folder):
    """Results of validations in all logs, in order."""
    lines = [line for path in sorted(folder.glob('*/*.log')) for line in path.read_text().splitlines()]
    return [line.split('mean:')[1].split()[0] for line in lines if 'Epoch(val)' in line and 'mean:' in line]
