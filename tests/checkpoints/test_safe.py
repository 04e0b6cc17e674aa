"""A run's checkpoint is read back, and nothing that would run code with it."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmhybrid.checkpoints.safe import allow_mmengine_checkpoints


@pytest.fixture(autouse=True)
def nothing_allowed():
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(before)


@pytest.fixture
def file(tmp_path):
    """What a runner saves with the weights."""
    hub = MessageHub('test')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', 2.5, count=3)
    hub.update_info('eta', np.array([5.0, 6.0]).mean())
    path = tmp_path / 'epoch_1.pth'
    # The older format is not compressed, so that a test can change its bytes.
    torch.save({'message_hub': hub.state_dict()}, path, _use_new_zipfile_serialization=False)
    return path


class Call:
    """Pickled as the call of a function."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


def test_torch_refuses_a_history_by_itself(file):
    with pytest.raises(pickle.UnpicklingError, match='Unsupported global'):
        torch.load(file, weights_only=True)


@pytest.mark.parametrize('core', [b'numpy._core.', b'numpy.core.'], ids=['numpy2', 'numpy1'])
def test_a_run_saved_with_either_numpy_is_read_back(file, core):
    saved = file.read_bytes()
    file.write_bytes(saved.replace(b'numpy._core.', core).replace(b'numpy.core.', core))
    assert file.read_bytes().count(b'c' + core + b'multiarray\n') >= 2
    allow_mmengine_checkpoints()
    hub = MessageHub('read')
    hub.load_state_dict(torch.load(file, weights_only=True)['message_hub'])
    loss = hub.get_scalar('train/loss')
    assert [a.tolist() for a in loss.data] == [[1.5, 2.5], [1, 3]]
    assert loss.statistics('mean') == pytest.approx(4 / 4)
    assert (loss.statistics('min'), loss.statistics('max'), loss.statistics('current')) == (1.5, 2.5, 2.5)
    assert hub.get_info('eta') == 5.5


@pytest.mark.parametrize(
    'call',
    [
        (getattr, HistoryBuffer, '__init__'),
        (getattr, HistoryBuffer, 'register_statistics'),
        (getattr, np.ndarray, 'tofile'),
        (getattr, 'text', 'format'),
        (open, 'written', 'w'),
        (eval, '1'),
        (np.load, 'file'),
    ],
    ids=lambda call: f'{call[0].__name__}-{call[-1]}',
)
def test_what_reaches_further_is_refused(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(Call(*call), tmp_path / 'bad.pth')
    allow_mmengine_checkpoints()
    with pytest.raises(pickle.UnpicklingError, match=r'getattr of|Unsupported global'):
        torch.load('bad.pth', weights_only=True)
    assert not (tmp_path / 'written').exists()


def test_no_allowed_global_reaches_further():
    allow_mmengine_checkpoints()
    allowed = torch.serialization.get_safe_globals()
    paths = {entry[1] for entry in allowed if isinstance(entry, tuple)}
    assert not {getattr, setattr, eval, exec, __import__, open} & set(allowed)
    assert {entry for entry in allowed if not isinstance(entry, tuple)} == {
        HistoryBuffer, np.ndarray, np.dtype, type(np.dtype('f8')), type(np.dtype('i8')),
    }  # fmt: skip
    assert paths == {
        'builtins.getattr',
        *(f'numpy.{core}.multiarray.{name}' for core in ('core', '_core') for name in ('_reconstruct', 'scalar')),
    }


def test_allowing_twice_is_allowing_once():
    allow_mmengine_checkpoints()
    once = set(torch.serialization.get_safe_globals())
    allow_mmengine_checkpoints()
    assert set(torch.serialization.get_safe_globals()) == once
