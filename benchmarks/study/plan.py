"""What the study trains: models, seeds, and the two sizes that it has, for CPUs and for a GPU.

A run's config is a small file that inherits the demo's, written beside its log, so that anyone can read or repeat it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pprint import pformat
from typing import Any

REPO = Path(__file__).resolve().parents[2]
DEMO = REPO / 'configs' / 'demo_mask_rcnn_tiedresnet_occluded_shapes.py'
BASELINE = 'resnet50'


@dataclass(frozen=True)
class Model:
    """One backbone of the study.

    Attributes:
        title: What tables and figures call it.
        backbone: Config of the full backbone.
        channels: Channels of its last three feature maps.
        narrow: What makes it a quarter as wide.
        narrow_channels: Channels of the narrow one's last three feature maps.
        note: What "a quarter as wide" means where it does not divide.
        weights: File of the weights that the backbone starts from; None for random values.
    """

    title: str
    backbone: Mapping[str, Any]
    narrow: Mapping[str, Any] = field(default_factory=lambda: dict(base_channels=16))
    channels: Sequence[int] = (512, 1024, 2048)
    narrow_channels: Sequence[int] = (128, 256, 512)
    note: str = ''
    weights: Path | None = None

    def config(self, narrow: bool) -> dict[str, Any]:
        """Config of the backbone, full or narrow."""
        return {**self.backbone, **(self.narrow if narrow else {})}


# In order of worth: the question is about tying, so the two tied networks and their baseline come first.
MODELS: dict[str, Model] = {
    BASELINE: Model('ResNet-50', dict(type='ResNet', depth=50, norm_cfg=dict(type='BN'), style='pytorch')),
    'tiedresnet50': Model(
        'TiedResNet-50', dict(type='TiedResNet', depth=50), narrow=dict(base_channels=16, base_width=8)
    ),
    'tiedresnet50_s': Model(
        'TiedResNet-50-S',
        dict(type='TiedResNet', depth=50, base_width=18),
        narrow=dict(base_channels=16, base_width=4),
        note='splits of 4 channels, where a quarter of 18 would be 4.5',
    ),
    'hcgnet_b': Model(
        'HCGNet-B',
        dict(type='HCGNet', arch='B'),
        narrow=dict(arch=dict(stem='imagenet', blocks=(3, 6, 12, 8), growth_rates=(8, 12, 16, 24))),
        channels=(368, 952, 1244),
        narrow_channels=(116, 250, 317),
        note='growth rates a quarter of B, the stem as wide as it is',
    ),
    'dsnet50': Model('DSNet-50', dict(type='DSNet', depth=50)),
    'hsresnet50': Model(
        'HS-ResNet-50',
        dict(type='HSResNet', depth=50),
        narrow=dict(base_channels=16, base_width=4),
        note='groups of 4 channels, where a quarter of 14 would be 3.5',
    ),
    'sae_resnet50': Model('SaE-ResNet-50', dict(type='SaEResNet', depth=50)),
}


@dataclass(frozen=True)
class Plan:
    """Which models are compared.

    Attributes:
        models: By the name of their folders, in order of worth.
        baseline: Name of the one with which the others are compared.
    """

    models: Mapping[str, Model]
    baseline: str


STUDY = Plan(MODELS, BASELINE)


@dataclass(frozen=True)
class Size:
    """How large the runs are; the same for every model.

    Attributes:
        narrow: Whether the backbones are a quarter as wide.
        train_images, val_images: Images of the data set.
        side: Side of the images as trained, in pixels.
        batch: Images of an iteration.
        epochs: Passes over the training images.
        lr: Peak learning rate of AdamW.
        workers: Processes that load images, beside the one that trains.
        amp: Whether training is in mixed precision.
    """

    narrow: bool
    train_images: int
    val_images: int
    side: int
    batch: int
    epochs: int
    lr: float
    workers: int
    amp: bool


SIZES: dict[str, Size] = {
    'cpu': Size(True, 1200, 500, 192, 4, 3, 2e-3, 0, False),
    # Minutes a run where four run at once on one GPU with 16 cores (benchmarks/gpu.py).
    'gpu': Size(False, 4000, 1000, 256, 16, 3, 1e-3, 3, True),
    # Seconds a run: shows that everything works, and nothing else.
    'trial': Size(True, 12, 20, 128, 4, 1, 2e-3, 0, False),
}


def config_text(model: Model, size: str, data_root: Path, seed: int) -> str:
    """The config of one run, as Python."""
    m, s = model, SIZES[size]
    backbone = {**m.config(s.narrow), 'out_indices': (1, 2, 3), 'norm_eval': False}
    if m.weights:  # nothing is frozen, so that all models train alike
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=str(m.weights))
    settings = {
        '_base_': str(DEMO),
        'model': dict(
            backbone=dict(_delete_=True, **backbone),
            neck=dict(in_channels=list(m.narrow_channels if s.narrow else m.channels)),
        ),
        'train_cfg': dict(max_epochs=s.epochs),
        'train_dataloader': _loader(s, data_root, 'train', s.batch),
        'test_dataloader': _loader(s, data_root, 'val', 2 * s.batch),
        'test_evaluator': dict(ann_file=str(data_root / 'annotations' / 'instances_val.json')),
        'optim_wrapper': dict(optimizer=dict(lr=s.lr)),
        # The seed fixes the order of the images, their flips and the initial values: for one seed, all models see the
        # same images in the same order.
        'randomness': dict(seed=seed),
    }
    lines = [f'# One run: {m.title}, size {size}, seed {seed}.']
    return '\n'.join([*lines, *(f'{key} = {pformat(value, sort_dicts=False)}' for key, value in settings.items()), ''])


def _loader(s: Size, data_root: Path, split: str, batch: int) -> dict[str, Any]:
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='Resize', scale=(s.side, s.side), keep_ratio=True),
    ]
    if split == 'train':
        pipeline += [dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]
    else:
        keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
        pipeline += [dict(type='PackDetInputs', meta_keys=keys)]
    dataset = dict(
        data_root=str(data_root),
        ann_file=f'annotations/instances_{split}.json',
        data_prefix=dict(img=f'{split}/'),
        pipeline=pipeline,
    )
    return dict(batch_size=batch, num_workers=s.workers, persistent_workers=s.workers > 0, dataset=dataset)


def described(size: str) -> dict[str, Any]:
    """What identifies a run's settings, so that runs of another plan are never mixed in."""
    return json.loads(json.dumps(vars(SIZES[size])))
