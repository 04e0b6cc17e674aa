"""What is on the disk after a crash, and what a resumed run makes of it."""

import os
import re
import shutil
import signal
from contextlib import contextmanager

import pytest
import torch

from mmhybrid.checkpoints import files
from mmhybrid.errors import InputError

from .toy_run import config, run


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py')


def log(folder):
    """The log of the last run."""
    return max(folder.glob('*/*.log'), key=lambda path: path.stat().st_mtime_ns).read_text()


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return run(config(tmp_path_factory.mktemp('whole')))


@contextmanager
def killed(name, number):
    """Kill the process at its nth call of a function of ``os``."""
    calls, real = [], getattr(os, name)

    def call(*args, **kwargs):
        calls.append(args)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, call)
        yield


# A save syncs the checkpoint, its folder, the pointer and its folder; with keep 1 the old one is unlinked last.
@pytest.mark.parametrize(('name', 'number', 'at'), [
    ('fsync', 1, 0), ('fsync', 2, 5), ('fsync', 3, 5), ('fsync', 5, 5), ('fsync', 6, 10), ('fsync', 7, 10),
    ('fsync', 9, 10), ('remove', 1, 10), ('remove', 2, 15),
])  # fmt: skip
def test_killed_within_a_save_one_interval_is_lost_at_most(name, number, at, whole, tmp_path):
    cfg = config(tmp_path, val=False)
    with killed(name, number):
        assert run(cfg)['exit'] == -signal.SIGKILL
    losses = run(cfg, resume=True)
    assert 'exit' not in losses
    assert sorted(losses) == list(range(at, 15))
    assert losses == {i: whole[i] for i in losses}
    assert names(tmp_path) == ['epoch_3.pth', 'last_checkpoint']


@pytest.fixture(scope='module')
def three(tmp_path_factory):
    """A work dir with three checkpoints."""
    folder = tmp_path_factory.mktemp('three')
    cfg = config(folder, val=False)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 3
    run(cfg)
    return folder


def damaged(path, how):
    data = bytearray(path.read_bytes())
    if how == 'empty':
        data = b''
    elif how == 'cut off':
        data = data[: len(data) // 2]
    elif how == 'damaged':
        # In a tensor: the reader of PyTorch would not notice.
        data[data.index(torch.load(path)['state_dict']['layer.1.weight'].numpy().tobytes())] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize('how', ['empty', 'cut off', 'damaged'])
def test_a_broken_newest_one_is_named_and_the_one_before_taken(how, three, tmp_path, whole):
    folder = tmp_path / 'run'
    shutil.copytree(three, folder)
    damaged(folder / 'epoch_3.pth', how)
    cfg = config(folder, val=False)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 3
    losses = run(cfg, resume=True)
    assert losses == {i: whole[i] for i in range(10, 15)}
    assert re.search(rf'goes on from \S*epoch_2\.pth, because .*epoch_3\.pth is {how}', log(folder))


def test_when_none_is_intact_that_is_said(three, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(three, folder)
    for path in folder.glob('*.pth'):
        damaged(path, 'cut off')
    before = {path: path.read_bytes() for path in folder.glob('*.pth')}
    assert re.search(r'No checkpoint in .* is intact \(epoch_1\.pth is cut off; .*epoch_3', problem(folder))
    assert {path: path.read_bytes() for path in folder.glob('*.pth')} == before


def problem(folder, **changes):
    """The sentence with which a resumed run ends."""
    return run(config(folder, val=False, **changes), resume=True)['problem']


@pytest.mark.parametrize('pointer', [None, '', '/nowhere/epoch_1.pth', 'epoch_1.pth', '\0'])
def test_what_the_pointer_says_is_not_needed(pointer, three, tmp_path):
    folder = tmp_path / 'moved'
    shutil.copytree(three, folder)
    assert (folder / 'last_checkpoint').read_text() == 'epoch_3.pth'
    (folder / 'last_checkpoint').unlink()
    if pointer is not None:
        (folder / 'last_checkpoint').write_text(pointer)
    assert run(config(folder, val=False), resume=True) == {}  # all was done
    assert 'resumed epoch: 3' in log(folder)


def test_nothing_to_resume_is_a_fresh_start(tmp_path, whole):
    assert run(config(tmp_path), resume=True) == whole


def test_checkpoints_need_no_list_of_allowed_globals(three):
    checkpoint = torch.load(three / 'epoch_3.pth', weights_only=True)
    assert checkpoint['meta']['epoch'] == 3
    assert checkpoint['resume']['random_states'][0]['torch'].dtype == torch.uint8


def test_log_histories_go_on(three, tmp_path, whole):
    folder = tmp_path / 'run'
    shutil.copytree(three, folder)
    (folder / 'epoch_3.pth').unlink()
    cfg = config(folder, val=False)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    run(cfg, resume=True)
    saved = torch.load(folder / 'epoch_3.pth', weights_only=True)['message_hub']['log_scalars']['train/loss']
    assert saved['log_history'].tolist() == pytest.approx([whole[i] for i in range(15)])
    assert saved['count_history'].tolist() == [1] * 15


def test_a_full_disk_is_one_sentence_and_the_last_good_file_stays(tmp_path, monkeypatch):
    real, calls = files.write_durably, []

    def full(data, path):
        calls.append(path)
        if len(calls) == 3:  # the second checkpoint
            raise OSError(28, 'No space left on device')
        real(data, path)

    monkeypatch.setattr('mmhybrid.engine.saving.write_durably', full)
    monkeypatch.setattr(files, 'write_durably', full)
    sentence = run(config(tmp_path, val=False))['problem']
    assert sentence.startswith(f'epoch_2.pth could not be written to {tmp_path} (No space left on device); epoch_1.pth')
    assert names(tmp_path) == ['epoch_1.pth', 'last_checkpoint']
    monkeypatch.undo()
    assert sorted(run(config(tmp_path, val=False), resume=True)) == list(range(5, 15))


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / 'file'
    files.write_durably(b'old', path)
    monkeypatch.setattr(os, 'fsync', lambda descriptor: (_ for _ in ()).throw(OSError(5, 'Input/output error')))
    with pytest.raises(OSError, match='Input/output'):
        files.write_durably(b'new', path)
    assert [p.name for p in tmp_path.iterdir()] == ['file']
    assert path.read_bytes() == b'old'


def test_a_written_file_has_the_usual_mode(tmp_path):
    files.write_durably(b'', tmp_path / 'ours')
    (tmp_path / 'usual').touch()
    assert (tmp_path / 'ours').stat().st_mode == (tmp_path / 'usual').stat().st_mode


def test_weights_are_no_run(tmp_path):
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'epoch_1.pth')
    with pytest.raises(InputError, match='holds weights and no run'):
        raise InputError(problem(tmp_path, load_from=str(tmp_path / 'epoch_1.pth')))


def test_another_model_is_refused_and_another_rate_is_named(three, tmp_path):
    folder = tmp_path / 'run'
    shutil.copytree(three, folder)
    assert 'cannot be continued with this config' in problem(folder, model=dict(type='Dropped', width=4))
    cfg = config(folder, val=False)
    cfg.optim_wrapper.optimizer.lr = 0.5
    assert run(cfg, resume=True) == {}
    assert 'optim_wrapper.optimizer.lr was 0.01 and is 0.5 now' in log(folder)


def test_the_best_one_is_replaced_only_by_one_on_the_disk_and_is_found_where_it_was_moved(tmp_path):
    cfg = config(tmp_path / 'run')
    cfg.default_hooks.checkpoint.update(save_best='mean', rule='less')
    run(cfg)
    first = [name for name in names(tmp_path / 'run') if name.startswith('best')]
    assert len(first) == 1
    (tmp_path / 'run').rename(tmp_path / 'moved')
    cfg = config(tmp_path / 'moved', train_cfg=dict(by_epoch=True, max_epochs=6))
    cfg.default_hooks.checkpoint.update(save_best='mean', rule='less')
    run(cfg, resume=True)
    assert len([name for name in names(tmp_path / 'moved') if name.startswith('best')]) == 1


def test_a_second_signal_ends_at_once(tmp_path):
    losses = run(config(tmp_path, val=False), stop_after=7, times=2)
    assert losses == {'exit': 143}
    assert names(tmp_path) == ['epoch_1.pth', 'last_checkpoint']


def test_a_checkpoint_has_nothing_removed_that_is_not_its_runs(tmp_path):
    cfg = config(tmp_path / 'run')
    cfg.default_hooks.checkpoint.update(save_best='mean', rule='less')
    run(cfg, stop_after=7)
    outside = tmp_path / 'outside'
    outside.mkdir()
    (outside / 'best_thing.pth').touch()
    (tmp_path / 'run' / 'notes.txt').touch()
    path = tmp_path / 'run' / 'interrupted.pth'
    checkpoint = torch.load(path)
    info = checkpoint['message_hub']['runtime_info']
    info.update(best_ckpt=str(outside), best_score=1e9, keep_ckpt_ids=['1.pth/../../outside/best_thing'])
    checkpoint['resume']['superseded'] = ['../outside/best_thing.pth', 'notes.txt', '..']
    torch.save(checkpoint, path)
    assert 'exit' not in run(cfg, resume=True)
    assert (outside / 'best_thing.pth').exists()
    assert (tmp_path / 'run' / 'notes.txt').exists()


def test_an_older_format_is_read_too(tmp_path, whole):
    cfg = config(tmp_path)
    run(cfg, stop_after=7)
    checkpoint = torch.load(tmp_path / 'interrupted.pth')
    torch.save(checkpoint, tmp_path / 'interrupted.pth', _use_new_zipfile_serialization=False)
    assert run(cfg, resume=True) == {i: whole[i] for i in range(7, 15)}
