"""The run of the trials: the demo's Mask R-CNN in small, and what of a run has to be the same after a crash."""

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from .processes import REPO, Running

DEMO = REPO / 'configs' / 'demo_mask_rcnn_tiedresnet_occluded_shapes.py'
IMAGES, SIZE = 4, 96
EPOCH = 2  # batches
CHECKPOINT = re.compile(r'(?:epoch|iter)_(\d+)\.pth')
TEMPORARY = '.mmhybrid-'
_CONFIG = """_base_ = {demo!r}
custom_imports = dict(imports=['mmhybrid.registry', 'crash_steps.watching'], allow_failed_imports=False)
custom_hooks = [dict(type='FrozenStagesHook'), dict(type='TrialBegins'), dict(type='TrialSaved')]
model = dict(
    train_cfg=dict(
        rpn=dict(sampler=dict(num=32)),
        rpn_proposal=dict(nms_pre=50, max_per_img=20),
        rcnn=dict(sampler=dict(num=16)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=5)),
)
"""
_VALIDATION = """val_cfg = dict(_delete_=True, type='ValLoop')
val_dataloader = dict(_delete_=True, **_base_.test_dataloader)
val_evaluator = dict(_delete_=True, **_base_.test_evaluator)
"""


@dataclass(frozen=True)
class Case:
    """How a run trains.

    Attributes:
        keep: Checkpoints to keep.
        workers: Processes that load data.
        by_epoch: Whether a checkpoint is saved after each epoch, of two iterations, or after each iteration.
        saves: Checkpoints that the whole run saves.
        val: Whether there is a validation after each of them.
        ranks: Training processes.
        hook: What saves checkpoints.
    """

    keep: int = 1
    workers: int = 0
    by_epoch: bool = True
    saves: int = 4
    val: bool = False
    ranks: int = 1
    hook: str = 'ResumableCheckpointHook'

    @property
    def interval(self) -> int:
        """Iterations from one checkpoint to the next."""
        return EPOCH // self.ranks if self.by_epoch else 1

    @property
    def iterations(self) -> int:
        """Of the whole run."""
        return self.interval * self.saves

    def words(self) -> dict[str, Any]:
        """For a row of the record."""
        one = {'keep': self.keep, 'workers': self.workers, 'loop': 'epochs' if self.by_epoch else 'iterations'}
        return one | ({'processes': self.ranks} if self.ranks > 1 else {})

    def name(self, save: int) -> str:
        """Of the checkpoint of a save."""
        return f'{"epoch" if self.by_epoch else "iter"}_{save}.pth'


class Trial:
    """A work dir and the training processes that use it, one after the other."""

    def __init__(self, folder: Path, case: Case, shared: Path):
        self.folder, self.case, self.shared = folder, case, shared
        self.work_dir = folder / 'work'
        self.runs: list[Running] = []

    def argv(self, *options: Any) -> list[Any]:
        """The command line."""
        case, kind = self.case, 'val' if self.case.val else 'plain'
        loop = ('EpochBasedTrainLoop', 'max_epochs') if case.by_epoch else ('IterBasedTrainLoop', 'max_iters')
        settings = {
            'data_root': self.shared / 'data',
            'train_dataloader.dataset.pipeline.2.scale': f'({SIZE},{SIZE})',
            'test_dataloader.dataset.pipeline.2.scale': f'({SIZE},{SIZE})',
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': case.workers,
            'train_dataloader.persistent_workers': False,
            'test_dataloader.num_workers': 0,
            'test_dataloader.persistent_workers': False,
            'default_hooks.logger.interval': 1,
            'default_hooks.checkpoint.type': case.hook,
            'default_hooks.checkpoint.max_keep_ckpts': case.keep,
            'default_hooks.checkpoint.by_epoch': case.by_epoch,
            'train_cfg.type': loop[0],
            f'train_cfg.{loop[1]}': case.saves,
        }
        if not case.by_epoch:
            settings |= {
                'train_dataloader.sampler.type': 'InfiniteSampler',
                'train_cfg.val_interval': 1,
                'train_dataloader.batch_sampler': None,
            }
        if case.val:
            settings |= {
                'val_dataloader.batch_size': 1,
                'val_dataloader.dataset.pipeline.2.scale': f'({SIZE},{SIZE})',
                'val_dataloader.num_workers': case.workers,
                'val_dataloader.persistent_workers': False,
            }
        words = [f'{key}={value}' for key, value in settings.items()]
        config = self.shared / f'{kind}_{"epochs" if case.by_epoch else "iterations"}.py'
        return [config, '--work-dir', self.work_dir, *options, '--cfg-options', *words]

    def start(self, resume: bool = False, **settings: Any) -> Running:
        """Start the next process."""
        options = ['--resume'] if resume else []
        self.runs.append(Running(self.argv(*options), self.folder, self.case.ranks, **settings))
        return self.runs[-1]

    def losses(self, rank: int = 0) -> dict[int, list[dict[str, str]]]:
        """The losses of each iteration, each time it was run."""
        found: dict[int, list[dict[str, str]]] = {}
        for run in self.runs:
            for line in run.lines(rank):
                if 'losses' in line:
                    found.setdefault(line['iter'], []).append(line['losses'])
        return found

    def differences(self, whole: dict[str, Any]) -> list[str]:
        """What is not as in the unbroken run: losses of iterations, also of those run twice, and the end's weights."""
        wrong = []
        for rank, expected in enumerate(whole['losses']):
            for iteration, losses in self.losses(rank).items():
                if any(one != expected[iteration] for one in losses):
                    wrong.append(f'losses of iteration {iteration}')
        if (last := self.work_dir / self.case.name(self.case.saves)).exists() and digest(last) != whole['digest']:
            wrong.append('weights or optimizer at the end')
        return wrong

    def names(self) -> list[str]:
        """The files of the work dir."""
        return sorted(path.name for path in self.work_dir.iterdir()) if self.work_dir.is_dir() else []

    def pointer(self) -> str | None:
        """What ``last_checkpoint`` says."""
        path = self.work_dir / 'last_checkpoint'
        return path.read_text() if path.exists() else None


def checkpoints(names: Sequence[str]) -> list[str]:
    """Which of some files are regular checkpoints, the oldest first."""
    return sorted((n for n in names if CHECKPOINT.fullmatch(n)), key=lambda n: int(CHECKPOINT.fullmatch(n)[1]))


def temporary(names: Sequence[str]) -> list[str]:
    """Which of some files are a writer's temporary ones."""
    return [name for name in names if name.startswith(TEMPORARY)]


def digest(path: Path) -> str:
    """Of a checkpoint's weights and its optimizer's state."""
    checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    made = hashlib.sha256()
    todo = [checkpoint['state_dict'], checkpoint['optimizer']]
    while todo:
        thing = todo.pop()
        if isinstance(thing, torch.Tensor):
            made.update(thing.contiguous().numpy().tobytes())
        elif isinstance(thing, dict):
            todo += [thing[key] for key in sorted(thing, key=str)]
        elif isinstance(thing, (list, tuple)):
            todo += thing
        else:
            made.update(repr(thing).encode())
    return made.hexdigest()


def whole_run(folder: Path, case: Case, shared: Path) -> dict[str, Any]:
    """The unbroken run, with which the others are compared."""
    trial = Trial(folder, case, shared)
    run = trial.start()
    if run.wait(600) != 0:
        raise RuntimeError(run.output()[-3000:])
    lines = run.lines()
    begins = {line['iter']: line['time'] for line in lines if 'iter' in line}
    saves = [line['time'] - begins[line['saved']] for line in lines if 'saved' in line]
    last = trial.work_dir / case.name(case.saves)
    return {
        'losses': [{i: each[0] for i, each in trial.losses(rank).items()} for rank in range(case.ranks)],
        'digest': digest(last),
        'save_seconds': sorted(saves)[len(saves) // 2],
        'checkpoint_bytes': last.stat().st_size,
        'start_seconds': min(begins.values()) - run.begun,
        'metrics': [line for line in lines if 'measured' in line],
    }


def prepare(shared: Path) -> None:
    """Make the data set and the configs."""
    from mmhybrid.datasets.occluded_shapes import generate

    generate(shared / 'data', {'train': IMAGES, 'val': IMAGES}, size=SIZE, progress=False)
    for kind in ('plain', 'val'):
        for loop in ('epochs', 'iterations'):
            text = _CONFIG.format(demo=str(DEMO)) + (_VALIDATION if kind == 'val' else '')
            if loop == 'iterations':
                text += "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop')\n"
            (shared / f'{kind}_{loop}.py').write_text(text)
            Config.fromfile(shared / f'{kind}_{loop}.py')  # which fills caches


def discard(folder: Path) -> None:
    """Remove a trial's files."""
    shutil.rmtree(folder, ignore_errors=True)
