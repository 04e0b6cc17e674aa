"""What is damaged is told from what is whole."""

import contextlib
import io
import random
import tarfile
import warnings
import zipfile

import pytest
import torch

from mmhybrid.checkpoints.integrity import damage
from mmhybrid.checkpoints.reading import read
from mmhybrid.errors import InputError


@pytest.fixture(scope='module')
def content():
    return {'state_dict': {f'layer{i}.weight': torch.randn(3, 5) for i in range(3)}, 'meta': {'epoch': 2}}


def saved(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


@pytest.mark.parametrize('options', [{}, {'_use_new_zipfile_serialization': False}], ids=['zip', 'old'])
def test_a_whole_file_is_whole(content, options, tmp_path):
    data = saved(content, **options)
    (tmp_path / 'x.pth').write_bytes(data)
    file = io.BytesIO(data)
    assert damage(tmp_path / 'x.pth') is None
    assert damage(file) is None
    assert file.tell() == 0
    assert same(read(tmp_path / 'x.pth'), content)
    assert same(read(file), content)


def test_a_file_without_checksums_is_whole_as_far_as_one_can_tell(content):
    if not hasattr(torch.serialization, 'set_crc32_options'):
        pytest.skip('since PyTorch 2.6')
    torch.serialization.set_crc32_options(False)
    try:
        data = saved(content)
    finally:
        torch.serialization.set_crc32_options(True)
    assert damage(io.BytesIO(data)) is None
    assert same(read(io.BytesIO(data)), content)
    assert damage(io.BytesIO(data[:-1])) is not None


def test_a_turned_bit_of_a_weight_is_found_which_torch_reads(content):
    data = bytearray(saved(content))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entry = next(e for e in archive.infolist() if e.filename.endswith('data/1'))
    weights = content['state_dict']['layer1.weight'].numpy().tobytes()
    data[data.index(weights) + 3] ^= 0x40
    assert not same(torch.load(io.BytesIO(data), weights_only=True), content)
    assert damage(io.BytesIO(data)) == f'is damaged: {entry.filename} does not match its checksum'


@pytest.mark.parametrize(
    'flips', [pytest.param(1500, id='sample'), pytest.param(None, id='all', marks=pytest.mark.slow)]
)
def test_every_turned_bit_is_found_or_changes_nothing(content, flips):
    data = saved(content)
    bits = range(8 * len(data))
    _read_all(content, (_flipped(data, bit) for bit in (random.Random(0).sample(bits, flips) if flips else bits)))


@pytest.mark.parametrize('step', [pytest.param(37, id='sample'), pytest.param(1, id='all', marks=pytest.mark.slow)])
@pytest.mark.parametrize('options', [{}, {'_use_new_zipfile_serialization': False}], ids=['zip', 'old'])
def test_every_missing_end_is_found(content, step, options):
    data = saved(content, **options)
    for length in range(0, len(data), step):
        with pytest.raises(InputError):
            read(io.BytesIO(data[:length]))
        if not options:
            assert damage(io.BytesIO(data[:length])) in ('is empty', 'is cut off')


def test_no_bytes_make_a_reader_stumble(content):
    rng = random.Random(1)
    for data in (saved(content), saved(content, _use_new_zipfile_serialization=False)):
        for _ in range(150):
            changed = bytearray(data)
            for _ in range(rng.randint(1, 8)):
                start = rng.randrange(len(data))
                changed[start : start + rng.randint(1, 30)] = rng.randbytes(rng.randint(0, 30))
            damage(io.BytesIO(changed))
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                with contextlib.suppress(InputError):
                    read(io.BytesIO(changed))


def _flipped(data, bit):
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _read_all(content, files):
    for data in files:
        try:
            result = read(io.BytesIO(data))
        except InputError:
            continue
        assert same(result, content)


def test_a_long_table_of_contents_is_not_read_into_memory(content):
    data = bytearray(saved(content)) + bytes(100 << 20)
    end = data.rindex(b'PK\5\6')
    data[end + 12 : end + 16] = (90 << 20).to_bytes(4, 'little')
    data += data[end : end + 22]
    assert damage(io.BytesIO(data)) == 'is damaged: a part of it claims an impossible length'


def zipped(entries, **options):
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, 'w', **options) as archive:
        warnings.simplefilter('ignore')  # of a name twice
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w', format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo('storages'))
    return file.getvalue()


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (b'', 'is empty'),
        (bytes(1000), 'is damaged: it begins with zeros'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:0', 'is a pointer of Git LFS'),
        (b'\n<!DOCTYPE html><html>Not found', 'is a web page'),
        (b'{"epoch": 1}', 'is text'),
        (tarred(), 'is a tar archive'),
        (b'\x80\x02}q\x00.', 'is a pickle that torch.save did not write'),
        (b'\x80\x04\x95\x00\x00\x00\x00', 'is a pickle that torch.save did not write'),
        (b'\x89PNG\r\n\x1a\n', 'is in no format of torch.save'),
        (zipped([('a/data.pkl', b''), ('a/constants.pkl', b'')]), 'is a TorchScript archive, which is a program'),
        (zipped([('readme.txt', b'')]), 'is a zip archive without data.pkl'),
        (zipped([('a/data.pkl', b''), ('a/data.pkl', b'')]), 'is damaged: entries have the same name'),
        (zipped([('a/data.pkl', b''), ('b/data.pkl', b'')]), 'is damaged: entries have the same name, or no common'),
        (zipped([('a/data.pkl', bytes(9999))], compression=zipfile.ZIP_DEFLATED), 'a/data.pkl is compressed'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_is_no_checkpoint_is_named(data, reason, tmp_path):
    (tmp_path / 'x.pth').write_bytes(data)
    assert reason in damage(tmp_path / 'x.pth')
    with pytest.raises(InputError, match=r'x\.pth is not read, because it is ') as caught:
        read(tmp_path / 'x.pth')
    assert reason in str(caught.value)


@pytest.mark.parametrize('byte', [-66, -58, -50, -34], ids=['count', 'length', 'place', 'place of the record'])
def test_a_second_table_of_contents_that_only_torch_would_read_is_found(content, byte):
    data = bytearray(saved(content))
    data[byte] ^= 1
    assert damage(io.BytesIO(data)).startswith('is damaged: ')
    data = bytearray(saved(content)) + bytes(30)
    data[-32:-30] = (30).to_bytes(2, 'little')  # a comment, which may hold one
    assert damage(io.BytesIO(data)).startswith('is damaged: ')


def test_the_table_of_contents_in_the_32_bit_format_is_read_too():
    data = zipped([('a/data.pkl', b'x')])
    assert damage(io.BytesIO(data)) is None
    for byte in (-6, -10, -12):
        assert damage(io.BytesIO(_flipped(data, 8 * (len(data) + byte)))) is not None


def test_an_entry_that_calls_itself_a_folder_is_found_which_torch_leaves_unread(content):
    data = bytearray(saved(content))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        name = next(e.filename for e in archive.infolist() if e.filename.endswith('data/1'))
    data[data.rindex(name.encode()) - 8] |= 0x10  # in the table of contents
    assert damage(io.BytesIO(data)) == f'is damaged: {name} calls itself a folder'


def test_a_folder_and_a_device_are_no_checkpoints(tmp_path):
    assert damage(tmp_path) == 'is a folder'
    assert damage('/dev/zero') == 'is no regular file'
