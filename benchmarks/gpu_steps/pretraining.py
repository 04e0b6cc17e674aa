"""Pre-training on CIFAR-10: one epoch to see how long it takes, then as many as there is time for."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

from . import children, detectors
from .children import Child
from .loan import Context

# Of the time that is left after the first epoch: for starting, and for an epoch that takes a little longer.
STARTS, SLACK = 20.0, 0.9
BATCH = 128
# Losses that are kept of a run.
LOSSES = 100


def do(name: str, backbone: str, context: Context) -> dict[str, Any]:
    """Train, and what came out of it: accuracy by epoch, losses, pictures a second."""
    end = time.monotonic() + context.seconds
    work = context.work / name
    shutil.rmtree(work, ignore_errors=True)
    first = _train(backbone, context, work / 'first', 1, end)
    epochs = 2 if context.small else max(1, int((end - time.monotonic() - STARTS) * SLACK / first))
    seconds = _train(backbone, context, work / 'run', epochs, end)
    rows = detectors.scalars(work / 'run')
    losses = [[row['step'], round(row['loss'], 4)] for row in rows]
    accuracy = json.loads((work / 'run' / 'accuracy.json').read_text())
    batch = 8 if context.small else BATCH
    times = sorted(row['time'] for row in rows)
    found = {
        'config': 'configs/pretrain/cifar10.py',
        'options': ['--backbone', backbone, *_amp(context), f'max_epochs={epochs}'],
        'epochs': epochs,
        'seconds_an_epoch': round(seconds / epochs, 2),
        'pictures_a_second': round(batch / times[len(times) // 2], 1),
        'memory_mib': max((row.get('memory', 0) for row in rows), default=0),
        'top1': [each['top1'] for each in accuracy.values()],
        'losses': losses[:: max(1, len(losses) // LOSSES)],
    }
    # What guesses is right in a tenth of the cases.
    blind = not context.small and found['top1'][-1] < 20
    return found | {'failed': [f'top-1 is {found["top1"][-1]} after {epochs} epochs'] if blind else []}


def _train(backbone: str, context: Context, work: Path, epochs: int, end: float) -> float:
    """One run; the seconds that its epochs took, without the start."""
    options: dict[str, Any] = {'data_root': context.pictures, 'max_epochs': epochs, 'default_hooks.logger.interval': 20}
    if context.small:
        options |= {'train_dataloader.batch_size': 8}
        options |= {f'{part}_dataloader.num_workers': 0 for part in ('train', 'val')}
        options |= {f'{part}_dataloader.persistent_workers': False for part in ('train', 'val')}
        options |= {'default_hooks.logger.interval': 1}
    else:
        options |= {'train_dataloader.num_workers': 10, 'val_dataloader.num_workers': 4}
    words = ['tools/pretrain.py', 'configs/pretrain/cifar10.py', '--backbone', backbone, '--work-dir', work]
    words += [*_amp(context), '--cfg-options', *(f'{key}={value}' for key, value in options.items())]
    children.run([Child('pretrain', words)], work, end - time.monotonic())
    began = min(path.stat().st_mtime for path in work.glob('*/vis_data/config.py'))
    return (work / f'epoch_{epochs}.pth').stat().st_mtime - began


def _amp(context: Context) -> list[str]:
    return ['--amp'] if context.device == 'cuda' else []
