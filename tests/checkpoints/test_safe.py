"""A run's checkpoint is read back, and nothing that would run code with it."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmhybrid.checkpoints.reading import read
from mmhybrid.checkpoints.safe import _name, allowed_globals, only_data
from mmhybrid.errors import InputError

from .attacks import Call

pytestmark = pytest.mark.skipif(torch.__version__ < (2, 6), reason='before, a run is not read')


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
    hub.update_info('state', np.arange(3, dtype=np.uint32))
    path = tmp_path / 'epoch_1.pth'
    # The older format has no checksums, so that a test can change its bytes.
    torch.save({'message_hub': hub.state_dict()}, path, _use_new_zipfile_serialization=False)
    return path


def save(tmp_path, value):
    torch.save(value, tmp_path / 'saved.pth')
    return tmp_path / 'saved.pth'


def test_torch_refuses_a_history_by_itself(file):
    with pytest.raises(pickle.UnpicklingError, match='Unsupported global'):
        torch.load(file, weights_only=True)


@pytest.mark.parametrize('core', [b'numpy._core.', b'numpy.core.'], ids=['numpy2', 'numpy1'])
def test_a_run_saved_with_either_numpy_is_read_back(file, core):
    saved = file.read_bytes()
    file.write_bytes(saved.replace(b'numpy._core.', core).replace(b'numpy.core.', core))
    assert file.read_bytes().count(b'c' + core + b'multiarray\n') >= 2
    hub = MessageHub('read')
    hub.load_state_dict(read(file)['message_hub'])
    loss = hub.get_scalar('train/loss')
    assert type(loss) is HistoryBuffer
    assert [a.tolist() for a in loss.data] == [[1.5, 2.5], [1, 3]]
    assert loss.statistics('mean') == pytest.approx(4 / 4)
    assert (loss.statistics('min'), loss.statistics('max'), loss.statistics('current')) == (1.5, 2.5, 2.5)
    assert hub.get_info('eta') == 5.5
    assert hub.get_info('state').tolist() == [0, 1, 2]
    loss.update(3.5)
    assert loss.statistics('current') == 3.5


def test_arrays_of_the_other_byte_order_are_read_too(tmp_path):
    other = np.arange(3, dtype='>f8')
    assert read(save(tmp_path, {'x': other}))['x'].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    'call',
    [
        (getattr, HistoryBuffer, '__init__'),
        (getattr, HistoryBuffer, 'register_statistics'),
        (getattr, np.ndarray, 'tofile'),
        (getattr, np.ndarray, 'min'),
        (getattr, 'text', 'format'),
        (setattr, HistoryBuffer, 'min', 1),
        (open, 'written', 'w'),
        (eval, '1'),
        (np.load, 'file'),
        (np.dtype, 'O'),
        (np.dtype, 'V8'),
        (np.dtype, {'names': ['a'], 'formats': ['f8']}),
    ],
    ids=lambda call: f'{call[0].__name__}-{call[-1]}',
)
def test_what_reaches_further_is_refused(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.serialization.add_safe_globals([getattr, setattr, eval, np.dtype])
    with pytest.raises(InputError, match=r'getattr of|it names|not of numbers'):
        read(save(tmp_path, Call(*call)))
    assert not (tmp_path / 'written').exists()


def test_a_history_brings_no_function_and_no_attribute(tmp_path):
    history = HistoryBuffer([1.0], [1])
    history.mean = 'other'
    before = dict(HistoryBuffer._statistics_methods)
    try:
        HistoryBuffer._statistics_methods.update(mean=HistoryBuffer.max, loud=torch.Tensor)
        path = save(tmp_path, history)
    finally:
        HistoryBuffer._statistics_methods.clear()
        HistoryBuffer._statistics_methods.update(before)
    assert read(path).__dict__.keys() == {'_log_history', '_count_history', 'max_length'}
    assert HistoryBuffer._statistics_methods == before


@pytest.mark.parametrize(
    'state', [{'max_length': 1}, {'_log_history': [1], '_count_history': [1], 'max_length': 1}], ids=['none', 'lists']
)
def test_a_history_without_its_arrays_is_refused(tmp_path, state):
    class History:
        def __reduce__(self):
            return HistoryBuffer, (), state

    with pytest.raises(InputError, match='log history'):
        read(save(tmp_path, History()))


def test_what_the_user_allows_is_read_but_never_a_builtin_function(tmp_path):
    path = save(tmp_path, np.testing.assert_equal)
    with pytest.raises(InputError, match=r'it names numpy\.testing\S+assert_equal'):
        read(path)
    torch.serialization.add_safe_globals([np.testing.assert_equal, eval, getattr, (getattr, 'mine.get'), np.dtype])
    assert read(path) is np.testing.assert_equal
    with only_data():
        inside = torch.serialization.get_safe_globals()
    names = [_name(entry) for entry in inside]
    assert sorted(names) == sorted({*map(_name, allowed_globals()), _name(np.testing.assert_equal)})
    functions = {entry[0] if isinstance(entry, tuple) else entry for entry in inside}
    assert not {getattr, setattr, eval, exec, __import__, open, np.dtype, HistoryBuffer} & functions


def test_the_list_is_as_it_was_afterwards(file, tmp_path):
    torch.serialization.add_safe_globals([np.testing.assert_equal, getattr])
    before = set(torch.serialization.get_safe_globals())
    read(file)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(InputError):
        read(save(tmp_path, eval))
    assert set(torch.serialization.get_safe_globals()) == before
    with only_data():
        torch.serialization.add_safe_globals([np.testing.assert_allclose])  # another thread, say
    assert set(torch.serialization.get_safe_globals()) == before | {np.testing.assert_allclose}
