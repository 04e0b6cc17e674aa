"""Training steps of Mask R-CNN by backbone, on the same batches in turns: images a second and memory."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from mmengine.runner import Runner

from mmhybrid import launch
from mmhybrid.errors import InputError

from . import memory
from .modes import Mode
from .record import REPO
from .sections import PREPARING, Say, not_measured, reason, take_turns
from .timing import Deadline, clock_of

BASELINE = 'resnet50'
NAMES = (
    *(BASELINE, 'tiedresnet50', 'tiedresnet50_s', 'tiedresnext50', 'tiedsenet50'),
    *('dsnet50', 'ds2net50', 'hsresnet50', 'sae_resnet50', 'hcgnet_b'),
)
# Synthetic images of a batch, (N, C, H, W), by device: COCO's padded size on a GPU, what a CPU does in seconds on one.
SHAPES = {'cpu': (2, 3, 256, 320), 'cuda': (2, 3, 800, 1344)}
ITERATIONS = {'cpu': 1, 'cuda': 10}


@dataclass(frozen=True)
class Plan:
    """How to measure; ``data_root`` None stands for synthetic images of ``shape``."""

    modes: Sequence[Mode]
    shape: tuple[int, int, int, int]
    device: torch.device
    rounds: int
    iterations: int
    deadline: Deadline
    work_dir: Path
    data_root: str | None = None
    cfg_options: dict[str, Any] = field(default_factory=dict)


def config_of(name: str) -> Path:
    """The config of a backbone's name, or of a path.

    Raises:
        InputError: If there is none.
    """
    if name.endswith('.py'):
        return Path(name)
    found = sorted((REPO / 'configs').glob(f'mask_rcnn_{name}_fpn_*x.py'))
    if not found:
        raise InputError(f'There is no config mask_rcnn_{name}_fpn_*.py; give the name of a backbone, or a path.')
    return found[-1]


class Detector:
    """A detector, its optimiser and its batches."""

    def __init__(self, name: str, mode: Mode, plan: Plan):
        if 'amp' in mode.parts and plan.device.type == 'cpu':
            raise InputError('amp needs a GPU, and none was found; leave it out.')
        options = {
            'train_dataloader.batch_size': plan.shape[0],
            'log_level': 'WARNING',
            'randomness.seed': 0,
            # Weights stay as they are: every round does the same work, and nothing diverges at a full learning rate.
            'optim_wrapper.optimizer.lr': 0.0,
        }
        options |= {'data_root': plan.data_root} if plan.data_root else {}
        config = config_of(name)
        namespace = argparse.Namespace(
            config=str(config),
            cfg_options=options | plan.cfg_options,
            launcher='none',
            local_rank=0,
            allow_missing=None,
            work_dir=str(plan.work_dir / config.stem),
        )
        cfg = launch.load_config(namespace)
        if plan.data_root:
            launch.check_data(cfg, 'train')
        if 'amp' in mode.parts:
            cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
        # Each runner would be one more experiment of the same second.
        cfg.experiment_name = f'{config.stem}_{mode.name}'
        self.runner = Runner.from_cfg(cfg)
        self.model = self.runner.model
        self.model.init_weights()
        self.model.to(plan.device).train()
        if 'channels_last' in mode.parts:
            self.model.to(memory_format=torch.channels_last)
        self.optimiser = self.runner.build_optim_wrapper(cfg.optim_wrapper)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self._turn = iter(())

    def load(self, number: int) -> list[dict]:
        """The first batches of the training loader, fewer if it has no more."""
        return list(islice(self.runner.build_dataloader(self.runner.cfg.train_dataloader), number))

    def use(self, batches: list[dict]) -> None:
        """Train on these batches, again and again; every detector sees them in the same order."""
        self._turn = cycle(batches)

    def step(self) -> None:
        """One training step on the next batch."""
        self.model.train_step(next(self._turn), self.optimiser)


def measure(names: Sequence[str], plan: Plan, say: Say) -> dict[str, Any]:
    """Measure detectors; the content of a section, without its header.

    The baseline is ResNet-50's, or the last one where that is not among them.
    """
    baseline = BASELINE if BASELINE in names else names[-1]
    clock = clock_of(plan.device)
    rows, groups, notes, batches = {}, {}, [], []
    skipped: dict[str, list[str]] = {}
    contestants = list(dict.fromkeys((baseline, *names)))
    for mode in plan.modes:
        for name in contestants:
            if rows and not plan.deadline.allows(share=PREPARING):
                skipped.setdefault(mode.name, []).append(_label(name))
                continue
            try:
                detector, row = _prepare(name, mode, plan, batches)
            except InputError:
                raise
            except Exception as error:  # the others are measured all the same
                notes.append(f'{_label(name)}, {mode.name}: failed, {reason(error)}')
                say(notes[-1])
                continue
            row |= {'baseline': _label(baseline)}
            key = (row['name'], row['mode'], row['pass'])
            rows[key] = row
            groups.setdefault(mode.name, {})[key] = (detector.step, plan.iterations)
            say(f'{row["name"]}, {mode.name}: warm after {plan.deadline.used():.0f} s')
    return {
        'counts': clock.counts,
        'notes': notes + not_measured(skipped, len(contestants)),
        'rows': take_turns(groups, rows, clock, plan.rounds, plan.deadline, say),
    }


def _prepare(name: str, mode: Mode, plan: Plan, batches: list[dict]) -> tuple[Detector, dict[str, Any]]:
    """Make a detector and train it for a turn; the first one loads the batches of all."""
    row: dict[str, Any] = {'name': _label(name), 'mode': mode.name, 'pass': 'train', 'images': plan.shape[0]}
    with memory.Peak(plan.device) as peak:  # with weights, gradients and the optimiser's state
        detector = Detector(name, mode, plan)
        if not batches:
            batches += _batches(detector, plan)
        detector.use(batches)
        row['kept'] = memory.kept_for_backward(detector.model, detector.step)
        for _ in range(plan.iterations - 1):
            detector.step()
    return detector, row | {'parameters': detector.parameters} | peak.found()


def _label(name: str) -> str:
    return Path(name).stem if name.endswith('.py') else name


def _batches(detector: Detector, plan: Plan) -> list[dict]:
    if plan.data_root:
        # The same images for all, decoded beforehand; the first turn's are for warming up.
        return detector.load((plan.rounds + 1) * plan.iterations)
    from mmdet.testing import demo_mm_inputs

    n, *shape = plan.shape
    return [demo_mm_inputs(n, image_shapes=[shape] * n, num_items=[7] * n, num_classes=80, with_mask=True)]
