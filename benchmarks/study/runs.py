"""The runs of the study: which are done, and doing the next ones.

A run is a folder ``SIZE/MODEL/seedN`` with its config, its log and, once it is done, two files that stay: the kept
detections and ``run.json``, which is written last. A run that was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mmhybrid.datasets.occluded_shapes import generate
from mmhybrid.errors import InputError

from . import plan

DETECTIONS = 'detections.bbox.json.gz'
# A box is kept to a tenth of a pixel of 256, a score to four digits.
BOX_DIGITS, SCORE_DIGITS = 1, 4


@dataclass(frozen=True)
class Run:
    """One model trained from one seed.

    Attributes:
        size: Key of ``plan.SIZES``.
        model: Key of the plan's models.
        seed: Seed of the training.
        of: What is compared.
    """

    size: str
    model: str
    seed: int
    of: plan.Plan = field(default=plan.STUDY, compare=False, repr=False)

    def what(self) -> plan.Model:
        """The model."""
        return self.of.models[self.model]

    def folder(self, root: Path) -> Path:
        """Where the run's files are under ``root``."""
        return root / self.size / self.model / f'seed{self.seed}'


def planned(size: str, models: Sequence[str], seeds: Sequence[int], of: plan.Plan = plan.STUDY) -> list[Run]:
    """All runs, seed by seed, so that an interrupted study has whole pairs of models."""
    return [Run(size, model, seed, of) for seed in seeds for model in models]


def record(root: Path, run: Run) -> dict[str, Any] | None:
    """What ``run.json`` under ``root`` says of a finished run, or None if it is not done.

    Raises:
        InputError: If the run was made by another plan.
    """
    path = run.folder(root) / 'run.json'
    if not path.exists():
        return None
    made = json.loads(path.read_text())
    if made['settings'] != plan.described(run.size):
        raise InputError(f'{path} was made with other settings than the plan has now; move its folder away.')
    return made


def left(root: Path, runs: Sequence[Run]) -> list[Run]:
    """The runs that are not done, in order."""
    return [run for run in runs if record(root, run) is None]


def do(
    root: Path,
    work_dir: Path,
    runs: Sequence[Run],
    jobs: int = 1,
    threads: int = 1,
    minutes: float | None = None,
    say: Callable[[str], None] = print,
    keep_checkpoints: bool = False,
) -> int:
    """Do what is left of some runs.

    Args:
        root: Where finished runs are kept.
        work_dir: Where the data sets, checkpoints and logs go.
        runs: All planned runs.
        jobs: Runs at the same time.
        threads: Threads of each.
        minutes: Begin no run after so long.
        say: Called with a sentence when a run begins and ends.
        keep_checkpoints: Leave the last checkpoint of each run in ``work_dir``.

    Returns:
        Number of runs that failed.
    """
    start = time.monotonic()
    for size in dict.fromkeys(run.size for run in runs):
        validation(work_dir, size)
    todo = left(root, runs)
    say(f'{len(runs) - len(todo)} of {len(runs)} runs are done.')

    def one(run: Run) -> bool:
        name = f'{run.size} {run.model} seed {run.seed}'
        if minutes is not None and time.monotonic() - start > 60 * minutes:
            return True
        say(f'{name}: begins')
        try:
            made = _do_one(root, work_dir, run, threads, keep_checkpoints)
        except subprocess.CalledProcessError as error:
            say(f'{name}: failed; see {error.output}')
            return False
        say(f'{name}: {made["seconds"]["train"]:.0f} s of training, AP {made["overall"]["coco/bbox_mAP"]:.3f}')
        return True

    with ThreadPoolExecutor(jobs) as pool:
        return sum(not ok for ok in pool.map(one, todo))


def data_root(work_dir: Path, size: str) -> Path:
    """The data set of a size."""
    s = plan.SIZES[size]
    return work_dir / f'shapes_{s.train_images}_{s.val_images}'


def validation(work_dir: Path, size: str) -> Path:
    """The annotations of the validation images of a size; the data set is made if it is not there."""
    s, root = plan.SIZES[size], data_root(work_dir, size)
    generate(root, {'train': s.train_images, 'val': s.val_images}, progress=False)
    return root / 'annotations' / 'instances_val.json'


def _do_one(root: Path, work_dir: Path, run: Run, threads: int, keep_checkpoint: bool) -> dict[str, Any]:
    folder, work = run.folder(root), run.folder(work_dir)
    work.mkdir(parents=True, exist_ok=True)
    config = work / 'config.py'
    config.write_text(plan.config_text(run.what(), run.size, data_root(work_dir, run.size).resolve(), run.seed))
    s = plan.SIZES[run.size]
    tools = plan.REPO / 'tools'
    options = ['--work-dir', work]
    start = time.perf_counter()
    checkpoint = work / f'epoch_{s.epochs}.pth'
    if not checkpoint.exists():
        # --resume: an interrupted run goes on where it was.
        call([tools / 'train.py', config, '--resume', *options, *(['--amp'] if s.amp else [])], work, 'train', threads)
    trained = time.perf_counter()
    test = [tools / 'test.py', config, checkpoint, '--json-prefix', work / 'val', *options]
    call(test, work, 'test', threads)
    tested = time.perf_counter()
    kept, num_detections = keep(work / 'val.bbox.json')
    made = dict(
        model=run.model,
        title=run.what().title,
        seed=run.seed,
        size=run.size,
        settings=plan.described(run.size),
        backbone=_backbone(run),
        parameters=_parameters(checkpoint),
        seconds=dict(train=round(trained - start, 1), test=round(tested - trained, 1)),
        losses=list(losses(work)),
        overall=_overall(work),
        detections=num_detections,
        **made_with(threads),
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DETECTIONS).write_bytes(kept)
    (folder / 'run.json').write_text(json.dumps(made, indent=1) + '\n')
    # Nothing is read of these again, and a study has many.
    for path in work.glob('*.pth'):
        if not (keep_checkpoint and path == checkpoint):
            path.unlink()
    for path in work.glob('val.*.json'):
        path.unlink()
    return made


def keep(results: Path) -> tuple[bytes, int]:
    """COCO detections of boxes as they are kept: rounded and compressed, the same bytes for the same detections.

    Returns:
        The compressed file, and the number of detections in it.
    """
    rows = [
        dict(
            image_id=row['image_id'],
            category_id=row['category_id'],
            bbox=[round(x, BOX_DIGITS) for x in row['bbox']],
            score=round(row['score'], SCORE_DIGITS),
        )
        for row in json.loads(results.read_text())
    ]
    text = json.dumps(rows, separators=(',', ':'))
    return gzip.compress(text.encode(), 9, mtime=0), len(rows)


def call(command: Sequence[str | Path], work: Path, name: str, threads: int) -> None:
    """Run a Python command, whose output is added to ``work/NAME.log``.

    Raises:
        subprocess.CalledProcessError: If it fails; its output is the log's path.
    """
    log = work / f'{name}.log'
    env = {**os.environ, 'OMP_NUM_THREADS': str(threads), 'PYTHONPATH': str(plan.REPO)}
    with log.open('a') as out:
        done = subprocess.run([sys.executable, *map(str, command)], stdout=out, stderr=subprocess.STDOUT, env=env)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, 'run', output=str(log))


def _backbone(run: Run) -> dict[str, Any]:
    model = run.what()
    weights = {'weights': model.weights.name} if model.weights else {}
    return json.loads(json.dumps({**model.config(plan.SIZES[run.size].narrow), **weights}))


def _parameters(checkpoint: Path) -> int:
    """Learnable parameters of the backbone, counted in the checkpoint."""
    from mmhybrid.checkpoints.reading import read

    state = read(checkpoint)['state_dict']
    buffers = ('running_mean', 'running_var', 'num_batches_tracked')
    return sum(v.numel() for k, v in state.items() if k.startswith('backbone.') and not k.endswith(buffers))


def _rows(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for path in sorted(paths):  # MMEngine names folders and files by the time of the start
        yield from map(json.loads, path.read_text().splitlines())


def losses(work: Path) -> Iterator[list[float]]:
    """Iteration and training loss, as logged."""
    rows = _rows(work.glob('*/vis_data/scalars.json'))
    return ([row['step'], round(row['loss'], 4)] for row in rows if 'loss' in row)


def _overall(work: Path) -> dict[str, float]:
    *_, newest = _rows(work.glob('*/*.json'))
    wanted = ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50')
    return {key: newest[key] for key in wanted}


def made_with(threads: int) -> dict[str, Any]:
    """Hardware, versions and commit of a run that this process begins."""
    versions = {name: _version(name) for name in ('torch', 'mmengine', 'mmcv', 'mmdet')}
    return dict(hardware=_hardware(threads), versions=versions, commit=_commit())


def _hardware(threads: int) -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f'{platform.machine()} CPU, {threads} thread{"s" * (threads > 1)}'


def _version(name: str) -> str:
    for distribution in (name, f'onedl-{name}', 'onedl-mmdetection'):
        try:
            return f'{distribution} {version(distribution)}'
        except PackageNotFoundError:
            continue
    return 'unknown'


def _commit() -> str:
    git = shutil.which('git')
    words = [git, '-C', str(plan.REPO), 'rev-parse', '--short', 'HEAD'] if git else None
    done = subprocess.run(words, capture_output=True, text=True) if words else None
    return done.stdout.strip() if done and not done.returncode else 'unknown'
