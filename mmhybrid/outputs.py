"""Files of a command: checked before the work begins, written whole or not at all, never over what is not its own."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmhybrid.errors import InputError

HEAD = 4096  # bytes of a file in which its mark is found
_KINDS = {
    stat.S_IFIFO: 'a named pipe', stat.S_IFDIR: 'a folder', stat.S_IFSOCK: 'a socket', stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}  # fmt: skip


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made or written in.

    Raises:
        InputError: It cannot.
    """
    # A link that leads nowhere is in the way, too.
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
    try:
        # Permissions do not tell of folders in which nobody can make anything, as in /proc.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError:
        raise InputError(f'{path}: {existing} is no folder to write in; choose another place.') from None


@dataclass(frozen=True)
class Writer:
    """Writes what a command made, each file whole or not at all, and only where nothing is lost.

    Attributes:
        inputs: Files that are read; they are never overwritten.
        force: Whether a user's file, or a link, may be replaced, which the command did not write.
        is_ours: Whether the command wrote a regular file.
    """

    inputs: Sequence[str]
    force: bool
    is_ours: Callable[[Path], bool]

    def check(self, paths: Iterable[Path]) -> None:
        """Refuse what cannot be written, or must not be overwritten.

        Raises:
            InputError: A file is in the way.
        """
        for path in paths:
            check_folder(path.parent)
            try:
                self._check(path)
            except OSError as error:
                raise InputError(f'{path}: cannot be used ({error}); choose another place.') from None

    def write(self, contents: Mapping[Path, Callable[[], bytes | str | None]]) -> str:
        """Write the files, but for those of None, and say which; text as UTF-8, with ``?`` for what it cannot hold.

        Raises:
            InputError: A file is in the way by now, then none is written; or the disk refuses.
        """
        self.check(contents)
        written = []
        for path, make in contents.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.check([path])
                content = make()
                if content is None:
                    continue
                _write_whole(path, content.encode('utf-8', 'replace') if isinstance(content, str) else content)
            except OSError as error:
                raise InputError(f'{path}: cannot be written ({error}); choose another place.') from None
            written.append(path)
        *names, last = map(str, written)
        return f'wrote {", ".join(names)} and {last}' if names else f'wrote {last}'

    def _check(self, path: Path) -> None:
        if path.exists() and any(path.samefile(given) for given in self.inputs if Path(given).exists()):
            raise InputError(f'{path}: is an input of this run; choose another place for the output.')
        try:
            kind = path.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(kind):
            # The link would be replaced, not what it leads to: either may surprise who made it.
            if not self.force:
                raise InputError(f'{path}: is a link, which no command of ours made; choose another place, or --force.')
        elif not stat.S_ISREG(kind):
            # Reading a pipe would wait for ever, and a file in its place would cut off who reads it.
            raise InputError(
                f'{path}: is no regular file ({_KINDS.get(stat.S_IFMT(kind), "something else")}); choose another place.'
            )
        elif not self.force and not self.is_ours(path):
            raise InputError(f'{path}: exists and was not written by this command; choose another place, or --force.')


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
