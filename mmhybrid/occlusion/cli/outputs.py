"""Files of a command: checked before the work begins, written whole or not at all, never over what is not its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmhybrid.errors import InputError

from .. import figures
from ..results import SCHEMA

HTML_MARK = b'<meta name="generator" content="mmhybrid'
MARKDOWN_MARK = f'<!-- {SCHEMA} -->\n'
# A CSV file has no place for a comment, so its first column says whose it is.
CSV_COLUMN = 'schema'
EMPTY_CSV = f'{CSV_COLUMN},{SCHEMA}\n'  # a heading without rows


@dataclass(frozen=True)
class Output:
    """One file to write.

    Attributes:
        path: Where.
        write: Writes into the path it is given.
    """

    path: Path
    write: Callable[[Path], object]


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made or written in.

    Raises:
        InputError: It cannot.
    """
    existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
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
            if not path.exists():
                continue
            if any(path.samefile(given) for given in inputs if Path(given).exists()):
                raise InputError(f'{path}: is an input of this run; choose another place for the output.')
            if not force and not is_ours(path):
                raise InputError(
                    f'{path}: exists and was not written by this command; choose another place, or --force.'
                )
        except OSError as error:
            raise InputError(f'{path}: cannot be used ({error}); choose another place.') from None


def is_ours(path: Path) -> bool:
    """Whether a command of this package wrote the file."""
    content = path.read_bytes()
    suffix = path.suffix.lower()
    if suffix == '.json':
        return _is_our_json(content)
    if suffix == '.html':
        return HTML_MARK in content[:4096]
    if suffix == '.md':
        return content.startswith(MARKDOWN_MARK.encode())
    if suffix == '.csv':
        heading = f'{CSV_COLUMN},'.encode()
        return content == EMPTY_CSV.encode() or (
            content.startswith(heading) and f'\n{SCHEMA},'.encode() in content[:4096]
        )
    return figures.is_ours(content)


def write(outputs: Sequence[Output]) -> str:
    """Write the files, each whole or not at all, and say in one line which.

    Raises:
        InputError: The disk refuses.
    """
    for output in outputs:
        partial = output.path.with_name(f'.{os.getpid()}.{output.path.name}')
        try:
            output.path.parent.mkdir(parents=True, exist_ok=True)
            output.write(partial)
            partial.replace(output.path)
        except OSError as error:
            raise InputError(f'{output.path}: cannot be written ({error}); choose another place.') from None
        finally:
            partial.unlink(missing_ok=True)
    names = [str(output.path) for output in outputs]
    return 'wrote ' + (f'{", ".join(names[:-1])} and {names[-1]}' if len(names) > 1 else names[0])


def text(content: Callable[[], str]) -> Callable[[Path], object]:
    """A writer of text, made when it is written."""
    return lambda path: path.write_text(content(), encoding='utf-8', newline='\n')


def _is_our_json(content: bytes) -> bool:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and 'schema_version' in document and document.get('schema') == SCHEMA
