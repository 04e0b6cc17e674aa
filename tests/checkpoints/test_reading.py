"""One reader, one sentence for each refusal."""

import io
import re

import pytest
import torch

from mmhybrid.checkpoints.reading import read
from mmhybrid.errors import InputError

from .attacks import PICKLES, Call, write


@pytest.mark.parametrize('attack', [name for name in PICKLES if name != 'attribute'])
@pytest.mark.parametrize('new', [True, False], ids=['zip', 'old'])
def test_no_code_of_a_file_runs(attack, new, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    marker = tmp_path / 'marker'
    path = write(attack, tmp_path / 'bad.pth', marker, _use_new_zipfile_serialization=new)
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        with pytest.raises(InputError) as caught:
            read(source)
        sentence = str(caught.value)
        assert ('bad.pth' in sentence) == (not isinstance(source, io.BytesIO))
        assert re.search(r'names (io\.open|\w+\.system),|getattr of', sentence)
        assert_one_sentence(sentence)
    assert not marker.exists()


def assert_one_sentence(text):
    assert text.endswith('.')
    assert not re.search(r'\x1b|\n|\. |weights_only|add_safe_globals', text)


def test_a_torchscript_archive_is_not_run(tmp_path):
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / 'x.pth'))
    with pytest.raises(InputError, match='is a TorchScript archive, which is a program'):
        read(tmp_path / 'x.pth')


def test_a_missing_file_and_one_of_another_protocol_are_named(tmp_path):
    with pytest.raises(InputError, match=r'There is no checkpoint .*nowhere\.pth .*give the path'):
        read(tmp_path / 'nowhere.pth')
    torch.save({'x': torch.zeros(1), 'set': {1}}, tmp_path / 'x.pth', pickle_protocol=4)
    with pytest.raises(InputError, match='Unsupported operand') as caught:
        read(tmp_path / 'x.pth')
    assert_one_sentence(str(caught.value))


@pytest.mark.parametrize('claim', [lambda n: n + 10**15, lambda n: 'many'], ids=['long', 'text'])
def test_a_storage_that_is_not_what_it_claims_is_refused(tmp_path, claim):
    class Storage:
        def __reduce__(self):
            return torch.FloatStorage, (claim(3),)

    torch.save({'x': Storage()}, tmp_path / 'x.pth')
    with pytest.raises(InputError) as caught:
        read(tmp_path / 'x.pth')
    assert_one_sentence(str(caught.value))


def test_tensors_of_a_device_that_is_not_there_say_so(tmp_path):
    if torch.cuda.is_available():
        pytest.skip('it is there')
    torch.save({'x': torch.zeros(3)}, tmp_path / 'x.pth', _use_new_zipfile_serialization=False)
    data = (tmp_path / 'x.pth').read_bytes()
    (tmp_path / 'x.pth').write_bytes(data.replace(b'X\x03\x00\x00\x00cpu', b'X\x04\x00\x00\x00cuda'))
    with pytest.raises(InputError, match="give map_location='cpu'"):
        read(tmp_path / 'x.pth', map_location=None)
    assert read(tmp_path / 'x.pth')['x'].tolist() == [0, 0, 0]


def test_a_file_is_mapped_into_memory_on_demand(tmp_path):
    torch.save({'x': torch.arange(3.0)}, tmp_path / 'x.pth')
    assert read(tmp_path / 'x.pth', mmap=True)['x'].tolist() == [0, 1, 2]


def test_before_torch_2_6_the_sentence_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, '__version__', type(torch.__version__)('2.5.1'))
    torch.save(Call(print, 'x'), tmp_path / 'x.pth')
    with pytest.raises(InputError, match=r'are read since PyTorch 2\.6'):
        read(tmp_path / 'x.pth')
