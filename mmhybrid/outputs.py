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

HEAD = 4096  # bytes of a file in which its mark is found
_KINDS = {
    stat.S_IFIFO: 'a named pipe', stat.S_IFDIR: 'a folder', stat.S_IFSOCK: 'a socket', stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}  # fmt: skip


@dataclass(frozen=True)
class Output:
    """One file to write.

    Attributes:
        path: Where.
        content: Makes what is in it; text is written as UTF-8, with ``?`` for what it cannot hold.
    """

    path: Path
    content: Callable[[], bytes | str]


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made or written in.

    Raises:
        InputError: It cannot.
    """
    # A link that leads nowhere is in the way, too.
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(f'{path}: {existing} is no folder to write in; choose another place.')


def check_targets(paths: Iterable[Path], inputs: Sequence[str], force: bool, is_ours: Callable[[Path], bool]) -> None:
    """Refuse to overwrite an input, or without ``force`` what the command did not write.

    Args:
        paths: Files to be written.
        inputs: Files that are read; they are never overwritten.
        force: Whether a user's file, or a link, may be replaced.
        is_ours: Whether the command wrote a regular file.

    Raises:
        InputError: A file is in the way.
    """
    for path in paths:
        check_folder(path.parent)
        try:
            _check_target(path, inputs, force, is_ours)
        except OSError as error:
            raise InputError(f'{path}: cannot be used ({error}); choose another place.') from None


def write(outputs: Sequence[Output], inputs: Sequence[str], force: bool, is_ours: Callable[[Path], bool]) -> str:
    """Write the files, each whole or not at all, and say in one line which.

    Arguments are those of :func:`check_targets`, which is asked again: something may lie there by now.

    Raises:
        InputError: The disk refuses.
    """
    for output in outputs:
        try:
            output.path.parent.mkdir(parents=True, exist_ok=True)
            check_targets([output.path], inputs, force, is_ours)
            content = output.content()
            _write_whole(output.path, content.encode('utf-8', 'replace') if isinstance(content, str) else content)
        except OSError as error:
            raise InputError(f'{output.path}: cannot be written ({error}); choose another place.') from None
    names = [str(output.path) for output in outputs]
    return 'wrote ' + ' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))


def is_json_of(path: Path, schema: str) -> bool:
    """Whether a file is JSON that names this schema near its beginning, and a ``schema_version``."""
    with path.open('rb') as file:
        content = file.read(HEAD)
        if schema.encode() not in content:  # whatever else a user keeps there may be large
            return False
        content += file.read()
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and 'schema_version' in document and document.get('schema') == schema


def _check_target(path: Path, inputs: Sequence[str], force: bool, is_ours: Callable[[Path], bool]) -> None:
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
