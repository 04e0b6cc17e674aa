"""Where a run goes on: the newest intact checkpoint of its folders."""

from collections.abc import Sequence
from pathlib import Path

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


def _progress(path: Path) -> tuple[int, int, bool, float]:
    meta = reading.glance(path)['meta']
    # An interrupted validation was saved after the regular checkpoint of the same iteration.
    return int(meta['iter']), int(meta['epoch']), path.name == files.INTERRUPTED, path.stat().st_mtime
