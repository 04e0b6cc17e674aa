"""Where a run goes on: the newest intact checkpoint of its folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmhybrid.checkpoints import files, integrity, reading
from mmhybrid.errors import InputError


def find(folders: Sequence[str | Path], template: str | None = None) -> files.Found:
    """The newest intact checkpoint in some folders, and why not a newer one.

    Args:
        folders: Where checkpoints may be, also twice.
        template: Of their names; None stands for MMEngine's, epoch_{}.pth and iter_{}.pth.
    """
    paths = list(files.checkpoints(list(dict.fromkeys(map(str, folders))), template))
    return files.newest(paths, _progress, integrity.damage)


def told(found: files.Found) -> str:
    """What was not taken, and what is, in one sentence.

    Raises:
        InputError: If there are checkpoints and none is intact.
    """
    reasons = '; '.join(f'{path.name} {reason}' for path, reason in found.broken.items())
    if found.path is None:
        folder = next(iter(found.broken)).parent
        raise InputError(
            f'No checkpoint in {folder} is intact ({reasons}): start a new run with another --work-dir, or put an '
            'intact checkpoint there.'
        )
    return f'The run goes on from {found.path}, because newer ones are not intact: {reasons}.'


def require_run(checkpoint: Any, source: str) -> None:
    """Check that a checkpoint has a run to go on with.

    Raises:
        InputError: If it has weights alone, or something else.
    """
    if not _is_run(checkpoint):
        raise InputError(
            f'{source} holds weights and no run to resume: to start from them, set load_from=FILE with --cfg-options '
            'and leave --resume out.'
        )


def _is_run(checkpoint: Any) -> bool:
    meta = checkpoint.get('meta') if isinstance(checkpoint, Mapping) else None
    counts = [meta.get(key) for key in ('epoch', 'iter')] if isinstance(meta, Mapping) else [None]
    return all(type(count) is int and count >= 0 for count in counts) and _is_hub(checkpoint.get('message_hub'))


def _is_hub(hub: Any) -> bool:
    parts = ('log_scalars', 'runtime_info', 'resumed_keys')
    return isinstance(hub, Mapping) and all(isinstance(hub.get(part), Mapping) for part in parts)


def _progress(path: Path) -> tuple[int, int, bool, float]:
    checkpoint = reading.glance(path)
    if not _is_run(checkpoint):
        raise ValueError('holds weights and no run')
    meta = checkpoint['meta']
    # An interrupted validation was saved after the regular checkpoint of the same iteration.
    return int(meta['iter']), int(meta['epoch']), path.name == files.INTERRUPTED, path.stat().st_mtime
