"""Files that are whole or not there, and which of a run's checkpoints is the newest intact one."""

import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Beside the target, so that renaming moves no data; the beginning and the end tell whose leftovers they are.
_BEGIN, _END = '.mmhybrid-', '.partial'
POINTER = 'last_checkpoint'
INTERRUPTED = 'interrupted.pth'
TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')  # MMEngine's


def write_durably(data: bytes, path: str | os.PathLike) -> None:
    """Write a file that is, after a crash at any moment, the new one or the old one, whole.

    The bytes go to a temporary file beside the target, are synced to the disk and only then take the target's name.

    Raises:
        OSError: If that fails, as on a full disk; the target is as it was, and no temporary file stays behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f'{_BEGIN}{secrets.token_hex(8)}{_END}'
    try:
        with temporary.open('xb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A name lasts once its folder is on the disk; not every system lets a folder be opened.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # network file systems that cannot
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Remove temporary files of writers that were killed; returns them."""
    found = [path for path in Path(folder).glob(f'{_BEGIN}*{_END}') if path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def write_pointer(folder: str | os.PathLike, target: str | os.PathLike) -> None:
    """Name the latest checkpoint in ``folder/last_checkpoint``, relative to the folder, so that it can be moved."""
    relative = os.path.relpath(target, folder)
    write_durably(relative.encode(), Path(folder, POINTER))


def read_pointer(folder: str | os.PathLike) -> Path | None:
    """What ``folder/last_checkpoint`` names, whether it is there or not; None without such a file.

    MMEngine writes absolute paths. One that is no longer there is looked for in the folder itself.
    """
    try:
        text = Path(folder, POINTER).read_text(errors='replace').strip()
    except OSError:
        return None
    if not text or '\0' in text:
        return None
    path = Path(folder, text)
    return path if path.exists() else Path(folder, path.name)


def is_checkpoint(name: str, template: str | None = None) -> bool:
    """Whether a file's name is one from which a run may go on; see :func:`checkpoints`."""
    templates = TEMPLATES if template is None else (template,)
    return name == INTERRUPTED or any(
        re.fullmatch(r'\d+'.join(map(re.escape, re.split(r'\{[^{}]*\}', text))), name) for text in templates
    )


def checkpoints(folders: Sequence[str | os.PathLike], template: str | None = None) -> Iterator[Path]:
    """Files from which a run may go on: those that a template names, the interrupted one and the pointer's.

    Args:
        folders: Where to look.
        template: Names with one ``{}`` for a number; None stands for epoch_{}.pth and iter_{}.pth.
    """
    seen = set()
    for folder in map(Path, folders):
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        named = [path for path in inside if is_checkpoint(path.name, template)]
        pointed = read_pointer(folder)
        for path in (*named, *([pointed] if pointed and pointed.exists() else [])):
            if (real := path.resolve()) not in seen:
                seen.add(real)
                yield path


@dataclass(frozen=True)
class Found:
    """What there is to go on from.

    Attributes:
        path: The newest intact checkpoint, or None.
        broken: Why each of those that would have come before it is not taken.
    """

    path: Path | None
    broken: dict[Path, str] = field(default_factory=dict)


def newest(paths: Sequence[Path], progress: Callable[[Path], tuple], damage: Callable[[Path], str | None]) -> Found:
    """The newest intact one of some checkpoints.

    Args:
        paths: The checkpoints.
        progress: How far each is, by a look that need not find damage; it may raise for a file that cannot be read.
        damage: Why a file is not intact, or None; asked of the newest ones only, since it reads all of a file.
    """

    def why_not(path: Path) -> str | None:
        try:
            return damage(path)
        except OSError as error:
            return f'cannot be read ({error.strerror})'

    broken, readable = {}, []
    for path in paths:
        try:
            readable.append((progress(path), path))
        except Exception as error:  # whatever a damaged file makes of its reader
            broken[path] = why_not(path) or str(error)
    for _, path in sorted(readable, reverse=True):
        reason = why_not(path)
        if reason is None:
            return Found(path, broken)
        broken[path] = reason
    return Found(None, broken)
