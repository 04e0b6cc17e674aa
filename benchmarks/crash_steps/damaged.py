"""Checkpoints that are not intact, pointers that are wrong, and a disk that is full."""

import ctypes
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmhybrid.engine import resuming

from .kills import last_line
from .runs import Case, Trial, discard, temporary

SAVED = 3
CASE = Case(keep=3, by_epoch=False, saves=4)
_NEWNS, _PRIVATE = 0x20000, (1 << 18) | (1 << 14)


def three_checkpoints(folder: Path, shared: Path) -> Path:
    """The work dir of a run that was killed after its third checkpoint, of four."""
    trial = Trial(folder, CASE, shared)
    run = trial.start()
    run.until(lambda line: line.get('saved') == SAVED)
    run.kill(signal.SIGKILL)
    run.wait()
    (trial.work_dir / CASE.name(4)).unlink(missing_ok=True)
    return trial.work_dir


def newest(work_dir: Path) -> Path:
    return work_dir / CASE.name(SAVED)


def cut(share: float, less: int = 0) -> Callable[[Path], None]:
    """Leave the beginning of a file."""
    return lambda path: os.truncate(path, max(int(path.stat().st_size * share) - less, 0))


def flip(share: float, offset: int = 0) -> Callable[[Path], None]:
    """Turn one bit of a file over."""

    def change(path: Path) -> None:
        with path.open('r+b') as file:
            file.seek(min(int(path.stat().st_size * share) + offset, path.stat().st_size - 1))
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 16]))

    return change


FILES = {
    'empty': cut(0),
    'cut after 1 byte': lambda path: os.truncate(path, 1),
    'cut after a thousandth': cut(0.001),
    'cut in the middle': cut(0.5),
    'cut before the last 22 bytes': cut(1, 22),
    'cut before the last byte': cut(1, 1),
    'a bit turned at the beginning': flip(0),
    'a bit turned in the first kilobyte': flip(0, 500),
    'a bit turned after a tenth': flip(0.1),
    'a bit turned in the middle': flip(0.5),
    'a bit turned after nine tenths': flip(0.9),
    'a bit turned in the directory of entries': flip(1, -5000),
    'a bit turned in the last 20 bytes': flip(1, -20),
    'text': lambda path: path.write_text('<html>404 Not Found</html>\n' * 40),
    'another file': lambda path: shutil.copy(__file__, path),
    'missing': lambda path: path.unlink(),
}
POINTERS = {
    'absent': lambda path: path.unlink(),
    'empty': lambda path: path.write_text(''),
    'to nowhere': lambda path: path.write_text('/nowhere/iter_9.pth'),
    "MMEngine's, absolute": lambda path: path.write_text(str(newest(path.parent))),
    'to an older one': lambda path: path.write_text(CASE.name(1)),
    'zeros': lambda path: path.write_bytes(b'\0' * 40),
}


def resume(trial: Trial, whole: Mapping[str, Any], first: int) -> dict[str, Any]:
    """Resume to the end, which has to begin with iteration ``first``."""
    run = trial.start(resume=True)
    status = run.wait()
    began = next((line['iter'] for line in run.lines() if 'iter' in line), None)
    faults = [] if status == 0 else [f'exit {status}: {last_line(run.output())}']
    if began != first:
        faults.append(f'went on with iteration {began}, not {first}')
    if 'Traceback' in run.output():
        faults.append('a traceback')
    faults += trial.differences(whole)
    said = re.search(r'(The run goes on from .*)', run.output())
    return {'from': began and began - 1, 'said': said and without(said[1], trial.folder), 'faults': faults}


def without(text: str, folder: Path) -> str:
    """Text without the folder of a trial."""
    return text.replace(f'{folder}/', '').replace(str(folder), 'FOLDER')


def damaged_file(folder: Path, shared: Path, source: Path, kind: str, number: int, whole: Any) -> dict[str, Any]:
    """Resume when the ``number`` newest checkpoints are damaged."""
    trial = Trial(folder, CASE, shared)
    shutil.copytree(source, trial.work_dir)
    for step in range(SAVED - number + 1, SAVED + 1):
        FILES[kind](trial.work_dir / CASE.name(step))
    row = {'trial': f'{kind}: {number} of {SAVED} checkpoints'}
    if number < SAVED:
        row |= resume(trial, whole, SAVED - number + 1)
        if kind != 'missing' and not row['said']:
            row['faults'].append('does not say why')
    else:
        row |= refused(trial, 'No checkpoint in ')
    if not row['faults']:
        discard(folder)
    return row


def refused(trial: Trial, beginning: str, **settings: Any) -> dict[str, Any]:
    """A run that has to end with one sentence and exit status 2."""
    run = trial.start(resume=True, **settings)
    status = run.wait()
    lines = [line for line in run.output().splitlines() if line.startswith('error: ')]
    faults = [] if status == 2 else [f'exit {status}: {last_line(run.output())}']
    if len(lines) != 1 or not lines[0].startswith(f'error: {beginning}') or last_line(run.output()) != lines[0]:
        faults.append(f'not one sentence at the end: {lines or last_line(run.output())}')
    if 'Traceback' in run.output():
        faults.append('a traceback')
    return {'said': without(lines[0], trial.folder) if lines else None, 'faults': faults}


def pointer(folder: Path, shared: Path, source: Path, kind: str, whole: Any) -> dict[str, Any]:
    """Resume when ``last_checkpoint`` is wrong, or the work dir was moved."""
    trial = Trial(folder, CASE, shared)
    shutil.copytree(source, trial.work_dir)
    if kind == 'moved':
        trial.work_dir.rename(folder / 'elsewhere')
        trial.work_dir = folder / 'elsewhere'
    else:
        POINTERS[kind](trial.work_dir / 'last_checkpoint')
    row = {'trial': 'a work dir that was moved' if kind == 'moved' else f'last_checkpoint {kind}'}
    row |= resume(trial, whole, SAVED + 1)
    if not row['faults']:
        discard(folder)
    return row


def limited(folder: Path, shared: Path, source: Path, share: float, whole: Any) -> dict[str, Any]:
    """A save that fails after ``share`` of a checkpoint, by a limit on the size of files."""
    trial = Trial(folder, CASE, shared)
    shutil.copytree(source, trial.work_dir)
    row = {'trial': f'a file may not be larger than {share:.0%} of a checkpoint'}
    row |= refused(trial, CASE.name(4), file_bytes=int(whole['checkpoint_bytes'] * share))
    return finish_full(trial, row, whole)


def full(folder: Path, shared: Path, source: Path, share: float, whole: Any) -> dict[str, Any]:
    """A disk, in memory, with room for ``share`` of another checkpoint."""
    row = {'trial': f'a disk with room for {share:.0%} of a checkpoint'}
    place = Path(tempfile.mkdtemp())
    if not mount(place, int(whole['checkpoint_bytes'] * (SAVED + 1.5))):
        place.rmdir()
        return row | {'faults': [], 'said': 'not tried: mounting is not permitted here'}
    try:
        trial = Trial(folder, CASE, shared)
        trial.work_dir = place / 'work'
        shutil.copytree(source, trial.work_dir)
        room = shutil.disk_usage(place).free - int(whole['checkpoint_bytes'] * share)
        (place / 'filler').write_bytes(b'x' * room)
        beginning = CASE.name(4) if share > 0 else ''
        row |= refused(trial, beginning)
        row['said'] = row['said'] and without(row['said'], place)
        (place / 'filler').unlink()
        return finish_full(trial, row, whole)
    finally:
        ctypes.CDLL(None).umount(str(place).encode())
        place.rmdir()


def mount(place: Path, size: int) -> bool:
    """Mount a file system in memory that this process and its children alone see; False if that is not permitted."""
    libc = ctypes.CDLL(None)
    if libc.unshare(_NEWNS) or libc.mount(b'none', b'/', None, _PRIVATE, None):
        return False
    return not libc.mount(b'none', str(place).encode(), b'tmpfs', 0, f'size={size}'.encode())


def finish_full(trial: Trial, row: dict[str, Any], whole: Any) -> dict[str, Any]:
    """With space again, the run goes on from the last good file."""
    found = resuming.find([trial.work_dir]).path
    if found is None or found.name != CASE.name(SAVED):
        row['faults'].append(f'the last good file is {found}')
    if temporary(trial.names()):
        row['faults'].append('a temporary file stayed')
    again = resume(trial, whole, SAVED + 1)
    row['faults'] += again['faults']
    if not row['faults']:
        discard(trial.folder)
    return row
