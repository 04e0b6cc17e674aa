"""Files of a command: checked before the work begins, written whole or not at all, never over what is not its own."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmhybrid.errors import InputError

from ..results import SCHEMA
from ..show import figures

HEAD = 4096  # bytes of a file in which its mark is found
HTML_MARK = b'<meta name="generator" content="mmhybrid'
MARKDOWN_MARK = f'<!-- {SCHEMA} -->\n'
# A CSV file has no place for a comment, so its first column says whose it is.
CSV_COLUMN = 'schema'
_KINDS = {
    stat.S_IFIFO: 'a named pipe', stat.S_IFDIR: 'a folder', stat.S_IFSOCK: 'a socket', stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}  # fmt: skip
EMPTY_CSV = f'{CSV_COLUMN},{SCHEMA}\n'  # a heading without rows


@dataclass(frozen=True)
class Output:
    """One file to write.

    Attributes:
        path: Where.
        content: Makes what is in it.
    """

    path: Path
    content: Callable[[], bytes]


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made or written in.

    Raises:
        InputError: It cannot.
    """
    # A link that leads nowhere is in the way, too.
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f'{path}: {existing} is no folder to write in; choose another place.')


def check_targets(paths: Iterable[Path], inputs: Sequence[str], force: bool) -> None:
    """Refuse to overwrite an input, or without ``force`` what no command of ours wrote.

    Raises:
        InputError: A file is in the way.
    """
    for path in paths:
        check_folder(path.parent)
        try:
            _check_target(path, inputs, force)
        except OSError as error:
            raise InputError(f'{path}: cannot be used ({error}); choose another place.') from None


def _check_target(path: Path, inputs: Sequence[str], force: bool) -> None:
    if path.exists() and any(path.samefile(given) for given in inputs if Path(given).exists()):
        raise InputError(f'{path}: is an input of this run; choose another place for the output.')
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(kind):
        # The link would be replaced, not what it leads to: either may surprise who made it.
        if not force:
            raise InputError(f'{path}: is a link, which no command of ours made; choose another place, or --force.')
    elif not stat.S_ISREG(kind):
        # Reading a pipe would wait for ever, and a file in its place would cut off who reads it.
        raise InputError(
            f'{path}: is no regular file ({_KINDS.get(stat.S_IFMT(kind), "something else")}); choose another place.'
        )
    elif not force and not is_ours(path):
        raise InputError(f'{path}: exists and was not written by this command; choose another place, or --force.')


def is_ours(path: Path) -> bool:
    """Whether a command of this package wrote the file."""
    suffix = path.suffix.lower()
    with path.open('rb') as file:
        content = file.read(HEAD)
        if suffix == '.json':
            # Whatever else a user keeps there may be large.
            return SCHEMA.encode() in content and _is_our_json(content + file.read())
    if suffix == '.html':
        return HTML_MARK in content
    if suffix == '.md':
        return content.startswith(MARKDOWN_MARK.encode())
    if suffix == '.csv':
        heading = f'{CSV_COLUMN},'.encode()
        return content == EMPTY_CSV.encode() or (content.startswith(heading) and f'\n{SCHEMA},'.encode() in content)
    return figures.is_ours(content)


def write(outputs: Sequence[Output], inputs: Sequence[str] = (), force: bool = False) -> str:
    """Write the files, each whole or not at all, and say in one line which.

    Args:
        outputs: The files.
        inputs: As in :func:`check_targets`, which is asked again: something may lie there by now.
        force: Likewise.

    Raises:
        InputError: The disk refuses.
    """
    for output in outputs:
        try:
            output.path.parent.mkdir(parents=True, exist_ok=True)
            check_targets([output.path], inputs, force)
            _write_whole(output.path, output.content())
        except OSError as error:
            raise InputError(f'{output.path}: cannot be written ({error}); choose another place.') from None
    names = [str(output.path) for output in outputs]
    return 'wrote ' + (f'{", ".join(names[:-1])} and {names[-1]}' if len(names) > 1 else names[0])


def _write_whole(path: Path, content: bytes) -> None:
    # A name that nobody can have put a link at, and only a file that is new: what a link leads to stays as it is.
    # Not by tempfile, whose files only their owner may read.
    partial = path.with_name(f'.{secrets.token_hex(16)}.part')
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0), 0o666)
    try:
        with os.fdopen(descriptor, 'wb') as file:
            file.write(content)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def text(content: Callable[[], str]) -> Callable[[], bytes]:
    """Text as the content of a file."""
    return lambda: content().encode('utf-8')


def _is_our_json(content: bytes) -> bool:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and 'schema_version' in document and document.get('schema') == SCHEMA
