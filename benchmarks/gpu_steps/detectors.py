"""Detectors by this project's own commands: train, resume, test, in each precision and through NCCL."""

import json
import shutil
import socket
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import children, kept
from .children import Child
from .loan import Context

MAIN = 'mask_rcnn_tiedresnet50_fpn_2x'
# Settings of a rehearsal, by the beginning of a config's name: few proposals, and masks of few detections.
_FEW = {'model.train_cfg.rpn_proposal.max_per_img': 40, 'model.test_cfg.rpn.max_per_img': 20}
_FEW |= {'model.test_cfg.rcnn.max_per_img': 5}
_SMALL: dict[str, dict[str, Any]] = {
    'mask_rcnn': _FEW | {'model.train_cfg.rcnn.sampler.num': 8},
    'cascade': _FEW | {f'model.train_cfg.rcnn.{i}.sampler.num': 8 for i in range(3)},
    'retinanet': {'model.test_cfg.nms_pre': 50, 'model.test_cfg.max_per_img': 5},
}
# mmcv has no bfloat16 RoIAlign, and a box's corner in bfloat16 is off by pixels: RoI features are taken in float32.
_BF16 = {
    'optim_wrapper.dtype': 'bfloat16',
    'model.roi_head.bbox_roi_extractor.type': 'gpu_steps.float32_rois.Float32RoIExtractor',
    'model.roi_head.mask_roi_extractor.type': 'gpu_steps.float32_rois.Float32RoIExtractor',
}
# Iterations after which the batch norms' running statistics are those of the data.
SETTLED = 30
METRICS = ('coco/bbox_mAP', 'coco/segm_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_occ_0.0')


@dataclass(frozen=True)
class Job:
    """A detector, trained for some iterations.

    Attributes:
        config: Name of its config.
        iterations: How many.
        small: How many in a rehearsal.
        precision: 'fp16' and 'bf16' by --amp, or 'fp32'.
        batch: Images of an iteration.
        more: Iterations after resuming, none for 0.
        test: Whether the checkpoint is tested.
        launcher: Whether torchrun starts it.
    """

    config: str
    iterations: int
    small: int = 2
    precision: str = 'fp16'
    batch: int = 8
    more: int = 0
    test: bool = False
    launcher: bool = False


def do(name: str, job: Job, context: Context) -> dict[str, Any]:
    """Train, then resume and test at the same time; what came out of it."""
    work = context.work / name
    shutil.rmtree(work, ignore_errors=True)
    iterations = job.small if context.small else job.iterations
    run = _Run(job, context, work)
    run.children([run.train('train', iterations)])
    checkpoint = work / 'train' / f'iter_{iterations}.pth'
    found: dict[str, Any] = {'config': f'configs/{job.config}.py', 'options': run.told(), 'iterations': iterations}
    found |= summary(scalars(work / 'train'), run.batch)
    found['checkpoint_mib'] = round(checkpoint.stat().st_size / 2**20, 1)
    after = []
    if job.more:
        after.append(run.train('resumed', iterations + job.more, resume=checkpoint))
    if job.test:
        after.append(run.test('test', checkpoint))
    run.children(after)
    if job.more:
        rows = scalars(work / 'resumed')
        found['resumed'] = {'steps': [row['step'] for row in rows], 'losses': [round(row['loss'], 4) for row in rows]}
    if job.test:
        metrics = tested(work / 'test')
        found['test'] = {key: value for key, value in metrics.items() if key in METRICS or 'time' in key}
        found['test']['detections'] = len(json.loads((work / 'test' / 'val.bbox.json').read_text()))
    return found | {'failed': problems(found, iterations, job, context)}


def problems(found: Mapping[str, Any], iterations: int, job: Job, context: Context) -> list[str]:
    """What is wrong with a run that ended well."""
    wrong = []
    if len(found['losses']) != iterations:
        wrong.append(f'{len(found["losses"])} of {iterations} iterations were logged')
    expected = list(range(iterations + 1, iterations + job.more + 1))
    if job.more and found['resumed']['steps'] != expected:
        wrong.append(f'resumed at the iterations {found["resumed"]["steps"]} in place of {expected}')
    # A network of fewer iterations has statistics by which it may find nothing, and nothing has no AP.
    may_be_blind = iterations < SETTLED and found.get('test', {}).get('detections') == 0
    if job.test and 'coco/bbox_mAP' not in found['test'] and not may_be_blind:
        wrong.append('the test gave no AP')
    if context.device == 'cuda' and not found['memory_mib']:
        wrong.append('no GPU memory was logged')
    return wrong


@dataclass
class _Run:
    """Commands of a job."""

    job: Job
    context: Context
    work: Path
    batch: int = field(init=False)
    end: float = field(init=False)

    def __post_init__(self):
        self.batch = 2 if self.context.small else self.job.batch
        self.end = time.monotonic() + self.context.seconds

    def children(self, commands: list[Child]) -> None:
        """Run commands of this job in the time that is left of it; what fails ends it."""
        children.run(commands, self.work / 'logs', self.end - time.monotonic(), self.context.jobs)

    def train(self, name: str, iterations: int, resume: Path | None = None) -> Child:
        """tools/train.py up to an iteration."""
        options = self._common() | self._training(iterations)
        words = ['tools/train.py', f'configs/{self.job.config}.py', '--work-dir', self.work / name]
        words += ['--auto-scale-lr', *(['--amp'] if self._amp() else []), *(['--resume', resume] if resume else [])]
        env = {}
        if self.job.launcher:
            launch = ['-m', 'torch.distributed.run', '--nproc_per_node=1', '--master_addr=127.0.0.1']
            words = [*launch, f'--master_port={_free_port()}', *words, '--launcher', 'pytorch']
            env = {'NCCL_DEBUG': 'WARN'}
        return Child(name, [*words, *_written(options)], env)

    def test(self, name: str, checkpoint: Path) -> Child:
        """tools/test.py on the validation images."""
        words = ['tools/test.py', f'configs/{self.job.config}.py', checkpoint, '--work-dir', self.work / name]
        return Child(name, [*words, '--json-prefix', self.work / name / 'val', *_written(self._common())])

    def told(self) -> list[str]:
        """The options, without those of paths."""
        words = [*(['--amp'] if self._amp() else []), *(['--launcher', 'pytorch'] if self.job.launcher else [])]
        options = {k: v for k, v in self._training(0).items() if k.startswith(('optim', 'train_dataloader', 'model'))}
        return words + [f'{key}={value}' for key, value in options.items()]

    def _amp(self) -> bool:
        return self.job.precision != 'fp32' and self.context.device == 'cuda'

    def _common(self) -> dict[str, Any]:
        # Of a few iterations' scores none reaches the usual threshold.
        rcnn = '' if self.job.config.startswith('retinanet') else 'rcnn.'
        options = {'data_root': self.context.data_root, f'model.test_cfg.{rcnn}score_thr': 0.0}
        if self.context.small:
            options |= next(few for start, few in _SMALL.items() if self.job.config.startswith(start))
            options |= {'test_dataloader.dataset.pipeline.1.scale': '(160,96)', 'test_dataloader.dataset.indices': 4}
            options |= {f'test_dataloader.{k}': v for k, v in dict(num_workers=0, persistent_workers=False).items()}
        return options

    def _training(self, iterations: int) -> dict[str, Any]:
        options: dict[str, Any] = {'train_cfg._delete_': True, 'train_cfg.type': 'IterBasedTrainLoop'}
        options |= {'train_cfg.max_iters': iterations}
        # No validation on the way.
        options |= dict.fromkeys(('val_cfg', 'val_dataloader', 'val_evaluator'))
        # An epoch of few images ends often, and MMEngine waits two seconds at its end; this sampler has no end.
        options |= {'train_dataloader.sampler.type': 'InfiniteSampler', 'train_dataloader.batch_size': self.batch}
        workers = dict(num_workers=0, persistent_workers=False) if self.context.small else dict(num_workers=_workers())
        options |= {f'train_dataloader.{key}': value for key, value in workers.items()}
        options |= {'log_processor.by_epoch': False, 'log_processor.window_size': 1}
        options |= {'default_hooks.logger.interval': 1, 'default_hooks.checkpoint.by_epoch': False}
        options |= {'default_hooks.checkpoint.interval': max(iterations, 1), 'randomness.seed': 0}
        if self.job.precision == 'bf16':
            options |= _BF16 if self._amp() else {k: v for k, v in _BF16.items() if not k.startswith('optim')}
        if self.context.small:
            options |= {'train_dataloader.dataset.pipeline.2.scale': '(160,96)'}
        return options


def _written(options: Mapping[str, Any]) -> list[str]:
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


def _workers() -> int:
    """Processes that load images: they hand over batches in shared memory, which a container may have little of."""
    folder = Path('/dev/shm')
    return 8 if not folder.exists() or shutil.disk_usage(folder).free > 2 * 2**30 else 1


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


def _rows(paths: Iterator[Path]) -> Iterator[dict[str, Any]]:
    for path in sorted(paths):  # named by the time of the start
        yield from (json.loads(line) for line in path.read_text().splitlines() if line.strip())


def scalars(work: Path) -> list[dict[str, Any]]:
    """What MMEngine logged of each training iteration under a work dir."""
    return [row for row in _rows(work.glob('*/vis_data/scalars.json')) if 'loss' in row]


def tested(work: Path) -> dict[str, Any]:
    """The metrics of the newest test under a work dir."""
    rows = list(_rows(work.glob('*/*.json')))
    return rows[-1] if rows else {}


def summary(rows: list[dict[str, Any]], batch: int) -> dict[str, Any]:
    """Images a second, memory and losses of a run.

    Args:
        rows: MMEngine's scalars of each iteration.
        batch: Images of an iteration.

    Returns:
        'seconds' and 'data_seconds' of an iteration and 'images_per_second' by their median after the first third,
        which warms up; 'memory_mib', the most that tensors took (None on a CPU); 'losses'.
    """
    late = rows[len(rows) // 3 :]
    if not late:
        raise ValueError('no iteration was logged')
    seconds = statistics.median(row['time'] for row in late)
    memory = [row['memory'] for row in rows if 'memory' in row]
    return {
        'batch': batch,
        'images_per_second': round(batch / seconds, 2),
        'seconds': round(seconds, 4),
        'data_seconds': round(statistics.median(row['data_time'] for row in late), 4),
        'memory_mib': max(memory, default=None),
        'losses': [round(row['loss'], 4) for row in rows],
    }


def beside(results: Path, own: Mapping[str, Any], precision: str, others: Mapping[str, str]) -> dict[str, Any]:
    """Images a second, memory and losses in several precisions, from the steps on record."""
    found = {precision: own}
    for other, step in others.items():
        document = kept.read_json(kept.step_path(results, step)) or {}
        found |= {other: document['result']} if document.get('result', {}).get('losses') else {}
    keys = ('images_per_second', 'memory_mib', 'losses')
    return {key: {name: result[key] for name, result in found.items()} for key in keys}
