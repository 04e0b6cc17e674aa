"""Whether a checkpoint file is whole: told from its bytes, before anything is read from it.

``torch.save`` writes a zip archive with a CRC-32 of each entry, and ``torch.load`` compares none of them: a bit that a
disk or a copy turned over becomes a wrong weight without a word. This module needs no PyTorch and unpickles nothing.
"""

import io
import pickletools
import stat
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_CHUNK = 1 << 20
# The longest piece that is read at once: a zip's table of contents, or a text in an old file's pickles. The table has
# some hundred bytes for a tensor.
_LONGEST = 1 << 25
# torch.save pickles this number first in the format that it had before 1.6.
_MAGIC = bytes.fromhex('8a0a6cfc9c46f9206aa85019')
# PyTorch's reader leaves the memory for such an entry as it is.
_FOLDER = 0x10
_ZIP = b'PK\x03\x04'


class _DamagedError(Exception):
    """With the reason."""


class _Capped:
    """A file that does not read as much at once as a length in the file may ask for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _LONGEST:
            here = self.tell()
            left = self.seek(0, io.SEEK_END) - here
            self.seek(here)
            size = left if size < 0 else min(size, left)
            if size > _LONGEST:
                raise _DamagedError('is damaged: a part of it claims an impossible length')
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline(_LONGEST)

    def seekable(self) -> bool:
        return True


def damage(file: str | Path | BinaryIO) -> str | None:
    """Say why a file is no whole checkpoint, or None if nothing speaks against it.

    The memory this takes does not grow with the file, the time is that of reading it once. What ``torch.save`` writes
    since PyTorch 1.6 is compared with its checksums, unless ``torch.serialization.set_crc32_options(False)`` left them
    out. The format before has none: there, only the beginning is looked at, and a missing end shows when it is read.

    Args:
        file: A path, or a binary file in which one can go back; it is left at its beginning.

    Returns:
        The end of a sentence that begins with the file, such as 'is empty', 'is cut off', or 'is damaged:
        archive/data/12 does not match its checksum'.

    Raises:
        OSError: If the file cannot be read.
    """
    if isinstance(file, str | Path):
        path = Path(file)
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return 'is a folder' if stat.S_ISDIR(mode) else 'is no regular file'
        with path.open('rb') as opened:
            return damage(opened)
    try:
        file.seek(0)
        start = file.read(512)
        file.seek(0)
        if start.startswith(_ZIP):
            _check_zip(_Capped(file))
        elif start[2:14] == _MAGIC:
            _check_pickles(_Capped(file))
        else:
            return _what_else(start)
    except _DamagedError as error:
        return str(error)
    finally:
        file.seek(0)
    return None


def _what_else(start: bytes) -> str:
    text = start.lstrip().lower()
    if not start:
        return 'is empty'
    if not start.strip(b'\0'):
        return 'is damaged: it begins with zeros'
    if start.startswith(b'version https://git-lfs'):
        return 'is a pointer of Git LFS to the file, which `git lfs pull` gets'
    if text.startswith((b'<!doctype', b'<html', b'<?xml')):
        return 'is a web page'
    if start[257:262] == b'ustar':
        return 'is a tar archive, which PyTorch wrote before 2017 and cannot read without running code'
    if start[:1] == b'\x80' and start[1:2] <= b'\x05':
        return 'is a pickle that torch.save did not write'
    if _MAGIC.startswith(start[2:14]) or _ZIP.startswith(start):
        return 'is cut off'
    if all(32 <= byte < 127 or byte in b'\t\n\r' for byte in start):
        return 'is text'
    return 'is in no format of torch.save'


def _check_zip(file: _Capped) -> None:
    try:
        with zipfile.ZipFile(file) as archive:  # type: ignore[arg-type]
            entries = archive.infolist()
            _check_end(file, archive.start_dir, len(entries))
            _check_layout(file, entries)
            # Without checksums all of them are 0.
            sums = any(entry.CRC for entry in entries)
            for entry in entries:
                _check_entry(archive, entry, sums)
    except zipfile.BadZipFile as error:
        if 'not a zip file' in str(error):
            raise _DamagedError('is cut off') from None
        raise _DamagedError(f'is damaged: {error}') from None
    except (ValueError, NotImplementedError, RuntimeError, EOFError, OverflowError, struct.error) as error:
        raise _DamagedError(f'is damaged: {str(error) or type(error).__name__}') from None


def _check_end(file: _Capped, start: int, count: int) -> None:
    """Check that every reader finds the same table of contents: Python's goes by its length, PyTorch's by its place."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - 98, 0))
    tail = file.read(98)
    record, locator, end = tail[:56], tail[56:76], tail[-22:]
    if locator.startswith(b'PK\6\7'):  # the 64-bit format, which torch.save always adds
        place = struct.unpack('<Q', locator[8:16])[0]
        told = struct.unpack('<QQQ', record[32:56])
        whole = record.startswith(b'PK\6\6') and place == size - 98
        told_end = size - 98
    else:
        told = struct.unpack('<HII', end[10:20])
        whole = True
        told_end = size - 22
    if not whole or not end.startswith(b'PK\5\6') or told != (count, told_end - start, start):
        raise _DamagedError('is damaged: its table of contents is not where it should be')


def _check_layout(file: _Capped, entries: Iterable[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    inner = {name.partition('/')[2] for name in names}
    if 'constants.pkl' in inner:
        raise _DamagedError('is a TorchScript archive, which is a program')
    if 'data.pkl' not in inner:
        raise _DamagedError('is a zip archive without data.pkl, so torch.save did not write it')
    # PyTorch does not tell upper case from lower.
    if len({name.lower() for name in names}) < len(names) or len({name.partition('/')[0] for name in names}) > 1:
        raise _DamagedError('is damaged: entries have the same name, or no common folder')
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.header_offset < end or (not end and entry.header_offset):
            raise _DamagedError(f'is damaged: {entry.filename} is not where it should be')
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise _DamagedError(f'is damaged: {entry.filename} is compressed, and torch.save compresses nothing')
        if entry.external_attr & _FOLDER or entry.is_dir():
            raise _DamagedError(f'is damaged: {entry.filename} calls itself a folder')
        file.seek(entry.header_offset)
        header = file.read(30)
        if len(header) < 30:
            raise _DamagedError('is cut off')
        end = entry.header_offset + 30 + sum(struct.unpack('<HH', header[26:30])) + entry.file_size


def _check_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, sums: bool) -> None:
    with archive.open(entry) as content:
        if not sums:
            return
        try:
            left = entry.file_size
            while left and (chunk := content.read(_CHUNK)):
                left -= len(chunk)
        except zipfile.BadZipFile:
            raise _DamagedError(f'is damaged: {entry.filename} does not match its checksum') from None
        if left:
            raise _DamagedError('is cut off')


def _check_pickles(file: _Capped) -> None:
    """The magic number, the version, what machine it was, the content, and the names of the storages."""
    try:
        for _ in range(5):
            for _ in pickletools.genops(file):
                pass
    except (ValueError, UnicodeDecodeError, IndexError, OverflowError, struct.error) as error:
        if file.read(1):
            raise _DamagedError(f'is damaged: {error}') from None
        raise _DamagedError('is cut off') from None
