"""What a warm start of DSNet keeps of its source: top-1 and feature maps, in evaluation and with batch statistics.

A narrow ResNet-50 learns to tell pictures apart for some minutes. It is converted into DSNet, and its classifier reads
DSNet's last map. Two other starts are compared: that of ``shortcut_start='last'``, whose shortcuts are w Norm(X) with
w = 1, and that of an ordinary DSNet, the mean of all sources, both with the source's weights elsewhere.

    python benchmarks/warm_starts.py cifar10/train

writes benchmarks/results/warm_starts.json.
"""

import argparse
import copy
import json
import logging
import platform
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmdet.models.backbones import ResNet
from PIL import Image
from torch import nn

from mmhybrid.checkpoints.convert import convert, trunk

REPO = Path(__file__).resolve().parent.parent
CONFIG = dict(depth=50, base_channels=16)
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SIDE, BATCH = 64, 32


def main():
    """Train, convert, compare and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder with CLASS/*.jpg')
    parser.add_argument('--iterations', type=int, default=700)
    parser.add_argument('--per-class', type=int, default=700, help='pictures of a class; one in seven is to test')
    parser.add_argument('--out', type=Path, default=REPO / 'benchmarks' / 'results' / 'warm_starts.json')
    args = parser.parse_args()
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    images, labels = pictures(args.data, args.per_class)
    tested = len(labels) // 7 // 100 * 100
    train, test = (images[tested:], labels[tested:]), (images[:tested], labels[:tested])
    source, head = trained(*train, args.iterations)
    made = convert(source.state_dict(), dict(type='DSNet', **CONFIG))
    models = {'source': source, 'warm start': backbone(made.state, 'last')}
    for title, start in (('w = 1 of the last source', 'last'), ('mean of the sources', 'mean')):
        fresh = backbone({}, start).state_dict()
        models[title] = backbone({**made.state, **{name: fresh[name] for name in made.state if is_new(name)}}, start)
    measured = {title: measure(model, head, source, *test) for title, model in models.items()}
    result = dict(
        hardware=f'{platform.machine()} CPU, {torch.get_num_threads()} threads',
        torch=torch.__version__,
        command=f'python benchmarks/{Path(__file__).name} {shlex.join(sys.argv[1:])}',
        source=dict(type='ResNet', **CONFIG, iterations=args.iterations, pictures=len(train[0]), tested=len(test[0])),
        measured=measured,
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + '\n')
    print(json.dumps(measured, indent=1))


def pictures(folder, per_class):
    """Normalised pictures (N, 3, SIDE, SIDE) and their classes; the first ones of each class."""
    arrays, labels = [], []
    for label, each in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(each.glob('*.jpg'))[:per_class]:
            arrays.append(np.asarray(Image.open(path).convert('RGB')))
            labels.append(label)
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    images = F.interpolate((images - mean) / std, size=SIDE, mode='bilinear')
    order = torch.randperm(len(labels))  # a batch is of all classes, as in training
    return images[order], torch.tensor(labels)[order]


def trained(images, labels, iterations):
    """A ResNet and a linear classifier."""
    model = ResNet(**CONFIG, norm_eval=False)
    model.init_weights()
    head = nn.Linear(CONFIG['base_channels'] * 32, int(labels.max()) + 1)
    optimizer = torch.optim.SGD([*model.parameters(), *head.parameters()], lr=0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=iterations)
    model.train()
    start = time.monotonic()
    for i in range(iterations):
        chosen = torch.randint(len(images), (BATCH,))
        batch = images[chosen].flip(3) if i % 2 else images[chosen]
        loss = F.cross_entropy(head(model(batch)[-1].mean((2, 3))), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if i % 50 == 0:
            print(f'{i}/{iterations} loss {loss:.3f} {time.monotonic() - start:.0f} s', file=sys.stderr, flush=True)
    return model, head


def backbone(state, start):
    """A DSNet with weights, and otherwise as it is initialised."""
    model = trunk.build(dict(type='DSNet', shortcut_start=start, **CONFIG))
    model.init_weights()
    model.load_state_dict(state, strict=False)
    return model


def is_new(name):
    """Whether a tensor of DSNet is not ResNet's."""
    return '.shortcut.' in name or '.source_norm.' in name


@torch.no_grad()
def measure(model, head, source, images, labels):
    """Top-1, and the root of the mean squared difference of the maps, relative to that of the source's maps."""
    result = {}
    for mode, training in (('evaluation', False), ('batch statistics', True)):
        ours, theirs = copy.deepcopy(model), copy.deepcopy(source)
        for module in (ours, theirs):
            module.train(training)
        right, maps = 0, None
        for batch, label in zip(images.split(100), labels.split(100), strict=True):
            outs = ours(batch)
            right += int((head(outs[-1].mean((2, 3))).argmax(1) == label).sum())
            maps = maps or list(zip(outs, theirs(batch), strict=True))
        differences = [float((a - b).pow(2).mean().sqrt() / b.pow(2).mean().sqrt()) for a, b in maps]
        result[mode] = dict(top1=round(100 * right / len(labels), 1), maps=[float(f'{d:.2g}') for d in differences])
    return result


if __name__ == '__main__':
    main()
