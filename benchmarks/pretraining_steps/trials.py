"""Whether pre-training learns at all, on a CPU in minutes: three backbones on CIFAR-10, with their curves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study import plan, runs

from . import page

FOLDER = 'trials'
# Losses that are kept of a run.
LOSSES = 100


@dataclass(frozen=True)
class Trial:
    """One run of ``configs/pretrain/cifar10.py``, without mixup, which is for long runs.

    Attributes:
        title: What tables call it.
        backbone: Of ``--backbone``.
        epochs: How many.
        options: Of ``--cfg-options``.
        each: Pictures of each class to train on, and a quarter of it to test with; None for all.
    """

    title: str
    backbone: str
    epochs: int
    options: Mapping[str, Any] = field(default_factory=dict)
    each: int | None = None


_NARROW = {'model.stem': 'backbone', 'model.backbone.base_channels': 16}
TRIALS: Mapping[str, Trial] = {
    'resnet50': Trial('ResNet-50, a quarter as wide', 'resnet50', 3, _NARROW),
    'tiedresnet50': Trial(
        'TiedResNet-50, a quarter as wide', 'tiedresnet50', 3, {**_NARROW, 'model.backbone.base_width': 8}
    ),
    'hcgnet_a1': Trial('HCGNet-A1, on 200 pictures of each class, tested on 50', 'hcgnet_a1', 3, each=200),
}


def do(
    name: str, kept: Path, work_dir: Path, cifar10: Path, threads: int = 1, say: Callable[[str], None] = print
) -> None:
    """Do a trial and keep its curves; what is kept already is left.

    Raises:
        subprocess.CalledProcessError: If the command fails.
    """
    record = kept / FOLDER / f'{name}.json'
    if record.exists():
        return
    trial, work = TRIALS[name], work_dir / FOLDER / name
    pictures = cifar10.resolve() if trial.each is None else _some(cifar10.resolve(), work_dir / FOLDER, trial.each)
    options = {'max_epochs': trial.epochs, 'model.mixing': None, **trial.options, 'train_dataloader.num_workers': 1}
    words = ['tools/pretrain.py', 'configs/pretrain/cifar10.py', '--backbone', trial.backbone]
    told = [f'{key}={value}' for key, value in options.items()]
    work.mkdir(parents=True, exist_ok=True)
    made = runs.made_with(threads)
    say(f'{name}: begins, {trial.epochs} epochs')
    start = time.perf_counter()
    command = [*(plan.REPO / word for word in words[:2]), *words[2:], '--work-dir', work, '--resume']
    runs.call([*command, '--cfg-options', f'data_root={pictures}', *told], work, 'pretrain', threads)
    accuracy = json.loads((work / 'accuracy.json').read_text())
    content = dict(
        title=trial.title,
        command=' '.join(['python', *words, '--cfg-options', *told]),
        pictures_of_each_class=trial.each,
        epochs=trial.epochs,
        seconds=round(time.perf_counter() - start, 1),
        top1=[each['top1'] for each in accuracy.values()],
        top5=[each['top5'] for each in accuracy.values()],
        losses=page.thinned(list(runs.losses(work)), LOSSES),
        **made,
    )
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(content, indent=1) + '\n')
    say(f'{name}: top-1 {content["top1"][-1]:.1f}% after {trial.epochs} epochs, {content["seconds"]:.0f} s')


def _some(pictures: Path, folder: Path, each: int) -> Path:
    """A data set of links to the first pictures of each class."""
    made = folder / f'cifar10_{each}'
    for part, number in (('train', each), ('test', each // 4)):
        for group in sorted((pictures / part).iterdir()):
            there = made / part / group.name
            there.mkdir(parents=True, exist_ok=True)
            for picture in sorted(group.iterdir())[:number]:
                if not (there / picture.name).is_symlink():
                    (there / picture.name).symlink_to(picture)
    return made.resolve()


def recorded(kept: Path) -> dict[str, dict[str, Any]]:
    """What is kept of the trials, in order."""
    paths = {name: kept / FOLDER / f'{name}.json' for name in TRIALS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}
