"""Results on disk: whole files only, no paths of a machine in them, and archives small enough to carry home."""

import io
import json
import os
import platform
import re
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
# Names of what a loan leaves, under the folder of results.
STEPS, STUDY = 'gpu', 'study'
ARCHIVE_BYTES = 14 * 2**20
_PATH = re.compile(r'(?<![\w.:/-])/(?:[\w.+@~-]+/)+(?=[\w.<-])')


def write(path: Path, content: bytes) -> None:
    """Write a file such that an interruption leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
    try:
        partial.write_bytes(content)
        os.replace(partial, path)  # noqa: PTH105 (the call that is atomic)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document, with lists of numbers and rows of a table on one line each."""
    write(path, (_dumps(document) + '\n').encode())


def _dumps(value: Any, indent: int = 0) -> str:
    flat = json.dumps(value)
    if not isinstance(value, (dict, list)) or len(flat) + indent <= 170 or _plain(value):
        return flat
    pad = ' ' * (indent + 1)
    if isinstance(value, dict):
        lines = [f'{pad}{json.dumps(str(key))}: {_dumps(inner, indent + 1)}' for key, inner in value.items()]
        return '{\n' + ',\n'.join(lines) + f'\n{" " * indent}}}'
    return '[\n' + ',\n'.join(pad + _dumps(inner, indent + 1) for inner in value) + f'\n{" " * indent}]'


def _plain(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, (dict, list, str)) for item in value)


def read_json(path: Path) -> dict[str, Any] | None:
    """A document, or None where there is none."""
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else None


def step_path(results: Path, name: str) -> Path:
    """Where the result of a step is kept."""
    return results / STEPS / f'{name}.json'


def shown(path: Path | str) -> str:
    """A path as it is told: relative to the repository, or its name alone."""
    path = Path(path)
    if not path.is_absolute():
        return str(path)
    path = path.resolve()
    return path.relative_to(REPO).as_posix() if path.is_relative_to(REPO) else path.name


def local(path: Path) -> str:
    """A path for a command that is kept with its results: relative where that can be."""
    return path.relative_to(REPO).as_posix() if path.is_relative_to(REPO) else str(path)


def without_paths(text: str) -> str:
    """Text without the folders, the user and the name of this machine."""
    for folder in sorted({str(REPO), str(Path.cwd())}, key=len, reverse=True):
        text = text.replace(folder + '/', '')
    for prefix in {sys.prefix, sys.base_prefix}:
        text = re.sub(rf'{re.escape(prefix)}/(?:lib/python[\d.]+/)?(?:site-packages/)?', '', text)
    text = _PATH.sub('', text)
    node = platform.node()
    return re.sub(rf'\b{re.escape(node)}\b', 'localhost', text) if len(node) > 3 else text


def archive(results: Path, target: Path, limit: int = ARCHIVE_BYTES) -> list[Path]:
    """Pack what a loan leaves into ``target`` and, where it is larger than ``limit`` bytes, into ``-2``, ``-3``, ...

    Names inside are relative to the folder of results: unpacked there, every file is where it was.

    Returns:
        The archives, written anew.
    """
    parts: list[list[Path]] = [[]]
    room = limit
    for path in left_by_loan(results):
        size = path.stat().st_size + 1024  # compression gains, but not on what is compressed already
        if size > room and parts[-1]:
            parts.append([])
            room = limit
        parts[-1].append(path)
        room -= size
    stem = target.name.removesuffix('.tar.gz')
    targets = [target, *(target.with_name(f'{stem}-{i}.tar.gz') for i in range(2, len(parts) + 1))]
    for path, members in zip(targets, parts, strict=True):
        write(path, _packed(results, members))
    return targets


def left_by_loan(results: Path) -> list[Path]:
    """All files that archives hold, the small ones first."""
    found = [*(results / STEPS).glob('*.json'), *results.glob('speed_gpu.json'), *results.glob('speed_small.json')]
    for size in ('gpu', 'trial'):
        found += [path for path in (results / STUDY / size).rglob('*') if path.is_file()]
    return sorted(found, key=lambda path: (len(path.relative_to(results).parts), path))


def _packed(results: Path, members: Iterable[Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w:gz') as tar:
        for path in members:
            info = tarfile.TarInfo(path.relative_to(results).as_posix())
            info.size, info.mtime = path.stat().st_size, int(path.stat().st_mtime)
            tar.addfile(info, io.BytesIO(path.read_bytes()))
    return buffer.getvalue()
