"""What is compared: the demo's detector from random values, and from backbones pre-trained on two kinds of pictures.

Both are pre-trained alike: the same backbone, iterations, pictures a step and recipe. Every weight is made with two
commands of this project, tools/pretrain.py and `mmhybrid publish`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from pprint import pformat
from typing import Any

from study import plan, runs

from mmhybrid.errors import InputError

from . import crops

MODEL = plan.MODELS['tiedresnet50']
NOTHING = 'nothing'
# What the backbones have seen, in the words of tables.
ARMS: Mapping[str, str] = {
    NOTHING: 'from random values',
    'crops': 'from crops of the shapes',
    'cifar10': 'from CIFAR-10',
}
PRETRAINED = tuple(arm for arm in ARMS if arm != NOTHING)
RECORD = 'pretraining.json'


@dataclass(frozen=True)
class Pretraining:
    """How long and on what the backbones are pre-trained; the same for every arm.

    Attributes:
        side: Side of the pictures, in pixels; the backbone has the stem that it has in the detector.
        batch: Pictures a step.
        iterations: Steps, about; the arms' epochs are as many as come nearest.
        lr: Peak learning rate of SGD.
    """

    side: int
    batch: int
    iterations: int
    lr: float


# By the size of the detectors' runs.
PRETRAININGS: Mapping[str, Pretraining] = {
    'cpu': Pretraining(64, 128, 1200, 0.1),
    'trial': Pretraining(32, 8, 4, 0.01),
}


def compared(weights: Mapping[str, Path] | None = None) -> plan.Plan:
    """The detectors: one model that starts from different weights.

    Args:
        weights: File of each pre-trained arm; those that have none are left out. None: all, to look at what was kept.
    """
    models = {NOTHING: replace(MODEL, title=ARMS[NOTHING])}
    for arm in PRETRAINED:
        if weights is None or arm in weights:
            models[arm] = replace(MODEL, title=ARMS[arm], weights=weights and weights[arm])
    return plan.Plan(models, NOTHING)


def described(size: str) -> dict[str, Any]:
    """What identifies a pre-training's settings, so that weights of other settings are never taken."""
    return dict(vars(PRETRAININGS[size]))


def record(kept: Path, size: str, arm: str) -> dict[str, Any] | None:
    """What is kept of an arm's pre-training, or None if it is not done.

    Raises:
        InputError: If it was made with other settings.
    """
    path = kept / size / arm / RECORD
    if not path.exists():
        return None
    made = json.loads(path.read_text())
    if made['settings'] != described(size):
        raise InputError(f'{path} was made with other settings than there are now; move its folder away.')
    return made


def pretrain(
    kept: Path,
    work_dir: Path,
    size: str,
    arm: str,
    cifar10: Path | None = None,
    threads: int = 1,
    say: Callable[[str], None] = print,
) -> Path:
    """Pre-train an arm's backbone, or find the one that was.

    Args:
        kept: Where the record of it goes.
        work_dir: Where pictures, logs and weights go.
        size: Key of ``PRETRAININGS``.
        arm: One of ``PRETRAINED``.
        cifar10: Folder of CIFAR-10 as pictures, train/CLASS/*.jpg and test/; needed by its arm alone.
        threads: Threads of it.
        say: Called with a sentence when it begins and ends.

    Returns:
        The backbone's file.

    Raises:
        InputError: If the arm's pictures are not there.
        subprocess.CalledProcessError: If a command fails.
    """
    work = work_dir / size / arm / 'pretraining'
    made = record(kept, size, arm)
    if made and (weights := work / made['weights']).exists():
        return weights
    pictures = _pictures(work_dir, size, arm, cifar10)
    s = PRETRAININGS[size]
    count = sum(path.is_file() for path in (pictures / 'train').glob('*/*'))
    epochs = max(1, round(s.iterations / -(-count // s.batch)))
    work.mkdir(parents=True, exist_ok=True)
    config = work / f'sgd_{s.side}px.py'  # its name is the recipe's in the card
    config.write_text(config_text(size, epochs))
    options = [f'data_root={pictures}', f'image_size={s.side}', f'max_epochs={epochs}', 'model.stem=backbone']
    options += [f'model.backbone.{key}={value}' for key, value in MODEL.narrow.items()]
    words = [plan.REPO / 'tools' / 'pretrain.py', config, '--backbone', 'tiedresnet50', '--work-dir', work, '--resume']
    say(f'{size} {arm}: pre-training begins, {epochs} epochs of {count:,} pictures')
    start = time.perf_counter()
    runs.call([*words, '--cfg-options', *options], work, 'pretrain', threads)
    seconds = time.perf_counter() - start
    checkpoint = work / f'epoch_{epochs}.pth'
    name, made = f'tiedresnet50_narrow_{arm}', runs.made_with(threads)
    for old in work.glob(f'{name}-*'):  # of a run that ended before it was noted
        old.unlink()
    words = ['-m', 'mmhybrid.cli', 'publish', checkpoint, '--to', work / f'{name}.safetensors']
    runs.call([*words, '--commit', made['commit'], '--data', f'{arm}, {count} pictures'], work, 'publish', 1)
    (weights,) = work.glob(f'{name}-*.safetensors')
    accuracy = json.loads((work / 'accuracy.json').read_text())
    content = dict(
        arm=arm,
        settings=described(size),
        pictures=count,
        epochs=epochs,
        top1=[accuracy[str(epoch)]['top1'] for epoch in range(1, epochs + 1)],
        weights=weights.name,
        bytes=weights.stat().st_size,
        seconds=round(seconds, 1),
        **made,
    )
    folder = kept / size / arm
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(json.dumps(content, indent=1) + '\n')
    say(f'{size} {arm}: pre-trained in {seconds:.0f} s, top-1 {content["top1"][-1]:.1f}%, {weights}')
    return weights


def _pictures(work_dir: Path, size: str, arm: str, cifar10: Path | None) -> Path:
    if arm == 'cifar10':
        if cifar10 is None or not (cifar10 / 'train').is_dir():
            raise InputError(
                f'CIFAR-10 as pictures is not in {cifar10}: give --cifar10 FOLDER with train/CLASS/*.jpg and test/, '
                'or choose --arms without cifar10.'
            )
        return cifar10.resolve()
    folder = work_dir / f'{arm}_{plan.SIZES[size].train_images}'
    runs.validation(work_dir, size)  # makes the data set
    # The detector's own training images: no picture that another arm's detector does not see.
    crops.cut(runs.data_root(work_dir, size), folder, {'train': 'train', 'val': 'val'})
    return folder.resolve()


def config_text(size: str, epochs: int) -> str:
    """The config of a pre-training, as Python; its variables are given on the command line."""
    s = PRETRAININGS[size]
    normalise = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    warm = min(1, epochs / 2)
    settings = {
        '_base_': str(plan.REPO / 'configs' / 'pretrain' / 'cifar10.py'),
        # As in the detector.
        'model': dict(data_preprocessor=normalise, mixing=None),
        'train_dataloader': dict(batch_size=s.batch, num_workers=0, persistent_workers=False),
        'val_dataloader': dict(num_workers=0, persistent_workers=False),
        'test_dataloader': dict(num_workers=0, persistent_workers=False),
        'optim_wrapper': dict(optimizer=dict(lr=s.lr, weight_decay=5e-4)),
        'max_epochs': epochs,
        'param_scheduler': [
            dict(type='LinearLR', start_factor=0.1, begin=0, end=warm, by_epoch=True, convert_to_iter_based=True),
            dict(type='CosineAnnealingLR', begin=0, end=epochs, by_epoch=True, convert_to_iter_based=True),
        ],
        'randomness': dict(seed=0),
    }
    lines = ["# A pre-training of the demo's backbone; the command line has its variables."]
    return '\n'.join([*lines, *(f'{key} = {pformat(value, sort_dicts=False)}' for key, value in settings.items()), ''])
