"""Where a run goes on: the newest intact checkpoint of its folders."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmhybrid.checkpoints import files, integrity, reading
from mmhybrid.errors import InputError


def find(folders: Sequence[str | Path], template: str | None = None) -> files.Found:
    """The newest intact checkpoint in some folders, and why not a newer one.

    A run that was taken back to an earlier checkpoint, or begun again in the same folder, leaves checkpoints of the
    run that it left; those of the run to which ``last_checkpoint`` belongs come first.

    Args:
        folders: Where checkpoints may be, also twice.
        template: Of their names; None stands for MMEngine's, epoch_{}.pth and iter_{}.pth.
    """
    folders = list(dict.fromkeys(map(str, folders)))
    paths = list(files.checkpoints(folders, template))
    tellings: dict[Path, Any] = {}
    for path in paths:
        try:
            tellings[path] = _telling(path)
        except Exception as error:  # whatever a damaged file makes of its reader
            tellings[path] = error
    told = {path: telling for path, telling in tellings.items() if not isinstance(telling, Exception)}
    latest = [path for path in map(files.read_pointer, folders) if path is not None and path in told]
    latest = latest or sorted(told, key=lambda path: path.stat().st_mtime_ns, reverse=True)

    def progress(path: Path) -> tuple:
        if isinstance(tellings[path], Exception):
            raise tellings[path]
        run, *rest = tellings[path]
        return run == told[latest[0]][0], *rest

    return files.newest(paths, progress, integrity.damage)


def replaced_by(path: Path, source: str | None, run: str) -> bool:
    """Whether a checkpoint is an older one of the same run as the one that was resumed, and beside it."""
    if source is None or not Path(source).is_file() or Path(source).resolve().parent != path.resolve().parent:
        return False
    if path.samefile(source) or path.stat().st_mtime_ns > Path(source).stat().st_mtime_ns:
        return False
    try:
        return reading.glance(path)['resume']['run'] == run
    except Exception:  # not one of ours
        return False


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


def _telling(path: Path) -> tuple:
    """Of which run a checkpoint is, and how far it is."""
    checkpoint = reading.glance(path)
    if not _is_run(checkpoint):
        raise ValueError('holds weights and no run')
    meta, record = checkpoint['meta'], checkpoint.get('resume')
    run = record.get('run') if isinstance(record, Mapping) else None
    # An interrupted validation was saved after the regular checkpoint of the same iteration.
    return str(run), meta['iter'], meta['epoch'], path.name == files.INTERRUPTED, path.stat().st_mtime_ns
