"""Files that are given in place of JSON, by their first bytes."""

from __future__ import annotations

from os import PathLike

from mmhybrid.errors import InputError

ZIP = (b'PK\x03\x04', b'PK\x05\x06')
# Of protocols 2 to 5.
PICKLES = (b'\x80\x02', b'\x80\x03', b'\x80\x04', b'\x80\x05')
GIVE = 'give COCO JSON'
AGAIN = 'a failed download? Fetch the file again'

# First bytes, in lower case -> what it is and what to do.
_TEXTS = {
    b'version https://git-lfs': 'a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`',
    b'<!doctype html': f'an HTML page; {AGAIN}',
    b'<html': f'an HTML page; {AGAIN}',
    b'<': f'XML or HTML; {GIVE}, or fetch the file again if it was a download',
}
_BINARIES = {
    b'PAR1': f'a Parquet table; {GIVE}',
    b'ARROW1': f'an Arrow table; {GIVE}',
    b'\x93NUMPY': f'a NumPy array; {GIVE}',
    b'SQLite format 3\0': f'an SQLite database; {GIVE}',
    b'\x89HDF\r\n': f'an HDF5 file; {GIVE}',
    b'%PDF-': f'a PDF document; {GIVE}',
    b'\x89PNG': f'a PNG picture; {GIVE}',
    b'\xff\xd8\xff': f'a JPEG picture; {GIVE}',
    b"7z\xbc\xaf'\x1c": 'a 7-Zip archive; unpack it and give the JSON file in it',
    b'Rar!': 'an RAR archive; unpack it and give the JSON file in it',
    b'\x04"M\x18': 'packed by LZ4; unpack it with `lz4 -d`',
    b'\x1f\x9d': 'packed by compress; unpack it with `uncompress`',
    b'\x7fELF': f'a program; {GIVE}',
    **dict.fromkeys(PICKLES, f'a Python pickle; {GIVE}'),
    **dict.fromkeys(ZIP, f'a zip file of PyTorch; {GIVE}'),
}


def refuse_foreign(head: bytes, path: str | PathLike[str]) -> None:
    """Raise an ``InputError`` if a file that begins with ``head`` (of 300 bytes or more) is no JSON but something that
    can be named: what it is, and what to do."""
    text = head.removeprefix(b'\xef\xbb\xbf').lstrip().lower()
    names = [name for magic, name in _TEXTS.items() if text.startswith(magic)]
    names += [name for magic, name in _BINARIES.items() if head.startswith(magic)]
    if head[257:262] == b'ustar':
        names.append('a tar archive; unpack it and give the JSON file in it')
    if names:
        raise InputError(f'{path}: is {names[0]}.')
